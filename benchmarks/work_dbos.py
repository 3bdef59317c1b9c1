"""The peer: DBOS as its tutorials use it, with the settings of ours and nothing else of it."""

import json
import threading
import time
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID
from dbos._serialization import Serializer
from sqlalchemy import event
from work import LOOK_S, POLL_S, QUEUE, RESOURCES_AT_ONCE, obey, request


class JsonSerializer(Serializer):
    def name(self) -> str:
        return "bench_json"

    def serialize(self, data: Any) -> str:
        return json.dumps(data, ensure_ascii=False)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)


def database(path: str) -> sa.Engine:
    """SQLite as a power cut demands."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for setting in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {setting}")

    return engine


def launch(where: str) -> None:
    """Launch on the file of a path or the database of a URL."""
    config: DBOSConfig = {
        "name": "bench",
        "application_version": "bench-1",
        "executor_id": "bench",
        "serializer": JsonSerializer(),
        "log_level": "ERROR",
        "notification_listener_polling_interval_sec": 0.25,
    }
    if where.startswith("postgresql"):
        config["system_database_url"] = where
    else:
        config["system_database_url"] = f"sqlite:///{where}"
        config["system_database_engine"] = database(where)
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(
        QUEUE,
        partition_concurrency=1,
        worker_concurrency=RESOURCES_AT_ONCE,
        polling_interval_sec=POLL_S,
        on_conflict="always_update",
    )


class BareDbos:
    """Workflows on one queue, partitioned by resource."""

    def __init__(self, where: str) -> None:
        self._ended = threading.Semaphore(0)
        self._seconds = 0.0

        @DBOS.workflow(name="steps", max_recovery_attempts=None)
        def run_steps(order: dict[str, Any]) -> dict[str, Any]:
            began = time.perf_counter()
            for number in range(order["count"]):
                DBOS.run_step({"name": f"step {number}"}, lambda: {"ok": 1})
            self._seconds = time.perf_counter() - began
            self._ended.release()
            return {"state": "Done"}

        @DBOS.workflow(name="action", max_recovery_attempts=None)
        def run_action(order: dict[str, Any]) -> dict[str, Any]:
            DBOS.run_step({"name": "step"}, lambda: {"ok": 1})
            self._ended.release()
            return {"state": "Done"}

        self._steps, self._action = run_steps, run_action
        launch(where)

    def _enqueue(self, body: Any, resource: str, **order: Any) -> Any:
        run_id = f"{time.time_ns():020d}"
        with SetWorkflowID(run_id), SetEnqueueOptions(queue_partition_key=resource):
            return DBOS.enqueue_workflow(QUEUE, body, {"id": run_id, "resource": resource, **order})

    def steps(self, count: int) -> float:
        """Seconds that a run spends on its steps."""
        handle = self._enqueue(self._steps, "r", count=count)
        self._ended.acquire()
        handle.get_result(polling_interval_sec=LOOK_S)
        return self._seconds

    def one_by_one(self, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            handle = self._enqueue(self._action, "r")
            self._ended.acquire()
            handle.get_result(polling_interval_sec=LOOK_S)
        return time.perf_counter() - began

    def queued(self, count: int) -> float:
        """All at once, each on a resource of its own."""
        began = time.perf_counter()
        for number in range(count):
            self._enqueue(self._action, f"r{number}")
        for _ in range(count):
            self._ended.acquire()
        while DBOS.list_workflows(status=["PENDING", "ENQUEUED"], load_input=False, load_output=False):
            time.sleep(LOOK_S)
        return time.perf_counter() - began


def poll(every_s: float) -> float:
    """Let the queue be asked so often from now on."""
    queue = DBOS.retrieve_queue(QUEUE)
    assert queue is not None
    queue.set_polling_interval_sec(every_s)
    time.sleep(1.2 * POLL_S)  # it may be in the middle of the old one
    return 0.0


def main() -> None:
    bare = BareDbos(request()["where"])
    obey({"steps": bare.steps, "one_by_one": bare.one_by_one, "queued": bare.queued, "poll": poll})


if __name__ == "__main__":
    main()
