"""A schedule in memory, and beamtimes around today, for the tests of experiments by choice."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from beamtime_ioc.errors import ScheduleError
from beamtime_ioc.model import Beamtime, Cycle, Person, Site
from beamtime_ioc.ports import Health

SITE = Site(prefix="99bm:Beamtime:", beamline="99-BM-A,B", zone=ZoneInfo("America/Chicago"))
NOW = datetime.now(UTC).replace(microsecond=0)


def visit(
    number: int, days: float, *, lasts: float = 2, proposal: str = "", title: str = "Alloys"
) -> Beamtime:
    """A beamtime that begins so many days from now."""
    start = NOW + timedelta(days=days)
    return Beamtime(
        source="aps",
        id=f"3000{number}",
        start=start,
        end=start + timedelta(days=lasts),
        proposal=proposal or f"9100{number}",
        title="Alloys",
        people=(Person(first_name="Ann", last_name=f"Example{number}", email="a@example.edu", is_pi=True),),
    )


class MemorySchedule:
    """Knows some beamtimes, counts what it is asked, or fails.

    Attributes
    ----------
    newest
        So many of them are found by number; 0: all.
    """

    early_min: float = 0
    newest: int = 0
    knows_no_list: bool = False

    def __init__(self, *beamtimes: Beamtime, error: Exception | None = None) -> None:
        self.beamtimes, self.error = list(beamtimes), error
        self.asked: list[tuple[datetime, datetime]] = []

    def check(self) -> Health:
        return Health(ok=True, sentence="in memory")

    def cycles(self) -> Sequence[Cycle] | None:
        return None

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        self.asked.append((start, end))
        if self.knows_no_list:
            raise ScheduleError("it does not say who is on beam")
        if self.error:
            raise self.error
        return sorted(
            (one for one in self.beamtimes if one.start < end and start < one.end),
            key=lambda one: (one.start, one.id),
        )

    def by_id(self, key: str) -> Beamtime | None:
        if self.error:
            raise self.error
        newest = self.beamtimes[-self.newest :] if self.newest else self.beamtimes
        return next((one for one in newest if one.id == key), None)
