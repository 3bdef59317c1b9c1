"""Runs that survive kill -9: DBOS Transact on the state database. The only file that imports dbos.

The facts behind each choice are in docs/explanations/decisions/0002-durable-engine.md.
"""

import asyncio
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID
from dbos._serialization import Serializer
from sqlalchemy.exc import DBAPIError

from beamtime_ioc.engine.ending import perform
from beamtime_ioc.engine.engine import Listener, Order, Outcome
from beamtime_ioc.engine.work import LiveRun
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import Cancelled, StateError, Stopping
from beamtime_ioc.model import Json, RunState, from_json, to_json
from beamtime_ioc.store import Store

log = logging.getLogger(__name__)

STEPS_VERSION = "actions-1"
"""Raised only when the order of steps of an action changes: open runs of another version do not go on."""

QUEUE = "actions"
POLL_S = 0.2
AT_ONCE = 8

HISTORY_VIEW = """
CREATE VIEW beamtime_history AS
SELECT ws.workflow_uuid AS run_id, ws.name AS action,
       CASE ws.status WHEN 'ENQUEUED' THEN 'Queued' WHEN 'DELAYED' THEN 'Queued'
                      WHEN 'PENDING' THEN 'Running' WHEN 'CANCELLED' THEN 'Aborted'
                      ELSE 'Failed' END AS state_without_outcome,
       json_extract(COALESCE(wi.inputs, ws.inputs), '$.args[0]') AS stored_order,
       COALESCE(wo.output, ws.output) AS stored_outcome,
       ws.rowid AS number, ws.updated_at AS changed_ms
FROM workflow_status ws
LEFT JOIN workflow_input wi ON wi.workflow_uuid = ws.workflow_uuid
LEFT JOIN workflow_output wo ON wo.workflow_uuid = ws.workflow_uuid
WHERE LENGTH(ws.workflow_uuid) = 27
"""
"""Our runs are told by the form of their ids: DBOS clears the queue of a row that it cancels. Rows are
numbered as they were written, since the clock may have been set back."""
HISTORY_INDEX = "CREATE INDEX IF NOT EXISTS beamtime_runs_by_action ON workflow_status (name)"

OPEN_RUNS_VIEW = """
CREATE VIEW beamtime_open_runs AS SELECT * FROM beamtime_history
WHERE run_id IN (SELECT workflow_uuid FROM workflow_status WHERE status IN ('ENQUEUED', 'PENDING'))
"""
# With the same words in the same order as the view: only so SQLite uses it.
OPEN_RUNS_INDEX = """
CREATE INDEX IF NOT EXISTS beamtime_runs_open ON workflow_status (status)
WHERE status IN ('ENQUEUED', 'PENDING')
"""


class JsonSerializer(Serializer):
    """Values as JSON: whoever writes the file cannot make us run code."""

    def name(self) -> str:
        return "beamtime_json"

    def serialize(self, data: Any) -> str:
        return json.dumps(data, ensure_ascii=False, default=_exception_text)

    def deserialize(self, serialized_data: str) -> Any:
        value = json.loads(serialized_data)
        if isinstance(value, dict) and "beamtime_exception" in value:
            return RuntimeError(cast(dict[str, str], value)["beamtime_exception"])
        return cast(Any, value)


def _exception_text(value: object) -> Json:
    if isinstance(value, BaseException):
        return {"beamtime_exception": f"{type(value).__name__}: {value}"}
    raise TypeError(f"a {type(value).__name__} is no JSON value")


class DurableRecorder:
    """A run's memory in the state database."""

    def __init__(self, engine: "DurableEngine", run_id: str, cancel: threading.Event) -> None:
        self.engine, self.run_id, self.cancel = engine, run_id, cancel
        self.token = secrets.token_hex(8)

    def remember(self, title: str, body: Callable[[], Json]) -> Json:
        return DBOS.run_step({"name": title}, body)

    def check(self) -> None:
        if self.cancel.is_set():
            raise Cancelled
        if self.engine.stopping.is_set():
            raise Stopping

    def cancelled_on_disk(self) -> bool:
        return self.engine.cancel_is_written(self.run_id)

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            self.cancel.wait(min(left, 0.1))
        self.check()


class DurableEngine:
    """Orders in one queue; one at a time per resource, first in first out.

    Parameters
    ----------
    store
        Its database holds the rows; its lock keeps other processes away.
    """

    def __init__(self, workshop: Workshop, store: Store) -> None:
        self.workshop, self.store = workshop, store
        self.stopping = threading.Event()
        self._cancels: dict[str, threading.Event] = {}  # of the runs at work in this process
        self._changed = threading.Condition()
        self._workflows: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}

    def start(self, listener: Listener) -> None:
        """Launch; open runs of an earlier life are resumed.

        Raises
        ------
        StateError
            The rows cannot be read.
        """
        self.listener = listener
        config: DBOSConfig = {
            "name": "beamtime-ioc",
            "system_database_url": f"sqlite:///{self.store.path}",
            "system_database_engine": self.store.engine,
            "application_version": STEPS_VERSION,
            "executor_id": "ioc",
            "serializer": JsonSerializer(),
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": 0.25,
        }
        _quiet_logger()
        try:
            DBOS(config=config)
            for name in self.workshop.actions:
                self._workflows[name] = self._register(name)
            DBOS.launch()
            DBOS.register_queue(
                QUEUE,
                partition_concurrency=1,
                worker_concurrency=AT_ONCE,
                polling_interval_sec=POLL_S,
                on_conflict="always_update",
            )
            with self.store.engine.begin() as db:
                db.execute(sa.text("DROP VIEW IF EXISTS beamtime_open_runs"))
                db.execute(sa.text("DROP VIEW IF EXISTS beamtime_history"))
                for statement in (HISTORY_VIEW, HISTORY_INDEX, OPEN_RUNS_VIEW, OPEN_RUNS_INDEX):
                    db.execute(sa.text(statement))
        except DBAPIError as error:
            raise StateError(
                f"{self.store.path}: the engine cannot use it: {error.orig}",
                advice=f"move {self.store.directory} away and start again: it begins empty",
            ) from error

    def _register(self, name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def run_action(stored: dict[str, Any]) -> dict[str, Any]:
            return self._run(from_json(Order, cast(Json, stored)))

        return DBOS.workflow(name=name, max_recovery_attempts=None)(run_action)

    def stop(self, grace_s: float) -> bool:
        """Let each run end at its next step: the rows stay open, and the next start resumes them."""
        self.stopping.set()
        with self._changed:
            finished = self._changed.wait_for(lambda: not self._cancels, grace_s)
        DBOS.destroy(workflow_completion_timeout_sec=0)
        return finished

    async def submit(self, order: Order) -> None:
        await asyncio.to_thread(self._submit, order)

    def _submit(self, order: Order) -> None:
        stored = cast(dict[str, Any], to_json(order))
        with SetWorkflowID(order.id), SetEnqueueOptions(queue_partition_key=order.resource):
            DBOS.enqueue_workflow(QUEUE, self._workflows[order.action], stored)

    async def cancel(self, run_id: str) -> None:
        await asyncio.to_thread(self._cancel, run_id)

    def _cancel(self, run_id: str) -> None:
        # In this order: the run reads the flag before it calls the handler.
        DBOS.update_workflow_attributes(run_id, {"cancel": True}, merge=True)
        with self._changed:
            cancel = self._cancels.get(run_id)
        if cancel is not None:
            cancel.set()
            return
        status = DBOS.get_workflow_status(run_id)
        if status is not None and status.status == "ENQUEUED":
            DBOS.cancel_workflow(run_id)
            message = "aborted before it began; nothing was changed"
            self.listener.on_end(run_id, Outcome(state=RunState.ABORTED, message=message))

    def cancel_is_written(self, run_id: str) -> bool:
        """Whether an abort is written down; read on a connection of its own, so that it is no step."""
        with self.store.engine.connect() as db:
            text = db.execute(
                sa.text("SELECT attributes FROM workflow_status WHERE workflow_uuid = :id"), {"id": run_id}
            ).scalar_one()
        attributes = cast(dict[str, Json] | None, json.loads(text or "null"))
        return bool(attributes and attributes.get("cancel"))

    def _run(self, order: Order) -> dict[str, Any]:
        cancel = threading.Event()
        with self._changed:
            self._cancels[order.id] = cancel
        try:
            if self.cancel_is_written(order.id):
                cancel.set()
            if self.stopping.is_set():
                raise Stopping
            self.listener.on_state(order.id, RunState.ABORTING if cancel.is_set() else RunState.RUNNING)
            recorder = DurableRecorder(self, order.id, cancel)
            run = LiveRun(order, self.workshop, recorder, lambda p: self.listener.on_progress(order.id, p))
            outcome = perform(run)
            ended = cast(dict[str, Any], to_json(outcome))
        finally:
            with self._changed:
                del self._cancels[order.id]
                self._changed.notify_all()
        threading.Thread(target=self._tell_end, args=(order.id, outcome), daemon=True).start()
        return ended

    def _tell_end(self, run_id: str, outcome: Outcome) -> None:
        """Tell the end when it is on the disk, not before."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with self.store.engine.connect() as db:
                status = db.execute(
                    sa.text("SELECT status FROM workflow_status WHERE workflow_uuid = :id"), {"id": run_id}
                ).scalar_one_or_none()
            if status not in ("PENDING", "ENQUEUED"):
                break
            threading.Event().wait(0.005)
        self.listener.on_end(run_id, outcome)


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "development and testing" not in record.getMessage()


def _quiet_logger() -> None:
    logger = logging.getLogger("dbos")
    logger.addFilter(_Filter())
    logger.propagate = True
