"""From the clock and the button through the runner to each engine, and back to the board."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from audit_house import temporary_auditor
from beamtime_ioc.action import Action, Run, action
from beamtime_ioc.board import Board
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.frame import ScheduleSettings
from beamtime_ioc.model import Experiment, RunState, Who
from beamtime_ioc.posting import POST_RATE_HZ, Posting, Reading
from beamtime_ioc.records import db_dir, load_records
from beamtime_ioc.runner import Runner
from beamtime_ioc.schedules import Schedules
from beamtime_ioc.testing import MemoryIdentity
from beamtime_ioc.testing.run import TEST_SITE
from engine_house import DEADLINE_S, LocalBench, State

OPERATOR = Who(via="ca", user="operator", peer="127.0.0.1", claim="console")
CALLS = 10_000


class OpenGate:
    def require(self, group: str, who: Who) -> None: ...


class MemorySwitches:
    def all(self) -> Mapping[str, bool]:
        return {}

    def remember(self, name: str, *, on: bool) -> None: ...


class Watcher:
    """Keeps what is posted."""

    def __init__(self, posting: Posting) -> None:
        self.posts = list[object]()
        posting.watchers.append(self._hear)

    def _hear(self, reading: Reading) -> None:
        self.posts.append(reading.value)


@asynccontextmanager
async def runner_on(state: State, body: Callable[[Run], None]) -> AsyncGenerator[Runner, None]:
    """A board without wires, a runner, and an engine; each button does the same."""

    def handler(run: Run, experiment: Experiment | None) -> None:
        body(run)

    def named(name: str) -> Action:
        return action(name, resource="places", needs_experiment=False)(handler)

    records = load_records([db_dir() / "beamtime.substitutions"], prefix="99bm:Beamtime:")
    actions = [named(row.action) for row in records.actions()]
    workshop = Workshop(actions={each.name: each for each in actions}, services={}, site=TEST_SITE)
    async with temporary_auditor() as auditor:
        runner = Runner(Board(records, OpenGate()), workshop, MemoryIdentity(None), auditor)
        bench = await asyncio.to_thread(LocalBench, state, actions, {}, listener=runner)
        runner.engine = bench.engine
        try:
            yield runner
        finally:
            await asyncio.to_thread(bench.stop)


def test_ten_thousand_progress_calls_are_posted_five_times_a_second_and_the_last_always(
    any_state: State,
) -> None:
    def body(run: Run) -> None:
        for number in range(CALLS):
            run.progress(number / CALLS, f"file {number}")
        run.progress(1, f"all {CALLS} files")

    async def test() -> None:
        async with runner_on(any_state, body) as runner:
            board = runner.board
            watchers = {
                part: Watcher(board.cell(f"CreateDirectories{part}")) for part in ("Message", "Percent")
            }
            watchers["Progress"] = Watcher(board.progress["create-directories"])
            began = time.monotonic()

            end: Awaitable[None] | None = await board.cell("CreateDirectories").put(1, OPERATOR)
            assert end is not None
            await end
            took = time.monotonic() - began

            assert board.progress["create-directories"].value.state is RunState.DONE
            assert watchers["Message"].posts[-1] == f"all {CALLS} files"
            assert watchers["Percent"].posts[-1] == 100
            # Besides those in the middle: queued, running, the end.
            most = POST_RATE_HZ * took + 4
            assert {part: len(w.posts) for part, w in watchers.items() if len(w.posts) > most} == {}

    asyncio.run(asyncio.wait_for(test(), DEADLINE_S))


def test_a_schedule_presses_once_for_each_time_that_is_due(any_state: State) -> None:
    period_s = 1.0
    presses: list[float] = []

    async def test() -> None:
        async with runner_on(any_state, lambda run: presses.append(int(run.id[:20]) / 1e9)) as runner:
            # Quicker than a site may have it.
            settings = ScheduleSettings.model_construct(
                every_min=period_s / 60, action="create-directories", preview=False
            )
            schedules = Schedules([settings], runner, MemorySwitches())
            began = time.time()

            schedules.start()
            while len(presses) < 3:
                await asyncio.sleep(0.01)
            schedules.stop()
            took = time.time() - began

            due = [round(moment // period_s) for moment in presses]
            assert due == sorted(set(due))
            assert len(due) <= took / period_s + 1

    asyncio.run(asyncio.wait_for(test(), DEADLINE_S))
