"""How a run ends, and what is said of it."""

import logging
from dataclasses import replace

from beamtime_ioc.engine.engine import Outcome, checked_json
from beamtime_ioc.engine.work import SENTENCE, LiveRun
from beamtime_ioc.engine.workshop import fault
from beamtime_ioc.errors import BeamtimeError, Cancelled, StateError, kept_for
from beamtime_ioc.model import Json, RunState, one_line

log = logging.getLogger(__name__)


def perform(run: LiveRun) -> Outcome:
    """Run a handler to its end and say how it ended. Kept and Stopping pass through."""
    return replace(_performed(run), experiment=run.found)


def _performed(run: LiveRun) -> Outcome:
    try:
        value = run.workshop.action(run.order.action)(run, run.order.experiment, **run.order.arguments)
        outcome = _good_end(run, checked_json("the handler's result", value))
    except StateError as error:
        raise kept_for(error) from error
    except Cancelled:
        outcome = Outcome(
            state=RunState.ABORTED,
            message="aborted; what was made stands",
            advice="press again to go on from here",
        )
    except BeamtimeError as error:
        advice = one_line(error.advice) or "press again"
        outcome = Outcome(state=RunState.FAILED, message=one_line(str(error), SENTENCE), advice=advice)
    except Exception as error:
        log.exception("run %s: fault of the handler %s", run.id, run.order.action)
        sentence, advice = fault(run.order.action, error)
        outcome = Outcome(state=RunState.FAILED, message=f"{sentence}; {advice}", advice=advice)
    unknown = tuple(run.recorder.doubts())  # an execution that died may have left one
    if not unknown or outcome.state is RunState.UNSURE:
        return outcome
    # What cannot be known weighs more than an abort, and is named beside a failure.
    aborted = outcome.state is RunState.ABORTED
    text = f"{outcome.message}; besides, unsure: {'; '.join(unknown)}"
    return replace(
        outcome,
        state=RunState.UNSURE if aborted else outcome.state,
        message=text,
        problems=(outcome.message,) if aborted else outcome.problems,
        unknown=unknown,
    )


def _good_end(run: LiveRun, value: Json) -> Outcome:
    problems, unknown = tuple(run.problems), tuple(run.recorder.doubts())
    run.fraction = 1.0
    if unknown:
        advice = "find out whether it happened, then answer with Resolve; it is not repeated by itself"
        message = "; ".join([*unknown, *problems])
        return Outcome(
            state=RunState.UNSURE,
            message=message,
            advice=advice,
            problems=problems,
            unknown=unknown,
            value=value,
        )
    if problems:
        advice = "press again when the cause is gone: only what is missing is done"
        message = "; ".join(problems)
        return Outcome(
            state=RunState.PROBLEMS, message=message, advice=advice, problems=problems, value=value
        )
    return Outcome(state=RunState.DONE, message=run.text or "done", value=value)
