"""SelectExperiment: who is on beam, as an operator has chosen."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from beamtime_ioc.action import Run, action
from beamtime_ioc.adoption import adopt, ended_before, hold_shared_name, namesakes, note_look_up
from beamtime_ioc.chosen import NeededChoice, by_choice
from beamtime_ioc.esaf import form_people, join_form
from beamtime_ioc.model import MANUAL, Experiment, Json, Site, counted, from_json, to_json
from beamtime_ioc.ports import Identity, Schedule
from beamtime_ioc.without_schedule import AWAY, THE_CHOSEN, WHO_COMES, chosen_earlier, why_away


@action(
    "select-experiment",
    resource="identity",
    exclusive=True,
    needs_experiment=False,
    schedule_steps=(THE_CHOSEN,),
)
def select_experiment(
    run: Run, experiment: Experiment | None, *, choice: NeededChoice = "", only_open: bool = False
) -> Json:
    """Make the experiment that was chosen the current one, whoever is on beam.

    A choice that means nothing changes nothing. Where the site file lets this step go on without the
    schedule, the experiment is as the schedule had it last.

    Parameters
    ----------
    choice
        Key of an experiment, such as `aps:300011`, or the number of a beamtime.
    only_open
        Refuse an experiment that was ended, instead of showing it as closed.

    Returns
    -------
    Json
        The new experiment; with `without`, a sentence, if the schedule was not asked.
    """
    identity = run.service(Identity)
    schedule = None if choice.startswith(MANUAL) else run.service(Schedule)
    # What Handover may go on with, this step of it may too.
    goes_on = any(run.site.goes_on(run.pressed, step) for step in (THE_CHOSEN, WHO_COMES))
    found = run.step(THE_CHOSEN, partial(_look_up, schedule, identity, run.site, choice, goes_on))
    new, notes = from_json(Experiment, found["experiment"]), list[str]()
    if only_open and not new.open:
        raise ended_before(new, experiment)
    without = found.get("without", "")
    if without:
        run.hold("look the chosen experiment up", without)
    elif schedule is not None:
        new, notes = join_form(run, new, found.get("form_people", []))
    shared = hold_shared_name(run, new, found["namesakes"])
    adopt(run, identity, new)
    if schedule is not None and not without:
        note_look_up(run, identity, datetime.fromisoformat(found["at"]))
    run.progress(1.0, _summary(new, notes, shared, without))
    return {**found["experiment"], "without": without} if without else to_json(new)


def _look_up(schedule: Schedule | None, identity: Identity, site: Site, choice: str, goes_on: bool) -> Json:
    at, without = datetime.now(UTC).replace(microsecond=0), ""
    try:
        new = by_choice(schedule, identity, site, choice)
    except AWAY as error:
        if schedule is None or not goes_on:
            raise
        moment = at.astimezone(site.zone)
        new, without = chosen_earlier(schedule, identity, site, choice, moment, why_away(error))
    found: dict[str, Json] = {
        "at": at.isoformat(),
        "experiment": to_json(new),
        "namesakes": namesakes(identity, new),
        "form_people": form_people(identity.current(), new.key, new.esaf),
    }
    return {**found, "without": without} if without else found


def _summary(new: Experiment, notes: Sequence[str], shared: str, without: str) -> str:
    people = counted(len(new.people), "person", "people")
    times = f"{new.start:%a %Y-%m-%d %H:%M} to {new.end:%a %Y-%m-%d %H:%M}"
    parts = [new.key, new.name, people, *notes, times]
    if not new.open:
        parts.append("closed: ReopenExperiment opens it again")
    if shared:
        parts.append(shared)
    return ", ".join(parts) + (f"; {without}" if without else "")
