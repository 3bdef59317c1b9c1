"""An experiment becomes the current one: the effects that every way of choosing it shares."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from beamtime_ioc.action import Run
from beamtime_ioc.errors import BeamtimeError, NotVerifiedError
from beamtime_ioc.model import Experiment, Json, to_json
from beamtime_ioc.ports import Identity


def adopt(run: Run, identity: Identity, new: Experiment) -> None:
    """Make it the current experiment, as one effect; the run is about it from now on."""
    run.about(new)
    run.effect(
        f"current experiment {new.key}",
        look=partial(_find, identity, new),
        make=partial(identity.adopt, new),
        verify=partial(_check, identity, new),
    )


def ended_before(new: Experiment, current: Experiment | None, why: str = "") -> BeamtimeError:
    """The refusal to begin what was ended, before it becomes the current experiment.

    Parameters
    ----------
    why
        Why it was meant, if nobody chose it.
    """
    here = current is not None and current.key == new.key
    reopen = "" if here else f"write {new.key} into ExperimentChoice, press SelectExperiment, then "
    other = "press again when the next beamtime has begun, or choose it" if why else "choose another one"
    return BeamtimeError(
        f"{new.name} was ended before{f', and {why}' if why else ''}: nothing was begun",
        advice=f"{other} by ExperimentChoice and SelectExperiment; to go on with the ended one, {reopen}"
        f"type {new.name} into ReopenExperimentArm, press ReopenExperiment, then press again",
    )


def namesakes(identity: Identity, new: Experiment) -> list[Json]:
    """The keys of the other experiments that have its name."""
    return [key for key in identity.named(new.name) if key != new.key]


def hold_shared_name(run: Run, new: Experiment, others: Sequence[Json]) -> str:
    """Say, before anything is made, that another experiment has this name; gives words for the message."""
    if not others:
        return ""
    who = " and ".join(map(str, others))
    run.hold(
        "a name of its own",
        f"{new.name} is the name of {who} too; no directory is shared: where that one has its own, this one "
        "gets none (CONFLICT); let the .experiment.json there name this one, or, before it is begun, put "
        "{beamtime} into experiment.name of the site file",
    )
    return f"{who} has that name too: a directory of it is not shared"


def note_look_up(run: Run, identity: Identity, at: datetime) -> None:
    """Write down when its people were looked up, as one effect."""
    run.effect(
        "time of the look-up",
        look=partial(_find_time, identity, at),
        make=partial(identity.note_look_up, at),
        verify=partial(_check_time, identity, at),
    )


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
