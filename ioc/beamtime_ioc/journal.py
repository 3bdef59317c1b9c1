"""The runs of all times, read from the engine's rows by a view that the engine keeps."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from beamtime_ioc.errors import StateError
from beamtime_ioc.model import Experiment, Json, RunState, Who, from_json
from beamtime_ioc.store import FILE_NAME

COLUMNS = (
    "run_id",
    "action",
    "state_without_outcome",
    "stored_order",
    "stored_outcome",
    "number",
    "changed_ms",
)
HISTORY = sa.table("beamtime_history", *map(sa.column, COLUMNS))
"""A view; order and outcome are JSON, `number` counts up. A run id begins with the ns of its press."""

OPEN_RUNS = sa.table("beamtime_open_runs", *map(sa.column, COLUMNS))
"""The same for the runs that have not ended, found without a look at the others."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run as it is written down."""

    id: str
    action: str
    state: RunState
    who: Who
    experiment: Experiment | None
    message: str
    advice: str
    pressed: datetime
    ended: datetime | None

    @property
    def seconds(self) -> float:
        """From the press to the end, or to now; in s."""
        return ((self.ended or datetime.now(UTC)) - self.pressed).total_seconds()


WITHOUT_OUTCOME = {
    RunState.ABORTED: "aborted before it began; nothing was changed",
    RunState.FAILED: "the engine could not run it; see the log",
}


def _record(row: Any) -> RunRecord:
    order = cast(dict[str, Any], json.loads(row.stored_order))
    outcome = cast(dict[str, Any], json.loads(row.stored_outcome)) if row.stored_outcome else {}
    state = RunState(outcome.get("state", row.state_without_outcome))
    message = outcome.get("message", "")
    if not outcome:
        message = WITHOUT_OUTCOME.get(state, "")
    ended_s = outcome.get("ended", row.changed_ms / 1000) if state.ended else None
    return RunRecord(
        id=row.run_id,
        action=row.action,
        state=state,
        who=from_json(Who, cast(Json, order["who"])),
        experiment=from_json(Experiment, cast(Json, order["experiment"])) if order["experiment"] else None,
        message=message,
        advice=outcome.get("advice", ""),
        pressed=datetime.fromtimestamp(int(row.run_id[:20]) / 1e9, UTC),
        ended=datetime.fromtimestamp(ended_s, UTC) if ended_s is not None else None,
    )


class Journal:
    """Reads the history of a state database."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def last(self, limit: int, action: str | None = None) -> Sequence[RunRecord]:
        """The newest runs, newest first."""
        query = sa.select(HISTORY).order_by(HISTORY.c.number.desc()).limit(limit)
        return self._records(query.where(HISTORY.c.action == action) if action else query)

    def _records(self, query: sa.Select[Any], view: sa.TableClause = HISTORY) -> Sequence[RunRecord]:
        with self.engine.connect() as db:
            if view.name not in sa.inspect(db).get_view_names():
                return []  # the engine has never run on this state
            return [_record(row) for row in db.execute(query)]

    def open(self) -> Sequence[RunRecord]:
        """The runs that have not ended, oldest first."""
        return self._records(sa.select(OPEN_RUNS).order_by(OPEN_RUNS.c.number), OPEN_RUNS)

    def run(self, run_id: str) -> RunRecord | None:
        records = self._records(sa.select(HISTORY).where(HISTORY.c.run_id == run_id))
        return records[0] if records else None


@contextmanager
def reading(state_directory: Path) -> Generator[Journal, None, None]:
    """The journal of a state directory, read-only; also while the IOC runs.

    Raises
    ------
    StateError
        There is no state database, or it cannot be read.
    """
    path = state_directory / FILE_NAME
    try:
        path.stat()
    except FileNotFoundError:
        raise StateError(
            f"there is no state database {path}", advice="start the IOC once, or check state:"
        ) from None
    except OSError as error:
        raise StateError(
            f"{path} cannot be read: {error.strerror}", advice="ask as the user that the IOC runs as"
        ) from error
    engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    try:
        yield Journal(engine)
    except DBAPIError as error:
        raise StateError(
            f"{path} cannot be read: {error.orig}", advice="check the file and its owner"
        ) from error
    finally:
        engine.dispose()
