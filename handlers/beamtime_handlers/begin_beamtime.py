"""BeginBeamtime: who is on beam, where the data go, and a letter to everybody."""

from typing import Any

from beamtime_ioc.action import Run, action
from beamtime_ioc.chosen import Choice
from beamtime_ioc.errors import BeamtimeError, EffectsFailedError, StepFailedError
from beamtime_ioc.model import Experiment, Json, counted, from_json
from beamtime_ioc.without_schedule import THE_CHOSEN, WHO_IS_ON_BEAM

WAIT = "wait until every directory stands"


@action(
    "begin-beamtime",
    resource="identity",
    exclusive=True,
    needs_experiment=False,
    schedule_steps=(WHO_IS_ON_BEAM, THE_CHOSEN),
)
def begin_beamtime(run: Run, experiment: Experiment | None, *, choice: Choice = "") -> str | None:
    """Take over the experiment that is on beam now, make its directories, and write to its people.

    One that was ended is refused, and the current experiment stays.

    Parameters
    ----------
    choice
        Key of an experiment, or the number of a beamtime; empty: whom the schedule has on beam now.

    Returns
    -------
    str or None
        What has begun, in a sentence; None while it is not known.
    """
    run.progress(0.0, "asking the schedule who is on beam")
    if choice:
        found = run.call("select-experiment", experiment=experiment, choice=choice, only_open=True)
    else:
        found = run.call("update-user-info", experiment=experiment, only_open=True)
    new = from_json(Experiment, found)
    run.progress(0.3, f"making the directories of {new.name}")
    directories = _directories(run, new)
    if directories is None:
        return None
    run.progress(0.6, f"writing to the people of {new.name}")
    letters = run.call("email-users", experiment=new, unless_off=True)
    without = found.get("without", "")
    how = " without the schedule" if without else ""
    begun = f"{new.name} has begun{how}: {directories}, {_letters(letters)}"
    if without:
        begun += f"; {without}"
    run.progress(1.0, begun)
    return begun


def _directories(run: Run, new: Experiment) -> str | None:
    """Make them and say so; None if it is not known whether all stand, so that letters must wait."""
    if not run.site.places:
        run.hold("directories", "the site file names no places for data")
        return "no directories"
    try:
        found: list[Json] = run.call("create-directories", experiment=new)
    except (StepFailedError, EffectsFailedError) as error:
        run.hold("letters", WAIT)
        raise BeamtimeError(error.sentence, advice=_advice(error.advice)) from error
    if not run.preview and None in found:  # it is not known whether one stands
        run.hold("letters", WAIT)
        return None
    warnings = (one.get("warning") for one in found if isinstance(one, dict))
    return " ".join(
        [counted(len(found), "directory", "directories"), *(f"({each})" for each in warnings if each)]
    )


def _letters(count: dict[str, Any]) -> str:
    if count["mode"] == "off":
        return "mail is off"
    letters = counted(count["accepted"], "letter")
    how = {"dry-run": "written as files", "test": "to the contact"}
    before = f" ({count['already']} at an earlier press)" if count["already"] else ""
    # A count that was written down by an earlier version does not have it.
    never = f", {count['given_up']} given up" if count.get("given_up") else ""
    without = f", {count['left_out']} left out" if count["left_out"] else ""
    return f"{letters} {how.get(count['mode'], 'accepted')}{before}{never}{without}"


def _advice(advice: str) -> str:
    advice = advice.replace("press again", "press BeginBeamtime again")
    if "press BeginBeamtime again" not in advice:
        advice = f"{advice or 'mend that'}, then press BeginBeamtime again"
    return f"{advice}: only this is missing, and the letters that wait for it"
