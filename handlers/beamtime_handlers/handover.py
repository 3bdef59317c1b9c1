"""Handover: one beamtime ends and the next one begins."""

from datetime import UTC, datetime
from functools import partial

from beamtime_ioc.action import Run, action
from beamtime_ioc.chosen import Choice, by_choice
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import MANUAL, Experiment, Json, Site
from beamtime_ioc.on_beam import on_beam
from beamtime_ioc.ports import Identity, Schedule


@action("handover", resource="identity", exclusive=True, on_closed=True)
def handover(run: Run, experiment: Experiment, *, choice: Choice = "") -> None:
    """End the current beamtime and begin the next one, as one run.

    Nothing is ended before it is known who comes.

    Parameters
    ----------
    choice
        Key of who comes, or the number of a beamtime; empty: whom the schedule has on beam now.
    """
    schedule = None if choice.startswith(MANUAL) else run.service(Schedule)
    look_up = partial(_look_up, schedule, run.service(Identity), run.site, choice)
    coming = run.step("who comes", look_up)
    if coming["key"] == experiment.key:
        raise _same(experiment, choice)
    run.progress(0.1, f"ending {experiment.name}")
    run.call("end-beamtime", experiment=experiment)
    run.progress(0.2, f"beginning {coming['name']}")
    begun = run.call("begin-beamtime", experiment=experiment, choice=choice and coming["key"])
    if begun:
        run.progress(1.0, f"{experiment.name} is closed; {begun}")


def _look_up(schedule: Schedule | None, identity: Identity, site: Site, choice: str) -> Json:
    if choice or schedule is None:
        found = by_choice(schedule, identity, site, choice)
        return {"key": found.key, "name": found.name}
    beamtime = on_beam(schedule, datetime.now(UTC).astimezone(site.zone), schedule.early_min)
    named = site.experiment(beamtime, identity.first_naming(beamtime.key))
    return {"key": beamtime.key, "name": named.name}


def _same(experiment: Experiment, choice: str) -> BeamtimeError:
    if choice:
        return BeamtimeError(
            f"{experiment.name} is the current experiment already, so nothing was ended",
            advice="write another one into HandoverChoice, or press EndBeamtime or BeginBeamtime",
        )
    return BeamtimeError(
        f"the schedule has nobody else on beam than {experiment.name}, so nothing was ended",
        advice="press again when the next beamtime has begun, or write its key into HandoverChoice; "
        "to go on with this one, press BeginBeamtime",
    )
