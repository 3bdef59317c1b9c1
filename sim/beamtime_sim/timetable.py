"""Runs and beamtimes around an anchor date, without a gap."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise

from beamtime_sim.people import Facility, Visit

# A box that is started again years later must still find somebody on beam.
DAYS_BEFORE = 800
DAYS_AFTER = 2000


@dataclass(frozen=True, kw_only=True)
class Beamtime:
    """One visit on the calendar; ``number`` is 0 for the one on beam at the anchor."""

    number: int
    visit: Visit
    start: datetime
    end: datetime


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trimester. It begins and ends at a change-over, so no beamtime lies in two runs."""

    number: int
    name: str
    start: datetime
    end: datetime


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """What the schedule shows: half-open runs and beamtimes, each list back to back."""

    runs: tuple[Run, ...]
    beamtimes: tuple[Beamtime, ...]

    def within(self, run: Run) -> tuple[Beamtime, ...]:
        """Return the beamtimes of one run."""
        return tuple(beamtime for beamtime in self.beamtimes if run.start <= beamtime.start < run.end)


def timetable(facility: Facility, anchor: date) -> Timetable:
    """Lay the facility's cycle of visits around the anchor date.

    The first visit of the cycle is on beam during the whole of the anchor's day, local time.
    """
    first = -(DAYS_BEFORE // facility.cycle_days)
    last = DAYS_AFTER // facility.cycle_days
    beamtimes = [
        _beamtime(facility, anchor, cycle * len(facility.visits) + place, cycle, visit)
        for cycle in range(first, last + 1)
        for place, visit in enumerate(facility.visits)
    ]
    runs = _runs(facility, beamtimes)
    covered = (beamtime for beamtime in beamtimes if runs[0].start <= beamtime.start < runs[-1].end)
    return Timetable(runs=tuple(runs), beamtimes=tuple(covered))


def _beamtime(facility: Facility, anchor: date, number: int, cycle: int, visit: Visit) -> Beamtime:
    def change_over(day: int) -> datetime:
        # Days are added to the date, not to the hour: 08:00 stays 08:00 over a clock change.
        local = anchor + timedelta(days=cycle * facility.cycle_days + day)
        return datetime.combine(local, time(facility.change_hour), facility.timezone)

    return Beamtime(number=number, visit=visit, start=change_over(visit.start), end=change_over(visit.end))


def _runs(facility: Facility, beamtimes: list[Beamtime]) -> list[Run]:
    nominal = [
        (year, number, datetime(year, month, day, tzinfo=facility.timezone))
        for year in range(beamtimes[0].start.year, beamtimes[-1].end.year + 1)
        for number, (month, day) in sorted(facility.runs.items())
    ]
    edges = [
        (year, number, next(beamtime.start for beamtime in beamtimes if beamtime.start >= begin))
        for year, number, begin in nominal
        if beamtimes[0].start <= begin <= beamtimes[-1].start
    ]
    return [
        Run(number=(year % 100) * 10 + number, name=f"{year}-{number}", start=start, end=end)
        for (year, number, start), (_, _, end) in pairwise(edges)
    ]
