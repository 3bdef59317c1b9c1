"""The letters to users as rows of a table, and in numbers."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board, Found
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.filled_table import Rows
from beamtime_ioc.model import OutboxRow
from beamtime_ioc.posting import Reading
from beamtime_ioc.progress import RunView
from beamtime_ioc.store import Store, transaction
from beamtime_ioc.stored_outbox import count_letters, last_letters

LATELY = timedelta(days=7)
"""A letter that was given up by the program longer ago wants nobody's attention any more."""


class OutboxSource:
    """The newest letters (source `outbox` of a table), and the records that count them.

    Parameters
    ----------
    zone
        Of the beamline: times are shown in it.
    """

    columns = ("at", "to", "state", "answer", "experiment", "subject", "tries", "due", "run")

    def __init__(self, store: Store, board: Board, zone: ZoneInfo) -> None:
        self.store, self.board, self.zone = store, board, zone
        self._counts = dict(board.records.reports("outbox"))

    async def rows(self, limit: int) -> Rows:
        rows, counts = await in_thread("outbox table", self._read, limit)
        for word, record in self._counts.items():
            self.board.cells[record.name].show(counts.get(word, 0))
        return Rows([self._row(row) for row in rows], _alarm(counts))

    def _read(self, limit: int) -> tuple[Sequence[OutboxRow], Mapping[str, int]]:
        with transaction(self.store) as db:
            return last_letters(db, limit), count_letters(db, datetime.now(UTC) - LATELY)

    def _row(self, row: OutboxRow) -> Found:
        return {
            "at": self._time(row.at),
            "to": row.to,
            "state": row.state,
            "answer": row.answer,
            "experiment": row.experiment,
            "subject": row.subject,
            "tries": row.tries,
            "due": self._time(row.due if row.state == "deferred" else None),
            "run": row.run_id,
        }

    def _time(self, moment: datetime | None) -> str:
        return moment.astimezone(self.zone).isoformat(timespec="seconds") if moment else ""

    def tell_changes(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever a step of a run has ended, or a run, or an operator has answered."""
        for posting in self.board.progress.values():
            posting.watchers.append(_Watch(posting.reading, changed))


def _alarm(counts: Mapping[str, int]) -> Alarm:
    if unsure := counts.get("unsure", 0):
        advice = "ask whether they arrived, then answer with Resolve"
        return Alarm(Severity.MAJOR, Status.STATE, f"{unsure} may have gone; {advice}")
    if lost := counts.get("undelivered", 0):
        advice = "see the answers, then press EmailUsers"
        return Alarm(Severity.MAJOR, Status.STATE, f"{lost} did not go, after many tries; {advice}")
    if deferred := counts.get("deferred", 0):
        return Alarm(Severity.MINOR, Status.STATE, f"{deferred} were put off; DeliverOutbox tries them again")
    return QUIET


class _Watch:
    """Looks through the many posts of a run for those after which a letter may be another."""

    def __init__(self, reading: Reading[RunView], changed: Callable[[], None]) -> None:
        self._changed = changed
        self._last = self._key(reading.value)

    @staticmethod
    def _key(view: RunView) -> tuple[object, ...]:
        ended = sum(step.state.ended for step in view.steps)
        return view.run_id, view.state, ended, view.message if view.state.ended else ""

    def __call__(self, reading: Reading[RunView]) -> None:
        last, self._last = self._last, self._key(reading.value)
        if self._last != last:
            self._changed()
