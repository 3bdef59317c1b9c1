"""The checklist of the action that runs or ran last: as rows of a table, and in two plain records."""

import sys
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import StateError
from beamtime_ioc.filled_table import Rows
from beamtime_ioc.journal import Journal
from beamtime_ioc.progress import RunView, StepLine, StepState

FAILING = (StepState.FAILED, StepState.UNSURE)


def shown_run(views: Sequence[RunView]) -> RunView | None:
    """The run whose checklist is shown: of those that go on the one that began last, else what ended last."""
    known = [view for view in views if view.run_id]
    active = [view for view in known if not view.state.ended]
    if active:
        return max(active, key=lambda view: view.started)
    return max(known, key=lambda view: view.started + view.elapsed_s, default=None)


class ChecklistSource:
    """The lines of that run (source `checklist`); MAJOR while one of them has failed or is unsure.

    Keeps `checklist.step` and `checklist.failing` like them, for those who see no tables. A run of an earlier
    life is read from the state database, once.
    """

    columns = ("step", "state", "reason", "seconds")

    def __init__(self, board: Board, journal: Journal) -> None:
        self.board, self.journal = board, journal
        self._cells = {word: board.cells[record.name] for word, record in board.records.reports("checklist")}
        self._earlier: tuple[str, Sequence[StepLine]] = "", ()

    async def rows(self, limit: int) -> Rows:
        lines = await self._lines()
        self._show(lines)
        rows = [
            {"step": line.name, "state": line.state.value, "reason": line.reason, "seconds": line.seconds}
            for line in lines
        ]
        return Rows(rows[:limit], alarm_of(lines, limit))

    async def _lines(self) -> Sequence[StepLine]:
        view = shown_run([posting.value for posting in self.board.progress.values()])
        if view is None:
            return ()
        if not view.steps and view.state.ended:
            if self._earlier[0] != view.run_id:
                self._earlier = view.run_id, await in_thread("checklist", self._read, view.run_id)
            return self._earlier[1]
        return view.steps

    def _read(self, run_id: str) -> Sequence[StepLine]:
        try:
            return self.journal.steps(run_id)
        except SQLAlchemyError as error:
            raise StateError(
                f"the checklist cannot be read ({type(error).__name__})",
                advice="see EngineState and the disk",
            ) from error

    def _show(self, lines: Sequence[StepLine]) -> None:
        """The line that the run is at, and the first that is wrong."""
        begun = [line for line in lines if line.state is not StepState.WAITING]
        running = [line for line in begun if line.state is StepState.RUNNING]
        failing = next((line for line in lines if line.state in FAILING), None)
        shown = {
            "step": (words_of(current) if (current := next(reversed(running or begun), None)) else "", QUIET),
            "failing": (words_of(failing) if failing else "", alarm_of(lines)),
        }
        for word, cell in self._cells.items():
            cell.show(*shown[word])

    def tell_changes(self, changed: Callable[[], None]) -> None:
        for posting in self.board.progress.values():
            posting.watchers.append(lambda _: changed())


def alarm_of(lines: Sequence[StepLine], limit: int = sys.maxsize) -> Alarm:
    """How bad the lines are; MINOR if not all of them are shown."""
    failing = next((line for line in lines if line.state in FAILING), None)
    if failing is not None:
        return Alarm(Severity.MAJOR, Status.STATE, words_of(failing))
    if len(lines) > limit:
        return Alarm(Severity.MINOR, Status.STATE, f"cut: the first {limit} of {len(lines)} lines are shown")
    return QUIET


def words_of(line: StepLine) -> str:
    """One line in words."""
    return f"{line.name}: {line.state.value}" + (f": {line.reason}" if line.reason else "")
