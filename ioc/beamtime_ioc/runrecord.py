"""One run as it is written down, out of the engine's rows."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from beamtime_ioc.errors import StateError
from beamtime_ioc.model import Answer, Experiment, Json, RunState, Who, from_json
from beamtime_ioc.progress import StepLine, StepState
from beamtime_ioc.stored_doubts import Doubt

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOT_BEGUN = "aborted before it began; nothing was changed"
WITHOUT_OUTCOME = {
    RunState.ABORTED: NOT_BEGUN,
    RunState.FAILED: "the engine could not run it; see the log",
}


@dataclass(frozen=True, kw_only=True)
class RecordedStep(StepLine):
    """One line of the checklist as it is written down.

    Parameters
    ----------
    began
        None if nobody wrote it down. Effects that were made at once share it.
    """

    began: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run as it is written down.

    Parameters
    ----------
    experiment
        Whom it was for: the one that it found while it worked, else the one at the press.
    at_press
        The one that was current at the press.
    number
        Counts up from run to run.
    again_of
        The run that it does again.
    problems, unknown
        A sentence each.
    value
        What the handler returned.
    doubts
        What may or may not have happened, with the answers.
    """

    id: str
    action: str
    state: RunState
    who: Who
    experiment: Experiment | None
    message: str
    advice: str
    pressed: datetime
    ended: datetime | None
    at_press: Experiment | None = None
    number: int = 0
    arguments: Mapping[str, Json] = field(default_factory=dict[str, Json])
    again_of: str = ""
    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    value: Json = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def seconds(self) -> float:
        """From the press to the end, or to now; in s."""
        return ((self.ended or datetime.now(UTC)) - self.pressed).total_seconds()

    def answered(self, doubts: Sequence[Doubt]) -> "RunRecord":
        """The record with its doubts; when each has its answer, an Unsure run is unsure no more."""
        with_doubts = replace(self, doubts=tuple(doubts))
        answers = {doubt.answer for doubt in doubts}
        if self.state is RunState.ABORTED and "" in answers:
            return replace(with_doubts, state=RunState.UNSURE)  # given up in the middle of something
        if self.state is not RunState.UNSURE or not doubts or "" in answers:
            return with_doubts
        state = RunState.DONE if answers == {Answer.HAPPENED} else RunState.PROBLEMS
        said = "; ".join(f"{doubt.step}: {doubt.answer}, said {doubt.answered_by}" for doubt in doubts)
        message = "; ".join([said, *self.problems])
        if self.problems:
            return replace(with_doubts, state=RunState.PROBLEMS, message=message)
        advice = "see the run that does it again" if Answer.AGAIN in answers else ""
        return replace(with_doubts, state=state, message=message, advice=advice)


def pressed_at(run_id: str) -> datetime:
    """When a run was pressed, in UTC, cut to whole us: its id begins with the ns since 1970."""
    return EPOCH + timedelta(microseconds=int(run_id[:20]) // 1000)


def first_id(moment: datetime) -> str:
    """What the ids of all runs that were pressed at a time or later are not less than."""
    return f"{max(0, (moment - EPOCH) // timedelta(microseconds=1)) * 1000:020d}"


def written_who(stored_order: str) -> Who:
    """Who pressed, without a look at the rest of the order."""
    return from_json(Who, cast(Json, json.loads(stored_order)["who"]))


def record_of(row: Any) -> RunRecord:
    """A row of the view `beamtime_history`; its doubts stand elsewhere.

    Raises
    ------
    StateError
        It is damaged, or of another version of the program.
    """
    try:
        return _record_of(row)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"run {row.run_id} cannot be read: {error!r}",
            advice="start the version that wrote it, or put the state back from a copy",
        ) from error


def _record_of(row: Any) -> RunRecord:
    order = cast(dict[str, Any], json.loads(row.stored_order))
    outcome = cast(dict[str, Any], json.loads(row.stored_outcome)) if row.stored_outcome else {}
    state = RunState(outcome.get("state", row.state_without_outcome))
    message = outcome.get("message", "")
    if not outcome:
        message = getattr(row, "note", "") or WITHOUT_OUTCOME.get(state, "")
    at_press = _experiment(order["experiment"])
    ended_s = outcome.get("ended", row.changed_ms / 1000) if state.ended else None
    return RunRecord(
        id=row.run_id,
        action=row.action,
        state=state,
        who=from_json(Who, cast(Json, order["who"])),
        experiment=_experiment(outcome.get("experiment")) or at_press,
        at_press=at_press,
        message=message,
        advice=outcome.get("advice", ""),
        pressed=pressed_at(row.run_id),
        ended=datetime.fromtimestamp(ended_s, UTC) if ended_s is not None else None,
        number=row.number,
        arguments=order.get("arguments", {}),
        again_of=order.get("again_of", ""),
        problems=tuple(outcome.get("problems", ())),
        unknown=tuple(outcome.get("unknown", ())),
        value=outcome.get("value"),
    )


def _experiment(stored: Json) -> Experiment | None:
    return from_json(Experiment, stored) if stored else None


def checklist_of(rows: Iterable[Any]) -> list[RecordedStep]:
    """Rows of the view `beamtime_steps`, each one step or several effects; claims are left out."""
    return [line for row in rows for line in _lines(row)]


def _lines(row: Any) -> Iterator[RecordedStep]:
    stored = cast(Json, json.loads(row.output or "null"))
    began = datetime.fromtimestamp(row.began_ms / 1000, UTC) if row.began_ms else None
    took_s = (row.ended_ms - row.began_ms) / 1000 if row.began_ms and row.ended_ms else 0.0
    for tagged in stored if isinstance(stored, list) else [stored]:
        if isinstance(tagged, dict):
            state, reason = how_of(tagged)
            yield RecordedStep(
                name=str(tagged.get("title", row.title)),
                state=state,
                reason=reason,
                seconds=float(cast(float, tagged.get("s", took_s))),
                began=began,
            )


def how_of(tagged: Mapping[str, Json]) -> tuple[StepState, str]:
    """The state that a step's stored value means, and its reason; the forms stand in `engine/work.py`."""
    if "held" in tagged:
        return StepState.HELD, str(tagged["held"])
    if "unknown" in tagged:
        return StepState.UNSURE, str(tagged["unknown"])
    if "failed" in tagged:
        _, *sentence_and_advice = cast(list[str], tagged["failed"])
        return StepState.FAILED, "; ".join(filter(None, sentence_and_advice))
    return StepState(str(tagged["how"])), ""
