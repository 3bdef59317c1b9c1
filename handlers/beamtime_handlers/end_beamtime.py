"""EndBeamtime: nothing is made, sent or corrected for the experiment any more."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

from beamtime_ioc.action import Run, action
from beamtime_ioc.errors import BeamtimeError, NotVerifiedError
from beamtime_ioc.model import Experiment, Json, Place
from beamtime_ioc.ports import Hosts, Identity

AT_ONCE = 32
"""Places that are asked at the same time."""


@action("end-beamtime", resource="identity", exclusive=True, on_closed=True)
def end_beamtime(run: Run, experiment: Experiment) -> list[str]:
    """Close the current experiment; what stands of it stays, and ReopenExperiment opens it again.

    Returns
    -------
    list
        What lies at each place, as far as that can be told: a line each.
    """
    identity, key = run.service(Identity), experiment.key
    at = run.effect(
        f"end of {key}",
        look=partial(_find, identity, key),
        make=partial(_close, identity, key, run.id),
        verify=partial(_check, identity, key),
    )
    lies: list[str] = []
    if run.site.places:
        lies = run.step("what lies at the places", partial(_contents, run, experiment))
    if at:
        since = datetime.fromisoformat(at).astimezone(run.site.zone)
        closed = f"{experiment.name} is closed since {since:%a %Y-%m-%d %H:%M}"
        run.progress(1.0, "; ".join((closed, *lies)))
    return lies


def _contents(run: Run, experiment: Experiment) -> Json:
    places = run.site.places
    with ThreadPoolExecutor(min(len(places), AT_ONCE), thread_name_prefix="contents") as pool:
        return list(pool.map(partial(_content, run, experiment), places))


def _content(run: Run, experiment: Experiment, place: Place) -> str:
    """A line for one place; nothing that is wrong there keeps a beamtime from ending."""
    try:
        main, *siblings = run.service(Hosts).contents(place, experiment)
    except BeamtimeError as error:
        return f"{place.name}: not checked: {error.sentence}"
    return ", ".join((f"{place.name}: {main}", *(f"{one.path.name}: {one}" for one in siblings)))


def _close(identity: Identity, key: str, run_id: str) -> None:
    identity.close(key, datetime.now(UTC).replace(microsecond=0), run_id)


def _find(identity: Identity, key: str) -> Json:
    at = identity.closed(key)
    return at.isoformat() if at else None


def _check(identity: Identity, key: str) -> Json:
    if (found := _find(identity, key)) is None:
        raise NotVerifiedError(f"end of {key}", wanted="closed", found="open")
    return found
