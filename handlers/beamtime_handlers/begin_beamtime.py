"""BeginBeamtime: who is on beam, where the data go, and a letter to everybody."""

from typing import Any

from beamtime_ioc.action import Run, action
from beamtime_ioc.errors import BeamtimeError, EffectsFailedError, StepFailedError
from beamtime_ioc.model import Experiment, from_json

WAIT = "wait until every directory stands"


@action("begin-beamtime", resource="identity", exclusive=True, needs_experiment=False)
def begin_beamtime(run: Run, experiment: Experiment | None) -> None:
    """Take over the experiment that is on beam now, make its directories, and write to its people."""
    run.progress(0.0, "asking the schedule who is on beam")
    new = from_json(Experiment, run.call("update-user-info", experiment=experiment))
    run.progress(0.3, f"making the directories of {new.name}")
    directories = _directories(run, new)
    if directories is None:
        return
    run.progress(0.6, f"writing to the people of {new.name}")
    letters = run.call("email-users", experiment=new, unless_off=True)
    run.progress(1.0, f"{new.name} has begun: {directories}, {_letters(letters)}")


def _directories(run: Run, new: Experiment) -> str | None:
    """Make them and say so; None if it is not known whether all stand, so that letters must wait."""
    if not run.site.places:
        run.hold("directories", "the site file names no places for data")
        return "no directories"
    try:
        found = run.call("create-directories", experiment=new)
    except (StepFailedError, EffectsFailedError) as error:
        run.hold("letters", WAIT)
        raise BeamtimeError(error.sentence, advice=_advice(error.advice)) from error
    if not run.preview and None in found:  # it is not known whether one stands
        run.hold("letters", WAIT)
        return None
    return f"{len(found)} {'directory' if len(found) == 1 else 'directories'}"


def _letters(count: dict[str, Any]) -> str:
    if count["mode"] == "off":
        return "mail is off"
    letters = f"{count['accepted']} letter{'' if count['accepted'] == 1 else 's'}"
    how = {"dry-run": "written as files", "test": "to the contact"}
    before = f" ({count['already']} at an earlier press)" if count["already"] else ""
    without = f", {count['left_out']} left out" if count["left_out"] else ""
    return f"{letters} {how.get(count['mode'], 'accepted')}{before}{without}"


def _advice(advice: str) -> str:
    advice = advice.replace("press again", "press BeginBeamtime again")
    if "press BeginBeamtime again" not in advice:
        advice = f"{advice or 'mend that'}, then press BeginBeamtime again"
    return f"{advice}: only this is missing, and the letters that wait for it"
