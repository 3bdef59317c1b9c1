"""How the engine stands, on its records: asked every two seconds, and nobody else waits for the answer."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, time
from zoneinfo import ZoneInfo

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.engine.engine import Engine, EngineHealth
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.progress import RunView

log = logging.getLogger(__name__)

ENGINE_STATES = ("Starting", "Running", "Stopping", "Failed")
PERIOD_S, SLOWEST_S = 2.0, 5.0
LOOK = "look at its disk and at the log; it goes on by itself when it can"

Trouble = Callable[[], str]
"""A sentence, or an empty text while all is well. Called in the event loop: must return at once."""


class Health:
    """Keeps the engine's records like the engine. Lives in the event loop.

    At most one question is open: while the database hangs, no second thread waits for it.

    Parameters
    ----------
    others
        What else may be in trouble, such as the audit.
    """

    def __init__(self, board: Board, zone: ZoneInfo, others: Sequence[Trouble] = ()) -> None:
        self.board, self.zone, self.others = board, zone, others
        self.period_s, self.slowest_s = PERIOD_S, SLOWEST_S
        self._question: asyncio.Task[EngineHealth] | None = None
        self._told = asyncio.Event()
        self._message = ""
        self._troubles: Sequence[str] = ()
        self.answered: list[Callable[[bool], None]] = []
        """Told of each answer of the engine, and whether it works; silence is no answer."""
        for progress in board.progress.values():
            progress.watchers.append(lambda reading: self._follow(reading.value))

    async def watch(self, engine: Engine) -> None:
        """Ask without end."""
        try:
            while True:
                self._told.clear()
                await self._ask(engine)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.period_s):
                        await self._told.wait()
        finally:
            if self._question is not None:
                self._question.cancel()

    def tell(self) -> None:
        """Let it ask at once: something has changed."""
        self._told.set()

    def _follow(self, view: RunView) -> None:
        if view.state.ended:
            self.tell()

    async def _ask(self, engine: Engine) -> None:
        if self._question is None:
            midnight = datetime.combine(datetime.now(self.zone).date(), time(), self.zone)
            self._question = asyncio.create_task(in_thread("health", engine.health, midnight))
        question = self._question
        done, _ = await asyncio.wait({question}, timeout=self.slowest_s)
        if not done:
            self._fail(f"the state database does not answer within {self.slowest_s:g} s; {LOOK}")
            return
        self._question = None
        error = question.exception()
        for told in self.answered:
            told(error is None and question.result().works)
        if isinstance(error, BeamtimeError):
            self._fail(str(error))
        elif error is not None:
            self._fail(f"the state database cannot be used ({type(error).__name__}); {LOOK}")
        else:
            self._show(question.result())

    def _fail(self, sentence: str) -> None:
        self.show_state("Failed")
        self._say([sentence])

    def _show(self, health: EngineHealth) -> None:
        self.show_state("Running" if health.works else "Failed")
        if health.works:  # else nobody knows them: what was known last stays
            self.board.report("oldest-pending", health.oldest_open_s)
            self.board.report("failed-today", health.failed_today)
            unsure = f"{health.unsure} unanswered; answer with Resolve at the action, or beamtime resolve"
            self.board.report("unknown", health.unsure, Alarm(message=unsure))  # how bad: its HIGH and HSV
        silent = not health.works and not health.troubles
        self._say([f"the state database cannot be written; {LOOK}"] if silent else health.troubles)

    def show_state(self, state: str) -> None:
        """Show the engine's state: one of `ENGINE_STATES`."""
        self.board.report("state", ENGINE_STATES.index(state))

    def say_again(self) -> None:
        """Something besides the engine has changed: also before the engine is asked for the first time."""
        self._say(self._troubles)

    def _say(self, troubles: Sequence[str]) -> None:
        self._troubles = troubles
        message = "\n".join([*troubles, *filter(None, (other() for other in self.others))])
        self.board.report("message", message, _major(message) if message else QUIET)
        if message != self._message:
            self._message = message
            log.log(logging.ERROR if message else logging.INFO, "engine: %s", message or "all is well again")


def _major(sentence: str) -> Alarm:
    return Alarm(Severity.MAJOR, Status.STATE, sentence)
