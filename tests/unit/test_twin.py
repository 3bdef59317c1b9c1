"""Of several IOCs with one prefix exactly one takes presses."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.access import load_gate
from beamtime_ioc.alarm import Severity
from beamtime_ioc.board import Board
from beamtime_ioc.instance import Instance
from beamtime_ioc.records import load_records, shipped
from beamtime_ioc.twin import Found, Twin

CHICAGO = ZoneInfo("America/Chicago")
NOON = 1_800_000_000.0


def instance(name: str = "ana1", since: float = NOON, *, works: bool = False) -> Instance:
    return Instance(host=name, pid=42, since=since, id=f"{abs(hash((name, since))):016x}"[:16], works=works)


class House:
    def __init__(self, own: Instance, look: Callable[[], Sequence[Found]] | None) -> None:
        self.board = Board(load_records(shipped(), prefix="X:Twin:"), load_gate(None))
        self.twin = Twin(self.board, CHICAGO, own, look, search_s=0.01, every_s=0.01)
        self.twin.soon_s = 0.01

    @property
    def message(self) -> str:
        return str(self.board.cell("TwinMessage").value)

    @property
    def severity(self) -> Severity:
        return self.board.cell("TwinMessage").reading.alarm.severity

    @property
    def shown(self) -> Instance | None:
        return Instance.parse(str(self.board.cell("Instance").value))


def found(*others: Instance | None) -> list[Found]:
    return [Found(address=f"192.0.2.{number}:5064", instance=one) for number, one in enumerate(others, 1)]


INSTANCES = st.builds(
    instance,
    st.sampled_from(["ana1", "ana2", "det1"]),
    st.floats(NOON, NOON + 10).map(lambda since: round(since, 6)),
    works=st.booleans(),
)


@given(st.lists(INSTANCES, min_size=1, max_size=5, unique_by=lambda one: one.id))
def test_of_any_number_exactly_one_waits_for_nobody(everybody: list[Instance]) -> None:
    first = [
        one for one in everybody if not any(one.yields_to(other) for other in everybody if other is not one)
    ]

    assert len(first) == 1
    assert first[0].works or not any(one.works for one in everybody)


@given(INSTANCES)
def test_what_an_instance_says_of_itself_is_understood(one: Instance) -> None:
    assert Instance.parse(str(one)) == one
    assert len(str(one).encode()) <= 256


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "ana1 pid 4 since yesterday id 0123456789abcdef works",
        "x" * 300,
        "ana1 pid 42",
        # what moves a cursor in a log, and times that no calendar of another zone has
        "ana\x1b[2J\x07 pid 4 since 2026-11-26T08:00:00+00:00 id 0123456789abcdef works",
        "ana\u202e pid 4 since 2026-11-26T08:00:00+00:00 id 0123456789abcdef works",
        "ana1 pid 4 since 0001-01-01T00:00:00+14:00 id 0123456789abcdef works",
        "ana1 pid 4 since 9999-12-31T23:59:59-14:00 id 0123456789abcdef works",
    ],
)
def test_other_words_are_nobody(text: str) -> None:
    assert Instance.parse(text) is None


def test_our_own_answer_is_no_twin() -> None:
    own = instance()
    house = House(own, lambda: found(own, own.working(True)))

    asyncio.run(house.twin.clear())

    assert (house.twin.held, house.message, house.severity) == ("", "", Severity.NO_ALARM)
    assert house.shown == own.working(True)


def test_it_waits_until_the_one_before_it_has_ended_and_names_it() -> None:
    there = [instance("det1", NOON + 5, works=True)]
    house = House(instance("ana1", NOON + 2), lambda: found(*there))

    async def play() -> None:
        clear = asyncio.create_task(house.twin.clear())
        async with asyncio.timeout(10):
            while not house.twin.held:
                await asyncio.sleep(0.005)
        assert house.severity is Severity.MAJOR
        assert house.shown is not None
        assert not house.shown.works
        assert house.message == (
            "another IOC on det1 (pid 42, 192.0.2.1:5064, since 2027-01-15 02:00:05) serves X:Twin: too; "
            "presses are refused here until it has ended; end one of the two"
        )
        assert not clear.done()

        there.clear()
        async with asyncio.timeout(10):
            await clear

    asyncio.run(play())

    assert (house.twin.held, house.message) == ("", "")
    assert house.shown is not None
    assert house.shown.works


def test_of_two_that_begin_together_the_earlier_does_not_wait() -> None:
    house = House(instance("ana1", NOON), lambda: found(instance("det1", NOON + 0.5)))

    asyncio.run(house.twin.clear())

    assert house.twin.held == ""
    assert house.severity is Severity.MAJOR
    assert "presses are taken here and refused there" in house.message


def test_a_twin_that_appears_later_is_an_alarm_on_both_and_the_later_one_stops_taking_presses() -> None:
    early, late = instance("ana1", NOON), instance("det1", NOON + 100)
    joined = False
    houses: list[House] = []
    for own, other in ((early, 1), (late, 0)):

        def look(other: int = other) -> list[Found]:
            return found(houses[other].twin.own) if joined else []

        houses.append(House(own, look))

    async def play() -> None:
        nonlocal joined
        for house in houses:
            await house.twin.clear()
            assert house.shown is not None
            assert house.shown.works
        joined = True
        for house in itertools.chain(houses, houses):
            await house.twin.look()

        assert [house.severity for house in houses] == [Severity.MAJOR, Severity.MAJOR]
        assert [bool(house.twin.held) for house in houses] == [False, True]
        assert all(house.twin.trouble == house.message for house in houses)

        joined = False
        for house in houses:
            await house.twin.look()
        assert [(house.twin.held, house.message) for house in houses] == [("", ""), ("", "")]

    asyncio.run(play())


@pytest.mark.parametrize("works", [True, False])
def test_somebody_who_does_not_say_who_it_is_stops_a_beginner_and_not_one_who_works(works: bool) -> None:
    there: list[Instance | None] = [] if works else [None]
    house = House(instance(), lambda: found(*there))

    async def play() -> None:
        if works:
            await house.twin.clear()
            there.append(None)
        await house.twin.look()

    asyncio.run(play())

    assert bool(house.twin.held) is not works
    assert "an IOC at 192.0.2.1:5064 that does not say who it is" in house.message
    assert house.severity is Severity.MAJOR


@pytest.mark.parametrize(
    "failure", [OSError(101, "Network is unreachable"), RuntimeError("can't start new thread")]
)
def test_a_network_that_cannot_be_asked_is_a_minor_alarm_and_keeps_nobody_from_work(
    caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    def look() -> Sequence[Found]:
        raise failure

    house = House(instance(), look)

    with caplog.at_level(logging.INFO):
        asyncio.run(house.twin.clear())

    assert house.twin.held == house.twin.trouble == ""
    assert house.severity is Severity.MINOR
    assert str(failure).rpartition("] ")[2] in house.message


def test_switched_off_it_looks_for_nobody() -> None:
    house = House(instance(), None)

    async def play() -> None:
        await house.twin.clear()
        await house.twin.watch()

    asyncio.run(play())

    assert house.shown is not None
    assert house.shown.works
