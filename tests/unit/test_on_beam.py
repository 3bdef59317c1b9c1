"""Who is on beam: every case of the sample over HTTP, the rules on beamtimes in memory."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from aps_house import SAMPLE, SCHEDULE, SITE, House, schedule_house
from beamtime_handlers.clients.aps_schedule import ApsSchedule
from beamtime_handlers.clients.aps_schedule.client import CYCLES_KEPT_S
from beamtime_ioc.errors import (
    BadResponseError,
    NobodyOnBeamError,
    NoCycleError,
    ServiceUnavailableError,
    SeveralOnBeamError,
)
from beamtime_ioc.model import Beamtime, Cycle, Person
from beamtime_ioc.on_beam import on_beam
from beamtime_ioc.ports import Health


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with schedule_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="module")
def schedule(house: House) -> ApsSchedule:
    return house.client()


def ends_at(house: House) -> set[int]:
    """Our ends of the connections to the schedule."""
    found = [one for one in psutil.Process().net_connections("tcp") if one.raddr]
    return {one.laddr.port for one in found if one.raddr.port == house.server.port}


def local(text: str) -> datetime:
    """The moment on the site's clocks."""
    return datetime.fromisoformat(text).astimezone(SITE.zone)


# -- the sample ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "key", "pi"),
    [
        ("2026-10-30T08:00:00-05:00", "300011", "Zoë Müller-Łukasik"),
        ("2026-11-01T01:30:00-05:00", "300011", "Zoë Müller-Łukasik"),
        ("2026-11-01T01:30:00-06:00", "300011", "Zoë Müller-Łukasik"),
        ("2026-11-02T07:59:59-06:00", "300011", "Zoë Müller-Łukasik"),
        ("2026-11-02T08:00:00-06:00", "300012", "Ren O'Brien"),
        ("2026-11-05T08:00:00-06:00", "300013", "小明 王"),
        ("2026-11-05T19:59:59-06:00", "300013", "小明 王"),
    ],
)
def test_the_one_on_beam_is_found(schedule: ApsSchedule, moment: str, key: str, pi: str) -> None:
    beamtime = on_beam(schedule, local(moment), 0)

    assert beamtime.id == key
    assert [person.full_name for person in beamtime.people if person.is_pi] == [pi]


@pytest.mark.parametrize(
    ("moment", "sentence"),
    [
        (
            "2026-10-30T07:59:59-05:00",
            "nobody is on beam at Fri 2026-10-30 07:59; "
            "next is 300011 (proposal 9100001, Zoë Müller-Łukasik), from Fri 2026-10-30 08:00",
        ),
        (
            "2026-11-05T20:00:00-06:00",
            "nobody is on beam at Thu 2026-11-05 20:00; no user beamtime follows in 2026-3",
        ),
        (
            "2026-11-10T12:00:00-06:00",
            "no user experiment at Tue 2026-11-10 12:00: machine studies until Wed 2026-11-11 08:00; "
            "no user beamtime follows in 2026-3",
        ),
        (
            "2026-11-20T12:00:00-06:00",
            "nobody is on beam at Fri 2026-11-20 12:00; no user beamtime follows in 2026-3",
        ),
    ],
)
def test_nobody_on_beam_is_said_with_what_comes_next(
    schedule: ApsSchedule, moment: str, sentence: str
) -> None:
    with pytest.raises(NobodyOnBeamError) as caught:
        on_beam(schedule, local(moment), 0)

    assert caught.value.sentence == sentence
    begun = "when it has begun" if "next is" in sentence else "when the schedule has one"
    assert caught.value.advice == f"the earlier values stay; press again {begun}"


def test_a_cycle_without_entries_is_nobody_and_no_error(tmp_path: Path) -> None:
    with schedule_house(tmp_path) as house:
        house.serve({**SAMPLE, SCHEDULE: []})

        with pytest.raises(NobodyOnBeamError, match="no user beamtime follows in 2026-3"):
            on_beam(house.client(), local("2026-11-03T12:00:00-06:00"), 0)


def test_two_on_beam_are_both_named_and_none_is_chosen(schedule: ApsSchedule) -> None:
    with pytest.raises(SeveralOnBeamError) as caught:
        on_beam(schedule, local("2026-11-04T21:00:00-06:00"), 0)

    assert caught.value.sentence == (
        "2 beamtimes are on beam at Wed 2026-11-04 21:00: "
        "300012 (proposal 9100002, Ren O'Brien), Mon 2026-11-02 08:00 to Thu 2026-11-05 08:00; "
        "300013 (proposal 9100003, 小明 王), Wed 2026-11-04 20:00 to Thu 2026-11-05 20:00"
    )
    assert "press again after Thu 2026-11-05 08:00, when only 300013 is left" in caught.value.advice


@pytest.mark.parametrize(
    ("moment", "sentence"),
    [
        (
            "2026-12-18T08:00:00-06:00",
            "Fri 2026-12-18 08:00 lies in no run cycle of the facility; 2026-3 ended",
        ),
        ("2026-12-25T12:00:00-06:00", "Fri 2026-12-25 12:00 lies in no run cycle"),
        ("2026-05-20T12:00:00-05:00", "in no run cycle of the facility; 2026-2 begins Tue 2026-06-02 08:00"),
    ],
)
def test_a_moment_outside_every_cycle_says_so(schedule: ApsSchedule, moment: str, sentence: str) -> None:
    with pytest.raises(NoCycleError, match=re.escape(sentence)) as caught:
        on_beam(schedule, local(moment), 0)

    assert "schedule.cycle" in caught.value.advice


def test_a_cycle_in_the_site_file_stands_for_one_around_the_moment(house: House) -> None:
    with pytest.raises(NobodyOnBeamError):
        on_beam(house.client(cycle="2026-3"), local("2026-12-25T12:00:00-06:00"), 0)


def test_twenty_look_ups_are_twenty_questions_on_one_connection(house: House) -> None:
    schedule, others, ours = house.client(), ends_at(house), set[int]()
    house.server.forget_requests()

    for _ in range(20):
        on_beam(schedule, local("2026-11-03T12:00:00-06:00"), 60)
        ours |= ends_at(house)

    assert house.server.request_count == 21  # the run cycles once
    assert len(ours - others) == 1


def test_the_run_cycles_are_asked_for_again_after_an_hour(house: House) -> None:
    schedule, now = house.client(), [1000.0]
    schedule.clock = lambda: now[0]
    schedule.cycles()
    house.server.forget_requests()

    now[0] += CYCLES_KEPT_S
    schedule.cycles()
    kept = house.server.request_count
    now[0] += 1
    schedule.cycles()

    assert (kept, house.server.request_count) == (0, 1)


def test_the_usual_look_up_is_one_question(house: House, schedule: ApsSchedule) -> None:
    on_beam(schedule, local("2026-11-03T12:00:00-06:00"), 60)
    house.server.forget_requests()

    on_beam(schedule, local("2026-11-03T12:00:00-06:00"), 60)

    assert house.server.request_count == 1


@pytest.mark.parametrize(
    ("knob", "value", "error"),
    [
        ("schedule.status", 500, ServiceUnavailableError),
        ("schedule.body", "html", BadResponseError),
    ],
)
def test_a_schedule_that_fails_is_never_nobody(
    tmp_path: Path, knob: str, value: object, error: type[Exception]
) -> None:
    with schedule_house(tmp_path) as house:
        house.server.knobs.set(knob, value)

        with pytest.raises(error):
            on_beam(house.client(), local("2026-11-03T12:00:00-06:00"), 0)


# -- the rules ----------------------------------------------------------------------------------


class MemorySchedule:
    """A schedule without a service; `asked` holds the windows."""

    early_min: float = 0

    def __init__(self, *beamtimes: Beamtime, cycles: Sequence[Cycle] | None = None) -> None:
        self.beamtimes, self._cycles = beamtimes, cycles
        self.asked: list[tuple[datetime, datetime]] = []

    def check(self) -> Health:
        return Health(ok=True, sentence="in memory")

    def cycles(self) -> Sequence[Cycle] | None:
        return self._cycles

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        self.asked.append((start, end))
        return [b for b in self.beamtimes if b.start < end and start < b.end]

    def by_id(self, key: str) -> Beamtime | None:
        return next((b for b in self.beamtimes if b.id == key), None)


NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
LAST_CYCLE = Cycle(name="2026-1", start=NOON - timedelta(days=60), end=NOON + timedelta(days=2))
NEXT_CYCLE = Cycle(name="2026-2", start=NOON + timedelta(days=9), end=NOON + timedelta(days=90))


def hours(key: str, begin: float, end: float, proposal: str = "9100001") -> Beamtime:
    """A beamtime that begins and ends so many hours after noon."""
    start, stop = NOON + timedelta(hours=begin), NOON + timedelta(hours=end)
    return Beamtime(source="memory", id=key, start=start, end=stop, proposal=proposal)


def test_a_schedule_without_cycles_is_looked_up_all_the_same() -> None:
    found = on_beam(MemorySchedule(hours("1", -1, 1)), NOON, 0)

    assert found.id == "1"


def test_within_the_tolerance_the_next_is_taken_early() -> None:
    schedule = MemorySchedule(hours("1", -9, -1), hours("2", 1, 9), hours("3", 2, 9))

    assert on_beam(schedule, NOON, 60).id == "2"
    assert on_beam(schedule, NOON, 600).id == "2"


def test_beyond_the_tolerance_nobody_is_on_beam() -> None:
    with pytest.raises(NobodyOnBeamError, match="next is 2 "):
        on_beam(MemorySchedule(hours("2", 1, 9)), NOON, 59.9)


def test_the_tolerance_does_not_count_while_one_is_active() -> None:
    schedule = MemorySchedule(hours("1", -9, 0.1), hours("2", 0.1, 9))

    assert on_beam(schedule, NOON, 60).id == "1"


def test_the_tolerance_counts_during_machine_studies() -> None:
    schedule = MemorySchedule(hours("studies", -9, 0.5, proposal=""), hours("2", 0.5, 9))

    assert on_beam(schedule, NOON, 60).id == "2"


def test_the_tolerance_is_in_true_minutes_over_the_clock_change() -> None:
    start = datetime.fromisoformat("2026-11-01T02:00:00-06:00")
    beamtime = Beamtime(source="memory", id="1", start=start, end=start + timedelta(hours=8), proposal="1")
    moment = local("2026-11-01T00:30:00-05:00")

    with pytest.raises(NobodyOnBeamError):
        on_beam(MemorySchedule(beamtime), moment, 120)

    assert on_beam(MemorySchedule(beamtime), moment, 150).id == "1"


def test_two_that_begin_together_are_not_chosen_from() -> None:
    schedule = MemorySchedule(hours("1", 1, 9), hours("2", 1, 9))

    with pytest.raises(SeveralOnBeamError, match=r"^2 beamtimes .*1 .*2 ") as caught:
        on_beam(schedule, NOON, 60)

    assert "have the schedule corrected" in caught.value.advice
    assert "is left" not in caught.value.advice


def test_of_many_on_beam_some_are_named_and_the_rest_counted() -> None:
    long = [hours(f"{number:03d}{'0' * 900}", -1, 1, proposal="9" * 900) for number in range(300)]

    with pytest.raises(SeveralOnBeamError, match=r"^300 beamtimes .*; and 296 more") as caught:
        on_beam(MemorySchedule(*long), NOON, 0)

    assert caught.value.sentence.endswith("; and 296 more")
    assert [f"{number:03d}000" in caught.value.sentence for number in range(6)] == [True] * 4 + [False] * 2
    assert len(str(caught.value)) < 1200


def test_two_activities_of_one_beamtime_are_one() -> None:
    found = on_beam(MemorySchedule(hours("1", -3, 1), hours("1", -1, 4)), NOON, 0)

    assert (found.start, found.end) == (NOON - timedelta(hours=3), NOON + timedelta(hours=4))


def test_two_beamtimes_of_one_proposal_are_two() -> None:
    with pytest.raises(SeveralOnBeamError):
        on_beam(MemorySchedule(hours("1", -3, 1), hours("2", -1, 4)), NOON, 0)


def test_machine_studies_beside_a_beamtime_do_not_count() -> None:
    schedule = MemorySchedule(hours("studies", -1, 1, proposal=""), hours("1", -1, 1))

    assert on_beam(schedule, NOON, 0).id == "1"


def test_people_without_a_proposal_number_are_users() -> None:
    start, end = NOON - timedelta(hours=1), NOON + timedelta(hours=1)
    visit = Beamtime(
        source="memory", id="1", start=start, end=end, people=(Person(last_name="Doe", is_pi=True),)
    )

    assert on_beam(MemorySchedule(visit), NOON, 0) == visit


def test_the_next_cycle_is_asked_only_when_nothing_more_comes_in_this_one() -> None:
    both = [LAST_CYCLE, NEXT_CYCLE]
    enough = MemorySchedule(hours("1", 5, 9), cycles=both)
    not_enough = MemorySchedule(hours("2", 24 * 10, 24 * 11), cycles=both)

    with pytest.raises(NobodyOnBeamError, match="next is 1 "):
        on_beam(enough, NOON, 0)
    with pytest.raises(NobodyOnBeamError, match=r"next is 2 .* from Sat 2026-03-14 12:00"):
        on_beam(not_enough, NOON, 0)

    assert enough.asked == [(NOON, LAST_CYCLE.end)]
    assert not_enough.asked == [(NOON, LAST_CYCLE.end), (LAST_CYCLE.end, NOON + timedelta(days=30))]


def test_between_the_cycles_the_next_beamtime_is_named() -> None:
    between = NOON + timedelta(days=5)
    schedule = MemorySchedule(hours("2", 24 * 10, 24 * 11), cycles=[LAST_CYCLE, NEXT_CYCLE])

    with pytest.raises(NoCycleError) as caught:
        on_beam(schedule, between, 0)

    assert caught.value.sentence == (
        "Mon 2026-03-09 12:00 lies in no run cycle of the facility; 2026-1 ended Fri 2026-03-06 12:00; "
        "2026-2 begins Fri 2026-03-13 12:00; next is 2 (proposal 9100001, no PI), from Sat 2026-03-14 12:00"
    )


def test_the_tolerance_reaches_into_the_next_cycle() -> None:
    schedule = MemorySchedule(hours("2", 24 * 9, 24 * 10), cycles=[LAST_CYCLE, NEXT_CYCLE])

    assert on_beam(schedule, NEXT_CYCLE.start - timedelta(minutes=30), 60).id == "2"


def test_no_cycles_at_all_is_no_cycle() -> None:
    with pytest.raises(NoCycleError, match="lies in no run cycle"):
        on_beam(MemorySchedule(cycles=[]), NOON, 0)


def test_overlapping_cycles_are_both_looked_in() -> None:
    overlapping = Cycle(name="2026-1b", start=NOON - timedelta(days=1), end=NOON + timedelta(days=20))
    schedule = MemorySchedule(hours("1", 24 * 10, 24 * 11), cycles=[LAST_CYCLE, overlapping])

    with pytest.raises(NobodyOnBeamError, match="next is 1 "):
        on_beam(schedule, NOON, 0)

    assert schedule.asked == [(NOON, overlapping.end)]
