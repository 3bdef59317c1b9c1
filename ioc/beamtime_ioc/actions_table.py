"""The actions as rows of a table: what each of them does now, or did last."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from beamtime_ioc.alarm import QUIET, Alarm
from beamtime_ioc.board import Board, Found
from beamtime_ioc.filled_table import Rows


class ActionsSource:
    """One row for each button (source `actions`); as bad as the worst of them.

    Parameters
    ----------
    zone
        Of the beamline: times are shown in it.
    """

    columns = (
        *("button", "action", "state", "percent", "step", "message", "advice"),
        *("started", "by", "elapsed", "run"),
    )

    def __init__(self, board: Board, zone: ZoneInfo) -> None:
        self.board, self.zone = board, zone

    async def rows(self, limit: int) -> Rows:
        rows: list[Found] = []
        worst = QUIET
        for row in self.board.records.actions():
            posting = self.board.progress[row.action]
            view, alarm = posting.value, posting.reading.alarm
            if alarm.severity > worst.severity:
                worst = Alarm(alarm.severity, alarm.status, f"{row.button.suffix}: {alarm.message}")
            started = datetime.fromtimestamp(view.started, self.zone) if view.run_id else None
            rows.append(
                {
                    "button": row.button.suffix,
                    "action": row.action,
                    "state": view.state.value,
                    "percent": view.percent,
                    "step": view.step,
                    "message": view.message,
                    "advice": view.advice,
                    "started": started.isoformat(timespec="seconds") if started else "",
                    "by": view.started_by,
                    "elapsed": round(view.elapsed_s, 1),
                    "run": view.run_id,
                }
            )
        return Rows(rows[:limit], worst)

    def tell_changes(self, changed: Callable[[], None]) -> None:
        for posting in self.board.progress.values():
            posting.watchers.append(lambda _: changed())
