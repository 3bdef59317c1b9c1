"""Times of a schedule, as people and programs write them."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

YEARS = range(1900, 3000)
"""A time outside of these is a mistake, and arithmetic with it could overflow."""

NO_ZONE = "is a time without a zone"


def parse_time(text: str, zone: ZoneInfo | None = None, *, fold: int | None = None) -> datetime:
    """Read `2026-10-30T08:00:00-05:00`, also with `Z`, `-0500`, a fraction or a blank for the T; gives UTC.

    Parameters
    ----------
    zone
        Of a time that carries none; without it such a time is refused.
    fold
        See `local_time`.

    Raises
    ------
    ValueError
        In words that can stand behind the name of a field.
    """
    text = text.strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is no time; write it like 2026-10-30T08:00:00-05:00") from None
    if not re.search(r"[0-9][T ][0-9]", text):
        raise ValueError("is a date without a time of day")
    if moment.year not in YEARS:
        raise ValueError("is a time out of all reason")
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    if zone is None:
        raise ValueError(NO_ZONE)
    return local_time(moment, zone, fold=fold)


def local_time(naive: datetime, zone: ZoneInfo, *, fold: int | None = None) -> datetime:
    """What the clocks on the wall show, in UTC.

    Parameters
    ----------
    fold
        Which one is meant of an hour that comes twice: 0 the first, 1 the second. None: such a time, and one
        that the clocks leave out, is refused.

    Raises
    ------
    ValueError
        The year is out of all reason, or `fold` is None and the clocks show this time twice or never.
    """
    if naive.year not in YEARS:
        raise ValueError("is a time out of all reason")
    both = [naive.replace(tzinfo=zone, fold=side).astimezone(UTC) for side in (0, 1)]
    if fold is None and both[0] != both[1]:
        if both[0].astimezone(zone).replace(tzinfo=None) != naive:
            raise ValueError(f"is a time that no clock in {zone} shows: they are set forward then")
        raise ValueError(f"comes twice in {zone}: write it with its offset from UTC")
    return both[fold or 0]
