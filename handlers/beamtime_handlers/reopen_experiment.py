"""ReopenExperiment: the current experiment was closed too early."""

from functools import partial

from beamtime_ioc.action import Run, action
from beamtime_ioc.errors import NotVerifiedError
from beamtime_ioc.model import Experiment, Json
from beamtime_ioc.ports import Identity


@action("reopen-experiment", resource="identity", exclusive=True, armed=True, on_closed=True)
def reopen_experiment(run: Run, experiment: Experiment) -> None:
    """Let actions work on the current experiment again."""
    identity, key = run.service(Identity), experiment.key
    run.effect(
        f"{key} open again",
        look=partial(_find, identity, key),
        make=partial(identity.reopen, key),
        verify=partial(_check, identity, key),
    )
    run.progress(1.0, f"{experiment.name} is open")


def _find(identity: Identity, key: str) -> Json:
    return "open" if identity.closed(key) is None else None


def _check(identity: Identity, key: str) -> Json:
    if (found := _find(identity, key)) is None:
        raise NotVerifiedError(key, wanted="open", found="closed")
    return found
