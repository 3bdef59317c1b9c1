"""Looks for another IOC that has our prefix, and holds the presses back while one goes before us."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.instance import Instance

log = logging.getLogger(__name__)

SOON_S = 5.0
"""Time between two looks while another one is there."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Somebody who serves our `Instance` record, ourselves among them.

    Parameters
    ----------
    address
        As `192.0.2.7:5064`.
    instance
        Who it says it is; None if it does not say.
    """

    address: str
    instance: Instance | None


class Twin:
    """Watches for twins. Lives in the event loop; each look waits in a thread.

    Parameters
    ----------
    look
        Everybody who serves our `Instance` record; None switches the guard off.
    search_s
        How long a look takes.

    Attributes
    ----------
    held
        Why presses are refused here; empty while they are taken.
    trouble
        That there is another one, in a sentence; empty while there is none.
    changed
        Called when the trouble has changed.
    """

    def __init__(
        self,
        board: Board,
        zone: ZoneInfo,
        own: Instance,
        look: Callable[[], Sequence[Found]] | None,
        *,
        search_s: float,
        every_s: float,
    ) -> None:
        self.own, self.held, self.trouble = own, "", ""
        self._message: str = ""
        self.soon_s = SOON_S
        self.changed: Callable[[], None] = lambda: None
        self._board, self._zone, self._look = board, zone, look
        self._search_s, self._every_s = search_s, every_s
        self._publish(works=False)

    async def clear(self) -> None:
        """Return when nobody goes before us: presses may be taken."""
        while self._look is not None:
            await self.look()
            if not self.held:
                break
            await asyncio.sleep(self.soon_s)
        self._publish(works=True)

    async def watch(self) -> None:
        """Look again and again, without end: a network may join two halves later."""
        if self._look is None:
            return
        # Two that began in one moment may have missed each other.
        await asyncio.sleep(max(self._search_s, 1.0))
        while True:
            await self.look()
            await asyncio.sleep(min(self._every_s, self.soon_s) if self._message else self._every_s)

    async def look(self) -> None:
        """Look once, and say what was found."""
        assert self._look is not None
        try:
            found = await in_thread("look for a twin", self._look)
        except (OSError, RuntimeError, BeamtimeError) as error:  # the second: no thread can be begun
            reason = error.strerror if isinstance(error, OSError) else f"{error}"
            self._say(f"nobody can be asked for another IOC with this prefix: {reason}", Severity.MINOR)
            return
        others = [one for one in found if one.instance is None or one.instance.id != self.own.id]
        if not others:
            self.held = ""
            self._say("", Severity.NO_ALARM)
        else:
            self._judge(others)
        if self.own.works == bool(self.held):
            self._publish(works=not self.held)

    def _judge(self, others: Sequence[Found]) -> None:
        first = next((one for one in others if self._goes_before(one)), None)
        who = self._words(first or others[0])
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        prefix = self._board.records.prefix
        if first is None:
            self.held = ""
            self._say(
                f"{who}{more} serves {prefix} too; presses are taken here and refused there; end that one",
                Severity.MAJOR,
            )
            return
        self.held = f"{who}{more} serves {prefix} too"
        self._say(
            f"{self.held}; presses are refused here until it has ended; end one of the two", Severity.MAJOR
        )

    def _goes_before(self, one: Found) -> bool:
        if one.instance is None:  # whoever it is: who works goes on, who begins does not begin
            return not self.own.works
        return self.own.yields_to(one.instance)

    def _words(self, one: Found) -> str:
        if one.instance is None:
            return f"an IOC at {one.address} that does not say who it is"
        since = datetime.fromtimestamp(one.instance.since, self._zone)
        where = f"{one.instance.host} (pid {one.instance.pid}, {one.address}"
        return f"another IOC on {where}, since {since:%Y-%m-%d %H:%M:%S})"

    def _publish(self, *, works: bool) -> None:
        self.own = self.own.working(works)
        self._board.report("instance", str(self.own), QUIET)

    def _say(self, message: str, severity: Severity) -> None:
        if message != self._message:
            log.log(
                logging.ERROR if message else logging.INFO, "%s", message or "no other IOC has this prefix"
            )
        self._message = message
        trouble, self.trouble = self.trouble, message if severity is Severity.MAJOR else ""
        if trouble != self.trouble:
            self.changed()
        self._board.report("twin", message, Alarm(severity, Status.STATE, message) if message else QUIET)
