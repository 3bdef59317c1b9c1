"""Whether the schedule names another experiment than the records: never silent, never made up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aps_house import SITE, House, schedule_house
from beamtime_ioc.access import NobodyWrites
from beamtime_ioc.alarm import Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.errors import ServiceUnavailableError
from beamtime_ioc.kept_schedule import KeptSchedule
from beamtime_ioc.lookout import spread
from beamtime_ioc.model import Beamtime
from beamtime_ioc.ports import Schedule
from beamtime_ioc.records import db_dir, load_records
from beamtime_ioc.schedule_watch import NO, NO_SCHEDULE, UNKNOWN, YES, ScheduleWatch
from beamtime_ioc.testing.fakes import MemoryIdentity

DEADLINE_S = 10
DURING_300011 = datetime(2026, 10, 31, 12, tzinfo=UTC)
DURING_300012 = datetime(2026, 11, 2, 14, 1, tzinfo=UTC)
BETWEEN = datetime(2026, 11, 20, 18, tzinfo=UTC)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with schedule_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@dataclass
class Watched:
    """A watch on records of its own, with a clock that a test sets."""

    board: Board
    identity: MemoryIdentity
    watch: ScheduleWatch
    times: list[datetime] = field(default_factory=list[datetime])

    @property
    def stale(self) -> object:
        return self.board.cell("IdentityStale").value

    @property
    def says(self) -> str:
        return str(self.board.cell("ScheduleSays").value)

    def alarm(self, suffix: str) -> tuple[Severity, Status]:
        alarm = self.board.cell(suffix).reading.alarm
        return alarm.severity, alarm.status

    def adopt(self, beamtime: Beamtime) -> None:
        self.identity.adopt(SITE.experiment(beamtime))
        self.watch.tell()

    async def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.005)

        await asyncio.wait_for(wait(), DEADLINE_S)


@asynccontextmanager
async def watched(
    schedule: Schedule | None, moment: datetime, *, held: Beamtime | None = None, every_s: float = 600
) -> AsyncIterator[Watched]:
    board = Board(
        load_records([db_dir() / "beamtime.substitutions"], prefix="99bm:Beamtime:"), NobodyWrites()
    )
    identity, times = MemoryIdentity(SITE.experiment(held) if held else None), [moment]
    watch = ScheduleWatch(board, SITE, schedule, identity, every_s=every_s, clock=lambda: times[-1])
    task = asyncio.create_task(watch.watch())
    yield Watched(board, identity, watch, times)
    assert not task.done() or schedule is None, "the watch has ended"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


def beamtime(house: House, key: str) -> Beamtime:
    found = house.client().by_id(f"aps:{key}")
    assert found is not None
    return found


def test_before_the_first_answer_nothing_is_known(sample: House) -> None:
    async def test() -> None:
        async with watched(sample.client(), DURING_300011) as w:
            assert (w.stale, w.alarm("IdentityStale")) == (UNKNOWN, (Severity.INVALID, Status.UDF))
            assert (w.says, w.alarm("ScheduleSays")) == ("", (Severity.INVALID, Status.UDF))

    run(test)


def test_while_the_records_say_what_the_schedule_says_all_is_quiet(sample: House) -> None:
    async def test() -> None:
        async with watched(sample.client(), DURING_300011, held=beamtime(sample, "300011")) as w:
            await w.until(lambda: w.stale == NO)

            assert w.says.startswith("300011 (proposal 9100001), Zoë Müller-Łukasik, ")
            assert w.alarm("IdentityStale") == w.alarm("ScheduleSays") == (Severity.NO_ALARM, Status.NO_ALARM)

    run(test)


def test_when_the_next_beamtime_comes_the_records_are_stale_and_a_sentence_names_both(sample: House) -> None:
    async def test() -> None:
        async with watched(
            sample.client(tolerance_min=60), DURING_300011, held=beamtime(sample, "300011"), every_s=0.05
        ) as w:
            await w.until(lambda: w.stale == NO)

            w.times.append(DURING_300012)
            await w.until(lambda: w.stale == YES)

            assert "the schedule names 300012" in w.says
            assert "from 08:00; these records still say 300011 (" in w.says
            assert w.says.endswith("press UpdateUserInfo or BeginBeamtime")
            assert w.alarm("IdentityStale") == w.alarm("ScheduleSays") == (Severity.MINOR, Status.STATE)
            assert w.board.cell("IdentityStale").reading.alarm.message == w.says

    run(test)


def test_once_the_named_one_is_taken_over_nothing_is_asked_again(sample: House) -> None:
    async def test() -> None:
        held = beamtime(sample, "300013")
        async with watched(sample.client(tolerance_min=60), DURING_300012, held=held) as w:
            await w.until(lambda: w.stale == YES)
            asked = len(sample.server.requests)

            w.adopt(beamtime(sample, "300012"))
            await w.until(lambda: w.stale == NO)

            assert len(sample.server.requests) == asked + 2  # those of this test: the cycles, and one cycle
            assert w.alarm("IdentityStale") == (Severity.NO_ALARM, Status.NO_ALARM)

    run(test)


def test_an_experiment_that_the_last_answer_does_not_name_is_asked_for_at_once(sample: House) -> None:
    async def test() -> None:
        async with watched(sample.client(), DURING_300011, held=beamtime(sample, "300011")) as w:
            await w.until(lambda: w.stale == NO)

            w.times.append(DURING_300012)  # the last answer is older than this look-up
            w.adopt(beamtime(sample, "300012"))
            await w.until(lambda: w.says.startswith("300012"))

            assert w.stale == NO

    run(test)


def test_after_a_press_that_failed_the_schedule_is_asked_again(sample: House) -> None:
    async def test() -> None:
        held = beamtime(sample, "300011")
        async with watched(sample.client(), DURING_300011, held=held) as w:
            await w.until(lambda: w.stale == NO)

            w.times.append(DURING_300012)
            w.watch.tell()
            w.watch.tell(ask=True)
            await w.until(lambda: w.stale == YES)

            assert w.says.startswith("the schedule names 300012")

    run(test)


def test_the_age_of_the_last_answer_grows_between_two_looks(
    sample: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beamtime_ioc.schedule_watch.AGE_S", 0.02)

    async def test() -> None:
        kept = KeptSchedule(sample.client(), tmp_path, "this site", clock=lambda: DURING_300011)
        async with watched(kept, DURING_300011, held=beamtime(sample, "300011")) as w:
            await w.until(lambda: w.stale == NO)
            asked = len(sample.server.requests)

            w.times.append(DURING_300011 + timedelta(seconds=90))
            await w.until(lambda: w.board.cell("ScheduleAge").value == 90)

            assert len(sample.server.requests) == asked

    run(test)


def test_without_a_current_experiment_the_one_on_beam_is_missing(sample: House) -> None:
    async def test() -> None:
        async with watched(sample.client(), DURING_300011) as w:
            await w.until(lambda: w.stale == YES)

            assert "these records say nobody yet" in w.says

    run(test)


def test_nobody_on_beam_names_no_other(sample: House) -> None:
    async def test() -> None:
        async with watched(sample.client(), BETWEEN, held=beamtime(sample, "300011")) as w:
            await w.until(lambda: w.says)

            assert w.says.startswith("nobody is on beam at ")
            assert (w.stale, w.alarm("IdentityStale")[0]) == (NO, Severity.NO_ALARM)

    run(test)


def test_a_schedule_that_fails_is_unknown_and_not_quiet(sample: House) -> None:
    async def test() -> None:
        async with watched(
            sample.client(), DURING_300011, held=beamtime(sample, "300011"), every_s=0.05
        ) as w:
            await w.until(lambda: w.stale == NO)
            said = w.says

            sample.server.knobs.set("schedule.status", 500)
            try:
                await w.until(lambda: w.stale == UNKNOWN)
            finally:
                sample.server.knobs.reset()

            assert w.says == said
            assert w.alarm("ScheduleSays") == w.alarm("IdentityStale") == (Severity.INVALID, Status.COMM)
            assert "500" in w.board.cell("ScheduleSays").reading.alarm.message
            await w.until(lambda: w.stale == NO)
            assert w.alarm("ScheduleSays")[0] is Severity.NO_ALARM

    run(test)


class Broken:
    """A site's own schedule with a mistake in it."""

    early_min = 0.0

    def cycles(self) -> None: ...

    def list_between(self, start: datetime, end: datetime) -> list[Beamtime]:
        if start.minute == 1:
            raise ServiceUnavailableError("the schedule", "did not answer")
        return [][0]

    def by_id(self, key: str) -> None: ...

    def check(self) -> object: ...


def test_a_mistake_in_a_sites_own_schedule_is_said_and_does_not_end_the_watch() -> None:
    async def test() -> None:
        async with watched(Broken(), DURING_300011, every_s=0.02) as w:  # type: ignore[arg-type]
            await w.until(lambda: "IndexError" in w.board.cell("IdentityStale").reading.alarm.message)

            w.times.append(DURING_300012)
            await w.until(lambda: "did not answer" in w.board.cell("IdentityStale").reading.alarm.message)

            assert w.stale == UNKNOWN

    run(test)


def test_a_site_without_a_schedule_says_so() -> None:
    async def test() -> None:
        async with watched(None, DURING_300011) as w:
            await w.until(lambda: w.says == NO_SCHEDULE)

            assert (w.stale, w.alarm("IdentityStale")[0]) == (UNKNOWN, Severity.INVALID)

    run(test)


def test_the_schedule_is_asked_at_times_that_differ_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("beamtime_ioc.schedule_watch.spread", lambda every_s: waits.append(every_s) or 0.01)

    async def test() -> None:
        async with watched(Broken(), DURING_300012, every_s=120) as w:  # type: ignore[arg-type]
            await w.until(lambda: len(waits) > 2)

    run(test)
    drawn = [spread(120) for _ in range(100)]
    assert set(waits) == {120}
    assert len(set(drawn)) > 90
    assert 120 <= min(drawn) < max(drawn) <= 132
