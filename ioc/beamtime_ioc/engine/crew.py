"""The workers of named queues, on other hosts: who takes over from whom, and what the IOC hears of them."""

import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

import sqlalchemy as sa

from beamtime_ioc.engine.engine import Listener, Outcome
from beamtime_ioc.engine.rows import OpenRow, Rows
from beamtime_ioc.errors import StateError
from beamtime_ioc.executors import ExecutorLock
from beamtime_ioc.journal import Journal
from beamtime_ioc.model import Json, RunState, from_json, to_json
from beamtime_ioc.progress import Progress
from beamtime_ioc.store import Store, transaction
from beamtime_ioc.tables import reports, workers

log = logging.getLogger(__name__)

REPORT_S = 1.0
LOOK_AT_WORKERS_S = 5.0
SURE_S = 3.0
"""So long a name must be free before its runs are taken over: its holder notices within 1.5 s."""


class Reporter:
    """A worker's listener: what its runs show goes into the database, at most once a second each."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._new: dict[str, Progress] = {}
        self._written: dict[str, float] = {}
        self._lock, self._writing = threading.Lock(), threading.Lock()

    def on_state(self, run_id: str, state: RunState) -> None:
        log.info("run %s: %s", run_id, state)

    def on_stuck(self, run_id: str, sentence: str) -> None:
        log.error("run %s is stuck: %s", run_id, sentence)

    def on_progress(self, run_id: str, progress: Progress) -> None:
        with self._lock:
            self._new[run_id] = progress
        self.write(run_id)

    def on_end(self, run_id: str, outcome: Outcome) -> None:
        log.info("run %s: %s: %s", run_id, outcome.state, outcome.message)
        with self._lock:  # its last lines stand in its rows, where the IOC reads them
            self._new.pop(run_id, None)
            self._written.pop(run_id, None)

    def write_all(self) -> None:
        """Write what is new and was held back."""
        for run_id in list(self._new):
            self.write(run_id)

    def write(self, run_id: str) -> None:
        """Write the news of a run, unless it was written just now."""
        with self._writing:  # one after another: an old report must not come after a newer one
            with self._lock:
                now = time.monotonic()
                if run_id not in self._new or now - self._written.get(run_id, -REPORT_S) < REPORT_S:
                    return
                self._written[run_id] = now
                progress = self._new.pop(run_id)
            text = json.dumps(to_json(progress))
            try:
                with transaction(self.store) as db:
                    db.execute(reports.delete().where(reports.c.run_id == run_id))
                    db.execute(reports.insert().values(run_id=run_id, progress=text))
            except StateError as error:
                log.warning("run %s: its progress cannot be written: %s", run_id, error)
                with self._lock:
                    self._new.setdefault(run_id, progress)


class Crew:
    """The names of the workers, and which of them are alive.

    Parameters
    ----------
    lock
        Held by this process under its own name: the way to ask for the others.
    """

    def __init__(self, store: Store, lock: ExecutorLock) -> None:
        self.store, self.lock = store, lock
        self._dead_since: dict[str, float] = {}

    def join(self, queue: str) -> None:
        """Say that this process works on a queue."""
        with transaction(self.store) as db:
            db.execute(workers.delete().where(workers.c.executor == self.lock.executor))
            now = datetime.now(UTC).isoformat()
            db.execute(workers.insert().values(executor=self.lock.executor, queue=queue, since=now))

    def members(self) -> Mapping[str, str]:
        """The queue of every worker that ever joined, by its name."""
        with transaction(self.store) as db:
            return {row.executor: row.queue for row in db.execute(sa.select(workers))}

    def dead(self, executors: Collection[str]) -> Collection[str]:
        """Those whose process does not live any more."""
        found: list[str] = []
        for executor in executors:
            with self.lock.try_other(executor) as is_dead:
                if is_dead:
                    found.append(executor)
        return found

    def take_over(
        self, rows: Sequence[OpenRow], queues: Collection[str], resume: Callable[[OpenRow], None]
    ) -> None:
        """Put the runs of dead workers of these queues back into their queue; live ones are never robbed.

        A worker whose connection was cut lives on for a moment: its name must have been free for a while.
        """
        begun = [
            row
            for row in rows
            if row.queue in queues and not row.waits and row.executor != self.lock.executor
        ]
        executors = {row.executor for row in begun}
        self._dead_since = {one: since for one, since in self._dead_since.items() if one in executors}
        for executor in executors:
            with self.lock.try_other(executor) as is_dead:
                if not is_dead:
                    self._dead_since.pop(executor, None)
                    continue
                now = time.monotonic()
                if now - self._dead_since.setdefault(executor, now) < SURE_S:
                    continue
                self.store.disown(executor)
                for row in begun:
                    if row.executor == executor:
                        log.warning("run %s is taken over from %s, who is dead", row.run_id, executor)
                        resume(row)


@dataclass
class _Followed:
    state: RunState = RunState.QUEUED
    progress: str = ""
    stuck: str = ""


class Follower:
    """Tells the IOC's listener of runs that other processes work on.

    Parameters
    ----------
    own
        The queues that this process works on itself.
    """

    def __init__(self, rows: Rows, crew: Crew, listener: Listener, own: Collection[str]) -> None:
        self.rows, self.crew, self.listener, self.own = rows, crew, listener, own
        self.troubles: tuple[str, ...] = ()
        self._runs: dict[str, _Followed] = {}
        self._lock = threading.Lock()
        self._looked, self._dead, self._lonely = -LOOK_AT_WORKERS_S, frozenset[str](), frozenset[str]()

    def expect(self, run_id: str) -> None:
        """A run was put into the queue of others."""
        with self._lock:
            self._runs.setdefault(run_id, _Followed())

    def look(self, rows: Sequence[OpenRow]) -> None:
        """Tell what is new; called about once a second."""
        others = {row.run_id: row for row in rows if row.queue and row.queue not in self.own}
        for run_id in others:
            self.expect(run_id)
        self._look_at_workers(others)
        with self._lock:
            followed = dict(self._runs)
        written = self._reports(list(followed))
        for run_id, known in followed.items():
            try:
                self._tell(run_id, known, others.get(run_id), written.get(run_id, ""))
            except ValueError as error:  # what one worker wrote must not hide the others' runs
                log.error("run %s: what its worker wrote cannot be read: %s", run_id, error)

    def _tell(self, run_id: str, known: _Followed, row: OpenRow | None, written: str) -> None:
        self._tell_progress(run_id, known, written)
        if row is not None:
            self._tell_state(row, known)
        elif self.rows.status(run_id) not in ("ENQUEUED", "PENDING"):
            self._tell_end(run_id, known)

    def _look_at_workers(self, others: Mapping[str, OpenRow]) -> None:
        now = time.monotonic()
        if not others or now - self._looked < LOOK_AT_WORKERS_S:
            self.troubles = self.troubles if others else ()
            return
        self._looked = now
        members = self.crew.members()
        at_work = {row.executor for row in others.values() if not row.waits}
        self._dead = frozenset(self.crew.dead({*members, *at_work}))
        alive = {queue for executor, queue in members.items() if executor not in self._dead}
        self._lonely = frozenset(row.queue for row in others.values()) - alive
        self.troubles = tuple(
            f"runs wait for the queue {queue} and none of its workers is alive: start one, "
            f"beamtime worker SITE.yaml --queue {queue}"
            for queue in sorted(self._lonely)
        )

    def _tell_state(self, row: OpenRow, known: _Followed) -> None:
        if not row.waits and row.executor in self._dead and row.queue in self._lonely:
            stuck = (
                f"{row.executor}, which worked on it, is dead; it goes on when a worker of the queue "
                f"{row.queue} is started: beamtime worker SITE.yaml --queue {row.queue}"
            )
            if known.stuck != stuck:
                known.stuck = stuck
                self.listener.on_stuck(row.run_id, stuck)
            return
        state = RunState.QUEUED if row.waits else RunState.ABORTING if row.aborted else RunState.RUNNING
        if state is not known.state or known.stuck:
            known.state, known.stuck = state, ""
            self.listener.on_state(row.run_id, state)

    def _tell_progress(self, run_id: str, known: _Followed, written: str) -> None:
        if written and written != known.progress:
            known.progress = written
            self.listener.on_progress(run_id, from_json(Progress, cast(Json, json.loads(written))))

    def _tell_end(self, run_id: str, known: _Followed) -> None:
        stored, note = self.rows.outcome(run_id)
        if stored is not None:
            outcome = from_json(Outcome, stored)
        else:
            outcome = Outcome(state=RunState.ABORTED, message=note)
        last = from_json(Progress, cast(Json, json.loads(known.progress or "{}")))
        steps = tuple(Journal(self.rows.store.engine).steps(run_id))  # the last report may lack some
        with transaction(self.rows.store) as db:
            db.execute(reports.delete().where(reports.c.run_id == run_id))
        with self._lock:
            del self._runs[run_id]
        self.listener.on_progress(run_id, replace(last, steps=steps))
        self.listener.on_end(run_id, outcome)

    def _reports(self, run_ids: Sequence[str]) -> Mapping[str, str]:
        if not run_ids:
            return {}
        with transaction(self.rows.store) as db:
            found = db.execute(sa.select(reports).where(reports.c.run_id.in_(run_ids))).all()
        return {row.run_id: row.progress for row in found}
