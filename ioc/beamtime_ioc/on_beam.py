"""Who is on beam, out of whatever a schedule answers."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from beamtime_ioc.errors import (
    BadResponseError,
    BeamtimeError,
    NobodyOnBeamError,
    NoCycleError,
    ScheduleStaleError,
    ServiceDeniedError,
    SeveralOnBeamError,
)
from beamtime_ioc.model import Beamtime, Cycle, one_line, pi_of
from beamtime_ioc.ports import Schedule

LOOK_AHEAD = timedelta(days=30)
"""How far the next beamtime is looked for, beyond the end of the present cycle."""

MOST_NAMED = 4
"""So many are named that are on beam together; what a record shows has an end."""

_STAYS = "the earlier values stay"


class Outcome(StrEnum):
    """What came of the question who is on beam; the order is that of the record `ScheduleOutcome`."""

    UNKNOWN = "UNKNOWN"
    ACTIVE = "ACTIVE"
    NONE = "NONE"
    AMBIGUOUS = "AMBIGUOUS"
    NO_RUN = "NO_RUN"
    STALE = "STALE"
    UNAVAILABLE = "UNAVAILABLE"
    AUTH_FAILED = "AUTH_FAILED"
    BAD_RESPONSE = "BAD_RESPONSE"


_OUTCOMES: Sequence[tuple[type[BeamtimeError], Outcome]] = (
    (NobodyOnBeamError, Outcome.NONE),
    (SeveralOnBeamError, Outcome.AMBIGUOUS),
    (NoCycleError, Outcome.NO_RUN),
    (ScheduleStaleError, Outcome.STALE),
    (ServiceDeniedError, Outcome.AUTH_FAILED),
    (BadResponseError, Outcome.BAD_RESPONSE),
)


def outcome_of(error: BeamtimeError) -> Outcome:
    """How a question ended that ended with an error."""
    return next((outcome for kind, outcome in _OUTCOMES if isinstance(error, kind)), Outcome.UNAVAILABLE)


def on_beam(schedule: Schedule, moment: datetime, early_min: float) -> Beamtime:
    """The one user beamtime that is active at a moment.

    An entry without proposal and people, such as machine studies, is no user beamtime.

    Parameters
    ----------
    moment
        In the site's zone, in which the sentences give their times.
    early_min
        Minutes before its start in which the next beamtime is taken when none is active.

    Raises
    ------
    NobodyOnBeamError, SeveralOnBeamError, NoCycleError
        The sentence names the candidates, and what comes next.
    ServiceUnavailableError, ServiceDeniedError, BadResponseError
    """
    now = moment.astimezone(UTC)  # hours are added here: local ones are not all equally long
    cycles = schedule.cycles()
    here = [cycle for cycle in cycles or () if cycle.contains(now)]
    # The present cycle first, up to its end: that is one round trip, and mostly enough.
    horizon = now + LOOK_AHEAD if cycles is None else max((cycle.end for cycle in here), default=now)
    entries = list(schedule.list_between(now, horizon))
    if horizon < now + LOOK_AHEAD and not any(entry.is_user for entry in entries):
        entries += schedule.list_between(horizon, now + LOOK_AHEAD)
    users = _one_each([entry for entry in entries if entry.is_user], now)
    coming = [beamtime for beamtime in users if now < beamtime.start]
    active = [beamtime for beamtime in users if beamtime.contains(now)] or _early(coming, now, early_min)
    if len(active) == 1:
        return active[0]
    if active:
        raise _several(active, moment)
    if cycles is not None and not here:
        raise _no_cycle(cycles, coming, moment)
    raise _nobody([entry for entry in entries if entry.contains(now)], coming, here, moment)


def _one_each(beamtimes: Iterable[Beamtime], now: datetime) -> list[Beamtime]:
    """Make one of the active entries with one id; the others stay as they are."""
    active: dict[str, Beamtime] = {}
    others: dict[tuple[str, datetime], Beamtime] = {}
    for beamtime in beamtimes:
        if not beamtime.contains(now):
            others[beamtime.id, beamtime.start] = beamtime
        elif (twin := active.get(beamtime.id)) is None:
            active[beamtime.id] = beamtime
        else:
            start, end = min(twin.start, beamtime.start), max(twin.end, beamtime.end)
            active[beamtime.id] = replace(twin, start=start, end=end, esaf=twin.esaf or beamtime.esaf)
    return sorted([*active.values(), *others.values()], key=lambda b: (b.start, b.id))


def _early(coming: Sequence[Beamtime], now: datetime, early_min: float) -> list[Beamtime]:
    """The next beamtime if it begins soon enough; several if they begin together."""
    soon = [beamtime for beamtime in coming if beamtime.start <= now + timedelta(minutes=early_min)]
    return [beamtime for beamtime in soon if beamtime.start == soon[0].start]


def _nobody(
    running: Sequence[Beamtime], coming: Sequence[Beamtime], here: Sequence[Cycle], moment: datetime
) -> NobodyOnBeamError:
    if running:
        what = one_line(running[0].title, 200) or "something else"
        begin = f"no user experiment at {_at(moment, moment)}: {what} until {_at(running[0].end, moment)}"
    else:
        begin = f"nobody is on beam at {_at(moment, moment)}"
    where = f"in {here[-1].name}" if here else f"within {LOOK_AHEAD.days} days"
    rest = _next(coming, moment) or f"no user beamtime follows {where}"
    when = "when it has begun" if coming else "when the schedule has one"
    return NobodyOnBeamError(f"{begin}; {rest}", advice=f"{_STAYS}; press again {when}")


def _several(active: Sequence[Beamtime], moment: datetime) -> SeveralOnBeamError:
    names = "; ".join(
        f"{_name(beamtime)}, {_at(beamtime.start, moment)} to {_at(beamtime.end, moment)}"
        for beamtime in active[:MOST_NAMED]
    )
    more = f"; and {len(active) - MOST_NAMED} more" if active[MOST_NAMED:] else ""
    *others, last = sorted(active, key=lambda b: b.end)
    wait = f"press again after {_at(others[-1].end, moment)}, when only {one_line(last.id, 60)} is left, or "
    return SeveralOnBeamError(
        f"{len(active)} beamtimes are on beam at {_at(moment, moment)}: {names}{more}",
        advice=f"{_STAYS}; {wait if others[-1].end < last.end else ''}have the schedule corrected",
    )


def _no_cycle(cycles: Sequence[Cycle], coming: Sequence[Beamtime], moment: datetime) -> NoCycleError:
    before = [cycle for cycle in cycles if cycle.end <= moment]
    after = [cycle for cycle in cycles if moment < cycle.start]
    notes: list[str] = []
    if before:
        last = max(before, key=lambda c: c.end)
        notes.append(f"{last.name} ended {_at(last.end, moment)}")
    if after:
        following = min(after, key=lambda c: c.start)
        notes.append(f"{following.name} begins {_at(following.start, moment)}")
    if coming:
        notes.append(_next(coming, moment))
    return NoCycleError(
        "; ".join([f"{_at(moment, moment)} lies in no run cycle of the facility", *notes]),
        advice=f"{_STAYS}; if there is beam, name the cycle to look in by schedule.cycle",
    )


def _next(coming: Sequence[Beamtime], moment: datetime) -> str:
    return f"next is {_name(coming[0])}, from {_at(coming[0].start, moment)}" if coming else ""


def _name(beamtime: Beamtime) -> str:
    pi = pi_of(beamtime.people)
    who = pi.full_name if pi else "no PI"
    number = one_line(beamtime.proposal, 60) or "without a number"
    return f"{one_line(beamtime.id, 60)} (proposal {number}, {one_line(who, 60)})"


def _at(time: datetime, moment: datetime) -> str:
    """A time as the people at the beamline read it, in the zone of `moment`."""
    return f"{time.astimezone(moment.tzinfo):%a %Y-%m-%d %H:%M}"
