"""Looks after the runs that nobody works on, and at the disk: a thread beside the engine."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.database import reason_of
from beamtime_ioc.engine.atwork import AtWork
from beamtime_ioc.engine.engine import EngineHealth, Listener
from beamtime_ioc.engine.rows import OpenRow, Rows
from beamtime_ioc.engine.watchdog import Watchdog
from beamtime_ioc.errors import StateError
from beamtime_ioc.model import RunState, one_line
from beamtime_ioc.runrecord import first_id, pressed_at
from beamtime_ioc.stored_doubts import StoredDoubts

log = logging.getLogger(__name__)

LOOK_S, COUNT_S = 1.0, 30.0
LEAST_FREE_BYTES = 1_000_000
"""Below this nothing new is begun: what runs still has room for its end."""
WEEK = timedelta(days=7)
"""A run that failed today was pressed within it."""


class Guard:
    """Resumes what was let go, says what is stuck, and knows whether the state database works.

    Parameters
    ----------
    resume
        Puts a run back into its queue.
    besides
        What else is done with the open runs at each turn; gives troubles in sentences.
    """

    def __init__(
        self,
        rows: Rows,
        at_work: AtWork,
        watchdog: Watchdog,
        listener: Listener,
        *,
        resume: Callable[[OpenRow], None],
        besides: Callable[[Sequence[OpenRow]], Sequence[str]] = lambda _: (),
        look_s: float = LOOK_S,
    ) -> None:
        self.rows, self.at_work, self.watchdog, self.listener = rows, at_work, watchdog, listener
        self.resume, self.besides, self.look_s = resume, besides, look_s
        self.trouble = ""
        """Why the state database cannot be used; empty while it can."""
        self._file = _identity(rows.store.path)
        self._stuck: dict[str, str] = {}
        self._more: tuple[str, ...] = ()
        self._ended, self._counted = 0, ((0.0, -1, 0.0), 0)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="guard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()

    def is_stuck(self, run_id: str) -> bool:
        return run_id in self._stuck

    def forget(self, run_id: str) -> None:
        """It has ended, or goes on."""
        self._stuck.pop(run_id, None)
        self._ended += 1

    def require_room(self) -> None:
        """See that a press can be written down.

        Raises
        ------
        StateError
            It cannot; what to do next.
        """
        # DBOS would wait for its database without an end.
        if trouble := self.trouble or self._look_at_disk() or self._try(self.rows.try_to_reach):
            raise StateError(trouble, advice="then press again")

    def health(self, midnight: datetime) -> EngineHealth:
        """What the records show of the engine."""
        trouble = self.trouble or self._look_at_disk() or self._try(self.rows.try_to_read)
        if trouble:
            return EngineHealth(works=False, troubles=(trouble, *self._troubles()))
        rows = self.rows.open()
        oldest = min((pressed_at(row.run_id).timestamp() for row in rows), default=None)
        return EngineHealth(
            queued=sum(row.waits for row in rows),
            oldest_open_s=0.0 if oldest is None else max(0.0, time.time() - oldest),
            failed_today=self._failed(midnight),
            unsure=StoredDoubts(self.rows.store).count_open(),
            troubles=self._troubles(),
        )

    def _troubles(self) -> tuple[str, ...]:
        stuck = dict(self._stuck)
        if len(stuck) <= 1:
            words = tuple(f"run {run_id} is stuck: {sentence}" for run_id, sentence in stuck.items())
            return (*words, *self._more)
        words = [f"{run_id}: {sentence}" for run_id, sentence in sorted(stuck.items())]
        return (f"{len(stuck)} runs are stuck; " + "; ".join(words), *self._more)

    def _failed(self, midnight: datetime) -> int:
        # What other hosts end is seen half a minute late.
        key = (midnight.timestamp(), self._ended, time.monotonic() // COUNT_S)
        if self._counted[0] != key:
            first = first_id(midnight - WEEK)
            self._counted = (key, self.rows.failed_since(first, midnight.timestamp()))
        return self._counted[1]

    def _watch(self) -> None:
        while not self._end.wait(self.look_s):
            try:
                self._more = tuple(self.besides(self._look()))
            except SQLAlchemyError as error:
                self._say_trouble(self._sentence(error))
            except StateError as error:
                self._say_trouble(str(error))
            except Exception:  # the thread must live as long as the program
                log.exception("the guard of the runs")

    def _look(self) -> Sequence[OpenRow]:
        kept = self.at_work.kept()
        trouble = self._look_at_disk()
        if not trouble and (kept or self.trouble):
            trouble = self._try(self.rows.try_to_write)
        self._say_trouble(trouble)
        rows = self.rows.open()
        findings = self.watchdog.look(rows, self.at_work.live(), kept, time.monotonic(), writable=not trouble)
        by_id: Mapping[str, OpenRow] = {row.run_id: row for row in rows}
        for finding in findings:
            if finding.resume:
                log.warning("run %s: %s", finding.run_id, finding.sentence)
                self.listener.on_stuck(finding.run_id, finding.sentence)
                self._stuck.pop(finding.run_id, None)
                self.resume(by_id[finding.run_id])
            elif self._stuck.get(finding.run_id) != finding.sentence:
                log.error("run %s is stuck: %s", finding.run_id, finding.sentence)
                self._stuck[finding.run_id] = finding.sentence
                self.listener.on_stuck(finding.run_id, finding.sentence)
        found = {finding.run_id for finding in findings}
        for run_id in [run_id for run_id in self._stuck if run_id not in found]:
            del self._stuck[run_id]
        return rows

    def _say_trouble(self, trouble: str) -> None:
        if trouble == self.trouble:
            return
        was, self.trouble = self.trouble, trouble
        if trouble:
            log.error("%s", trouble)
            for run_id in self.at_work.working():
                self.listener.on_stuck(run_id, trouble)
        elif was:
            log.warning("the state database can be used again")
            for run_id in self.at_work.working():
                self.listener.on_state(run_id, RunState.RUNNING)

    def _look_at_disk(self) -> str:
        if self.rows.store.is_postgresql:
            return ""  # its disk is elsewhere
        directory = self.rows.store.directory
        if _identity(self.rows.store.path) != self._file:
            return (
                f"the state database {self.rows.store.path} was removed or replaced while the program works, "
                "and what it writes now is lost: end it, put the file back, start again"
            )
        try:
            found = os.statvfs(directory)
        except OSError as error:
            return f"the state directory {directory} cannot be looked at: {error.strerror}; see its disk"
        if found.f_bavail * found.f_frsize >= LEAST_FREE_BYTES:
            return ""
        return (
            f"the disk of the state directory {directory} is full: make room, at least "
            f"{LEAST_FREE_BYTES // 1_000_000} MB; what was begun goes on by itself"
        )

    def _try(self, look: Callable[[], None]) -> str:
        try:
            look()
        except SQLAlchemyError as error:
            return self._sentence(error)
        return ""

    def _sentence(self, error: SQLAlchemyError) -> str:
        why = one_line(reason_of(error), 200)
        name = self.rows.store.name
        return f"the state database {name} cannot be used: {why}; what was begun goes on by itself"


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, whatever is written to it; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
