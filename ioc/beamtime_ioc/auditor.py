"""Writes the audit beside the event loop: a press waits for its line, the rest is kept until it stands."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.audit import AT_ONCE, CHECK_ADVICE, AuditEntry, AuditLog, DamagedLine, Deed
from beamtime_ioc.board import Put, asked
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import AuditError, BeamtimeError, NotAllowedError, RefusedError
from beamtime_ioc.model import Who
from beamtime_ioc.pace import Pace, more
from beamtime_ioc.runrecord import RunRecord

log = logging.getLogger(__name__)

PRESS_LIMIT_S = 10.0
DENIED_PERIOD_S = 10.0
GATHER_S = 0.05
"""Lines that nobody waits for are written together with those that come so soon after."""
KEPT_LINES, KEPT_DENIED = 5000, 100
"""How many lines wait at most for a disk that fails; the ends of runs are kept beyond.

Puts of those without rights are counted apart: they push no line of an operator out.
"""


@dataclass(eq=False)
class _Line:
    entry: AuditEntry
    press: Future[None] | None = None
    """Of a press: pending until it is tried. It is tried once; nobody waits for it when it is cancelled."""
    denied: bool = False
    """Of somebody without rights."""


@dataclass(frozen=True, kw_only=True)
class _CatchUp:
    opened: frozenset[str]
    look: Callable[[str], RunRecord | None]
    ours: set[str] = field(default_factory=set[str])
    """Runs of this life: they come to their end by themselves."""


class Auditor:
    """One thread, which writes line after line; a disk that hangs holds that thread and nothing else.

    Parameters
    ----------
    limit_s
        How long a press waits for its line before it is refused.

    Attributes
    ----------
    written
        Called in the thread that writes, after each line; must not raise.
    """

    def __init__(self, audit_log: AuditLog, *, limit_s: float = PRESS_LIMIT_S) -> None:
        self._log, self._limit_s = audit_log, limit_s
        self._lines: deque[_Line] = deque()
        self._of_denied = 0
        self._changed = threading.Condition()
        self._due = self._urgent = self._closing = False
        self._since: float | None = None
        self._failure = self._behind = ""
        self._lost = 0
        self._denied = Pace()
        self.written: Callable[[], None] = lambda: None
        self._catch_up: _CatchUp | None = None
        self._thread: threading.Thread | None = None

    @property
    def trouble(self) -> str:
        """What is wrong with the audit now, and what to do next; empty if nothing is."""
        since = self._since
        if since is not None and (waited := time.monotonic() - since) > self._limit_s:
            return (
                f"the audit cannot be written: its disk has not answered for {waited:.0f} s; {CHECK_ADVICE}"
            )
        return self._failure or self._behind

    async def press(self, entry: AuditEntry) -> None:
        """Write the line of a press; the run is begun when this has returned, and never else.

        Raises
        ------
        RefusedError
            It could not be written, or not within the limit.
        """
        line = _Line(_with_put(entry), Future())
        with self._changed:
            if self._catch_up is not None:
                self._catch_up.ours.add(entry.run)
            self._lines.append(line)
            self._wake(urgent=True)
        assert line.press is not None
        try:
            await asyncio.wait_for(asyncio.wrap_future(line.press), self._limit_s)
        except AuditError as error:
            raise RefusedError(f"{error.sentence}, so nothing was begun", advice=error.advice) from error
        except TimeoutError:
            raise RefusedError(
                "the audit cannot be written: its disk did not answer"
                f" within {self._limit_s:g} s, so nothing was begun",
                advice=CHECK_ADVICE,
            ) from None

    def refused(self, action: str, who: Who, error: RefusedError, part: str = "", run: str = "") -> bool:
        """Note a refusal; of somebody without rights one in ten seconds, which says how many came between.

        Parameters
        ----------
        part
            Of the button's records that was put to, such as `abort`; empty for the button itself.
        run
            The run whose press may already stand there.

        Returns
        -------
        bool
            False if it is one of many, and only counted.
        """
        text = f"{part}: {error}" if part else str(error)
        denied = isinstance(error, NotAllowedError)
        if denied:
            put = asked.get()
            held = self._denied.take((who.peer, action, put.record if put else part), DENIED_PERIOD_S)
            if held is None:
                if put is not None:
                    put.noted = True
                return False
            text += more(held)
        self._keep(AuditEntry(what=Deed.REFUSED, who=who, action=action, run=run, text=text), denied=denied)
        return True

    def note_put(self, put: Put, error: RefusedError | None) -> None:
        """Note a put of which no other line speaks; see `Ledger`."""
        if error is not None:
            self.refused("", put.who, error)
        else:
            put.noted = True
            line = AuditEntry(
                what=Deed.PUT, who=put.who, action="", record=put.record, old=put.old, new=put.new
            )
            self._keep(line)

    def note(self, entry: AuditEntry) -> None:
        """Write a line; what cannot be written is kept and tried again. Returns at once, raises nothing."""
        self._keep(entry)

    def _keep(self, entry: AuditEntry, *, denied: bool = False) -> None:
        limit = KEPT_DENIED if denied else KEPT_LINES
        entry = _with_put(entry)
        with self._changed:
            waiting = self._of_denied if denied else len(self._lines) - self._of_denied
            if waiting >= limit and entry.what is not Deed.END:
                self._lost += 1
                log.error("not audited, too many lines wait: %s", entry.as_line())
                return
            self._lines.append(_Line(entry, denied=denied))
            self._of_denied += denied
            if not self._failure:  # else the clock tries again
                self._wake()

    def tick(self) -> None:
        """Try again what could not be written; called once a second."""
        with self._changed:
            if self._lines or self._catch_up is not None:
                self._wake()

    def catch_up(self, opened: Collection[str], look: Callable[[str], RunRecord | None]) -> None:
        """Write the ends that an earlier life could not, of runs pressed in this month and the last.

        Parameters
        ----------
        opened
            Runs that have not ended yet: they end in this life.
        look
            The run as the journal has it; called in the thread that writes.
        """
        with self._changed:
            self._catch_up = _CatchUp(opened=frozenset(opened), look=look)
            self._wake()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all stands on the disk; False if it could not be written."""

        def wait() -> bool:
            with self._changed:
                self._changed.wait_for(lambda: not self._lines or bool(self._failure), timeout_s)
                return not self._lines

        return await in_thread("flush of the audit", wait)

    def close(self) -> None:
        """Let the thread end after the line that it writes."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    # -- the thread -------------------------------------------------------------------------

    def _wake(self, *, urgent: bool = False) -> None:
        is_news = urgent or not self._due
        self._due, self._urgent = True, self._urgent or urgent
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
            self._thread.start()
        if is_news:
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closing)
                self._changed.wait_for(lambda: self._urgent or self._closing, GATHER_S)
                if self._closing:
                    return
                self._due = self._urgent = False
                self._since = time.monotonic()
            try:
                self._look_back()
                while self._write_first():
                    self._since = time.monotonic()
            finally:
                self._since = None

    def _write_first(self) -> bool:
        """Try the line that has waited longest, and those behind it; False if there is none, or it failed."""
        with self._changed:
            if not self._lines or self._closing:
                self._changed.notify_all()
                return False
            line = self._lines[0]
            together = [line]
            if line.press is None:
                others = islice(self._lines, 1, AT_ONCE)
                together += takewhile(lambda other: other.press is None, others)
        if line.press is None or line.press.set_running_or_notify_cancel():
            try:
                self._log.write(*(each.entry for each in together))
            except AuditError as error:
                self._fail(line, error)
                return False
            self._succeed()
            self.written()
        with self._changed:
            for _ in together:
                self._of_denied -= self._lines.popleft().denied
        if line.press is not None and not line.press.cancelled():
            line.press.set_result(None)
        return True

    def _succeed(self) -> None:
        if self._failure:
            self._failure = ""
            log.warning("the audit is written again; lines lost: %d", self._lost)
            self._lost = 0

    def _fail(self, tried: _Line, error: AuditError) -> None:
        """Refuse every press that waits; keep all else in its order."""
        if not self._failure:
            log.error("%s", error)
        with self._changed:
            self._failure = str(error)
            waiting = list(self._lines)
            self._lines = deque(line for line in waiting if line.press is None)
            self._changed.notify_all()
        for line in waiting:
            if line.press is not None and (line is tried or line.press.set_running_or_notify_cancel()):
                line.press.set_exception(AuditError(error.sentence, advice=error.advice))

    # -- what an earlier life left --------------------------------------------------------------

    def _look_back(self) -> None:
        task = self._catch_up
        if task is None:
            return
        try:
            ends = self._missing_ends(task)
        except (BeamtimeError, SQLAlchemyError, KeyError, TypeError, ValueError) as error:
            # The last three: a row that is damaged, or of another version of the program.
            reason = str(error) if isinstance(error, BeamtimeError | SQLAlchemyError) else repr(error)
            if not self._behind:
                log.error("ends of earlier runs are not audited yet: %s", reason)
            self._behind = f"ends of earlier runs are not audited yet: {reason}"
            return
        with self._changed:
            self._catch_up, self._behind = None, ""
            self._lines.extendleft(_Line(end) for end in reversed(ends))

    def _missing_ends(self, task: _CatchUp) -> list[AuditEntry]:
        this_month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        since = (this_month - timedelta(days=1)).replace(day=1)
        pressed: dict[str, AuditEntry] = {}
        refused: set[str] = set()
        for entry in self._log.read(since):
            if isinstance(entry, DamagedLine):
                log.warning("%s", entry)
            elif entry.what is Deed.PRESS:
                pressed[entry.run] = entry
            elif entry.what is Deed.END:
                pressed.pop(entry.run, None)
            elif entry.what is Deed.REFUSED:
                refused.add(entry.run)
        ends: list[AuditEntry] = []
        for run_id, press in pressed.items():
            if run_id in task.opened or run_id in task.ours:
                continue
            record, key = task.look(run_id), press.experiment
            if record is None and run_id not in refused:
                text = "not begun: the journal has no such run"
            elif record is not None and record.ended is not None:
                when = f"ended {record.ended:%Y-%m-%d %H:%M:%SZ}, written at the next start"
                text = f"{record.state}: {record.message} ({when})"
                key = record.experiment.key if record.experiment else key
            else:
                continue
            ends.append(replace(press, what=Deed.END, experiment=key, text=text, at=datetime.now(UTC)))
        return ends


def _with_put(entry: AuditEntry) -> AuditEntry:
    """The entry with the put that led to it, unless another line speaks of that already."""
    put = asked.get()
    if put is None or put.noted or entry.what is Deed.END:
        return entry
    put.noted = True
    return replace(entry, record=put.record, old=put.old, new=put.new)
