"""The runs of all times, read from the engine's rows by views that the engine keeps."""

import re
import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from beamtime_ioc.database import address_of, check_passfile, postgres_engine, postgres_trouble
from beamtime_ioc.errors import StateError
from beamtime_ioc.runrecord import RecordedStep, RunRecord, checklist_of, first_id, record_of, written_who
from beamtime_ioc.store import FILE_NAME
from beamtime_ioc.stored_doubts import Doubt, doubt_of
from beamtime_ioc.tables import doubts

__all__ = ["HISTORY", "OPEN_RUNS", "STEPS", "Journal", "RecordedStep", "RunRecord", "reading"]

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

STEPS = sa.table(
    "beamtime_steps", *map(sa.column, ("run_id", "number", "title", "output", "began_ms", "ended_ms"))
)
"""A view of what each step of a run has stored, numbered in the order in which they were begun."""

WORDS_OF_WHO = ("somebody", "from", "here", "by")
"""What `Who` says besides what is written down."""

PAGE = 500
"""Rows that are held at once while those of one person are looked for."""


class Journal:
    """Reads the history of a state database."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._known: set[str] = set()

    def last(
        self,
        limit: int,
        action: str | None = None,
        *,
        who: str = "",
        since: datetime | None = None,
        before: int | None = None,
    ) -> Sequence[RunRecord]:
        """The newest runs, newest first.

        Parameters
        ----------
        who
            A part of who pressed, such as an account, a computer or `by pva`; capitals do not count.
        since
            Pressed then or later.
        before
            The number of the last run that was seen: the page behind it.
        """
        query = sa.select(sa.text("*")).select_from(HISTORY)
        query = query.order_by(HISTORY.c.number.desc(), HISTORY.c.run_id.desc())
        if action:
            query = query.where(HISTORY.c.action == action)
        if since is not None:
            query = query.where(HISTORY.c.run_id >= first_id(since))
        with self.engine.connect() as db:
            if not self._has(db, HISTORY):
                return []
            rows = _of_person(db, query, before, limit, who) if who else _behind(db, query, before, limit)
            return self._with_doubts(db, [record_of(row) for row in rows])

    def open(self) -> Sequence[RunRecord]:
        """The runs that have not ended, oldest first."""
        query = sa.select(sa.text("*")).select_from(OPEN_RUNS)
        with self.engine.connect() as db:
            if not self._has(db, OPEN_RUNS):
                return []
            rows = db.execute(query.order_by(OPEN_RUNS.c.number, OPEN_RUNS.c.run_id))
            return [record_of(row) for row in rows]

    def run(self, run_id: str) -> RunRecord | None:
        """One run by its whole id."""
        return next(iter(self._where(HISTORY.c.run_id == run_id)), None)

    def find(self, part: str) -> Sequence[RunRecord]:
        """The runs whose ids end in a text, newest first; a few at most."""
        if whole := self.run(part):
            return [whole]
        return self._where(HISTORY.c.run_id.endswith(part, autoescape=True))

    def is_done_again(self, run_id: str) -> bool:
        """Whether a later run says that it does this one again."""
        says_so = HISTORY.c.stored_order.like(f'%"again_of"%{run_id}%')
        return bool(self._where((HISTORY.c.run_id > run_id) & says_so))

    def _where(self, condition: sa.ColumnElement[bool]) -> Sequence[RunRecord]:
        query = sa.select(sa.text("*")).select_from(HISTORY).where(condition)
        with self.engine.connect() as db:
            if not self._has(db, HISTORY):
                return []
            rows = db.execute(query.order_by(HISTORY.c.number.desc()).limit(10))
            return self._with_doubts(db, [record_of(row) for row in rows])

    def steps(self, run_id: str) -> Sequence[RecordedStep]:
        """The checklist of one run, in the order of its steps."""
        return self.steps_of([run_id])[run_id]

    def steps_of(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[RecordedStep]]:
        """The checklists of several runs."""
        rows: dict[str, list[Any]] = {run_id: [] for run_id in run_ids}
        query = sa.select(STEPS).order_by(STEPS.c.run_id, STEPS.c.number)
        with self.engine.connect() as db:
            if self._has(db, STEPS):
                for some in _batches(run_ids):
                    for row in db.execute(query.where(STEPS.c.run_id.in_(some))):
                        rows[row.run_id].append(row)
        return {run_id: checklist_of(found) for run_id, found in rows.items()}

    def _with_doubts(self, db: sa.Connection, records: Sequence[RunRecord]) -> Sequence[RunRecord]:
        if not records or not self._has(db, doubts):
            return records
        found: dict[str, list[Doubt]] = {}
        query = sa.select(doubts).order_by(doubts.c.run_id, doubts.c.at, doubts.c.key)
        for some in _batches([record.id for record in records]):
            for row in db.execute(query.where(doubts.c.run_id.in_(some))):
                found.setdefault(row.run_id, []).append(doubt_of(row))
        return [record.answered(found.get(record.id, ())) for record in records]

    def _has(self, db: sa.Connection, what: sa.TableClause) -> bool:
        """Whether it is there: not before the engine has run on this state, or an older program only."""
        if what.name not in self._known:
            found = sa.inspect(db)
            self._known |= {*found.get_view_names(), *found.get_table_names()}
        return what.name in self._known


def _behind(db: sa.Connection, query: sa.Select[Any], before: int | None, limit: int) -> Sequence[Any]:
    if before is not None:
        query = query.where(HISTORY.c.number < before)
    return db.execute(query.limit(limit)).all()


def _of_person(
    db: sa.Connection, query: sa.Select[Any], before: int | None, limit: int, who: str
) -> list[Any]:
    """The words of `Who` are put together here and not in the database: read page by page.

    The database leaves out the orders in which a word of the text stands nowhere, and most rows with them;
    not where capitals are more than those of ASCII, which it does not know: "ß" is looked for as "ss".
    """
    for word in re.findall(r"[a-z0-9]+", who.casefold()) if who.isascii() else ():
        if not any(word in own for own in WORDS_OF_WHO):
            query = query.where(HISTORY.c.stored_order.ilike(f"%{word}%"))
    found: list[Any] = []
    while rows := _behind(db, query, before, PAGE):
        found += [row for row in rows if who.casefold() in str(written_who(row.stored_order)).casefold()]
        if len(found) >= limit or len(rows) < PAGE:
            break
        before = rows[-1].number
    return found[:limit]


def _batches(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(run_ids), PAGE):
        yield run_ids[start : start + PAGE]


@contextmanager
def reading(state_directory: Path, database: str = "") -> Generator[Journal, None, None]:
    """The journal of a site, read-only; also while the IOC runs.

    Parameters
    ----------
    database
        URL of PostgreSQL, as at `database:` of the site file; empty: SQLite in the directory.

    Raises
    ------
    StateError
        There is no state database, or it cannot be read.
    """
    path = state_directory / FILE_NAME
    name, engine = _server_engine(database) if database else (str(path), _file_engine(path))
    try:
        yield Journal(engine)
    except SQLAlchemyError as error:
        if database:
            raise postgres_trouble(name, error) from error
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise StateError(f"{name} cannot be read: {reason}", advice="check the file and its owner") from error
    finally:
        engine.dispose()


def _server_engine(database: str) -> tuple[str, sa.Engine]:
    address = address_of(database)
    check_passfile(address)
    engine = postgres_engine(address, "beamtime history")
    return address.name, engine.execution_options(postgresql_readonly=True)


def _file_engine(path: Path) -> sa.Engine:
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
    uri = f"file:{quote(str(path))}?mode=ro"

    def open_it() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)

    return sa.create_engine("sqlite://", creator=open_it, poolclass=sa.pool.QueuePool, hide_parameters=True)
