"""Looks at something outside again and again, in a thread of its own: one that hangs delays nobody else."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BeamtimeError

log = logging.getLogger(__name__)

T = TypeVar("T")

SLOWEST_S = 20.0
"""After so long whoever is asked does not answer: clients give up before, with a better sentence."""

SLOWER = 8
"""How many times longer it is, at most, between two looks at what is away."""


@dataclass(frozen=True, kw_only=True)
class Look(Generic[T]):
    """What one look came to.

    Parameters
    ----------
    asked
        When it was begun, UTC.
    seen
        None if there was no answer.
    error
        Why there was none.
    late
        Whether nothing has come in time; the same look may bring an answer yet.
    """

    asked: datetime
    seen: T | None = None
    error: BeamtimeError | None = None
    late: bool = False


class Lookout(Generic[T]):
    """Asks one thing: at its start, then periodically, and soon after `soon`. Lives in the event loop.

    There is never more than one thread: while a look hangs, the next one is not begun.

    Parameters
    ----------
    look
        Called in a thread; may raise BeamtimeError.
    tell
        Called in the event loop with each look, and once with a late one.

    Attributes
    ----------
    away
        Set by whoever is told: there is nobody to be seen. Then each wait is twice the one before, up to
        `SLOWER` times `every_s`; `soon` still has it looked at now.
    """

    def __init__(
        self, name: str, look: Callable[[], T], tell: Callable[[Look[T]], None], *, every_s: float
    ) -> None:
        self.name, self._look, self._tell = name, look, tell
        self.every_s, self.slowest_s = every_s, SLOWEST_S
        self.away = False
        self._soon = asyncio.Event()
        self._broken = False

    def soon(self) -> None:
        """Look again now, or when the look that goes on has ended."""
        self._soon.set()

    async def watch(self) -> None:
        """Look without end."""
        slower = 1
        while True:
            self._soon.clear()
            before = self.away
            await self._ask()
            slower = min(2 * slower, SLOWER) if before and self.away else 1
            with suppress(TimeoutError):
                # Not wait_for: up to Python 3.11 it loses a cancellation that comes with what it waits for.
                async with asyncio.timeout(spread(slower * self.every_s)):
                    await self._soon.wait()

    async def _ask(self) -> None:
        asked = datetime.now(UTC)
        answer = asyncio.create_task(in_thread(f"look at {self.name}", self._look))
        try:
            done, _ = await asyncio.wait({answer}, timeout=self.slowest_s)
            if not done:
                self._tell(Look(asked=asked, late=True))
                await asyncio.wait({answer})
        finally:
            answer.cancel()
        error = answer.exception()
        if error is None:
            self._broken = False
            self._tell(Look(asked=asked, seen=answer.result()))
        elif isinstance(error, BeamtimeError):
            self._tell(Look(asked=asked, error=error))
        else:
            if not self._broken:  # it is the same every time
                log.error("the look at %s failed", self.name, exc_info=error)
            self._broken = True
            problem = BeamtimeError(
                f"{self.name} cannot be looked at ({type(error).__name__})", advice="see the log of the IOC"
            )
            self._tell(Look(asked=asked, error=problem))


def spread(every_s: float) -> float:
    """A wait that is up to a tenth longer: IOCs that were started together do not go on asking together."""
    return every_s * random.uniform(1.0, 1.1)


def clock(moment: datetime, now: datetime) -> str:
    """A time in words for people on the same day: 09:12, else with its date; in the zone of `moment`."""
    local = now.astimezone(moment.tzinfo)
    return f"{moment:%H:%M}" if moment.date() == local.date() else f"{moment:%Y-%m-%d %H:%M}"
