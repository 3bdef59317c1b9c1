"""Engines for the contract: what a test asks of one, and one in this process."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beamtime_ioc.action import Action, Run, action
from beamtime_ioc.engine.durable import DurableEngine
from beamtime_ioc.engine.engine import Engine, EngineHealth, Listener, Order, Outcome, new_run_id
from beamtime_ioc.engine.inline import InlineEngine
from beamtime_ioc.engine.watchdog import PATIENCE_S
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.journal import Journal
from beamtime_ioc.model import Experiment, Json, RunState, Who
from beamtime_ioc.progress import Progress
from beamtime_ioc.store import Store
from beamtime_ioc.stored_doubts import StoredDoubts
from beamtime_ioc.testing.run import TEST_SITE

DEADLINE_S = 30


class News:
    """Keeps what an engine tells, and lets a test wait for it."""

    def __init__(self) -> None:
        self.states: list[tuple[str, RunState]] = []
        self.progress: list[tuple[str, Progress]] = []
        self.stuck: dict[str, list[str]] = {}
        self.ends: dict[str, Outcome] = {}
        self.ended: list[str] = []
        self.changed = threading.Condition()

    def on_state(self, run_id: str, state: RunState) -> None:
        with self.changed:
            self.states.append((run_id, state))
            self.changed.notify_all()

    def on_stuck(self, run_id: str, sentence: str) -> None:
        with self.changed:
            self.stuck.setdefault(run_id, []).append(sentence)
            self.changed.notify_all()

    def on_progress(self, run_id: str, progress: Progress) -> None:
        with self.changed:
            self.progress.append((run_id, progress))
            self.changed.notify_all()

    def on_end(self, run_id: str, outcome: Outcome) -> None:
        with self.changed:
            self.ends[run_id] = outcome
            self.ended.append(run_id)
            self.changed.notify_all()

    def wait(self, condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, deadline_s), (
                f"not in {deadline_s:g} s; ends: {self.ends}; stuck: {self.stuck}"
            )


@dataclass(frozen=True, kw_only=True)
class State:
    """Where the rows of an engine lie.

    Parameters
    ----------
    kind
        `inline`, `sqlite` or `postgresql`.
    database
        URL on PostgreSQL.
    """

    kind: str
    directory: Path
    database: str = ""

    def store(self) -> Store:
        return Store(self.directory, "x:", database=self.database)


class Bench:
    """An engine at work: what a test asks of it, in this process or in another."""

    news: News

    def order(self, order: Order) -> None:
        raise NotImplementedError

    def cancel(self, run_id: str) -> None:
        raise NotImplementedError

    def submit(
        self,
        name: str,
        resource: str = "r",
        *,
        run_id: str = "",
        experiment: Experiment | None = None,
        **arguments: Any,
    ) -> str:
        order = Order(
            id=run_id or new_run_id(),
            action=name,
            resource=resource,
            who=Who(via="local"),
            experiment=experiment,
            arguments=arguments,
        )
        self.order(order)
        return order.id

    def errand(self, *script: Sequence[object], resource: str = "r") -> str:
        """Do line after line: `("effect", "a"), ("once", "b")`."""
        return self.submit("errand", resource, script=[list(line) for line in script])

    def end_of(self, run_id: str, deadline_s: float = DEADLINE_S) -> Outcome:
        self.news.wait(lambda: run_id in self.news.ends, deadline_s)
        return self.news.ends[run_id]

    def stuck(self, run_id: str, deadline_s: float = DEADLINE_S) -> str:
        """Wait until it is told to be stuck, and give the sentence."""
        self.news.wait(lambda: run_id in self.news.stuck, deadline_s)
        return self.news.stuck[run_id][-1]

    def begun(self, run_id: str) -> None:
        """Wait until a handler works on it."""
        self.news.wait(lambda: (run_id, RunState.RUNNING) in self.news.states)


class LocalBench(Bench):
    """An engine in this process."""

    def __init__(
        self,
        state: State,
        actions: Sequence[Action],
        services: Mapping[str, object],
        *,
        patience_s: float = PATIENCE_S,
        listener: Listener | None = None,
    ) -> None:
        self.news, self.state = News(), state
        workshop = Workshop(actions={a.name: a for a in actions}, services=services, site=TEST_SITE)
        self.opened = None if state.kind == "inline" else state.store()
        self.engine: Engine = (
            InlineEngine(workshop)
            if self.opened is None
            else DurableEngine(workshop, self.opened, patience_s=patience_s)
        )
        self.engine.start(listener or self.news)
        self._stopped = False

    @property
    def store(self) -> Store:
        assert self.opened is not None
        return self.opened

    @property
    def durable(self) -> DurableEngine:
        assert isinstance(self.engine, DurableEngine)
        return self.engine

    @property
    def journal(self) -> Journal:
        return Journal(self.store.engine)

    def order(self, order: Order) -> None:
        asyncio.run(self.engine.submit(order))

    def cancel(self, run_id: str) -> None:
        asyncio.run(self.engine.cancel(run_id))

    def health(self, midnight: datetime | None = None) -> EngineHealth:
        return self.engine.health(midnight or datetime.fromtimestamp(time.time() - 60, UTC))

    def doubts(self, run_id: str) -> list[str]:
        return [doubt.text for doubt in StoredDoubts(self.store).of_run(run_id)]

    def stop(self, grace_s: float = 10) -> bool:
        """End the engine; its state may be opened again."""
        if self._stopped:
            return True
        self._stopped = True
        finished = self.engine.stop(grace_s)
        if self.opened is not None:
            self.opened.close()
        return finished


Begin = Callable[..., LocalBench]
"""Begins an engine with the actions given, and with services by name."""


def quick(name: str, body: Callable[[Run], object], resource: str = "r") -> Action:
    """An action out of a function of the run alone."""

    def handler(run: Run, experiment: Experiment | None, **arguments: Json) -> object:
        return body(run)

    return action(name, resource=resource, needs_experiment=False)(handler)
