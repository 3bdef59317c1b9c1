"""A beamtime over a change of the clocks: what ``schedule.clock_change`` makes of the one on beam."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from beamtime_sim.people import load_facility
from beamtime_sim.wire import offset_time

CHANGES = ("next", "last")
_DAY = timedelta(days=1)
_A_YEAR = 400


def stretched(activities: Sequence[dict[str, Any]], now: datetime, change: str) -> list[dict[str, Any]]:
    """Return the activities with those that are on beam stretched over the next or the last change.

    The one end that moves comes to lie a day beyond the change, at the hour of change-overs. Activities that
    are in the way are left out. Where the clocks never change, nothing does.
    """
    zone, hour = _facility()
    beyond = _beyond(now, change, zone, hour)
    if beyond is None:
        return list(activities)
    begin, end = min(now, beyond), max(now, beyond)
    return [
        _over(activity, beyond, change) if _contains(activity, now) else activity
        for activity in activities
        if _contains(activity, now) or not _overlaps(activity, begin, end)
    ]


@cache
def _facility() -> tuple[ZoneInfo, int]:
    facility = load_facility()
    return facility.timezone, facility.change_hour


def _beyond(now: datetime, change: str, zone: ZoneInfo, hour: int) -> datetime | None:
    """The change-over on the day after the next change, or on the day before the last one."""
    here = now.astimezone(zone)
    # Today's noon may lie behind a change that is still to come, so `last` begins with yesterday's.
    first, step = (here.date(), _DAY) if change == "next" else (here.date() - _DAY, -_DAY)
    for day in (first + step * number for number in range(_A_YEAR)):
        if _offset(day, zone) != here.utcoffset():
            return datetime.combine(day + (_DAY if change == "next" else timedelta(0)), time(hour), zone)
    return None


def _offset(day: date, zone: ZoneInfo) -> timedelta | None:
    return datetime.combine(day, time(12), zone).utcoffset()


def _over(activity: dict[str, Any], beyond: datetime, change: str) -> dict[str, Any]:
    moved = "endTime" if change == "next" else "startTime"
    colon = activity[moved][-3] == ":"
    times = {name: activity[name] for name in ("startTime", "endTime")}
    times[moved] = offset_time(beyond, colon=colon)
    start, end = map(datetime.fromisoformat, times.values())
    return {
        **activity,
        **times,
        "duration": int((end.astimezone(UTC) - start.astimezone(UTC)).total_seconds()),
    }


def _span(activity: dict[str, Any]) -> Iterable[datetime]:
    return (datetime.fromisoformat(activity[name]) for name in ("startTime", "endTime"))


def _contains(activity: dict[str, Any], moment: datetime) -> bool:
    start, end = _span(activity)
    return start <= moment < end


def _overlaps(activity: dict[str, Any], begin: datetime, end: datetime) -> bool:
    start, stop = _span(activity)
    return start < end and begin < stop
