"""Tells the ends of runs when they are on the disk, not before: a thread beside the engine."""

import logging
import threading
import time
from dataclasses import dataclass
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.database import reason_of
from beamtime_ioc.engine.atwork import AtWork
from beamtime_ioc.engine.engine import Listener, Outcome
from beamtime_ioc.engine.guard import Guard
from beamtime_ioc.engine.rows import Rows
from beamtime_ioc.errors import Kept

log = logging.getLogger(__name__)

WRITTEN_S = 5.0
"""In this time an outcome is on the disk, or it counts as not written."""

FIRST_S, LONGEST_S, LATE_S = 0.002, 0.05, 0.5
UNWRITTEN_END = Kept(
    "it has come to its end, but that cannot be written down; it is tried again by itself", by_itself=True
)


@dataclass
class _End:
    outcome: Outcome
    since: float
    late: bool = False


class Teller:
    """Asks for all runs that are about to end in one query."""

    def __init__(self, rows: Rows, at_work: AtWork, guard: Guard, listener: Listener) -> None:
        self.rows, self.at_work, self.guard, self.listener = rows, at_work, guard, listener
        self._ends: dict[str, _End] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="teller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def expect(self, run_id: str, outcome: Outcome) -> None:
        """The handler has ended; its outcome is on its way to the disk."""
        with self._changed:
            self._ends[run_id] = _End(outcome, time.monotonic())
            self._changed.notify()

    def _work(self) -> None:
        while not self._stopped:
            try:
                self._tell_all()
            except Exception:  # the thread must live as long as the program
                log.exception("the teller of ends")
                threading.Event().wait(LATE_S)

    def _tell_all(self) -> None:
        pause_s = FIRST_S
        while True:
            with self._changed:
                if not self._ends:
                    pause_s = FIRST_S
                    self._changed.wait_for(lambda: self._ends or self._stopped)
                if self._stopped:
                    return
                ends = dict(self._ends)
            late, known = all(end.late for end in ends.values()), len(ends)
            with self._changed:  # a new end does not wait for the late ones
                self._changed.wait_for(partial(self._has_more_than, known), pause_s)
            told = self._tell(ends)
            pause_s = FIRST_S if told else LATE_S if late else min(2 * pause_s, LONGEST_S)

    def _has_more_than(self, known: int) -> bool:
        return len(self._ends) > known

    def _tell(self, ends: dict[str, _End]) -> bool:
        try:
            ended = self.rows.ended_of(list(ends))
        except SQLAlchemyError as error:
            log.debug("ends of runs: %s", reason_of(error))
            ended = frozenset[str]()
        for run_id, end in ends.items():
            if run_id in ended:
                self._forget(run_id, end)
                self.at_work.ended(run_id)
                self.guard.forget(run_id)
                self.listener.on_end(run_id, end.outcome)
            elif end.late:
                if self.at_work.kept().get(run_id) is not UNWRITTEN_END:
                    self._forget(run_id, end)  # it was begun again: that execution has an end of its own
            elif time.monotonic() - end.since > WRITTEN_S:
                end.late = True
                self.at_work.keep(run_id, UNWRITTEN_END)
                self.listener.on_stuck(run_id, UNWRITTEN_END.sentence)
        return bool(ended)

    def _forget(self, run_id: str, end: _End) -> None:
        with self._changed:
            if self._ends.get(run_id) is end:
                del self._ends[run_id]
