"""What an operator's answer names: the run, the doubt, and what is to be done again."""

import json
from typing import Any, cast

from beamtime_ioc.audit import AuditEntry, Deed
from beamtime_ioc.errors import BadValueError, RefusedError
from beamtime_ioc.model import Answer, Who
from beamtime_ioc.runrecord import RunRecord
from beamtime_ioc.stored_doubts import Asked, Doubt


def chosen_doubt(record: RunRecord, step: str) -> Doubt:
    """A doubt of a run by its step or its number.

    Raises
    ------
    RefusedError
        There is none, or it has its answer.
    """
    numbered = {str(number): doubt for number, doubt in enumerate(record.doubts, 1)}
    chosen = numbered.get(step) or next((one for one in record.doubts if one.step == step), None)
    if chosen is None:
        known = "; ".join(doubt.step for doubt in record.doubts) or "nothing"
        raise RefusedError(f"run {record.id} has no doubt {step!r}", advice=f"in doubt there: {known}")
    if chosen.answer:
        raise stands(chosen)
    return chosen


def stands(doubt: Doubt) -> RefusedError:
    """Why a doubt that has its answer gets no other."""
    return RefusedError(
        f"{doubt.step} has its answer: {doubt.answer}, said {doubt.answered_by}", advice="an answer stands"
    )


def asked_of(record: RunRecord, doubt: Doubt) -> Asked:
    """What is done again for it."""
    return doubt.asked or Asked(action=record.action, experiment=record.at_press, arguments=record.arguments)


def answer_entry(record: RunRecord, who: Who, text: str) -> AuditEntry:
    key = record.experiment.key if record.experiment else ""
    return AuditEntry(
        what=Deed.RESOLVE, who=who, action=record.action, run=record.id, experiment=key, text=text
    )


def parsed_answer(text: str) -> tuple[str, str, Answer]:
    """Run, step and answer, as they are written to the record `Resolve`.

    Raises
    ------
    BadValueError
    """
    allowed = ", ".join(Answer)
    try:
        found = cast(dict[str, Any], json.loads(text))
        return str(found["run"]), str(found["step"]), Answer(found["answer"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadValueError(
            "this is no answer",
            advice=f'write {{"run": ..., "step": ..., "answer": ...}} with one of {allowed}',
        ) from error
