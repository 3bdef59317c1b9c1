"""SelectExperiment: who is on beam, as an operator has chosen."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from beamtime_ioc.action import Run, action
from beamtime_ioc.adoption import adopt, note_look_up
from beamtime_ioc.chosen import NeededChoice, by_choice
from beamtime_ioc.esaf import form_people, join_form
from beamtime_ioc.model import MANUAL, Experiment, Json, Site, from_json, to_json
from beamtime_ioc.ports import Identity, Schedule


@action("select-experiment", resource="identity", exclusive=True, needs_experiment=False)
def select_experiment(run: Run, experiment: Experiment | None, *, choice: NeededChoice = "") -> Json:
    """Make the experiment that was chosen the current one, whoever is on beam.

    A choice that means nothing changes nothing.

    Parameters
    ----------
    choice
        Key of an experiment, such as `aps:300011`, or the number of a beamtime.

    Returns
    -------
    Json
        The new experiment.
    """
    identity = run.service(Identity)
    schedule = None if choice.startswith(MANUAL) else run.service(Schedule)
    found = run.step("the chosen experiment", partial(_look_up, schedule, identity, run.site, choice))
    new, notes = from_json(Experiment, found["experiment"]), list[str]()
    if schedule is not None:
        new, notes = join_form(run, new, found.get("form_people", []))
    adopt(run, identity, new)
    if schedule is not None:
        note_look_up(run, identity, datetime.fromisoformat(found["at"]))
    run.progress(1.0, _summary(new, found["namesakes"], notes))
    return to_json(new)


def _look_up(schedule: Schedule | None, identity: Identity, site: Site, choice: str) -> Json:
    at = datetime.now(UTC).replace(microsecond=0)
    new = by_choice(schedule, identity, site, choice)
    namesakes: list[Json] = [key for key in identity.named(new.name) if key != new.key]
    return {
        "at": at.isoformat(),
        "experiment": to_json(new),
        "namesakes": namesakes,
        "form_people": form_people(identity.current(), new.key, new.esaf),
    }


def _summary(new: Experiment, namesakes: list[str], notes: Sequence[str]) -> str:
    people = f"{len(new.people)} {'person' if len(new.people) == 1 else 'people'}"
    times = f"{new.start:%a %Y-%m-%d %H:%M} to {new.end:%a %Y-%m-%d %H:%M}"
    parts = [new.key, new.name, people, *notes, times]
    if not new.open:
        parts.append("closed: ReopenExperiment opens it again")
    if namesakes:
        parts.append(f"{' and '.join(namesakes)} has that name too: a directory of it is not shared")
    return ", ".join(parts)
