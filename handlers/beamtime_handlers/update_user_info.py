"""UpdateUserInfo: who is on beam, as the schedule has it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from beamtime_ioc.action import Run, action
from beamtime_ioc.adoption import adopt, ended_before, hold_shared_name, namesakes, note_look_up
from beamtime_ioc.esaf import form_people, join_form
from beamtime_ioc.kept_schedule import look_up
from beamtime_ioc.model import Beamtime, Experiment, Json, Naming, Site, counted, from_json, to_json
from beamtime_ioc.ports import Identity, Schedule
from beamtime_ioc.without_schedule import AWAY, WHO_IS_ON_BEAM, go_on_without, why_away


@action(
    "update-user-info",
    resource="identity",
    exclusive=True,
    needs_experiment=False,
    schedule_steps=(WHO_IS_ON_BEAM,),
)
def update_user_info(run: Run, experiment: Experiment | None, *, only_open: bool = False) -> Json:
    """Ask the schedule who is on beam, and make it the current experiment.

    A look-up that fails changes nothing. Where the site file lets this step go on without the schedule, the
    current experiment stays. People of the safety form are added, where a service knows such forms.

    Parameters
    ----------
    only_open
        Refuse an experiment that was ended, instead of showing it as closed.

    Returns
    -------
    Json
        The current experiment, new or not; with `without`, a sentence, if the schedule was not asked.
    """
    schedule, identity = run.service(Schedule), run.service(Identity)
    goes_on = run.site.goes_on(run.pressed, WHO_IS_ON_BEAM)
    found = run.step(WHO_IS_ON_BEAM, partial(_look_up, schedule, identity, run.site, goes_on))
    if found.get("without"):
        run.hold("take over who is on beam", found["without"])
        run.progress(1.0, found["without"])
        return {**found["experiment"], "without": found["without"]}
    at = datetime.fromisoformat(found["at"])
    first = from_json(Naming, found["first"]) if found["first"] else None
    beamtime = from_json(Beamtime, found["beamtime"])
    # A look-up that was written down by an earlier version does not say whether it was ended.
    new = replace(run.site.experiment(beamtime, first), open=found.get("open", True))
    if only_open and not new.open:
        raise ended_before(new, experiment, "the schedule names it still")
    shared = hold_shared_name(run, new, found.get("namesakes", []))
    new, notes = join_form(run, new, found.get("form_people", []))
    adopt(run, identity, new)
    note_look_up(run, identity, at)
    renamed = run.site.experiment(beamtime).name
    summary = _summary(new, at, found["edited"], renamed, notes)
    run.progress(1.0, f"{summary}, {shared}" if shared else summary)
    return to_json(new)


def _look_up(schedule: Schedule, identity: Identity, site: Site, goes_on: bool) -> Json:
    at = datetime.now(UTC).replace(microsecond=0)
    moment = at.astimezone(site.zone)
    current = identity.current()
    try:
        beamtime = look_up(schedule, moment)
    except AWAY as error:
        if not goes_on:
            raise
        without = go_on_without(schedule, current, moment, why_away(error))
        return {"without": without, "experiment": to_json(current)}
    first = identity.first_naming(beamtime.key)
    return {
        "at": at.isoformat(),
        "beamtime": to_json(beamtime),
        "first": to_json(first) if first else None,
        "namesakes": namesakes(identity, site.experiment(beamtime, first)),
        "edited": list(current.edited) if current else [],
        "open": identity.closed(beamtime.key) is None,
        "form_people": form_people(current, beamtime.key, beamtime.esaf),
    }


def _summary(new: Experiment, at: datetime, edited: list[str], renamed: str, notes: Sequence[str]) -> str:
    """One line for the screen: who, until when, and what a person may want to mend."""
    people = counted(len(new.people), "person", "people")
    parts = [new.key, new.name, people, *notes, f"until {_day(new.end, at)}"]
    if at < new.start:
        parts.append(f"early: it begins {_day(new.start, at)}")
    if renamed != new.name:
        parts.append(f"keeps the name it began with, though the schedule now makes it {renamed}")
    if not new.open:
        parts.append("closed: ReopenExperiment opens it again")
    if new.pi.pi_inferred:
        parts.append(f"no PI is marked: {new.pi.full_name} is taken")
    if without := [person.full_name for person in new.people if not person.email]:
        parts.append(f"no e-mail address: {' and '.join(without)}")
    if edited:
        parts.append(f"replaces what was typed by hand: {' and '.join(edited)}")
    return ", ".join(parts)


def _day(time: datetime, at: datetime) -> str:
    return f"{time:%a %H:%M}" if abs(time - at) < timedelta(days=6) else f"{time:%a %Y-%m-%d %H:%M}"
