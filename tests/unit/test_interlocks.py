"""What locks the current experiment, what an override does, and what is asked before a change."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from audit_house import temporary_auditor
from beamtime_ioc.alarm import Severity
from beamtime_ioc.board import Board
from beamtime_ioc.errors import BusyError, NotAllowedError
from beamtime_ioc.foreign import Shape, Shown, Type
from beamtime_ioc.interlocks import Interlocks, InterlockState, is_idle
from beamtime_ioc.links import SILENT_S, Links
from beamtime_ioc.model import Who
from beamtime_ioc.neighbours import InterlockSettings
from beamtime_ioc.records import db_dir, load_records

STAFF = Who(via="ca", user="staff", peer="127.0.0.1", claim="console")
SCAN = "99bm:TomoScan:StartScan"
DEADLINE_S = 5


class StaffGate:
    """Lets staff write what is for staff."""

    def require(self, group: str, who: Who) -> None:
        if group == "staff" and who.user != "staff":
            raise NotAllowedError(f"{who} may not")

    def may_write_from_somewhere(self, group: str, user: str) -> bool:
        return True


@dataclass
class House:
    board: Board
    links: Links
    locks: Interlocks

    def scan(self, text: str | None, number: float | None = None) -> None:
        """What the scan IOC has told; None: it is not there."""
        channel = self.links.channels[0]
        channel.shape = None if text is None else Shape(Type.ENUM, 1, writable=True)
        channel.shown = None if text is None else Shown(text, number)
        channel.connections, channel.since = 1, time.monotonic()
        self.locks.show()

    def shown(self) -> tuple[InterlockState, Severity]:
        cell = self.board.cell("InterlockOk")
        return list(InterlockState)[int(cell.value)], cell.reading.alarm.severity

    @property
    def message(self) -> str:
        return str(self.board.cell("InterlockMessage").value)


@asynccontextmanager
async def house(*settings: InterlockSettings) -> AsyncIterator[House]:
    board = Board(load_records([db_dir() / "beamtime.substitutions"], prefix="99bm:Beamtime:"), StaffGate())
    links = Links()
    async with temporary_auditor() as auditor:
        locks = Interlocks(settings, links, board, auditor, lambda: datetime.now(UTC))
        yield House(board, links, locks)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))  # type: ignore[arg-type]


LOCK = InterlockSettings(pv=SCAN, idle=[0, "Done"], why="a scan runs")


@pytest.mark.parametrize(
    ("shown", "idle"),
    [
        (Shown("Done", 0.0), True),
        (Shown("Acquire", 1.0), False),
        (Shown("Idle", 0.0), True),
        (Shown("Done", 5.0), True),
        (Shown(" Done "), True),
        (Shown("done"), False),
        (Shown("0"), False),
        (Shown(""), False),
    ],
)
def test_idle_is_a_number_or_a_label_and_nothing_that_only_looks_like_one(shown: Shown, idle: bool) -> None:
    assert any(is_idle(shown, value) for value in LOCK.idle) is idle


def test_each_state_is_shown_with_its_alarm_and_refuses_what_is_not_idle() -> None:
    async def test() -> None:
        async with house(LOCK) as h:
            assert h.shown() == (InterlockState.UNKNOWN, Severity.INVALID)
            with pytest.raises(BusyError, match=f"{SCAN} has not answered yet"):
                h.locks.require()

            h.scan("Done", 0)
            h.locks.require()
            assert h.shown() == (InterlockState.OK, Severity.NO_ALARM)

            h.scan("Acquire", 1)
            assert h.shown() == (InterlockState.BUSY, Severity.MINOR)
            with pytest.raises(BusyError, match=f"^not while {SCAN} is busy .a scan runs.: it says Acquire"):
                h.locks.require()

            h.scan(None)
            assert h.shown() == (InterlockState.UNREACHABLE, Severity.MAJOR)
            with pytest.raises(BusyError, match=f"{SCAN} does not answer; .*InterlockOverride"):
                h.locks.require()

    run(test)


def test_a_value_is_unknown_from_the_connection_on_until_it_is_told_again() -> None:
    async def test() -> None:
        async with house(LOCK) as h:
            h.scan("Done", 0)
            h.links.channels[0].shown = None

            with pytest.raises(BusyError, match="has not told its value yet"):
                h.locks.require()

    run(test)


def test_a_record_that_never_answers_is_unreachable_after_a_while() -> None:
    async def test() -> None:
        async with house(LOCK) as h:
            h.links.channels[0].since -= SILENT_S
            h.locks.show()

            assert h.shown() == (InterlockState.UNREACHABLE, Severity.MAJOR)

    run(test)


def test_a_client_that_does_not_work_locks() -> None:
    async def test() -> None:
        async with house(LOCK) as h:
            h.scan("Done", 0)
            h.links.failure = "libca cannot be loaded"

            with pytest.raises(BusyError, match="does not answer"):
                h.locks.require()

    run(test)


def test_one_of_several_that_is_busy_is_enough() -> None:
    async def test() -> None:
        async with house(LOCK, InterlockSettings(pv="99bm:cam1:Acquire", idle=[0], why="")) as h:
            h.scan("Done", 0)
            other = h.links.channels[1]
            other.shape, other.shown = Shape(Type.ENUM, 1, writable=True), Shown("Acquire", 1)

            with pytest.raises(BusyError, match="not while 99bm:cam1:Acquire is busy: it says Acquire"):
                h.locks.require()

    run(test)


def test_the_override_is_for_one_change() -> None:
    async def test() -> None:
        async with house(LOCK) as h:
            h.scan("Acquire", 1)

            await h.board.cell("InterlockOverride").put(1, STAFF)

            h.locks.require()
            h.locks.require()  # asked twice, as by a preview before the press
            assert h.shown() == (InterlockState.OVERRIDDEN, Severity.MINOR)
            h.locks.passed(STAFF, "update-user-info", "run 1")
            assert h.board.cell("InterlockOverride").value == 0
            with pytest.raises(BusyError):
                h.locks.require()

    run(test)


def test_the_override_ends_when_its_time_is_over_or_staff_says_so() -> None:
    async def test() -> None:
        async with house(LOCK) as h:
            h.scan("Acquire", 1)
            override = h.board.cell("InterlockOverride")

            await override.put("On", STAFF)
            await override.put("Off", STAFF)
            with pytest.raises(BusyError):
                h.locks.require()

            h.locks.override_s = 0.05
            await override.put("On", STAFF)
            end = time.monotonic() + DEADLINE_S
            while override.value:
                assert time.monotonic() < end
                await asyncio.sleep(0.005)
            with pytest.raises(BusyError):
                h.locks.require()

    run(test)


def test_only_staff_may_override() -> None:
    async def test() -> None:
        async with house(LOCK) as h:
            h.scan("Acquire", 1)

            with pytest.raises(NotAllowedError):
                await h.board.cell("InterlockOverride").put(1, Who(via="ca", user="operator"))

            with pytest.raises(BusyError):
                h.locks.require()

    run(test)


def test_none_configured_lets_all_pass_and_says_that_nothing_is_locked() -> None:
    async def test() -> None:
        async with house() as h:
            h.locks.require()

            assert h.shown() == (InterlockState.NONE, Severity.NO_ALARM)
            assert h.message.startswith("none configured: nothing keeps the experiment from changing")

    run(test)
