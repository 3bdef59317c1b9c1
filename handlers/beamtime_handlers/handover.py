"""Handover: one beamtime ends and the next one begins."""

from datetime import UTC, datetime
from functools import partial

from beamtime_ioc.action import Run, action
from beamtime_ioc.chosen import Choice, by_choice
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.kept_schedule import look_up
from beamtime_ioc.model import MANUAL, Beamtime, Experiment, Json, Site
from beamtime_ioc.ports import Identity, Schedule
from beamtime_ioc.without_schedule import AWAY, WHO_COMES, chosen_earlier, named_earlier, why_away


@action("handover", resource="identity", exclusive=True, on_closed=True, schedule_steps=(WHO_COMES,))
def handover(run: Run, experiment: Experiment, *, choice: Choice = "") -> None:
    """End the current beamtime and begin the next one, as one run.

    Nothing is ended before it is known who comes. Where the site file lets this step go on without the
    schedule, that is who comes by its last answer.

    Parameters
    ----------
    choice
        Key of who comes, or the number of a beamtime; empty: whom the schedule has on beam now.
    """
    identity = run.service(Identity)
    schedule = None if choice.startswith(MANUAL) else run.service(Schedule)
    goes_on = run.site.goes_on(run.pressed, WHO_COMES)
    coming = run.step(WHO_COMES, partial(_look_up, schedule, identity, run.site, choice, goes_on))
    if coming["key"] == experiment.key:
        raise _same(experiment, choice)
    if not coming.get("open", True):
        raise BeamtimeError(
            f"{coming['name']} was ended before, so nothing was ended now",
            advice="write who comes into HandoverChoice; to go on with that one, press SelectExperiment, "
            "then ReopenExperiment",
        )
    without = coming.get("without", "")
    if without:
        run.hold("ask the schedule who comes", without)
    run.progress(0.1, f"ending {experiment.name}")
    lies = run.call("end-beamtime", experiment=experiment)
    run.progress(0.2, f"beginning {coming['name']}")
    # By the name that was found: after a long way through a kill somebody else may be on beam.
    begun = run.call("begin-beamtime", experiment=experiment, choice=coming["key"])
    if begun:
        run.progress(1.0, "; ".join((f"{experiment.name} is closed", begun, *lies)))


def _look_up(schedule: Schedule | None, identity: Identity, site: Site, choice: str, goes_on: bool) -> Json:
    moment = datetime.now(UTC).astimezone(site.zone)
    try:
        if schedule is None or choice:
            found = by_choice(schedule, identity, site, choice)
        else:
            found = _named(look_up(schedule, moment), identity, site)
    except AWAY as error:
        if schedule is None or not goes_on:
            raise
        reason = why_away(error)
        if choice:
            found, without = chosen_earlier(schedule, identity, site, choice, moment, reason)
        else:
            earlier, without = named_earlier(schedule, moment, reason)
            found = _named(earlier, identity, site)
        return {**_said(found, identity), "without": without}
    return _said(found, identity)


def _said(found: Experiment, identity: Identity) -> dict[str, Json]:
    return {"key": found.key, "name": found.name, "open": identity.closed(found.key) is None}


def _named(beamtime: Beamtime, identity: Identity, site: Site) -> Experiment:
    return site.experiment(beamtime, identity.first_naming(beamtime.key))


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
