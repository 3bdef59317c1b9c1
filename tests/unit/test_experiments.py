"""Experiments by choice, by hand, ended, opened again and handed over: what the buttons do."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_handlers.begin_beamtime import begin_beamtime
from beamtime_handlers.end_beamtime import end_beamtime
from beamtime_handlers.handover import handover
from beamtime_handlers.reopen_experiment import reopen_experiment
from beamtime_handlers.select_experiment import select_experiment
from beamtime_handlers.update_user_info import update_user_info
from beamtime_handlers.use_manual import use_manual
from beamtime_ioc.action import Run, action
from beamtime_ioc.arguments import checked_arguments
from beamtime_ioc.chosen import by_choice
from beamtime_ioc.engine.ending import perform
from beamtime_ioc.engine.plan import plan
from beamtime_ioc.errors import (
    BadValueError,
    BeamtimeError,
    ExperimentClosedError,
    ServiceUnavailableError,
    StepFailedError,
)
from beamtime_ioc.model import Experiment, Json, Place, RunState, from_json
from beamtime_ioc.places import Content
from beamtime_ioc.testing import FakeRun, MemoryIdentity
from choice_house import NOW, SITE, MemorySchedule, visit

OLD, HERE, NEXT = visit(1, -3), visit(2, -1), visit(3, 1)
A, B = SITE.experiment(OLD), SITE.experiment(HERE)
WITH_PLACE = replace(SITE, places=(Place(name="det1", top=PurePosixPath("/data")),))


@action("create-directories", resource="places")
def make_places(run: Run, experiment: Experiment) -> list[Json]:
    return [run.effect(f"directory of {experiment.key}", look=lambda: None, make=str, verify=lambda: "d")]


@action("email-users", resource="mail")
def no_mail(run: Run, experiment: Experiment, *, unless_off: bool = False) -> dict[str, Any]:
    run.hold(f"letters of {experiment.key}", "mail is off")
    return {"mode": "off"}


def run_of(
    identity: MemoryIdentity,
    *beamtimes: Any,
    error: Exception | None = None,
    name: str = "",
    arguments: Mapping[str, Json] | None = None,
    experiment: Experiment | None = None,
) -> FakeRun:
    run = FakeRun(
        site=WITH_PLACE,
        services={"schedule": MemorySchedule(*beamtimes, error=error), "identity": identity},
        actions=[
            *(make_places, no_mail, begin_beamtime, end_beamtime, handover, reopen_experiment),
            *(select_experiment, update_user_info, use_manual),
        ],
    )
    current = experiment or identity.current()
    run.order = replace(
        run.order, action=name or "a-test", arguments=dict(arguments or {}), experiment=current
    )
    return run


def lines(run: FakeRun) -> list[tuple[str, str]]:
    return [(line.name, str(line.state)) for line in run.steps]


def arguments(**given: str) -> Mapping[str, Json]:
    return checked_arguments(use_manual, given)


# -- by choice --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["aps:30001", "30001"])
def test_what_is_chosen_becomes_the_current_experiment_though_another_is_on_beam(choice: str) -> None:
    identity = MemoryIdentity(B)
    run = run_of(identity, OLD, HERE, NEXT)

    result = select_experiment(run, B, choice=choice)

    assert identity.current() == A == from_json(Experiment, result)
    assert lines(run) == [
        ("the chosen experiment", "read"),
        ("current experiment aps:30001", "made"),
        ("time of the look-up", "made"),
    ]
    assert run.text.startswith(f"aps:30001, {A.name}, 1 person, ")


@pytest.mark.parametrize("choice", ["aps:aps:5", "aps:5"])
@pytest.mark.parametrize("days", [0, -100])
def test_a_number_with_a_colon_is_chosen_by_its_key_and_by_itself(choice: str, days: float) -> None:
    found = replace(visit(5, days), id="aps:5")
    identity, schedule = MemoryIdentity(), MemorySchedule(found, replace(visit(6, 0), id="5:aps"))

    for schedule.knows_no_list in (False, True):
        run = FakeRun(site=SITE, services={"schedule": schedule, "identity": identity})
        select_experiment(run, None, choice=choice)

        assert identity.current() == SITE.experiment(found)


@pytest.mark.parametrize("number", ["017@example.org", "9f1c2a4e-77b0-4d1e+1=~", "04" * 95])
def test_what_a_calendar_calls_its_events_can_be_chosen(number: str) -> None:
    identity, found = MemoryIdentity(), replace(visit(5, 0), source="file", id=number)

    typed = checked_arguments(select_experiment, {"choice": f"file:{number}"})

    select_experiment(run_of(identity, found), None, **typed)

    assert identity.current() == SITE.experiment(found)


def test_a_key_goes_before_a_number_that_looks_like_it() -> None:
    identity = MemoryIdentity()
    run = run_of(identity, replace(visit(5, -3), id="aps:5"), replace(visit(6, 0), id="5"))

    select_experiment(run, None, choice="aps:5")

    current = identity.current()
    assert current is not None
    assert current.key == "aps:5"


@pytest.mark.parametrize("choice", ["aps:30009", "30009", "nsls2:30001", "manual:30001"])
def test_a_choice_that_means_nothing_changes_nothing(choice: str) -> None:
    identity = MemoryIdentity(B)

    with pytest.raises(StepFailedError, match=f"there is no beamtime {choice}") as caught:
        select_experiment(run_of(identity, OLD, HERE), B, choice=choice)

    assert "Candidates" in caught.value.advice
    assert identity.current() == B


def test_without_a_schedule_a_beamtime_is_refused_in_words() -> None:
    with pytest.raises(BeamtimeError, match="aps:30001 cannot be looked up: there is no schedule"):
        by_choice(None, MemoryIdentity(), SITE, "aps:30001")


def test_machine_studies_cannot_be_chosen() -> None:
    studies = replace(visit(7, 0), proposal="", people=())

    with pytest.raises(StepFailedError, match="there is no beamtime"):
        select_experiment(run_of(MemoryIdentity(), studies), None, choice=studies.id)


def test_while_the_schedule_is_away_nothing_changes_and_the_sentence_says_so() -> None:
    identity, away = MemoryIdentity(B), ServiceUnavailableError("the schedule", "did not answer in 15 s")

    with pytest.raises(StepFailedError, match="did not answer"):
        select_experiment(run_of(identity, error=away), B, choice="aps:30001")

    assert identity.current() == B


@given(st.text(max_size=120))
def test_no_text_is_a_choice_unless_it_looks_like_a_key(text: str) -> None:
    try:
        taken = checked_arguments(select_experiment, {"choice": text})["choice"]
    except BadValueError:
        return
    assert isinstance(taken, str)
    assert taken.isascii()
    assert not set(taken) & set("/\\ \n;$`'\"%?#")


@pytest.mark.parametrize("given", [{}, {"choice": ""}, {"choice": " "}])
def test_without_a_choice_the_press_is_refused(given: dict[str, Json]) -> None:
    with pytest.raises(BadValueError, match="select-experiment: choice: nobody is chosen"):
        checked_arguments(select_experiment, given)


def test_an_experiment_that_is_chosen_again_keeps_its_first_name_and_stays_closed() -> None:
    identity = MemoryIdentity()
    identity.adopt(A)
    identity.close(A.key, NOW, "run")
    renamed = replace(OLD, people=(replace(OLD.people[0], last_name="Corrected"),))
    run = run_of(identity, renamed)

    select_experiment(run, None, choice=A.key)

    current = identity.current()
    assert current is not None
    assert (current.name, current.open) == (A.name, False)
    assert run.text.endswith("closed: ReopenExperiment opens it again")


@pytest.mark.parametrize("days", [-3, -100, 100])
def test_a_beamtime_that_the_schedule_does_not_find_by_number_is_searched_for(days: float) -> None:
    identity, found = MemoryIdentity(), visit(5, days)
    schedule = MemorySchedule(found, HERE)
    schedule.newest = 1
    run = FakeRun(site=SITE, services={"schedule": schedule, "identity": identity})

    select_experiment(run, None, choice=found.id)

    assert identity.current() == SITE.experiment(found)


def test_a_schedule_without_a_list_is_asked_by_number() -> None:
    identity, schedule = MemoryIdentity(), MemorySchedule(OLD)
    schedule.knows_no_list = True
    run = FakeRun(site=SITE, services={"schedule": schedule, "identity": identity})

    select_experiment(run, None, choice=OLD.id)

    assert identity.current() == A


def test_of_a_beamtime_with_a_pause_the_whole_is_taken() -> None:
    identity, later = MemoryIdentity(), replace(HERE, start=HERE.end, end=HERE.end + timedelta(days=1))
    run = run_of(identity, HERE, later)

    select_experiment(run, None, choice=HERE.id)

    made = identity.current()
    assert made is not None
    assert (made.start, made.end) == (HERE.start, later.end)


def test_a_name_that_another_beamtime_has_is_said() -> None:
    identity = MemoryIdentity()
    identity.adopt(A)
    twin = replace(OLD, id="30004")
    run = run_of(identity, twin)

    select_experiment(run, None, choice=twin.id)

    assert "aps:30001 has that name too" in run.text


# -- by hand ----------------------------------------------------------------------------------------------


def test_what_is_typed_becomes_an_experiment_with_a_key_of_its_own() -> None:
    identity = MemoryIdentity(B)
    run = run_of(identity)
    typed = arguments(
        name="Commissioning",
        title="Mirror",
        start="2026-11-20 08:00",
        proposal="0",
        email="x@example.org",
    )

    result = use_manual(run, B, **typed)

    made = identity.current()
    assert made is not None
    assert made == from_json(Experiment, result)
    assert (made.key, made.source, made.open) == (f"manual:{run.id}", "manual", True)
    assert (made.name, made.year_month, made.title) == ("2026-11-Commissioning-0", "2026-11", "Mirror")
    assert made.start.isoformat() == "2026-11-20T08:00:00-06:00"
    assert made.end.isoformat() == "2026-11-21T08:00:00-06:00"
    assert (made.pi.last_name, made.pi.email) == ("Commissioning", "x@example.org")
    assert lines(run) == [("what was typed", "read"), (f"current experiment {made.key}", "made")]


def test_what_is_left_empty_is_now_and_a_day() -> None:
    identity = MemoryIdentity()
    before = datetime.now(UTC).replace(microsecond=0)

    use_manual(run_of(identity), None, **arguments(name="Test"))

    made = identity.current()
    assert made is not None
    assert before <= made.start <= datetime.now(UTC)
    assert made.end - made.start == timedelta(days=1)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "name: no name"),
        ({"name": " \n "}, "name: no name"),
        ({"name": "x", "start": "tomorrow"}, "start: 'tomorrow' is no time; write it as 2026-11-20 08:00"),
        ({"name": "x", "end": "2026-13-01"}, "end: '2026-13-01' is no time"),
        ({"name": "x", "email": "none at all"}, "email: 'none at all' is no e-mail address; write it as"),
        ({"name": "x", "start": "0001-01-01"}, "not in this century"),
        ({"name": "x", "start": "9999-12-31 23:59+00:00"}, "not in this century"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_the_press(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadValueError, match="use-manual: ") as caught:
        arguments(**given)

    assert sentence in caught.value.sentence
    assert "Value error" not in caught.value.sentence


RECORDS = {"name": "ManualName", "start": "ManualStart", "email": "ManualEmail"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "ManualName: no name; write the PI's last name, or such as Commissioning"),
        ({"name": "x", "start": "soon"}, "ManualStart: 'soon' is no time; write it as 2026-11-20 08:00"),
    ],
)
def test_what_was_typed_into_a_record_is_refused_by_its_name_and_without_words_of_a_program(
    given: dict[str, str], said: str
) -> None:
    with pytest.raises(BadValueError) as caught:
        checked_arguments(use_manual, given, RECORDS)

    assert str(caught.value) == said


def many(
    run: Run,
    experiment: Experiment,
    *,
    names: str | Sequence[str] = (),
    count: int = 0,
    speed: float | None = None,
    wet: bool = False,
    kind: Literal["air", "water"] = "air",
) -> None: ...


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"names": 5}, "names: 5 is not a text or a list of texts"),
        ({"names": ["a", 5]}, 'names: ["a", 5] is not a text or a list of texts'),
        ({"count": "far"}, 'count: "far" is not a whole number'),
        ({"speed": "fast"}, 'speed: "fast" is not a number or null'),
        ({"wet": "perhaps"}, 'wet: "perhaps" is not true or false'),
        ({"kind": "oil"}, 'kind: "oil" is not one of air, water'),
        ({"other": 1}, "other: there is no such argument"),
    ],
)
def test_what_a_program_sends_is_refused_in_words(given: dict[str, Json], said: str) -> None:
    one = action("many", resource="places")(many)

    with pytest.raises(BadValueError) as caught:
        checked_arguments(one, given)

    assert caught.value.sentence == f"many: {said}"
    assert caught.value.advice == (
        "it takes names (a text or a list of texts), count (a whole number), speed (a number or null), "
        "wet (true or false), kind (one of air, water)"
    )


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        ("2026-11-20 08:00", "2026-11-20 08:00", "it ends before it begins"),
        ("2026-11-20 08:00", "2026-11-19", "it ends before it begins"),
        ("2026-11-01 01:30", "", "ManualStart: the clock is changed at 2026-11-01 01:30"),
        ("2026-03-01", "2026-03-08 02:30", "ManualEnd: the clock is changed at 2026-03-08 02:30"),
    ],
)
def test_times_that_are_none_change_nothing(start: str, end: str, sentence: str) -> None:
    identity = MemoryIdentity(B)

    with pytest.raises(StepFailedError, match=sentence):
        use_manual(run_of(identity), B, **arguments(name="x", start=start, end=end))

    assert identity.current() == B


def test_an_hour_that_comes_twice_is_taken_with_its_offset() -> None:
    identity = MemoryIdentity()

    use_manual(run_of(identity), None, **arguments(name="x", start="2026-11-01 01:30-06:00"))

    made = identity.current()
    assert made is not None
    assert made.start.astimezone(UTC) == datetime(2026, 11, 1, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize("name", ["Example2", "EXAMPLE2", "Example2!"])
def test_a_name_that_another_experiment_has_is_refused_before_a_directory_is_shared(name: str) -> None:
    identity = MemoryIdentity()
    identity.adopt(B)
    typed = arguments(name=name, proposal=B.proposal, start=B.start.isoformat())

    with pytest.raises(
        StepFailedError, match=r"(?i)-example2-91002 is the name of aps:30002 already"
    ) as caught:
        use_manual(run_of(identity), B, **typed)

    assert "ManualName" in caught.value.advice
    assert identity.current() == B


def test_two_without_a_proposal_have_two_names() -> None:
    identity = MemoryIdentity()

    names = [from_json(Experiment, use_manual(run_of(identity), None, name="x")).name for _ in range(2)]

    assert len(set(names)) == 2


def test_a_manual_experiment_is_chosen_again_without_a_schedule_and_with_its_edits() -> None:
    identity = MemoryIdentity()
    key = from_json(Experiment, use_manual(run_of(identity), None, name="Test")).key
    made = identity.current()
    assert made is not None
    identity.adopt(made.edit("title", "corrected"))
    identity.adopt(B)
    away = ServiceUnavailableError("the schedule", "did not answer")

    select_experiment(run_of(identity, error=away), B, choice=key)

    again = identity.current()
    assert again is not None
    assert (again.key, again.title, again.source) == (key, "corrected", "manual")


# -- ended, and opened again ------------------------------------------------------------------------------


def test_an_ended_experiment_is_closed_and_a_second_end_changes_nothing() -> None:
    identity = MemoryIdentity(A)
    run, again = run_of(identity), run_of(identity)

    end_beamtime(run, A)
    since = identity.closed(A.key)
    end_beamtime(again, identity.current())

    current = identity.current()
    assert current == replace(A, open=False)
    assert identity.closed(A.key) == since
    assert lines(run)[0] == ("end of aps:30001", "made")
    assert lines(again)[0] == ("end of aps:30001", "stands already")
    assert run.text.startswith(f"{A.name} is closed since ")


class Disks:
    """Places of which one does not answer; nothing else is asked of them here."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def contents(self, place: Place, experiment: Experiment) -> list[Content]:
        self.asked.append(place.name)
        if place.name == "ana1":
            raise BeamtimeError("ana1 cannot be asked", advice="look whether it is on")
        path = place.path_for(experiment)
        rec = Content(path=path.with_name(f"{path.name}_rec"), state="EMPTY")
        return [Content(path=path, state="OK", files=412, size_bytes=1_200_000_000), rec]


def test_the_end_says_what_lies_at_each_place_and_no_place_keeps_it_from_ending() -> None:
    identity, disks = MemoryIdentity(A), Disks()
    places = tuple(Place(name=name, top=PurePosixPath("/data")) for name in ("det1", "ana1"))
    run = FakeRun(
        site=replace(SITE, places=places), services={"identity": identity, "hosts": disks}, experiment=A
    )

    planned = run.planning()
    end_beamtime(planned, A)
    still_open = identity.closed(A.key) is None
    end_beamtime(run, A)

    lies = [f"det1: 412 files, 1.2 GB, {A.name}_rec: empty", "ana1: not checked: ana1 cannot be asked"]
    assert still_open
    assert planned.lines == [
        f"would make: end of {A.key}",
        *(f"read: what lies at the places: {line}" for line in lies),
    ]
    assert run.text.endswith("; ".join(["", *lies]))
    assert sorted(disks.asked) == ["ana1", "ana1", "det1", "det1"]
    assert identity.closed(A.key) is not None


def test_an_end_without_places_asks_for_none_and_without_hosts_says_so() -> None:
    nowhere = FakeRun(site=SITE, services={"identity": MemoryIdentity(A)}, experiment=A)
    without = FakeRun(site=WITH_PLACE, services={"identity": MemoryIdentity(A)}, experiment=A)

    end_beamtime(nowhere, A)
    end_beamtime(without, A)

    assert lines(nowhere) == [(f"end of {A.key}", "made")]
    assert without.text.endswith("; det1: not checked: no hosts is configured")


def test_an_experiment_is_opened_again() -> None:
    identity = MemoryIdentity(A)
    identity.close(A.key, NOW, "run")
    run = run_of(identity)

    reopen_experiment(run, identity.current())

    assert identity.current() == A
    assert lines(run) == [("aps:30001 open again", "made")]


def test_the_schedule_does_not_open_what_was_ended() -> None:
    identity = MemoryIdentity(B)
    identity.close(B.key, NOW, "run")
    run = run_of(identity, HERE)

    update_user_info(run, None)

    current = identity.current()
    assert current is not None
    assert not current.open
    assert "closed: ReopenExperiment opens it again" in run.text


@pytest.mark.parametrize("name", ["create-directories", "email-users"])
def test_no_action_calls_another_one_for_a_closed_experiment(name: str) -> None:
    closed = replace(A, open=False)
    run = run_of(MemoryIdentity(A))

    with pytest.raises(ExperimentClosedError, match=f"{A.name} is closed: its beamtime was ended"):
        run.call(name, experiment=closed)
    with pytest.raises(ExperimentClosedError):
        run.planning().call(name, experiment=closed)

    assert run.steps == []


REOPEN = "ReopenExperimentArm, press ReopenExperiment, then press again"


@pytest.mark.parametrize(
    ("current", "given", "advice"),
    [
        (
            B,
            {},
            f"press again when the next beamtime has begun, or choose it .*; .*, type {B.name} into {REOPEN}",
        ),
        (
            A,
            {},
            f"press again when .*, write {B.key} into ExperimentChoice, press SelectExperiment, then type",
        ),
        (
            A,
            {"choice": B.key},
            f"choose another one by ExperimentChoice and SelectExperiment; .* into {REOPEN}",
        ),
    ],
)
def test_a_beamtime_that_was_ended_is_not_begun_again_by_mistake(
    current: Experiment, given: dict[str, Json], advice: str
) -> None:
    identity = MemoryIdentity(current)
    identity.close(B.key, NOW, "run")
    before = identity.current()

    outcome = perform(run_of(identity, OLD, HERE, name="begin-beamtime", arguments=given))

    assert outcome.state is RunState.FAILED
    assert outcome.message.startswith(f"{B.name} was ended before")
    assert "nothing was begun" in outcome.message
    assert re.match(advice, outcome.advice)
    assert identity.current() == before


def test_the_preview_says_too_that_a_beamtime_was_ended() -> None:
    identity = MemoryIdentity(A)
    identity.close(B.key, NOW, "run")
    run = run_of(identity, OLD, HERE, name="begin-beamtime")

    text = plan(run.order, run.workshop)

    assert f"{B.name} was ended before, and the schedule names it still: nothing was begun" in text


# -- handed over ------------------------------------------------------------------------------------------

HANDED = [
    ("who comes", "read"),
    ("end of aps:30001", "made"),
    ("what lies at the places", "read"),
    ("the chosen experiment", "read"),
    ("current experiment aps:30002", "made"),
    ("time of the look-up", "made"),
    ("directory of aps:30002", "made"),
    ("letters of aps:30002", "held"),
]


def test_one_press_ends_one_beamtime_and_begins_the_next() -> None:
    identity = MemoryIdentity(A)
    run = run_of(identity, OLD, HERE, NEXT, name="handover")

    outcome = perform(run)

    assert outcome.state is RunState.DONE, outcome
    assert lines(run) == HANDED
    assert identity.current() == B
    assert identity.closed(A.key) is not None
    assert outcome.message == (
        f"{A.name} is closed; {B.name} has begun: 1 directory, mail is off; "
        "det1: not checked: no hosts is configured"
    )
    fractions = [post.fraction for post in run.history]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_who_was_named_before_the_end_begins_though_somebody_else_is_on_beam_by_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identity = MemoryIdentity(A)
    run = run_of(identity, OLD, HERE, NEXT, name="handover")
    schedule = run.workshop.services["schedule"]
    assert isinstance(schedule, MemorySchedule)
    close = identity.close

    def close_while_the_slot_ends(*arguments: Any) -> None:
        close(*arguments)
        schedule.beamtimes = [replace(HERE, end=NEXT.start - ago), replace(NEXT, start=NEXT.start - ago)]

    ago = NEXT.start - datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(identity, "close", close_while_the_slot_ends)

    outcome = perform(run)

    assert outcome.state is RunState.DONE, outcome
    current = identity.current()
    assert current is not None
    assert current.key == B.key


def test_its_preview_is_one_plan_and_changes_nothing() -> None:
    identity = MemoryIdentity(A)
    run = run_of(identity, OLD, HERE, name="handover")

    text = plan(run.order, run.workshop).splitlines()

    assert [line for line in text if line.startswith("would make")] == [
        "would make: end of aps:30001",
        "would make: current experiment aps:30002",
        "would make: time of the look-up",
        "would make: directory of aps:30002",
    ]
    assert identity.current() == A
    assert identity.closed(A.key) is None


def test_who_comes_can_be_chosen() -> None:
    identity = MemoryIdentity(A)
    run = run_of(identity, OLD, HERE, NEXT, name="handover", arguments={"choice": "30003"})

    outcome = perform(run)

    assert outcome.state is RunState.DONE, outcome
    current = identity.current()
    assert current is not None
    assert current.key == "aps:30003"
    assert ("the chosen experiment", "read") in lines(run)


@pytest.mark.parametrize(
    ("beamtimes", "given", "sentence"),
    [
        ([OLD], {}, "nobody is on beam"),
        ([replace(OLD, end=NOW + timedelta(days=1))], {}, f"nobody else on beam than {A.name}"),
        ([OLD, HERE], {"choice": "aps:30001"}, f"{A.name} is the current experiment already"),
        ([OLD, HERE], {"choice": "aps:30009"}, "there is no beamtime aps:30009"),
        ([HERE, visit(4, -1)], {}, "2 beamtimes are on beam"),
    ],
)
def test_nothing_is_ended_before_it_is_known_who_comes(
    beamtimes: list[Any], given: dict[str, Json], sentence: str
) -> None:
    identity = MemoryIdentity(A)

    outcome = perform(run_of(identity, *beamtimes, name="handover", arguments=given))

    assert outcome.state is RunState.FAILED
    assert sentence in outcome.message
    assert outcome.advice
    assert identity.current() == A
    assert identity.closed(A.key) is None


def test_a_handover_that_ended_halfway_is_pressed_again() -> None:
    identity = MemoryIdentity(A)
    identity.close(A.key, NOW, "an earlier run")
    run = run_of(identity, HERE, name="handover")

    outcome = perform(run)

    assert outcome.state is RunState.DONE, outcome
    assert lines(run)[1] == ("end of aps:30001", "stands already")


def test_to_whom_was_ended_already_nothing_is_handed_over() -> None:
    identity = MemoryIdentity(A)
    identity.close(B.key, NOW, "an earlier run")
    run = run_of(identity, OLD, HERE, NEXT, name="handover")

    outcome = perform(run)

    assert outcome.state is RunState.FAILED
    assert outcome.message.startswith(f"{B.name} was ended before, so nothing was ended now; write who comes")
    assert identity.closed(A.key) is None
    assert identity.current() == A


def test_all_of_them_are_exclusive_and_only_reopening_is_armed() -> None:
    changers = (end_beamtime, handover, select_experiment, use_manual, reopen_experiment)

    assert all(one.exclusive and one.resource == "identity" for one in changers)
    assert [one.name for one in changers if one.needs_arm] == ["reopen-experiment"]
    assert not any(one.irreversible for one in changers)


def test_an_armed_action_is_called_only_by_what_was_armed() -> None:
    run = run_of(MemoryIdentity(A), name="end-beamtime")

    with pytest.raises(BeamtimeError, match="reopen-experiment has to be armed, and end-beamtime calls it"):
        run.call("reopen-experiment", experiment=A)
