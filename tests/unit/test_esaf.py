"""People of the safety form join those of the proposal, and stay away in words."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from aps_house import SITE
from beamtime_handlers.select_experiment import select_experiment
from beamtime_handlers.update_user_info import update_user_info
from beamtime_ioc.action import Action
from beamtime_ioc.errors import ServiceUnavailableError
from beamtime_ioc.model import Experiment, Person, SafetyForm, from_json
from beamtime_ioc.testing import FakeRun, MemoryEsaf, MemoryIdentity
from choice_house import MemorySchedule, visit

NOW = datetime.now(UTC).replace(microsecond=0)
ZOE = Person(first_name="Zoë", last_name="Müller", email="zoe@example.edu", badge="900101", is_pi=True)
LIV = Person(first_name="Liv", last_name="Ås", email="liv@example.org", badge="900104")
FORM = SafetyForm(number="8800011", people=(LIV, replace(ZOE, email="")), status="Approved", doi="10.0000/11")
VISIT = replace(visit(0, -1), id="300011", esaf="8800011", people=(ZOE,))
DOWN = ServiceUnavailableError("the safety forms", "did not answer within 10 s")
BOTH = pytest.mark.parametrize("action", [update_user_info, select_experiment], ids=lambda one: one.name)


class House:
    """A beamtime under a safety form, and a service that knows the form."""

    def __init__(self, *forms: SafetyForm, esaf: str = "8800011") -> None:
        visit = VISIT if esaf else replace(VISIT, esaf="")
        self.schedule, self.esaf, self.identity = MemorySchedule(visit), MemoryEsaf(*forms), MemoryIdentity()
        self.services = {"schedule": self.schedule, "esaf": self.esaf, "identity": self.identity}

    def press(self, action: Action) -> FakeRun:
        run = FakeRun(site=SITE, services=self.services)
        choice = {"choice": "300011"} if action is select_experiment else {}
        self.result = from_json(Experiment, action(run, None, **choice))
        return run

    @property
    def badges(self) -> list[str]:
        current = self.identity.current()
        assert current == self.result
        return [person.badge for person in self.result.people]


@BOTH
def test_people_of_the_form_join_those_of_the_proposal(action: Action) -> None:
    house = House(FORM)

    run = house.press(action)

    assert house.badges == ["900101", "900104"]
    assert house.result.esaf_doi == "10.0000/11"
    assert house.result.pi == ZOE
    assert [(line.name, line.state) for line in run.steps][1] == ("people of safety form 8800011", "read")
    assert "2 people, 1 of them on safety form 8800011 alone, " in run.text
    assert run.problems == []


@BOTH
def test_without_an_answer_it_goes_on_with_the_proposals_people_and_ends_with_a_problem(
    action: Action,
) -> None:
    house = House(FORM)
    house.esaf.error = DOWN

    run = house.press(action)

    assert house.badges == ["900101"]
    [problem] = run.problems
    assert problem.startswith("people of safety form 8800011: the safety forms did not answer within 10 s; ")
    assert "it goes on with the people of the proposal (1); press again when it is back" in problem


@BOTH
def test_whom_the_form_named_before_stay_while_it_cannot_be_read(action: Action) -> None:
    house = House(FORM)
    house.press(action)
    house.esaf.error = DOWN

    run = house.press(action)

    assert house.badges == ["900101", "900104"]
    assert "and those whom the form named before (1)" in run.problems[0]


def test_who_has_left_the_form_leaves_the_experiment() -> None:
    house = House(FORM)
    house.press(update_user_info)
    house.esaf.forms["8800011"] = replace(FORM, people=())

    house.press(update_user_info)

    assert house.badges == ["900101"]


def test_people_of_another_form_do_not_stay() -> None:
    house = House(FORM)
    house.press(update_user_info)
    house.schedule.beamtimes = [replace(VISIT, esaf="8800012")]
    house.esaf.error = DOWN

    house.press(update_user_info)

    assert house.badges == ["900101"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (replace(FORM, status="Pending"), "safety form 8800011 is Pending"),
        (replace(FORM, end=NOW), "safety form 8800011 is not valid for the whole beamtime"),
        (replace(FORM, start=NOW), "safety form 8800011 is not valid for the whole beamtime"),
        (replace(FORM, number="8800012"), "there is no safety form 8800011"),
    ],
)
def test_what_is_to_be_known_of_the_form_is_said(form: SafetyForm, words: str) -> None:
    assert words in House(form).press(update_user_info).text


def test_without_a_form_none_is_asked_for_and_it_is_said() -> None:
    house = House(FORM, esaf="")

    run = house.press(update_user_info)

    assert house.esaf.asked == []
    assert "1 person, the schedule names no safety form, " in run.text


def test_a_site_without_such_a_service_hears_nothing_of_it() -> None:
    house = House(FORM)
    del house.services["esaf"]

    run = house.press(update_user_info)

    assert house.badges == ["900101"]
    assert "form" not in run.text
    assert [line.name for line in run.steps][1] == "current experiment aps:300011"


def test_the_preview_says_that_the_form_cannot_be_read() -> None:
    house = House(FORM)
    house.esaf.error = DOWN
    plan = FakeRun(site=SITE, services=house.services).planning()

    update_user_info(plan, None)

    assert any(
        line.startswith("would fail: people of safety form 8800011: the safety") for line in plan.lines
    )
    assert any("current experiment aps:300011" in line for line in plan.lines)
