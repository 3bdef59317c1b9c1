"""The records beside a button: what they show of a run."""

import time
from collections.abc import Sequence
from dataclasses import replace

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board, Cell
from beamtime_ioc.model import RunState
from beamtime_ioc.progress import RunView, StepLine
from beamtime_ioc.runrecord import RunRecord
from beamtime_ioc.values import Value, fit

REFUSAL_S = 5.0
"""How long a refusal stays on the message record of a run that goes on."""

STATE_INDEX = {state: index for index, state in enumerate(RunState)}

COMPLETE = (RunState.DONE, RunState.PROBLEMS, RunState.UNSURE)
"""Nothing more is tried in these."""


def alarm_for(state: RunState, message: str) -> Alarm:
    """The alarm that a run's state means, on its button and on its message."""
    if state in (RunState.FAILED, RunState.UNSURE, RunState.STUCK):
        return Alarm(Severity.MAJOR, Status.STATE, message)
    if state in (RunState.DONE, RunState.IDLE):
        return QUIET
    return Alarm(Severity.MINOR, Status.STATE, message)


def ended_view(record: RunRecord) -> RunView:
    """A run of an earlier life as it is shown after a restart."""
    return RunView(
        action=record.action,
        state=record.state,
        percent=100.0 if record.state in COMPLETE else 0.0,
        message=record.message,
        advice=record.advice,
        run_id=record.id,
        started_by=str(record.who),
        started=record.pressed.timestamp(),
        elapsed_s=record.seconds,
        remaining_s=0.0,
    )


class Panel:
    """Posts runs to the records of their action.

    Attributes
    ----------
    rows
        By action.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.rows = {row.action: row for row in board.records.actions()}
        self._refusals: dict[str, float] = {}

    def post(self, view: RunView, alarm: Alarm, *, at_once: bool) -> None:
        """Show a run; the button last, so that whoever sees it fall finds all the rest in place."""
        values: dict[str, Value] = {
            "state": STATE_INDEX[view.state],
            "percent": view.percent,
            "step": view.step,
            "message": view.message,
            "advice": view.advice,
            "elapsed": view.elapsed_s,
            "started-by": view.started_by,
            "run-id": view.run_id,
        }
        # How bad a state is, the record file says; the run gives its words.
        alarms = {"state": Alarm(message=alarm.message), "message": alarm}
        for part, value in values.items():
            cell = self._part(view.action, part)
            if cell is not None and not (part == "message" and self._refusal_is_shown(view)):
                self._set(cell, value, alarms.get(part, QUIET), at_once=at_once)
        progress = self.board.progress[view.action]
        (progress.set if at_once else progress.set_soon)(view, alarm)
        button = self.board.cells[self.rows[view.action].button.name]
        self._set(button, int(not view.state.ended), alarm, at_once=True)

    def show_ended(self, record: RunRecord, steps: Sequence[StepLine] = ()) -> None:
        """Show a run that has ended, unless its action shows another by now."""
        if record.action not in self.rows or not record.state.ended:
            return
        if self.board.progress[record.action].value.run_id in ("", record.id):
            view = replace(ended_view(record), steps=tuple(steps))
            self.post(view, alarm_for(record.state, record.message), at_once=True)

    def refuse(self, action: str, reason: str) -> None:
        """Show why a press was refused: a plain put has no other answer."""
        cell = self._part(action, "message")
        if cell is not None:
            self._refusals[action] = time.monotonic()
            text = fit(f"refused: {reason}", cell.record.nelm)
            cell.set(text, Alarm(Severity.MINOR, Status.STATE, text))

    def plan(self, action: str, text: str) -> None:
        cell = self._part(action, "plan")
        if cell is not None:
            cell.set(fit(text, cell.record.nelm))

    def take_back_refusal(self, action: str, *, before: float) -> None:
        """Show again what the last run said in place of a refusal from before then (monotonic, in s)."""
        message = self._part(action, "message")
        if self._refusals.get(action, before) < before and message is not None:
            del self._refusals[action]
            last = self.board.progress[action].reading
            self._set(message, last.value.message, last.alarm, at_once=True)

    def queue(self, waiting: int) -> None:
        """Show how many runs wait for their turn."""
        cell = self.board.report_cell("queued")
        if cell is not None:
            self._set(cell, waiting, QUIET, at_once=True)

    def _part(self, action: str, part: str) -> Cell | None:
        record = self.rows[action].parts.get(part)
        return self.board.cells[record.name] if record else None

    def _refusal_is_shown(self, view: RunView) -> bool:
        refused = self._refusals.get(view.action)
        return not view.state.ended and refused is not None and time.monotonic() < refused + REFUSAL_S

    def _set(self, cell: Cell, value: Value, alarm: Alarm, *, at_once: bool) -> None:
        fitting = fit(value, cell.record.nelm) if isinstance(value, str) else value
        if cell.settled and (fitting, cell.alarm_of(fitting, alarm)) == (cell.value, cell.reading.alarm):
            return
        (cell.set if at_once else cell.set_soon)(fitting, alarm)
