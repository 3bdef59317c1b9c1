"""A beamtime of the box over a change of the clocks, at the hours at which that is hard."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from beamtime_sim.clock_change import stretched

CHICAGO = ZoneInfo("America/Chicago")
SPRING, AUTUMN = datetime(2027, 3, 14, 8, tzinfo=UTC), datetime(2026, 11, 1, 7, tzinfo=UTC)
CHANGES = (datetime(2026, 3, 8, 8, tzinfo=UTC), AUTUMN, SPRING, datetime(2027, 11, 7, 7, tzinfo=UTC))


@pytest.mark.parametrize("hours", [-50, -26, -14, -6, -1, 0, 1, 6, 14, 26, 50])
@pytest.mark.parametrize("season", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize("change", ["next", "last"])
def test_at_any_hour_one_end_comes_to_lie_a_day_beyond_the_nearest_change(
    change: str, season: datetime, hours: int
) -> None:
    now = season + timedelta(hours=hours)
    start, end = (
        datetime.combine(now.astimezone(CHICAGO).date() + timedelta(days=days), time(8), CHICAGO)
        for days in (-2, 2)
    )
    on_beam = {"startTime": start.isoformat(), "endTime": end.isoformat(), "duration": 4 * 24 * 3600}

    (moved,) = stretched([on_beam], now, change)

    begin, finish = (datetime.fromisoformat(moved[name]) for name in ("startTime", "endTime"))
    if change == "next":
        assert begin == start
        beyond = finish - min(moment for moment in CHANGES if moment > now)
    else:
        assert finish == end
        beyond = max(moment for moment in CHANGES if moment <= now) - begin
    assert timedelta(hours=12) < beyond < timedelta(hours=36)
    assert moved["duration"] == (finish.astimezone(UTC) - begin.astimezone(UTC)).total_seconds()
