"""Runs that survive kill -9: DBOS Transact on the state database. The only file that imports dbos.

The facts behind each choice are in docs/explanations/decisions/0002-durable-engine.md.
"""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, cast

from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID
from dbos._error import DBOSUnexpectedStepError
from dbos._serialization import Serializer
from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.database import patience, reason_of
from beamtime_ioc.engine.atwork import AtWork
from beamtime_ioc.engine.crew import Crew, Follower
from beamtime_ioc.engine.ending import perform
from beamtime_ioc.engine.engine import EngineHealth, Listener, Order, Outcome, checked_json
from beamtime_ioc.engine.guard import LOOK_S, Guard
from beamtime_ioc.engine.recorder import StoredRecorder, broken_claim, not_written
from beamtime_ioc.engine.rows import OpenRow, Rows
from beamtime_ioc.engine.teller import Teller
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.engine.watchdog import PATIENCE_S, Watchdog
from beamtime_ioc.engine.work import LiveRun, Recorder, in_the_middle
from beamtime_ioc.engine.workshop import Workshop, fault
from beamtime_ioc.errors import Kept, NameTakenError, StateError, Stopping
from beamtime_ioc.journal import Journal
from beamtime_ioc.model import Json, RunState, from_json, to_json
from beamtime_ioc.progress import Progress
from beamtime_ioc.runrecord import NOT_BEGUN, RunRecord, first_id
from beamtime_ioc.store import Store
from beamtime_ioc.stored_doubts import Asked, StoredDoubts

log = logging.getLogger(__name__)

STEPS_VERSION = "actions-2"
"""Raised only when the order of steps of an action changes: open runs of another version do not go on."""

QUEUE = "actions"
POLL_S, FIRST_POLL_S, DESTROY_S = 0.2, 0.03, 5.0
LOST_S = 40.0
"""Longer than a server keeps the name for a connection that was cut."""
AT_ONCE = 8
UNREADABLE = (
    "what was ordered cannot be read by this version; start the version that began it until it has ended, "
    "or press Abort to give it up"
)

MakeRun = Callable[[Order, Workshop, Recorder, Callable[[Progress], None]], LiveRun]


class JsonSerializer(Serializer):
    """Values as JSON: whoever writes the file cannot make us run code."""

    def name(self) -> str:
        return "beamtime_json"

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=_exception_text)  # ASCII: no text that a database cannot hold

    def deserialize(self, serialized_data: str) -> Any:
        value = json.loads(serialized_data)
        if isinstance(value, dict) and "beamtime_exception" in value:
            return RuntimeError(cast(dict[str, str], value)["beamtime_exception"])
        return cast(Any, value)


def _exception_text(value: object) -> Json:
    if isinstance(value, BaseException):
        return {"beamtime_exception": f"{type(value).__name__}: {value}"}
    raise TypeError(f"a {type(value).__name__} is no JSON value")


class DurableEngine:
    """Orders in one queue; one at a time per resource, first in first out.

    Parameters
    ----------
    store
        Its database holds the rows; its lock keeps other processes away.
    queues
        What this process works on. None: with SQLite all queues of the actions, since nobody else can; with
        PostgreSQL those of the IOC, and the others are for workers.
    make_run
        Gives each run its words.
    poll_s
        How often the queue is asked for what is to be begun, in s.
    patience_s, look_s
        Of the watchdog: how long a run that nobody works on is left alone, and how often it looks; in s.
    """

    def __init__(
        self,
        workshop: Workshop,
        store: Store,
        *,
        queues: Collection[str] | None = None,
        make_run: MakeRun = LiveRun,
        patience_s: float = PATIENCE_S,
        look_s: float = LOOK_S,
        poll_s: float = POLL_S,
    ) -> None:
        self.workshop, self.store, self.make_run = workshop, store, make_run
        self.look_s, self.poll_s = look_s, poll_s
        known = {QUEUE, *(action.queue or QUEUE for action in workshop.actions.values())}
        everything = {QUEUE} if store.is_postgresql else known
        self.queues = sorted(everything if queues is None else queues)
        self.rows, self.at_work, self.doubts = Rows(store), AtWork(), StoredDoubts(store)
        self.watchdog = Watchdog(
            store.executor, STEPS_VERSION, frozenset(workshop.actions), patience_s=patience_s
        )
        self._workflows: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self._moving = threading.Lock()
        self.follower: Follower | None = None
        self._name_lost, self._lost_since = "", 0.0

    def start(self, listener: Listener, shown: Collection[str] = ()) -> None:
        """Launch; open runs of an earlier life are resumed.

        Raises
        ------
        StateError
            The rows cannot be read.
        """
        self.listener = listener
        besides = self._besides(listener)
        self.guard = Guard(
            self.rows,
            self.at_work,
            self.watchdog,
            listener,
            resume=self._resume,
            besides=besides,
            look_s=self.look_s,
        )
        # Before the launch: a run of an earlier life may come to its end in the middle of it.
        self.teller = Teller(self.rows, self.at_work, self.guard, listener)
        _quiet_logger()
        try:
            DBOS(config=self._config())
            for name in {*self.workshop.actions, *self._left_behind()}:
                self._workflows[name] = self._register(name)
            DBOS.listen_queues(self.queues)
            DBOS.launch()
            for queue in self.queues:
                DBOS.register_queue(
                    queue,
                    partition_concurrency=1,
                    worker_concurrency=AT_ONCE,
                    polling_interval_sec=self.poll_s,
                    on_conflict="always_update",
                )
            self.rows.prepare()
        except SQLAlchemyError as error:
            raise self.store.trouble(error) from error
        if self.follower is not None:  # a worker may have ended it since it was shown
            for run_id in shown:
                self.follower.expect(run_id)
        self.guard.start()
        self.teller.start()

    def _config(self) -> DBOSConfig:
        return {
            "name": "beamtime-ioc",
            "system_database_url": self.store.url,
            "system_database_engine": self.store.engine,
            "application_version": STEPS_VERSION,
            "executor_id": self.store.executor,
            "serializer": JsonSerializer(),
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": 0.25,
        }

    def _besides(self, listener: Listener) -> Callable[[Sequence[OpenRow]], Sequence[str]]:
        """What is done about the other processes on the same database."""
        if self.store.executor_lock is None:
            return lambda _: ()
        self.crew = crew = Crew(self.store, self.store.executor_lock)
        self.follower = follower = Follower(self.rows, crew, listener, self.queues)

        def look(rows: Sequence[OpenRow]) -> Sequence[str]:
            if QUEUE in self.queues:
                self._hold_name(crew)
                follower.look(rows)
                return (*filter(None, [self._name_lost]), *follower.troubles)
            for row in rows:
                if row.aborted:
                    self.at_work.cancel(row.run_id)
            crew.take_over(rows, self.queues, self._resume)
            return ()

        return look

    def _hold_name(self, crew: Crew) -> None:
        """Hold the name that others know us by. While somebody else has it, no run of ours goes on."""
        if crew.lock.alive():
            return
        try:
            crew.lock = self.store.hold_again()
        except NameTakenError as error:
            if not self._name_lost:
                self._lost_since = time.monotonic()
            self._name_lost = f"{error}; until then no run goes on"
            self.at_work.stopping.set()
            if time.monotonic() - self._lost_since > LOST_S:  # no remnant of ours: another program
                log.critical("%s; this program ends", error)
                os.kill(os.getpid(), signal.SIGTERM)
            return
        if self._name_lost:
            self._name_lost = ""
            self.at_work.stopping.clear()

    def _left_behind(self) -> Collection[str]:
        """The actions of open runs, which may not be there any more; and the first look comes soon."""
        try:
            self.rows.hasten_first_look(FIRST_POLL_S)
            return {row.action for row in self.rows.open()}
        except SQLAlchemyError:
            return ()  # there are no rows yet

    def _register(self, name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def run_action(stored: dict[str, Any]) -> dict[str, Any]:
            try:
                order = from_json(Order, cast(Json, stored))
            except ValueError as error:
                raise self._keep(str(DBOS.workflow_id), Kept(UNREADABLE, by_itself=False)) from error
            return self._run(order)

        return DBOS.workflow(name=name, max_recovery_attempts=None)(run_action)

    def stop(self, grace_s: float) -> bool:
        """Let each run end at its next step: the rows stay open, and the next start resumes them."""
        self.guard.stop()
        self.at_work.stopping.set()
        finished = self.at_work.wait_idle(grace_s)
        # DBOS waits for each of its threads, also for those that a database lets hang.
        destroying = threading.Thread(
            target=DBOS.destroy, kwargs={"workflow_completion_timeout_sec": 0}, name="destroy", daemon=True
        )
        destroying.start()
        destroying.join(DESTROY_S)
        self.teller.stop()
        return finished

    async def submit(self, order: Order) -> None:
        await in_thread(f"submit {order.id}", self._submit, order)

    def _submit(self, order: Order) -> None:
        self.guard.require_room()
        if self._name_lost:
            raise StateError(self._name_lost, advice="then press again")
        checked_json("the arguments", dict(order.arguments))
        stored = cast(dict[str, Any], to_json(order))
        with SetWorkflowID(order.id), SetEnqueueOptions(queue_partition_key=order.resource):
            DBOS.enqueue_workflow(order.queue or QUEUE, self._workflows[order.action], stored)
        if self.follower is not None and (order.queue or QUEUE) not in self.queues:
            self.follower.expect(order.id)

    async def cancel(self, run_id: str) -> None:
        await in_thread(f"cancel {run_id}", self._cancel, run_id)

    def _cancel(self, run_id: str) -> None:
        # In this order: the run reads the flag before it calls the handler.
        try:
            DBOS.update_workflow_attributes(run_id, {"cancel": True}, merge=True)
            if self.at_work.cancel(run_id):
                return
            if self.guard.is_stuck(run_id) or self.at_work.is_kept(run_id):
                self._give_up(run_id, "given up while it was stuck; what was made stands", begun=True)
            elif self.rows.status(run_id) == "ENQUEUED":
                self._give_up(run_id, NOT_BEGUN)
            elif self.store.executor_lock is not None:
                self._give_up_of_the_dead(run_id)
        except SQLAlchemyError as error:
            self.at_work.cancel(run_id)
            raise StateError(
                f"the abort cannot be written down: {reason_of(error)}", advice="press Abort again"
            ) from error

    def _give_up_of_the_dead(self, run_id: str) -> None:
        """Give up what a worker has left behind; one that lives reads the abort by itself."""
        row = next((row for row in self.rows.open() if row.run_id == run_id), None)
        if row is None or row.waits:
            return
        with self.crew.lock.try_other(row.executor) as is_dead:
            if is_dead:
                self.store.disown(row.executor)
                self._give_up(run_id, "given up, since its worker is dead; what was made stands", begun=True)

    def _give_up(self, run_id: str, message: str, *, begun: bool = False) -> None:
        unknown = self._left_in_doubt(run_id) if begun else ()
        if unknown:
            message = f"{message}; besides, unsure: {'; '.join(unknown)}"
        with self._moving:
            DBOS.update_workflow_attributes(run_id, {"end": message}, merge=True)
            DBOS.cancel_workflow(run_id)
        self.guard.forget(run_id)
        state = RunState.UNSURE if unknown else RunState.ABORTED
        self.listener.on_end(run_id, Outcome(state=state, message=message, unknown=unknown))

    def _left_in_doubt(self, run_id: str) -> tuple[str, ...]:
        """What a run that nobody goes on with leaves behind unknown."""
        if title := broken_claim(self.rows, run_id):
            self.doubts.note(run_id, title, in_the_middle(title))
        return tuple(doubt.text for doubt in self.doubts.of_run(run_id) if not doubt.answer)

    def _resume(self, row: OpenRow) -> None:
        """Put a run back into its queue, unless it was given up or taken over since it was read."""
        with self._moving:
            if self.rows.stands(row):  # DBOS would begin it a second time, or after its end
                DBOS.resume_workflow(row.run_id, queue_name=row.queue or QUEUE)

    def health(self, midnight: datetime) -> EngineHealth:
        return self.guard.health(midnight)

    def retire(self, before: datetime, keep: Callable[[Sequence[RunRecord]], None]) -> int:
        """Forget old runs, 500 at a time; see `Engine`."""
        journal, count, after = Journal(self.store.engine), 0, ""
        while ids := self.rows.ended_before(first_id(before), int(before.timestamp() * 1000), after, 500):
            keep([record for record in map(journal.run, ids) if record is not None])
            DBOS.delete_workflows(list(ids))
            self.rows.forget(ids)
            count, after = count + len(ids), ids[-1]
        return count

    def _run(self, order: Order) -> dict[str, Any]:
        cancel = self.at_work.begin(order.id)
        patience.until = None
        written = False
        try:
            outcome = self._perform(order, cancel)
            ended = cast(dict[str, Any], to_json(outcome))
            written = True
        except Kept as reason:
            raise self._keep(order.id, reason) from reason
        except Exception as error:  # of the engine itself: DBOS would end the run and tell nobody
            log.exception("run %s %s: fault of the engine", order.id, order.action)
            raise self._keep(order.id, Kept("; ".join(fault("the engine", error)), by_itself=True)) from error
        finally:
            self.at_work.leave(order.id, ending=written)
            patience.until = self.at_work.stopping  # DBOS writes the end in this thread
        self.teller.expect(order.id, outcome)
        return ended

    def _remember(self, title: str, body: Callable[[], Json]) -> Json:
        """One step. What the database refuses raises Kept: nothing has failed."""
        patience.until = self.at_work.stopping
        try:
            return DBOS.run_step({"name": title}, body)
        except DBOSUnexpectedStepError as error:
            _, number, now, then = error.inputs
            raise Kept(
                f"the steps of the action changed while it was open: step {number} was {then!r}, is {now!r}; "
                "start the version that began it until it has ended, or press Abort to give it up",
                by_itself=False,
            ) from error
        except SQLAlchemyError as error:
            raise not_written(error) from error
        finally:
            patience.until = None

    def _keep(self, run_id: str, reason: Kept) -> Kept:
        log.error("run %s: %s", run_id, reason.sentence)
        self.at_work.keep(run_id, reason)
        self.listener.on_stuck(run_id, reason.sentence)
        return reason

    def _perform(self, order: Order, cancel: threading.Event) -> Outcome:
        if order.action not in self.workshop.actions:
            raise Kept(
                f"there is no action {order.action} any more; "
                "install the package that has it and start again",
                by_itself=False,
            )
        recorder = StoredRecorder(self.rows, self.doubts, self.at_work, self._remember, order.id, cancel)
        if recorder.begin():
            cancel.set()
            recorder.doubt_broken_claim(
                Asked(action=order.action, experiment=order.experiment, arguments=order.arguments)
            )
        if self.at_work.stopping.is_set():
            raise Stopping
        self.listener.on_state(order.id, RunState.ABORTING if cancel.is_set() else RunState.RUNNING)
        run = self.make_run(
            order, self.workshop, recorder, lambda progress: self.listener.on_progress(order.id, progress)
        )
        return perform(run)


class _Filter(logging.Filter):
    """Leaves out DBOS' advice that SQLite is for development and testing: for one host it is our choice."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "development and testing" not in record.getMessage()


def _quiet_logger() -> None:
    logger = logging.getLogger("dbos")
    logger.addFilter(_Filter())
    logger.propagate = True
