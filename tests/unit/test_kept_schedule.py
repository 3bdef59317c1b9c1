"""What is known while the schedule cannot be asked, and what a step may do then."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aps_house import SITE
from beamtime_handlers.begin_beamtime import begin_beamtime
from beamtime_handlers.update_user_info import update_user_info
from beamtime_ioc.errors import (
    BadResponseError,
    BeamtimeError,
    ChooseByIdError,
    NobodyOnBeamError,
    NoCycleError,
    NoScheduleError,
    ScheduleStaleError,
    ServiceDeniedError,
    ServiceError,
    ServiceUnavailableError,
    SeveralOnBeamError,
    StepFailedError,
    WrongPasswordError,
)
from beamtime_ioc.kept_schedule import FILE_NAME, KeptSchedule, earlier_answer, look_up
from beamtime_ioc.model import Beamtime, Cycle, Experiment, Person, from_json
from beamtime_ioc.on_beam import Outcome, outcome_of
from beamtime_ioc.ports import Health
from beamtime_ioc.schedule_watch import NO, YES, look
from beamtime_ioc.testing import FakeRun, MemoryIdentity
from beamtime_ioc.without_schedule import go_on_without

NOON = datetime(2026, 3, 4, 18, tzinfo=UTC)  # noon at the beamline
HOUR = timedelta(hours=1)
PI = Person(first_name="Zoë", last_name="Łukasik", email="zoe@example.edu", badge="1", is_pi=True)
DOWN = ServiceUnavailableError("the schedule", "did not answer within 10 s")
DENIED = ServiceDeniedError(
    "the schedule does not let this account see it (403)", advice="ask its maintainers"
)
WRONG = WrongPasswordError("the schedule does not accept our credentials (401)", advice="look at the file")
BAD = BadResponseError("the schedule answered a page", advice="look at schedule.url")


def hours(key: str, begin: float, end: float) -> Beamtime:
    """A beamtime that begins and ends so many hours after noon."""
    start, stop = NOON + begin * HOUR, NOON + end * HOUR
    return Beamtime(source="memory", id=key, start=start, end=stop, proposal=f"910000{key}", people=(PI,))


class MemorySchedule:
    """Has some beamtimes, or fails."""

    def __init__(self, *beamtimes: Beamtime, cycles: Sequence[Cycle] | None = None) -> None:
        self.beamtimes, self._cycles = beamtimes, cycles
        self.early_min: float = 0
        self.error: BeamtimeError | None = None
        self.refused: WrongPasswordError | None = None
        self.asked = 0

    def check(self) -> Health:
        return Health(ok=True, sentence="in memory")

    def cycles(self) -> Sequence[Cycle] | None:
        return self._cycles

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        self.asked += 1
        if self.error:
            raise self.error
        return [b for b in self.beamtimes if b.start < end and start < b.end]

    def by_id(self, key: str) -> Beamtime | None:
        if self.refused:
            raise self.refused
        return next((b for b in self.beamtimes if b.id == key), None)


class House:
    """A schedule of which the answers are kept, and a clock."""

    def __init__(self, directory: Path, *beamtimes: Beamtime, cycles: Sequence[Cycle] | None = None) -> None:
        self.directory = directory
        self.inner = MemorySchedule(*(beamtimes or (hours("1", -9, 5), hours("2", 5, 29))), cycles=cycles)
        self.now = NOON
        self.schedule = self.restart()

    def restart(self, of: object = "this site") -> KeptSchedule:
        self.schedule = KeptSchedule(self.inner, self.directory, of, clock=lambda: self.now)
        return self.schedule

    def at(self, hours: float) -> datetime:
        self.now = NOON + hours * HOUR
        return self.now.astimezone(SITE.zone)

    def ask(self, hours: float = 0) -> Beamtime:
        return look_up(self.schedule, self.at(hours))

    def fail(self, error: BeamtimeError = DOWN) -> None:
        self.inner.error = error


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def held(key: str, begin: float, end: float) -> Experiment:
    return SITE.experiment(hours(key, begin, end))


# -- the answer that is kept --------------------------------------------------------------------


def test_while_it_answers_the_schedule_itself_is_asked(house: House) -> None:
    assert house.ask(0).id == "1"
    assert house.ask(5).id == "2"
    assert house.inner.asked == 2


def test_when_it_does_not_answer_what_it_said_is_stale_with_its_time(house: House) -> None:
    house.ask(0)
    house.fail()

    with pytest.raises(ScheduleStaleError) as caught:
        house.ask(2)

    assert caught.value.sentence == (
        "the schedule did not answer within 10 s since 14:00; the schedule of 12:00 names memory:1"
    )
    assert "press again when it is back" in caught.value.advice


def test_an_earlier_schedule_knows_the_next_beamtime_too(house: House) -> None:
    house.ask(0)
    house.fail()

    with pytest.raises(ScheduleStaleError, match="the schedule of 12:00 names memory:2"):
        house.ask(6)
    with pytest.raises(
        ScheduleStaleError, match="the schedule of Wed 2026-03-04 12:00 says: nobody is on beam"
    ):
        house.ask(40)


def test_since_when_it_fails_is_said_until_it_answers_again(house: House) -> None:
    house.ask(0)
    house.fail()
    for hour in (1, 2, 3):
        with pytest.raises(ScheduleStaleError, match="since 13:00"):
            house.ask(hour)

    house.inner.error = None
    house.ask(4)

    assert house.schedule.failing_since is None
    assert house.schedule.answered == NOON + 4 * HOUR


def test_without_an_earlier_answer_the_error_is_the_schedules_own(house: House) -> None:
    house.fail()

    with pytest.raises(ServiceUnavailableError):
        house.ask()


def test_an_earlier_answer_that_does_not_reach_so_far_is_none(house: House) -> None:
    house.ask(0)
    house.fail()

    with pytest.raises(ServiceUnavailableError):
        house.ask(24 * 31)


@pytest.mark.parametrize("error", [DENIED, BAD])
def test_a_fault_that_does_not_pass_by_itself_keeps_its_own_advice(house: House, error: ServiceError) -> None:
    house.ask(0)
    house.fail(error)

    with pytest.raises(type(error)) as caught:
        house.ask(1)

    assert caught.value.advice == error.advice


def test_a_password_that_was_refused_is_tried_again_by_a_press_and_by_nothing_else(house: House) -> None:
    identity = MemoryIdentity(None)
    house.fail(WRONG)
    with pytest.raises(WrongPasswordError):
        house.ask()
    asked = house.inner.asked

    for _ in range(3):
        health = house.schedule.check()
        with pytest.raises(WrongPasswordError, match="look at the file"):
            look(house.schedule, identity, house.at(0))
    for_themselves = house.inner.asked - asked
    with pytest.raises(WrongPasswordError):
        house.ask()
    by_a_press = house.inner.asked - asked
    house.inner.error = None
    house.ask()

    assert (for_themselves, by_a_press) == (0, 1)
    assert (health.ok, health.sentence) == (False, str(WRONG))
    assert house.schedule.check().ok
    assert look(house.schedule, identity, house.at(0)).outcome is Outcome.ACTIVE


def test_a_choice_by_its_number_is_a_press_too(house: House) -> None:
    house.inner.refused = WRONG
    with pytest.raises(WrongPasswordError):
        house.schedule.by_id("1")
    refused = house.schedule.check()
    house.inner.refused = None
    assert house.schedule.by_id("nobody") is None
    unasked = house.schedule.check()
    assert house.schedule.by_id("1")

    assert (refused.ok, unasked.ok, house.schedule.check().ok) == (False, False, True)


def test_a_restart_forgets_nothing(house: House) -> None:
    house.ask(0)
    house.fail()
    house.restart()

    with pytest.raises(ScheduleStaleError, match="the schedule of 12:00 names memory:1"):
        house.ask(1)


def test_the_answer_of_another_site_or_schedule_does_not_count(house: House) -> None:
    house.ask(0)
    house.fail()
    house.restart(of="another beamline")

    with pytest.raises(ServiceUnavailableError):
        house.ask(1)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 2}', b'{"format": 1, "of": "x"}', b"[" * 99_999],
)
def test_a_damaged_file_is_as_none_and_is_written_anew(house: House, text: bytes) -> None:
    path = house.directory / FILE_NAME
    path.write_bytes(text)
    house.fail()
    with pytest.raises(ServiceUnavailableError):
        house.ask(0)

    house.inner.error = None
    house.ask(0)

    assert json.loads(path.read_text())["kept"]["at"].startswith("2026-03-04T18:00")


@pytest.mark.parametrize("change", [{"at": "2026-03-04T18:00:00"}, {"beamtimes": 7}, {"start": None}])
def test_a_file_with_a_wrong_value_is_as_none(house: House, change: dict[str, object]) -> None:
    house.ask(0)
    path = house.directory / FILE_NAME
    content = json.loads(path.read_text())
    content["kept"].update(change)
    path.write_text(json.dumps(content))
    house.fail()
    house.restart()

    with pytest.raises(ServiceUnavailableError):
        house.ask(1)


@pytest.mark.timeout(20)
def test_a_pipe_in_its_place_is_not_waited_for(house: House) -> None:
    for suffix in (".json", ".part"):
        os.mkfifo((house.directory / FILE_NAME).with_suffix(suffix))
    house.ask(0)
    house.fail()
    house.restart()

    with pytest.raises(BeamtimeError):
        house.ask(1)


def test_what_is_kept_is_for_our_eyes_only(house: House) -> None:
    house.ask(0)

    assert (house.directory / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_disk_that_is_full_stops_no_look_up(house: House) -> None:
    house.schedule.path = house.directory / "missing" / FILE_NAME

    assert house.ask(0).id == "1"
    house.fail()
    with pytest.raises(ScheduleStaleError):
        house.ask(1)


def test_a_question_about_other_days_does_not_replace_what_is_kept(house: House) -> None:
    house.ask(0)
    house.schedule.list_between(NOON - 900 * HOUR, NOON - 800 * HOUR)
    house.fail()

    with pytest.raises(ScheduleStaleError, match="names memory:1"):
        house.ask(1)


def test_the_second_part_of_a_look_is_kept_too(tmp_path: Path) -> None:
    cycle = Cycle(name="2026-1", start=NOON - 900 * HOUR, end=NOON + 10 * HOUR)
    following = Cycle(name="2026-2", start=NOON + 20 * HOUR, end=NOON + 900 * HOUR)
    house = House(tmp_path, hours("3", 30, 40), cycles=[cycle, following])
    with pytest.raises(NobodyOnBeamError):
        house.ask(0)
    house.fail()

    with pytest.raises(ScheduleStaleError, match="lies in no run cycle"):
        house.ask(15)
    with pytest.raises(ScheduleStaleError, match="names memory:3"):
        house.ask(31)


# -- outcomes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beamtimes", "cycles", "error", "outcome", "advice"),
    [
        ([], None, None, Outcome.NONE, "press again when the schedule has one"),
        ([("1", -1, 1), ("2", -1, 2)], None, None, Outcome.AMBIGUOUS, "when only 2 is left"),
        ([], [], None, Outcome.NO_RUN, "name the cycle to look in by schedule.cycle"),
        ([], None, DOWN, Outcome.UNAVAILABLE, "press again when it is back; what stands is kept"),
        ([], None, DENIED, Outcome.AUTH_FAILED, "ask its maintainers"),
        ([], None, WRONG, Outcome.AUTH_FAILED, "look at the file"),
        ([], None, BAD, Outcome.BAD_RESPONSE, "look at schedule.url"),
    ],
)
def test_each_outcome_has_an_advice_of_its_own(
    tmp_path: Path,
    beamtimes: list[tuple[str, float, float]],
    cycles: list[Cycle] | None,
    error: BeamtimeError | None,
    outcome: Outcome,
    advice: str,
) -> None:
    house = House(tmp_path)
    house.inner.beamtimes, house.inner._cycles = tuple(hours(*b) for b in beamtimes), cycles
    house.inner.error = error

    with pytest.raises(BeamtimeError) as caught:
        house.ask()

    assert outcome_of(caught.value) is outcome
    assert advice in caught.value.advice


def test_every_outcome_is_reached() -> None:
    errors = [
        *(kind("x") for kind in (NobodyOnBeamError, SeveralOnBeamError, NoCycleError, ScheduleStaleError)),
        *(DOWN, DENIED, BAD, ChooseByIdError("x")),
    ]

    assert {outcome_of(error) for error in errors} == set(Outcome) - {Outcome.UNKNOWN, Outcome.ACTIVE}


# -- going on without ---------------------------------------------------------------------------


def test_a_step_goes_on_with_whom_the_earlier_schedule_names_too(house: House) -> None:
    house.ask(0)
    house.fail()

    sentence = go_on_without(house.schedule, held("1", -9, 5), house.at(2), "the schedule is down")

    assert sentence == (
        "the schedule is down; it goes on with memory:1 (2026-03-Lukasik-9100001), "
        "which the schedule of 12:00 names too"
    )


def test_without_an_earlier_schedule_it_goes_on_unchecked_and_says_so(house: House) -> None:
    house.fail()

    sentence = go_on_without(house.schedule, held("1", -9, 5), house.at(2), "the schedule is down")

    assert "no earlier answer is kept; it goes on with memory:1" in sentence
    assert sentence.endswith("not checked")


@pytest.mark.parametrize(
    ("current", "hour", "words"),
    [
        (None, 2, "there is no current experiment"),
        (replace(held("1", -9, 5), open=False), 2, "is closed"),
        (held("1", -9, 5), 6, "is not on beam by its own dates, 03:00 to 17:00"),
        (held("1", -9, 5), -9.1, "is not on beam by its own dates"),
        (held("1", -9, 9), 6, "the schedule of 12:00 names memory:2, and the records memory:1"),
        (held("7", -9, 29), 2, "the schedule of 12:00 names memory:1, and the records memory:7"),
        (held("1", -9, 99), 40, "says: nobody is on beam"),
    ],
)
def test_with_the_wrong_experiment_or_none_it_does_not_go_on(
    house: House, current: Experiment | None, hour: float, words: str
) -> None:
    house.ask(0)
    house.fail()

    with pytest.raises(NoScheduleError, match="it may go on without the schedule, but") as caught:
        go_on_without(house.schedule, current, house.at(hour), "the schedule is down")

    assert words in caught.value.sentence
    assert "press again when the schedule is back" in caught.value.advice


def test_an_experiment_may_be_begun_as_early_as_the_schedule_allows(house: House) -> None:
    house.inner.early_min = 60
    schedule = house.restart()
    house.fail()

    assert "not checked" in go_on_without(schedule, held("2", 5, 29), house.at(4.5), "down")


# -- the two actions that ask -------------------------------------------------------------------

OPEN = replace(SITE, open_steps=frozenset([("update-user-info", "who is on beam")]))


def make_run(
    house: House, identity: MemoryIdentity, *, opened: bool, pressed: str = "update-user-info"
) -> FakeRun:
    site = OPEN if opened else SITE
    return FakeRun(
        site=site,
        services={"schedule": house.schedule, "identity": identity},
        actions=[update_user_info, begin_beamtime],
        pressed=pressed,
    )


@pytest.fixture
def today(tmp_path: Path) -> House:
    """A house whose clock is this computer's, with a beamtime around now."""
    now = datetime.now(UTC)
    visit = replace(hours("1", 0, 1), start=now - 9 * HOUR, end=now + 9 * HOUR)
    house = House(tmp_path, visit)
    house.schedule = KeptSchedule(house.inner, tmp_path, "this site")
    look_up(house.schedule, now.astimezone(SITE.zone))
    return house


@pytest.mark.parametrize("error", [DOWN, DENIED, BAD])
def test_a_closed_step_fails_and_changes_nothing(today: House, error: BeamtimeError) -> None:
    before = SITE.experiment(today.inner.beamtimes[0])
    identity = MemoryIdentity(before)
    today.fail(error)

    with pytest.raises(StepFailedError) as caught:
        update_user_info(make_run(today, identity, opened=False), before)

    assert caught.value.kind == ("ScheduleStaleError" if error is DOWN else type(error).__name__)
    assert identity.current() is before
    assert identity.looked_up() is None


@pytest.mark.parametrize("error", [DOWN, DENIED, BAD])
def test_an_open_step_goes_on_and_the_checklist_says_so(today: House, error: ServiceError) -> None:
    before = SITE.experiment(today.inner.beamtimes[0])
    identity = MemoryIdentity(before)
    today.fail(error)
    run = make_run(today, identity, opened=True)

    result = update_user_info(run, before)

    assert from_json(Experiment, result).key == before.key
    assert identity.current() is before
    assert identity.looked_up() is None
    assert [(line.name, line.state) for line in run.steps] == [
        ("who is on beam", "read"),
        ("take over who is on beam", "held"),
    ]
    assert run.steps[1].reason.startswith(error.sentence)
    assert "names too" in run.text


@pytest.mark.parametrize(
    "error", [NobodyOnBeamError("nobody"), SeveralOnBeamError("two"), NoCycleError("no")]
)
def test_an_answer_is_an_answer_for_an_open_step_too(today: House, error: BeamtimeError) -> None:
    today.fail(error)

    with pytest.raises(StepFailedError) as caught:
        update_user_info(make_run(today, MemoryIdentity(), opened=True), None)

    assert caught.value.kind == type(error).__name__


def test_an_open_step_of_one_action_is_closed_in_another(today: House) -> None:
    today.fail()
    before = SITE.experiment(today.inner.beamtimes[0])
    run = make_run(today, MemoryIdentity(before), opened=True, pressed="begin-beamtime")

    with pytest.raises(StepFailedError) as caught:
        begin_beamtime(run, before)

    assert caught.value.kind == "ScheduleStaleError"


def test_the_preview_says_what_an_open_step_would_do(today: House) -> None:
    before = SITE.experiment(today.inner.beamtimes[0])
    today.fail()
    run = make_run(today, MemoryIdentity(before), opened=True).planning()

    update_user_info(run, before)

    assert run.lines[1].startswith("not done: take over who is on beam: the schedule did not answer")


# -- the watch ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "hour", "stale", "words"),
    [
        (
            held("1", -9, 5),
            2,
            NO,
            "1 (proposal 9100001), Zoë Łukasik, 03:00 to 17:00; the schedule did not answer",
        ),
        (held("1", -9, 5), 6, YES, "the schedule names 2 (proposal 9100002)"),
        (held("1", -9, 5), 40, NO, "the schedule did not answer"),
    ],
)
def test_an_earlier_schedule_still_tells_who_should_be_on_beam(
    house: House, current: Experiment, hour: float, stale: int, words: str
) -> None:
    house.ask(0)
    house.fail()

    verdict = look(house.schedule, MemoryIdentity(current), house.at(hour))

    assert (verdict.stale, verdict.outcome) == (stale, Outcome.STALE)
    assert words in verdict.sentence
    assert "the schedule of " in verdict.sentence
    assert verdict.alarm.severity.name == "MINOR"
    assert verdict.found is None


def test_an_earlier_answer_is_none_for_a_schedule_that_keeps_none(house: House) -> None:
    assert earlier_answer(house.inner, house.at(0)) is None
