"""The schedule port over the API's paths."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from beamtime_handlers.clients.aps_schedule.replies import SOURCE, parse_cycles, parse_schedule
from beamtime_handlers.clients.replies import parse
from beamtime_handlers.clients.web import Web
from beamtime_ioc.errors import NotFoundError
from beamtime_ioc.model import Beamtime, Cycle
from beamtime_ioc.ports import Health

CYCLES_KEPT_S = 3600.0
"""The list of run cycles is asked for again after so long."""
CYCLES_SEARCHED = 30
"""The newest cycles, in which one id is looked for: ten years; each is a question."""


class ApsSchedule:
    """Who is on one beamline when, as the APS has scheduled it.

    Parameters
    ----------
    beamline
        As the service names it: `99-BM-A,B`.
    cycle
        Look in this run cycle only, whatever its dates: for a time between the cycles that is scheduled
        nevertheless.
    clock
        Seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        web: Web,
        *,
        beamline: str,
        cycle: str | None = None,
        early_min: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.web, self.beamline, self.cycle, self.early_min = web, beamline, cycle, early_min
        self.clock = clock
        self._cycles: tuple[float, tuple[Cycle, ...]] | None = None

    def check(self) -> Health:
        """Ask which beamlines our credentials may see."""
        return Health.of(self._look)

    def _look(self) -> str:
        body = self.web.get(
            "userBeamlineAuthorizedEdit", "getAuthorizedBeamlines", what="the authorised beamlines"
        )
        parse(list[object], body, self.web.service)
        return f"{self.web.service} accepts our credentials"

    def cycles(self) -> Sequence[Cycle] | None:
        """All run cycles, asked once an hour; None where the site file names one."""
        return None if self.cycle else self._all_cycles()

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        """Beamtimes that overlap `[start, end)`, sorted by start, then id.

        What is no user beamtime has neither a proposal nor people. A beamtime with a pause in it is listed
        once for each part.
        """
        if self.cycle:
            names = [self.cycle]
        else:
            names = [c.name for c in self._all_cycles() if c.start < end and start < c.end]
        listed = [beamtime for name in names for beamtime in self._schedule(name)]
        # Cycles may overlap: what stands in both is one.
        unique = {(b.id, b.start, b.end): b for b in reversed(listed) if b.start < end and start < b.end}
        return sorted(unique.values(), key=lambda b: (b.start, b.id))

    def by_id(self, key: str) -> Beamtime | None:
        """The beamtime with this number, its last part where it has several, out of the newest cycles.

        Raises
        ------
        NotFoundError
            It is in none of those that were looked in, and there are others.
        ServiceUnavailableError, ServiceDeniedError, BadResponseError
        """
        wanted = key.removeprefix(f"{SOURCE}:")
        if self.cycle:
            if found := self._last_part(wanted, self.cycle):
                return found
            raise NotFoundError(
                f"there is no beamtime {wanted} of {self.beamline} in {self.cycle}",
                advice="no other cycle was looked in, as schedule.cycle of the site file says",
            )
        newest = [cycle.name for cycle in self._all_cycles()[::-1]]
        for name in newest[:CYCLES_SEARCHED]:
            if found := self._last_part(wanted, name):
                return found
        if len(newest) <= CYCLES_SEARCHED:
            return None
        raise NotFoundError(
            f"there is no beamtime {wanted} of {self.beamline} in the {CYCLES_SEARCHED} newest run cycles",
            advice=f"for an older one write its cycle, older than {newest[CYCLES_SEARCHED - 1]}, into "
            "schedule.cycle of the site file and start again",
        )

    def _last_part(self, wanted: str, cycle: str) -> Beamtime | None:
        found = [beamtime for beamtime in self._schedule(cycle) if beamtime.id == wanted]
        return max(found, key=lambda b: b.start, default=None)

    def _all_cycles(self) -> tuple[Cycle, ...]:
        if self._cycles is None or self.clock() - self._cycles[0] > CYCLES_KEPT_S:
            body = self.web.get("run", "getAllRuns", what="the run cycles")
            cycles = parse_cycles(body, self.web.service)
            self._cycles = (self.clock(), tuple(sorted(cycles, key=lambda c: (c.start, c.name))))
        return self._cycles[1]

    def _schedule(self, cycle: str) -> list[Beamtime]:
        # Its activity endpoints miss beamtimes whose first choice is another beamline, and those that are not
        # finalised yet.
        body = self.web.get(
            "schedule",
            "findByRunNameAndScheduleName",
            cycle,
            self.beamline,
            what=f"{self.beamline} in {cycle}",
        )
        return parse_schedule(body, self.web.service, cycle=cycle, beamline=self.beamline)
