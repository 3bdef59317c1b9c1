"""One run as a JSON object: what `beamtime history --json` prints and what is kept of a retired run."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from beamtime_ioc.model import Experiment, Json, RunState, Who, from_json, to_json
from beamtime_ioc.runrecord import RecordedStep, RunRecord
from beamtime_ioc.stored_doubts import Doubt


def short_json(record: RunRecord) -> dict[str, Json]:
    """One line of the list."""
    return {
        "run": record.id,
        "action": record.action,
        "state": record.state.value,
        "who": str(record.who),
        "experiment": record.experiment.key if record.experiment else None,
        "experiment_name": record.experiment.name if record.experiment else None,
        "message": record.message,
        "advice": record.advice,
        "pressed": record.pressed.isoformat(),
        "ended": record.ended.isoformat() if record.ended else None,
        "seconds": round(record.seconds, 3),
    }


def whole_json(record: RunRecord, steps: Sequence[RecordedStep]) -> dict[str, Json]:
    """All that is written down of it; `read_whole` reads it back."""
    return {
        **short_json(record),
        "number": record.number,
        "pressed_by": to_json(record.who),
        "whose": to_json(record.experiment) if record.experiment else None,
        "experiment_at_press": to_json(record.at_press) if record.at_press else None,
        "arguments": dict(record.arguments),
        "again_of": record.again_of,
        "problems": list(record.problems),
        "unknown": list(record.unknown),
        "value": record.value,
        "doubts": [to_json(doubt) for doubt in record.doubts],
        "steps": [to_json(step) for step in steps],
    }


def read_whole(whole: Mapping[str, Any]) -> tuple[RunRecord, Sequence[RecordedStep]]:
    """A run and its checklist, as `whole_json` wrote them."""
    at_press, ended = whole["experiment_at_press"], whole["ended"]
    whose = whole.get("whose", at_press)  # what was written before had only the one at the press
    record = RunRecord(
        id=whole["run"],
        action=whole["action"],
        state=RunState(whole["state"]),
        who=from_json(Who, whole["pressed_by"]),
        experiment=from_json(Experiment, whose) if whose else None,
        at_press=from_json(Experiment, at_press) if at_press else None,
        message=whole["message"],
        advice=whole["advice"],
        pressed=datetime.fromisoformat(whole["pressed"]),
        ended=datetime.fromisoformat(ended) if ended else None,
        number=whole["number"],
        arguments=whole["arguments"],
        again_of=whole["again_of"],
        problems=tuple(whole["problems"]),
        unknown=tuple(whole["unknown"]),
        value=whole["value"],
        doubts=tuple(from_json(Doubt, cast(Json, doubt)) for doubt in whole["doubts"]),
    )
    return record, tuple(from_json(RecordedStep, cast(Json, step)) for step in whole["steps"])
