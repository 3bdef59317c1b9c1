"""The schedule port over the API: a proposal by its number, and nobody by the clock."""

import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from beamtime_handlers.clients.nsls2_schedule.replies import SOURCE, Proposal, parse_cycle, parse_proposal
from beamtime_handlers.clients.web import Web
from beamtime_ioc.errors import BadResponseError, ChooseByIdError, WrongProposalError
from beamtime_ioc.model import Beamtime, Cycle, local_time
from beamtime_ioc.ports import Health

CYCLE_KEPT_S = 3600.0


class Nsls2Schedule:
    """The proposals that may be measured at one beamline.

    Parameters
    ----------
    instrument
        The beamline as proposals name it; in any case of letters.
    cycle
        Counts instead of the service's current one.
    days
        How long a proposal is on beam from midnight of the day on which it is asked for, in days.
    clock
        The time now, in UTC.
    """

    early_min = 0.0

    def __init__(
        self,
        web: Web,
        *,
        facility: str,
        instrument: str,
        zone: ZoneInfo,
        cycle: str | None = None,
        days: int = 7,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.web, self.facility, self.instrument, self.zone = web, facility, instrument, zone
        self.cycle, self.days, self.clock = cycle, days, clock
        self._cycle: tuple[float, str] | None = None

    def check(self) -> Health:
        """Ask which cycle is the current one."""
        return Health.of(self._look)

    def _look(self) -> str:
        return f"{self.web.service} is in cycle {self._ask_cycle()}; proposals are chosen by their number"

    def cycles(self) -> Sequence[Cycle] | None:
        """None: the API gives names and no dates."""
        return None

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        """Never known here.

        Raises
        ------
        ChooseByIdError
        """
        raise ChooseByIdError(
            f"{self.web.service} does not say who is on beam",
            advice="the earlier values stay; choose the proposal by its number",
        )

    def by_id(self, key: str) -> Beamtime | None:
        """The proposal with this number, also as `pass-312345`, for so many days from today.

        Raises
        ------
        WrongProposalError
            It is for another beamline or cycle.
        ServiceUnavailableError, ServiceDeniedError, BadResponseError
        """
        number = key.strip().removeprefix(f"{SOURCE}:").removeprefix("pass-")
        if not re.fullmatch(r"[0-9]{1,12}", number):
            return None
        body = self.web.find("proposal", number, what=f"proposal {number}")
        if body is None:
            return None
        proposal = parse_proposal(body, self.web.service)
        if proposal.number != number:
            raise BadResponseError(
                f"{self.web.service} answered with proposal {proposal.number}, asked for {number}",
                advice="look whether schedule.url is right, or tell its maintainers",
            )
        cycle = self.cycle or self._current_cycle()
        self._refuse_wrong(proposal, cycle)
        start, end = self._dates()
        return proposal.beamtime(start=start, end=end, cycle=cycle, beamline=self.instrument)

    def _refuse_wrong(self, proposal: Proposal, cycle: str) -> None:
        at = [instrument.lower() for instrument in proposal.instruments]
        if self.instrument.lower() not in at:
            where = " and ".join(proposal.instruments) or "no beamline"
            raise WrongProposalError(
                f"proposal {proposal.number} is for {where}, not for {self.instrument}",
                advice="look at the number; if it is right, have the user office add the beamline",
            )
        # Commissioning belongs to the staff, and to no cycle.
        if cycle not in proposal.cycles and "commissioning" not in proposal.type.lower():
            when = " and ".join(proposal.cycles) or "no cycle"
            raise WrongProposalError(
                f"proposal {proposal.number} is for {when}, now is {cycle}",
                advice="look at the number; if it is right, have the user office add the cycle, "
                "or name the cycle by schedule.cycle",
            )

    def _dates(self) -> tuple[datetime, datetime]:
        today = self.clock().astimezone(self.zone).replace(tzinfo=None)
        midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
        end = midnight + timedelta(days=self.days)
        return local_time(midnight, self.zone, fold=0), local_time(end, self.zone, fold=0)

    def _current_cycle(self) -> str:
        if self._cycle is None or time.monotonic() - self._cycle[0] > CYCLE_KEPT_S:
            return self._ask_cycle()
        return self._cycle[1]

    def _ask_cycle(self) -> str:
        body = self.web.get("facility", self.facility, "cycles", "current", what="the current cycle")
        cycle = parse_cycle(body, self.web.service)
        self._cycle = (time.monotonic(), cycle)
        return cycle
