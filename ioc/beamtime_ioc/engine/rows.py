"""The engine's rows as SQL sees them, on SQLite and on PostgreSQL: views for readers, looks for the watchdog.

DBOS is asked for every change; what is only read is read here, on connections of our own, since DBOS
records each of its own look-ups inside a run as a step.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from beamtime_ioc.model import Json
from beamtime_ioc.store import FORMAT_LOCK, Store
from beamtime_ioc.tables import about, doubts, reports


@dataclass(frozen=True, kw_only=True)
class OpenRow:
    """A run that has not ended.

    Parameters
    ----------
    waits
        In the queue; else it was begun.
    executor
        Who began it.
    steps
        Version of the order of steps that it was begun with.
    changed
        Seconds since 1970.
    """

    run_id: str
    action: str
    waits: bool
    executor: str
    steps: str
    queue: str
    changed: float
    aborted: bool


class Rows:
    """Reads the engine's tables; every method may raise SQLAlchemyError."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._where = "dbos." if store.is_postgresql else ""

    def prepare(self) -> None:
        """Make the views that the journal reads, and their indexes; DBOS has made its tables before."""
        statements = self._statements()
        made = {"key": "views", "value": hashlib.sha256("".join(statements).encode()).hexdigest()}
        with self.store.engine.begin() as db:
            if self.store.is_postgresql:  # workers may start at the same moment
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(FORMAT_LOCK)))
            found = db.execute(sa.select(about.c.value).where(about.c.key == "views")).scalar_one_or_none()
            if found == made["value"]:
                return
            for name in ("steps", "open_runs", "history"):
                db.execute(sa.text(f"DROP VIEW IF EXISTS beamtime_{name}"))
            for statement in statements:
                db.execute(sa.text(statement))
            db.execute(about.delete().where(about.c.key == "views"))
            db.execute(about.insert().values(made))

    def _statements(self) -> Sequence[str]:
        ws, wi = f"{self._where}workflow_status", f"{self._where}workflow_input"
        wo, steps = f"{self._where}workflow_output", f"{self._where}operation_outputs"
        if self.store.is_postgresql:
            inputs = "COALESCE(wi.inputs, ws.inputs)"
            # As text: PostgreSQL's json refuses the lone surrogates that a file name may hold, for all rows.
            order = (
                f"""COALESCE(substring({inputs} from '^\\{{"args": \\[(.*)\\], "kwargs": \\{{\\}}\\}}$'), """
                f"({inputs}::json #> '{{args,0}}')::text)"
            )
            # The server's clock; within one of its milliseconds, that of the press.
            number = "(ws.created_at * 1000000 + CAST(SUBSTRING(ws.workflow_uuid, 15, 6) AS BIGINT))"
            note = "ws.attributes ->> 'end'"
        else:
            order = "json_extract(COALESCE(wi.inputs, ws.inputs), '$.args[0]')"
            # Numbered as they were written: the clock may have been set back.
            note, number = "json_extract(ws.attributes, '$.end')", "ws.rowid"
        # Our runs are told by the form of their ids: DBOS clears the queue of a row that it cancels.
        history = f"""
            CREATE VIEW beamtime_history AS
            SELECT ws.workflow_uuid AS run_id, ws.name AS action,
                   CASE ws.status WHEN 'ENQUEUED' THEN 'Queued' WHEN 'DELAYED' THEN 'Queued'
                                  WHEN 'PENDING' THEN 'Running' WHEN 'CANCELLED' THEN 'Aborted'
                                  ELSE 'Failed' END AS state_without_outcome,
                   {order} AS stored_order,
                   COALESCE(wo.output, ws.output) AS stored_outcome,
                   {number} AS number, ws.updated_at AS changed_ms, {note} AS note
            FROM {ws} ws
            LEFT JOIN {wi} wi ON wi.workflow_uuid = ws.workflow_uuid
            LEFT JOIN {wo} wo ON wo.workflow_uuid = ws.workflow_uuid
            WHERE LENGTH(ws.workflow_uuid) = 27"""
        open_runs = f"""
            CREATE VIEW beamtime_open_runs AS SELECT * FROM beamtime_history
            WHERE run_id IN (SELECT workflow_uuid FROM {ws} WHERE status IN ('ENQUEUED', 'PENDING'))"""
        checklist = f"""
            CREATE VIEW beamtime_steps AS
            SELECT workflow_uuid AS run_id, function_id AS number, function_name AS title, output,
                   started_at_epoch_ms AS began_ms, completed_at_epoch_ms AS ended_ms
            FROM {steps} WHERE LENGTH(workflow_uuid) = 27"""
        by_action = f"CREATE INDEX IF NOT EXISTS beamtime_runs_by_action ON {ws} (name)"
        # With the same words in the same order as the view: only so SQLite uses it.
        by_state = f"""
            CREATE INDEX IF NOT EXISTS beamtime_runs_open ON {ws} (status)
            WHERE status IN ('ENQUEUED', 'PENDING')"""
        by_number = f"""
            CREATE INDEX IF NOT EXISTS beamtime_runs_by_number ON {ws} ({number.replace("ws.", "")})
            WHERE LENGTH(workflow_uuid) = 27"""
        indexes = (by_action, by_state, by_number) if self.store.is_postgresql else (by_action, by_state)
        return (history, open_runs, checklist, *indexes)

    def hasten_first_look(self, seconds: float) -> None:
        """Let a launch ask its queues soon: DBOS waits once before it asks, and reads how long from here."""
        statement = sa.text(f"UPDATE {self._where}queues SET polling_interval_sec = :s")
        with self.store.engine.begin() as db:
            db.execute(statement, {"s": seconds})

    def open(self) -> Sequence[OpenRow]:
        """The runs that have not ended, oldest first."""
        query = sa.text(
            f"""SELECT workflow_uuid, name, status, executor_id, application_version, queue_name,
                       updated_at, attributes
                FROM {self._where}workflow_status
                WHERE status IN ('ENQUEUED', 'PENDING') AND LENGTH(workflow_uuid) = 27
                ORDER BY workflow_uuid"""
        )
        with self.store.engine.connect() as db:
            return [_open_row(row) for row in db.execute(query)]

    def status(self, run_id: str) -> str | None:
        """DBOS' word for it; None if there is no such run."""
        query = sa.text(f"SELECT status FROM {self._where}workflow_status WHERE workflow_uuid = :id")
        with self.store.engine.connect() as db:
            return db.execute(query, {"id": run_id}).scalar_one_or_none()

    def stands(self, row: OpenRow) -> bool:
        """Whether a run is still where it was when it was read: it may have ended or changed hands since."""
        query = sa.text(
            f"SELECT status, executor_id FROM {self._where}workflow_status WHERE workflow_uuid = :id"
        )
        with self.store.engine.connect() as db:
            found = db.execute(query, {"id": row.run_id}).one_or_none()
        was = "ENQUEUED" if row.waits else "PENDING"
        return found is not None and (found.status, found.executor_id or "") == (was, row.executor)

    def abort_is_written(self, run_id: str) -> bool:
        """Whether an abort is written down."""
        query = sa.text(f"SELECT attributes FROM {self._where}workflow_status WHERE workflow_uuid = :id")
        with self.store.engine.connect() as db:
            return _aborted(db.execute(query, {"id": run_id}).scalar_one_or_none())

    def last_step(self, run_id: str) -> str:
        """Title of the last step that a run has stored; empty if there is none."""
        query = sa.text(
            f"SELECT function_name FROM {self._where}operation_outputs WHERE workflow_uuid = :id"
            " ORDER BY function_id DESC LIMIT 1"
        )
        with self.store.engine.connect() as db:
            return db.execute(query, {"id": run_id}).scalar_one_or_none() or ""

    def beginning(self, run_id: str) -> tuple[bool, bool]:
        """Whether an abort is written down, and whether a doubt is."""
        query = sa.text(
            f"""SELECT attributes, EXISTS (SELECT 1 FROM beamtime_doubts WHERE run_id = :id) AS doubted
                FROM {self._where}workflow_status WHERE workflow_uuid = :id"""
        )
        with self.store.engine.connect() as db:
            row = db.execute(query, {"id": run_id}).one()
        return _aborted(row.attributes), bool(row.doubted)

    def ended_of(self, run_ids: Sequence[str]) -> frozenset[str]:
        """Those of the runs that have ended."""
        query = sa.text(
            f"""SELECT workflow_uuid FROM {self._where}workflow_status
                WHERE workflow_uuid IN :ids AND status IN ('ENQUEUED', 'DELAYED', 'PENDING')"""
        ).bindparams(sa.bindparam("ids", expanding=True))
        with self.store.engine.connect() as db:
            return frozenset(run_ids) - set(db.execute(query, {"ids": list(run_ids)}).scalars())

    def outcome(self, run_id: str) -> tuple[Json, str]:
        """What an ended run has stored, and the note of one that was given up."""
        query = sa.text("SELECT stored_outcome, note FROM beamtime_history WHERE run_id = :id")
        with self.store.engine.connect() as db:
            row = db.execute(query, {"id": run_id}).one()
        return (json.loads(row.stored_outcome) if row.stored_outcome else None, row.note or "")

    def failed_since(self, first_id: str, moment: float) -> int:
        """How many of the runs with ids from `first_id` on ended Failed after a moment (s since 1970)."""
        query = sa.text(
            "SELECT stored_outcome, changed_ms, state_without_outcome FROM beamtime_history"
            " WHERE run_id >= :first"
        )
        count = 0
        with self.store.engine.connect() as db:
            for row in db.execute(query, {"first": first_id}):
                outcome: dict[str, Any] = json.loads(row.stored_outcome) if row.stored_outcome else {}
                failed = outcome.get("state", row.state_without_outcome) == "Failed"
                ended = float(outcome.get("ended", row.changed_ms / 1000))
                count += failed and ended >= moment
        return count

    def ended_before(self, last_id: str, moment_ms: int, after_id: str, limit: int) -> Sequence[str]:
        """Runs that ended before a moment (ms since 1970) and leave no doubt open, oldest first."""
        query = sa.text(
            f"""SELECT workflow_uuid FROM {self._where}workflow_status
                WHERE workflow_uuid > :after AND workflow_uuid < :last AND LENGTH(workflow_uuid) = 27
                AND status NOT IN ('ENQUEUED', 'DELAYED', 'PENDING') AND updated_at < :moment
                AND workflow_uuid NOT IN (SELECT run_id FROM beamtime_doubts WHERE answer = '')
                ORDER BY workflow_uuid LIMIT :limit"""
        )
        words = {"after": after_id, "last": last_id, "moment": moment_ms, "limit": limit}
        with self.store.engine.connect() as db:
            return list(db.execute(query, words).scalars())

    def forget(self, run_ids: Sequence[str]) -> None:
        """Delete what we keep of runs besides DBOS' own rows."""
        words = [{"id": run_id} for run_id in run_ids]
        with self.store.engine.begin() as db:
            for table in (doubts, reports):
                db.execute(table.delete().where(table.c.run_id == sa.bindparam("id")), words)

    def try_to_reach(self) -> None:
        """See whether the server is there; a file is."""
        if self.store.is_postgresql:
            self.store.engine.connect().close()  # which asks the server for a sign of life

    def try_to_read(self) -> None:
        """See whether the database answers."""
        with self.store.engine.connect() as db:
            db.execute(sa.text("SELECT 1 FROM beamtime_about"))

    def try_to_write(self) -> None:
        """Write something to the disk, to see whether it can be."""
        with self.store.engine.begin() as db:
            db.execute(sa.text("DELETE FROM beamtime_about WHERE key = 'probe'"))
            db.execute(sa.text("INSERT INTO beamtime_about (key, value) VALUES ('probe', '')"))


def _open_row(row: Any) -> OpenRow:
    return OpenRow(
        run_id=row.workflow_uuid,
        action=row.name,
        waits=row.status == "ENQUEUED",
        executor=row.executor_id or "",
        steps=row.application_version or "",
        queue=row.queue_name or "",
        changed=row.updated_at / 1000,
        aborted=_aborted(row.attributes),
    )


def _aborted(attributes: object) -> bool:
    if isinstance(attributes, str):
        attributes = json.loads(attributes or "null")
    return bool(attributes and cast(dict[str, Json], attributes).get("cancel"))
