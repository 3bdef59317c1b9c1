"""Our engine with actions that do nothing, and nothing of the IOC around it."""

import asyncio
import threading
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from work import POLL_S, QUEUE, RESOURCES_AT_ONCE, obey, request
from work_dbos import poll

from beamtime_ioc.action import Action, Run, action
from beamtime_ioc.engine import durable
from beamtime_ioc.engine.engine import Order, Outcome, new_run_id
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.journal import Journal
from beamtime_ioc.model import Experiment, Json, RunState, Site, Who
from beamtime_ioc.progress import Progress
from beamtime_ioc.store import Store

PREFIX = "99bm:Beamtime:"
SITE = Site(prefix=PREFIX, beamline="99-BM", zone=ZoneInfo("America/Chicago"))
BENCH = Who(via="local", user="bench")


class Ends:
    """A listener that only counts ends, and keeps what went wrong."""

    def __init__(self) -> None:
        self._ended = threading.Semaphore(0)
        self._bad: list[str] = []

    def on_state(self, run_id: str, state: RunState) -> None:
        pass

    def on_stuck(self, run_id: str, sentence: str) -> None:
        self._bad.append(sentence)

    def on_progress(self, run_id: str, progress: Progress) -> None:
        pass

    def on_end(self, run_id: str, outcome: Outcome) -> None:
        if outcome.state is not RunState.DONE:
            self._bad.append(outcome.message)
        self._ended.release()

    def wait(self, count: int) -> None:
        """Wait for so many ends; they are told when they are on the disk."""
        for _ in range(count):
            if not self._ended.acquire(timeout=60):
                raise TimeoutError(f"a run does not end; {self._bad}")
        assert not self._bad, self._bad


class Ours:
    """The durable engine on a store of its own."""

    def __init__(self, store: Store) -> None:
        self.store, self._ends = store, Ends()
        self._seconds = 0.0
        actions = (
            _quick("steps", self._run_steps),
            _quick("effects", self._run_effects),
            _quick("action", self._run_action),
        )
        workshop = Workshop(actions={each.name: each for each in actions}, services={}, site=SITE)
        self.engine = durable.DurableEngine(workshop, store)
        self.engine.start(self._ends)
        self._loop = asyncio.Runner()

    def _run_steps(self, run: Run, experiment: Experiment | None, *, count: int) -> None:
        began = time.perf_counter()
        for number in range(count):
            run.step(f"step {number}", lambda: 1)
        self._seconds = time.perf_counter() - began

    def _run_effects(self, run: Run, experiment: Experiment | None, *, count: int) -> None:
        began = time.perf_counter()
        for number in range(count):
            run.effect(f"effect {number}", look=lambda: None, make=lambda: None, verify=lambda: 1)
        self._seconds = time.perf_counter() - began

    def _run_action(self, run: Run, experiment: Experiment | None) -> None:
        run.step("step", lambda: 1)

    async def _submit(self, name: str, resource: str, **arguments: Json) -> None:
        order = Order(
            id=new_run_id(),
            action=name,
            resource=resource,
            who=BENCH,
            experiment=None,
            arguments=arguments,
        )
        await self.engine.submit(order)

    def steps(self, count: int) -> float:
        """Seconds that a run spends on its steps."""
        return self._within("steps", count)

    def effects(self, count: int) -> float:
        """Seconds that a run spends on effects, each of which is one step."""
        return self._within("effects", count)

    def _within(self, name: str, count: int) -> float:
        self._loop.run(self._submit(name, "r", count=count))
        self._ends.wait(1)
        return self._seconds

    def one_by_one(self, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            self._loop.run(self._submit("action", "r"))
            self._ends.wait(1)
        return time.perf_counter() - began

    def queued(self, count: int) -> float:
        """All at once, each on a resource of its own."""
        began = time.perf_counter()
        for number in range(count):
            self._loop.run(self._submit("action", f"r{number}"))
        self._ends.wait(count)
        return time.perf_counter() - began

    def submit(self, count: int) -> float:
        """Until the order is on the disk, one after another; their ends are waited for, and not counted."""
        return sum(self._submit_one() for _ in range(count))

    def _submit_one(self) -> float:
        began = time.perf_counter()
        self._loop.run(self._submit("action", "r"))
        seconds = time.perf_counter() - began
        self._ends.wait(1)
        return seconds

    def health(self, count: int) -> float:
        """Each time after a run has ended, since what was counted before that is known."""
        midnight = datetime.now(SITE.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        seconds = 0.0
        for _ in range(count):
            self._submit_one()
            began = time.perf_counter()
            health = self.engine.health(midnight)
            seconds += time.perf_counter() - began
            assert health.works, health.troubles
        return seconds

    def last(self, count: int) -> float:
        """The newest 50 of the journal, so many times."""
        journal = Journal(self.store.engine)
        began = time.perf_counter()
        for _ in range(count):
            assert len(journal.last(50)) == 50
        return time.perf_counter() - began


def _quick(name: str, handler: object) -> Action:
    return action(name, resource="r", needs_experiment=False)(handler)  # pyright: ignore[reportArgumentType]


def main() -> None:
    given = request()
    assert (durable.QUEUE, durable.POLL_S, durable.AT_ONCE) == (QUEUE, POLL_S, RESOURCES_AT_ONCE)
    ours = Ours(Store(Path(given["state"]), PREFIX, database=given.get("database", "")))
    obey(
        {
            "steps": ours.steps,
            "effects": ours.effects,
            "one_by_one": ours.one_by_one,
            "queued": ours.queued,
            "poll": poll,
            "submit": ours.submit,
            "health": ours.health,
            "last": ours.last,
        }
    )


if __name__ == "__main__":
    main()
