"""Experiments by choice: what may be chosen, and what a choice means."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from beamtime_ioc.errors import BeamtimeError, ScheduleError
from beamtime_ioc.model import KEY, MANUAL, Beamtime, Experiment, Site, one_line
from beamtime_ioc.ports import Identity, Schedule

SPAN = timedelta(days=7)
"""How far from the moment that is looked at a beamtime may be, before and after."""

WIDE = timedelta(days=400)
"""How far one is searched for that stands in no list, and that the schedule does not find by its number."""

MOST = 10
"""Candidates at most: those nearest to that moment."""


def _checked(text: str) -> str:
    text = text.strip()
    if text and not KEY.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no key or number of a beamtime; write one of Candidates")
    return text


def _needed(text: str) -> str:
    if not text:
        raise ValueError("nobody is chosen; write a key or number of Candidates first")
    return text


Choice = Annotated[str, AfterValidator(_checked)]
"""An argument: a key such as `aps:300011`, or its number alone; empty is none."""

NeededChoice = Annotated[Choice, AfterValidator(_needed), Field(validate_default=True)]
"""The same, and not empty."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An experiment that may be chosen.

    Parameters
    ----------
    state
        What is to be known of it: `current`, `on beam`, `closed`, any of them.
    """

    experiment: Experiment
    state: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.experiment.key

    @property
    def number(self) -> str:
        """The key without its source."""
        return self.key.partition(":")[2]

    @property
    def text(self) -> str:
        """One line for a screen."""
        one = self.experiment
        who = ", ".join(filter(None, [one.pi.full_name if one.people else "", one.proposal]))
        marks = f" ({', '.join(self.state)})" if self.state else ""
        times = f"{one.start:%a %Y-%m-%d %H:%M} to {one.end:%a %m-%d %H:%M}"
        return one_line(f"{one.key}{marks}: {times}, {who}{': ' if who and one.title else ''}{one.title}")


def listed(schedule: Schedule, moment: datetime) -> Sequence[Beamtime]:
    """The user beamtimes around a moment, each once.

    Raises
    ------
    ScheduleError, ServiceError
        The schedule cannot be asked.
    """
    now = moment.astimezone(UTC)
    whole: dict[str, Beamtime] = {}
    for one in schedule.list_between(now - SPAN, now + SPAN):
        if not one.is_user:
            continue
        if (other := whole.get(one.key)) is not None:  # a beamtime with a pause in it has several entries
            one = replace(one, start=min(one.start, other.start), end=max(one.end, other.end))
        whole[one.key] = one
    return list(whole.values())


def candidates(
    beamtimes: Iterable[Beamtime], identity: Identity, site: Site, moment: datetime
) -> Sequence[Candidate]:
    """What may be chosen around a moment, newest first; those that begin together by their keys.

    Parameters
    ----------
    beamtimes
        As `listed` gives them. Experiments that no schedule knows are added.
    moment
        In the site's zone.

    Raises
    ------
    StateError
        The state database cannot be read.
    """
    now, current = moment.astimezone(UTC), identity.current()
    found = [site.experiment(one, identity.first_naming(one.key)) for one in beamtimes]
    found += [one for one in identity.manuals() if now - SPAN < one.end and one.start < now + SPAN]
    near = sorted(found, key=lambda one: (_distance(one, now), one.key))[:MOST]
    shown = sorted(sorted(near, key=lambda one: one.key), key=lambda one: one.start, reverse=True)
    return [
        Candidate(experiment=one, state=tuple(_state(one, current, identity, datetime.now(UTC))))
        for one in shown
    ]


def _distance(one: Experiment, now: datetime) -> timedelta:
    return max(one.start - now, now - one.end, timedelta(0))


def _state(one: Experiment, current: Experiment | None, identity: Identity, now: datetime) -> Iterable[str]:
    if current is not None and current.key == one.key:
        yield "current"
    if one.start <= now < one.end and not one.key.startswith(MANUAL):
        yield "on beam"
    if identity.closed(one.key) is not None:
        yield "closed"


def by_choice(schedule: Schedule | None, identity: Identity, site: Site, choice: str) -> Experiment:
    """The experiment that a choice means, open or closed as it is.

    Parameters
    ----------
    schedule
        None where an experiment that no schedule knows is chosen.
    choice
        A key, or the number of a beamtime.

    Raises
    ------
    BeamtimeError
        There is none, or the schedule cannot be asked.
    """
    missing = BeamtimeError(
        f"there is no beamtime {choice}",
        advice="choose one of Candidates; ScheduleOffset, in days, shows those of another time",
    )
    if choice.startswith(MANUAL):
        if (known := identity.manual(choice)) is None:
            raise missing
        return known
    if schedule is None:
        raise BeamtimeError(
            f"{choice} cannot be looked up: there is no schedule",
            advice="name one in the site file, or choose one of Candidates",
        )
    found = _search(schedule, choice)
    if found is None or not found.is_user:
        raise missing
    experiment = site.experiment(found, identity.first_naming(found.key))
    return replace(experiment, open=identity.closed(found.key) is None)


def _search(schedule: Schedule, choice: str) -> Beamtime | None:
    """Near ones first: a schedule may find by number only the last part of one, or only the newest."""
    now = datetime.now(UTC)
    # A number may have a colon, too: then it is looked for as the number of a key, and as it stands.
    numbers = dict.fromkeys((choice.partition(":")[2] or choice, choice))

    def wanted(found: Iterable[Beamtime | None]) -> Beamtime | None:
        known = [one for one in found if one]
        meant = [one for one in known if one.key == choice] or [one for one in known if one.id == choice]
        return next(iter(meant), None)

    def by_number() -> Beamtime | None:
        found = (wanted([schedule.by_id(number)]) for number in numbers)
        return next(filter(None, found), None)

    try:
        near = wanted(listed(schedule, now))
    except ScheduleError:  # it has no list: all it knows is by number
        return by_number()
    return near or by_number() or wanted(schedule.list_between(now - WIDE, now + WIDE))
