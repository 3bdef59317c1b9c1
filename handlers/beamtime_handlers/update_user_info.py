"""UpdateUserInfo: who is on beam, as the schedule has it."""

from datetime import UTC, datetime, timedelta
from functools import partial

from beamtime_handlers.on_beam import on_beam
from beamtime_ioc.action import Run, action
from beamtime_ioc.errors import NotVerifiedError
from beamtime_ioc.model import Beamtime, Experiment, Json, Naming, Site, from_json, to_json
from beamtime_ioc.ports import Identity, Schedule


@action("update-user-info", resource="identity", exclusive=True, needs_experiment=False)
def update_user_info(run: Run, experiment: Experiment | None) -> Json:
    """Ask the schedule who is on beam, and make it the current experiment.

    A look-up that fails changes nothing.

    Returns
    -------
    Json
        The new experiment.
    """
    schedule, identity = run.service(Schedule), run.service(Identity)
    found = run.step("who is on beam", partial(_look_up, schedule, identity, run.site))
    at = datetime.fromisoformat(found["at"])
    first = from_json(Naming, found["first"]) if found["first"] else None
    beamtime = from_json(Beamtime, found["beamtime"])
    new = run.site.experiment(beamtime, first)
    run.effect(
        f"current experiment {new.key}",
        look=partial(_find, identity, new),
        make=partial(identity.adopt, new),
        verify=partial(_check, identity, new),
    )
    run.effect(
        "time of the look-up",
        look=partial(_find_time, identity, at),
        make=partial(identity.note_look_up, at),
        verify=partial(_check_time, identity, at),
    )
    renamed = run.site.experiment(beamtime).name
    run.progress(1.0, _summary(new, at, found["edited"], renamed))
    return to_json(new)


def _look_up(schedule: Schedule, identity: Identity, site: Site) -> Json:
    at = datetime.now(UTC).replace(microsecond=0)
    beamtime = on_beam(schedule, at.astimezone(site.zone), schedule.early_min)
    current = identity.current()
    return {
        "at": at.isoformat(),
        "beamtime": to_json(beamtime),
        "first": to_json(first) if (first := identity.first_naming(beamtime.key)) else None,
        "edited": list(current.edited) if current else [],
    }


def _find(identity: Identity, new: Experiment) -> Json:
    # As JSON: to Python, a time in the hour that a clock change repeats is unequal to itself with a fixed
    # offset.
    current = identity.current()
    return to_json(new) if current and to_json(current) == to_json(new) else None


def _check(identity: Identity, new: Experiment) -> Json:
    if (found := _find(identity, new)) is None:
        current = identity.current()
        shown = f"{current.key} ({current.name})" if current else "none"
        raise NotVerifiedError("current experiment", wanted=f"{new.key} ({new.name})", found=shown)
    return found


def _find_time(identity: Identity, at: datetime) -> Json:
    return at.isoformat() if identity.looked_up() == at else None


def _check_time(identity: Identity, at: datetime) -> Json:
    if (found := _find_time(identity, at)) is None:
        raise NotVerifiedError("time of the look-up", wanted=at.isoformat(), found=identity.looked_up())
    return found


def _summary(new: Experiment, at: datetime, edited: list[str], renamed: str) -> str:
    """One line for the screen: who, until when, and what a person may want to mend."""
    people = f"{len(new.people)} {'person' if len(new.people) == 1 else 'people'}"
    parts = [new.key, new.name, people, f"until {_day(new.end, at)}"]
    if at < new.start:
        parts.append(f"early: it begins {_day(new.start, at)}")
    if renamed != new.name:
        parts.append(f"keeps the name it began with, though the schedule now makes it {renamed}")
    if new.pi.pi_inferred:
        parts.append(f"no PI is marked: {new.pi.full_name} is taken")
    if without := [person.full_name for person in new.people if not person.email]:
        parts.append(f"no e-mail address: {' and '.join(without)}")
    if edited:
        parts.append(f"replaces what was typed by hand: {' and '.join(edited)}")
    return ", ".join(parts)


def _day(time: datetime, at: datetime) -> str:
    return f"{time:%a %H:%M}" if abs(time - at) < timedelta(days=6) else f"{time:%a %Y-%m-%d %H:%M}"
