"""EndBeamtime: nothing is made, sent or corrected for the experiment any more."""

from datetime import UTC, datetime
from functools import partial

from beamtime_ioc.action import Run, action
from beamtime_ioc.errors import NotVerifiedError
from beamtime_ioc.model import Experiment, Json
from beamtime_ioc.ports import Identity


@action("end-beamtime", resource="identity", exclusive=True, on_closed=True)
def end_beamtime(run: Run, experiment: Experiment) -> None:
    """Close the current experiment; what stands of it stays, and ReopenExperiment opens it again."""
    identity, key = run.service(Identity), experiment.key
    at = run.effect(
        f"end of {key}",
        look=partial(_find, identity, key),
        make=partial(_close, identity, key, run.id),
        verify=partial(_check, identity, key),
    )
    if at:
        since = datetime.fromisoformat(at).astimezone(run.site.zone)
        run.progress(1.0, f"{experiment.name} is closed since {since:%a %Y-%m-%d %H:%M}")


def _close(identity: Identity, key: str, run_id: str) -> None:
    identity.close(key, datetime.now(UTC).replace(microsecond=0), run_id)


def _find(identity: Identity, key: str) -> Json:
    at = identity.closed(key)
    return at.isoformat() if at else None


def _check(identity: Identity, key: str) -> Json:
    if (found := _find(identity, key)) is None:
        raise NotVerifiedError(f"end of {key}", wanted="closed", found="open")
    return found
