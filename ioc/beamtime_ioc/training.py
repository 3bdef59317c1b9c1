"""The faults of a facility in a box as records, for training without a beamline. Lives in the event loop."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board, Cell
from beamtime_ioc.boxcontrol import BoxControl, BoxState
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import NotAllowedError, NotReadyError, RefusedError, ServiceError
from beamtime_ioc.knobs import meant, shown
from beamtime_ioc.lookout import Look, Lookout
from beamtime_ioc.model import Json, Who, one_line
from beamtime_ioc.ports import Health
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

T = TypeVar("T")

PERIOD_S = 2.0
LATE_S = 4.0
PUT_S = 5.0
"""The longest that a put waits for the box, and for the puts before it."""
REFUSAL_S = 60.0
"""How long a refusal stays on `SimMessage`, unless a put is taken before."""
SHOWN_CHARACTERS = 60


class Training:
    """Binds the records of the knobs to a box.

    What is shown is what the box said last: after a put its own answer, and every two seconds, so that what
    others turn is seen. At most one look and one put are under way, each in a thread.
    """

    def __init__(self, board: Board, box: BoxControl, *, period_s: float = PERIOD_S) -> None:
        self.board, self.box = board, box
        self.put_s, self.refusal_s = PUT_S, REFUSAL_S
        self.knobs = {cell.record.knob: cell for cell in board.cells.values() if cell.record.knob}
        self._reports = {word: board.cells[record.name] for word, record in board.records.reports("training")}
        self._what = f"training: faults by the box at {box.url}"
        self.lookout = Lookout("the box", self._look, self._told, every_s=period_s)
        self.lookout.slowest_s = LATE_S
        self._defaults: Mapping[str, Json] = {}
        self._turned: Mapping[str, Json] = {}
        self._trouble = f"the box at {box.url} has not answered yet"
        self._refusal, self._refused_until = "", 0.0
        self._puts = 0
        self._turn = asyncio.Lock()
        self._bind()
        log.warning("%s", self._what)

    def _bind(self) -> None:
        for cell in self.knobs.values():
            cell.hook, cell.refused = self._on_put, self._on_refused
        asked = self.board.records.ask("reset-knobs")
        if asked is not None:
            cell = self.board.cells[asked.name]
            cell.hook, cell.refused = self._on_reset, self._on_refused

    def check(self) -> Health:
        """As a service: whether the box answers."""
        began = time.monotonic()
        self.box.state()
        return Health(ok=True, sentence=self._what, latency_s=time.monotonic() - began)

    # -- what is put ----------------------------------------------------------------------------

    async def _on_put(self, cell: Cell, value: Value, who: Who) -> None:
        knob = cell.record.knob
        assert knob is not None
        try:
            wanted = meant(cell.record, value, self._default(knob))
            values = await self._ask(partial(self.box.turn, knob, wanted))
        except RefusedError as error:
            self._on_refused(who, error)
            raise
        log.info("training: %s is %s, by %s", knob, _word(values.get(knob)), who)
        self._show(values)

    async def _on_reset(self, cell: Cell, value: Value, who: Who) -> None:
        if not value:
            return
        cell.set(1)
        try:
            values = await self._ask(self.box.reset)
        except RefusedError as error:
            self._on_refused(who, error)
            raise
        finally:
            cell.set(0)
        log.info("training: every fault taken back, by %s", who)
        self._show(values)

    def _default(self, knob: str) -> Json:
        if not self._defaults:
            raise NotReadyError(self._trouble)
        return self._defaults.get(knob)

    async def _ask(self, ask: Callable[[], T]) -> T:
        """Ask in a thread, behind the puts before.

        Raises
        ------
        RefusedError
            The box refuses, or does not answer in time.
        """
        self._puts += 1  # what a look has seen before is old by now
        try:
            async with asyncio.timeout(self.put_s), self._turn:
                answer = await in_thread("put to the box", ask)
        except ServiceError as error:
            self._lose(str(error))
            raise NotReadyError(error.sentence, advice=error.advice) from error
        except TimeoutError:
            late = NotReadyError(
                f"the box at {self.box.url} did not answer within {self.put_s:g} s",
                advice="what it took is shown when it answers again; else end it and start it again",
            )
            self._lose(str(late))
            raise late from None
        finally:
            self._puts += 1
            self.lookout.soon()
        self._refusal, self._trouble = "", ""
        return answer

    def _on_refused(self, who: Who, error: RefusedError) -> None:
        if isinstance(error, NotAllowedError | NotReadyError):
            return  # who may not turn a knob writes on no screen; that the box is silent stands there already
        self._refusal, self._refused_until = f"refused: {error}", time.monotonic() + self.refusal_s
        self._say()

    # -- what is seen ---------------------------------------------------------------------------

    def _look(self) -> tuple[int, BoxState]:
        puts = self._puts
        return puts, self.box.state()

    def _told(self, look: Look[tuple[int, BoxState]]) -> None:
        if look.seen is None:
            self._lose(str(look.error or self.box.silence()))
            return
        puts, state = look.seen
        self._trouble, self._defaults = "", state.defaults
        for word, count in (("requests", state.requests), ("mails", state.mails)):
            if word in self._reports:
                self._reports[word].show(min(count, 2**31 - 1))
        if puts == self._puts:
            self._show(state.knobs)
        else:
            self.lookout.soon()

    def _lose(self, trouble: str) -> None:
        """What was shown last stays to be read; that it is old, the alarm says."""
        if trouble != self._trouble:
            log.warning("training: %s", trouble)
        self._trouble = trouble
        alarm = Alarm(Severity.INVALID, Status.COMM, trouble)
        counts = [cell for word, cell in self._reports.items() if word != "message"]
        for cell in (*self.knobs.values(), *counts):
            cell.show(cell.value, alarm)
        self._say()

    def _show(self, values: Mapping[str, Json]) -> None:
        self._turned = {
            knob: value
            for knob, value in values.items()
            if knob in self._defaults and value != self._defaults[knob]
        }
        for knob, cell in self.knobs.items():
            self._show_knob(cell, knob, values)
        self._say()

    def _show_knob(self, cell: Cell, knob: str, values: Mapping[str, Json]) -> None:
        if knob not in values:
            words = f"the box at {self.box.url} has no knob {knob}; it is of another version: start it again"
            cell.show(cell.value, Alarm(Severity.INVALID, Status.COMM, words))
            return
        alarm = QUIET
        if knob in self._turned:
            alarm = Alarm(Severity.MINOR, Status.STATE, "turned; SimReset takes all knobs back")
        try:
            cell.show(shown(cell.record, values[knob]), alarm)
        except ValueError:
            words = f"the box has {_word(values[knob])}, which this record cannot show"
            cell.show(cell.value, Alarm(Severity.INVALID, Status.STATE, words))

    def _say(self) -> None:
        if self._trouble:
            self._message(self._trouble, Severity.INVALID)
        elif self._refusal and time.monotonic() < self._refused_until:
            self._message(self._refusal, Severity.MINOR)
        else:
            on = ", ".join(f"{knob} = {_word(value)}" for knob, value in self._turned.items())
            severity = Severity.MINOR if on else Severity.NO_ALARM
            self._message(f"{self._what}; {f'on: {on}' if on else 'none is on'}", severity)

    def _message(self, sentence: str, severity: Severity) -> None:
        status = Status.COMM if severity is Severity.INVALID else Status.STATE
        alarm = Alarm(severity, status, sentence) if severity is not Severity.NO_ALARM else QUIET
        if "message" in self._reports:
            self._reports["message"].show(sentence, alarm)


def _word(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, SHOWN_CHARACTERS)
