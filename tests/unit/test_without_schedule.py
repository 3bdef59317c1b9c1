"""Another experiment is taken over while the schedule is away: only where the site lets it, and said so."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from beamtime_handlers.begin_beamtime import begin_beamtime
from beamtime_handlers.end_beamtime import end_beamtime
from beamtime_handlers.handover import handover
from beamtime_handlers.select_experiment import select_experiment
from beamtime_handlers.update_user_info import update_user_info
from beamtime_ioc.action import Run, action
from beamtime_ioc.chosen import listed
from beamtime_ioc.engine.ending import perform
from beamtime_ioc.engine.engine import Outcome
from beamtime_ioc.engine.plan import plan
from beamtime_ioc.errors import ServiceDeniedError, ServiceUnavailableError
from beamtime_ioc.kept_schedule import KeptSchedule, look_up
from beamtime_ioc.model import Beamtime, Experiment, Json, Place, RunState, Site
from beamtime_ioc.schedule_watch import rules
from beamtime_ioc.testing import FakeRun, MemoryIdentity
from choice_house import NOW, SITE, MemorySchedule, visit

OLD, HERE, NEXT = visit(1, -3, lasts=2.5), visit(2, -0.5), visit(3, 3)
A, B = SITE.experiment(OLD), SITE.experiment(HERE)
DOWN = ServiceUnavailableError("the schedule", "did not answer in 15 s")
DENIED = ServiceDeniedError("the schedule does not accept our credentials", advice="look at the file")


@action("create-directories", resource="places")
def make_places(run: Run, experiment: Experiment) -> list[Json]:
    return [run.effect(f"directory of {experiment.key}", look=lambda: None, make=str, verify=lambda: "d")]


@action("email-users", resource="mail")
def no_mail(run: Run, experiment: Experiment, *, unless_off: bool = False) -> dict[str, Any]:
    return {"mode": "off"}


ACTIONS = (
    *(make_places, no_mail, begin_beamtime, end_beamtime, handover, select_experiment, update_user_info),
)


@dataclass
class House:
    """A schedule whose answers are kept, and that can go away."""

    inner: MemorySchedule
    schedule: KeptSchedule
    identity: MemoryIdentity

    def run(
        self, name: str, *opened: str, of: str = "", arguments: Mapping[str, Json] | None = None
    ) -> FakeRun:
        places = (Place(name="det1", top=PurePosixPath("/data")),)
        site = replace(SITE, places=places, open_steps=frozenset((of or name, step) for step in opened))
        run = FakeRun(
            site=site, services={"schedule": self.schedule, "identity": self.identity}, actions=ACTIONS
        )
        current = self.identity.current()
        run.order = replace(run.order, action=name, arguments=dict(arguments or {}), experiment=current)
        return run

    def press(
        self, name: str, *opened: str, arguments: Mapping[str, Json] | None = None
    ) -> tuple[Outcome, FakeRun]:
        run = self.run(name, *opened, arguments=arguments)
        return perform(run), run


def house_of(directory: Path, *beamtimes: Beamtime, current: Experiment | None = A) -> House:
    inner = MemorySchedule(*beamtimes)
    schedule = KeptSchedule(inner, directory, "this site")
    return House(inner, schedule, MemoryIdentity(current))


@pytest.fixture
def house(tmp_path: Path) -> House:
    """It has answered a moment ago, and does not any more."""
    made = house_of(tmp_path, OLD, HERE, NEXT)
    look_up(made.schedule, NOW.astimezone(SITE.zone))
    made.inner.error = DOWN
    return made


def lines(run: FakeRun) -> list[tuple[str, str]]:
    return [(line.name, str(line.state)) for line in run.steps]


def test_a_handover_without_the_schedule_ends_nothing_unless_the_site_lets_it(house: House) -> None:
    outcome, _ = house.press("handover")

    assert outcome.state is RunState.FAILED
    assert "did not answer in 15 s" in outcome.message
    assert f"names {B.key}" in outcome.message
    assert "an earlier schedule changes nothing by itself" in outcome.advice
    assert (house.identity.current(), house.identity.closed(A.key)) == (A, None)


@pytest.mark.parametrize("error", [DOWN, DENIED])
def test_an_open_handover_goes_on_with_who_comes_by_the_last_answer_and_says_so(
    house: House, error: Exception
) -> None:
    house.inner.error = error

    outcome, run = house.press("handover", "who comes")

    assert outcome.state is RunState.DONE, outcome
    assert house.identity.current() == B
    assert house.identity.closed(A.key) is not None
    assert house.identity.looked_up() is None  # it was not looked up now
    assert lines(run) == [
        ("who comes", "read"),
        ("ask the schedule who comes", "held"),
        ("end of aps:30001", "made"),
        ("what lies at the places", "read"),
        ("the chosen experiment", "read"),
        ("look the chosen experiment up", "held"),
        ("current experiment aps:30002", "made"),
        ("directory of aps:30002", "made"),
    ]
    assert outcome.message.startswith(f"{A.name} is closed; {B.name} has begun without the schedule: ")
    assert "not checked since" in outcome.message
    assert str(error).partition(";")[0] in outcome.message


def test_its_preview_says_it_too_and_changes_nothing(house: House) -> None:
    run = house.run("handover", "who comes")

    text = plan(run.order, run.workshop).splitlines()

    assert text[0] == "read: who comes (open: may go on without the schedule)"
    assert text[1].startswith("not done: ask the schedule who comes: the schedule did not answer in 15 s")
    assert "would make: directory of aps:30002" in text
    assert house.identity.current() == A


def test_a_handover_to_a_choice_takes_it_as_the_schedule_had_it_last(house: House) -> None:
    outcome, _ = house.press("handover", "who comes", arguments={"choice": "aps:30003"})

    assert outcome.state is RunState.DONE, outcome
    current = house.identity.current()
    assert current is not None
    assert (current.key, current.people) == (NEXT.key, NEXT.people)
    assert "aps:30003 is as the schedule of" in outcome.message


@pytest.mark.parametrize(
    ("beamtimes", "given", "words"),
    [
        ([OLD, NEXT], {}, "nobody is on beam"),
        ([HERE, visit(4, -1)], {}, "2 beamtimes are on beam"),
        ([OLD, HERE], {"choice": "aps:30009"}, "has no beamtime aps:30009"),
    ],
)
def test_an_open_handover_ends_nothing_if_the_last_answer_does_not_say_who_comes(
    tmp_path: Path, beamtimes: list[Beamtime], given: dict[str, Json], words: str
) -> None:
    house = house_of(tmp_path, *beamtimes)
    listed(house.schedule, NOW)
    house.inner.error = DOWN

    outcome, _ = house.press("handover", "who comes", arguments=given)

    assert outcome.state is RunState.FAILED
    assert words in outcome.message
    assert "press again when the schedule is back; nothing was changed" in outcome.advice
    assert (house.identity.current(), house.identity.closed(A.key)) == (A, None)


def test_without_any_earlier_answer_an_open_handover_ends_nothing(tmp_path: Path) -> None:
    house = house_of(tmp_path, OLD, HERE)
    house.inner.error = DOWN

    outcome, _ = house.press("handover", "who comes")

    assert outcome.state is RunState.FAILED
    assert "no earlier answer is kept" in outcome.message
    assert house.identity.closed(A.key) is None


def test_a_handover_is_not_open_because_another_action_is(house: House) -> None:
    run = house.run("handover", "the chosen experiment", of="select-experiment")

    assert perform(run).state is RunState.FAILED
    assert house.identity.closed(A.key) is None


def test_a_choice_goes_on_without_the_schedule_only_where_the_site_lets_it(house: House) -> None:
    given = {"choice": "30002"}

    closed, _ = house.press("select-experiment", arguments=given)
    after_closed = house.identity.current()
    opened, _ = house.press("select-experiment", "the chosen experiment", arguments=given)

    assert (closed.state, after_closed) == (RunState.FAILED, A)
    assert opened.state is RunState.DONE, opened
    assert house.identity.current() == B
    assert "not checked since" in opened.message


def test_begun_without_the_schedule_the_last_sentence_says_so(house: House) -> None:
    house.identity.adopt(B)

    outcome, _ = house.press("begin-beamtime", "who is on beam")

    assert outcome.state is RunState.DONE, outcome
    assert outcome.message.startswith(f"{B.name} has begun without the schedule: 1 directory, mail is off; ")
    assert "the schedule did not answer in 15 s" in outcome.message


def test_begun_with_the_schedule_it_says_nothing_of_the_kind(house: House) -> None:
    house.inner.error = None

    outcome, _ = house.press("begin-beamtime", "who is on beam")

    assert outcome.message == f"{B.name} has begun: 1 directory, mail is off"


def test_what_goes_on_and_what_ends_is_one_text_for_the_screen() -> None:
    site: Site = replace(SITE, open_steps=frozenset([("handover", "who comes")]))
    actions = {one.name: one for one in (handover, update_user_info, end_beamtime)}

    assert rules(site, actions) == (
        "open without the schedule: handover (who comes); closed: update-user-info (who is on beam)"
    )
    assert rules(SITE, actions).startswith("open without the schedule: none; closed: handover (who comes), ")


# -- a name that two have -----------------------------------------------------------------------

TWIN = replace(visit(5, -0.4), id="30005", proposal=HERE.proposal, people=HERE.people)


@pytest.mark.parametrize("name", ["update-user-info", "begin-beamtime", "handover"])
def test_a_name_that_another_experiment_has_is_said_before_anything_is_made(
    tmp_path: Path, name: str
) -> None:
    gone = replace(HERE, start=HERE.start - timedelta(minutes=1), end=NOW - timedelta(hours=1))
    house = house_of(tmp_path, gone, TWIN)
    house.identity.adopt(SITE.experiment(gone))
    run = house.run(name)

    text = plan(run.order, run.workshop).splitlines()
    outcome, run = house.press(name)

    shared = SITE.experiment(TWIN).name
    held = [line for line in text if line.startswith("not done: a name of its own: ")]
    assert len(held) == 1
    assert f"{shared} is the name of aps:30002 too" in held[0]
    assert "CONFLICT" in held[0]
    assert text.index(held[0]) < text.index("would make: current experiment aps:30005")
    assert ("a name of its own", "held") in lines(run)
    assert outcome.state is RunState.DONE
    if name == "update-user-info":
        assert "aps:30002 has that name too: a directory of it is not shared" in outcome.message
