"""The last runs as rows of a table."""

from collections.abc import Callable, Mapping, Sequence
from zoneinfo import ZoneInfo

from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.board import Board
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import StateError
from beamtime_ioc.journal import Journal
from beamtime_ioc.model import RunState
from beamtime_ioc.posting import Reading
from beamtime_ioc.progress import RunView
from beamtime_ioc.runrecord import RunRecord
from beamtime_ioc.values import Value

COLUMNS = ("pressed", "action", "experiment", "state", "seconds", "who", "message", "run", "advice")


class HistorySource:
    """The newest runs (source `history` of a table).

    Parameters
    ----------
    zone
        Of the beamline: times are shown in it.
    """

    columns = COLUMNS

    def __init__(self, journal: Journal, board: Board, zone: ZoneInfo) -> None:
        self.journal, self.board, self.zone = journal, board, zone

    async def rows(self, limit: int) -> Sequence[Mapping[str, Value]]:
        # What is not written down of a run that goes on: that it is aborting, or stuck.
        views = [posting.value for posting in self.board.progress.values()]
        active = {view.run_id: view for view in views if not view.state.ended}
        return await in_thread("history table", self._read, limit, active)

    def _read(self, limit: int, active: Mapping[str, RunView]) -> Sequence[Mapping[str, Value]]:
        try:
            return [self._row(record, active.get(record.id)) for record in self.journal.last(limit)]
        except SQLAlchemyError as error:
            raise StateError(
                f"the history cannot be read ({type(error).__name__})", advice="see EngineState and the disk"
            ) from error

    def _row(self, record: RunRecord, view: RunView | None) -> Mapping[str, Value]:
        state, message, advice = record.state, record.message, record.advice
        if view is not None and not state.ended:
            state, message, advice = view.state, view.message, view.advice
        return {
            "pressed": record.pressed.astimezone(self.zone).isoformat(timespec="seconds"),
            "action": record.action,
            "experiment": record.experiment.name if record.experiment else "",
            "state": state.value,
            "seconds": round(record.seconds, 1),
            "who": str(record.who),
            "message": message,
            "advice": advice,
            "run": record.id,
        }

    def tell_changes(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever a run begins, ends, or changes its state in between."""
        for posting in self.board.progress.values():
            posting.watchers.append(_Watch(posting.reading, changed))


class _Watch:
    """Looks through the many posts of a run for those that the table shows."""

    def __init__(self, reading: Reading[RunView], changed: Callable[[], None]) -> None:
        self._changed = changed
        self._last = self._key(reading)

    def _key(self, reading: Reading[RunView]) -> tuple[str, RunState]:
        return reading.value.run_id, reading.value.state

    def __call__(self, reading: Reading[RunView]) -> None:
        last, self._last = self._last, self._key(reading)
        if self._last != last:
            self._changed()
