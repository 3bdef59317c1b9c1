"""Runs orders in threads of this process and forgets them at its end: for tests and tools."""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

from beamtime_ioc.engine.ending import perform
from beamtime_ioc.engine.engine import EngineHealth, Listener, Order, Outcome, checked_json
from beamtime_ioc.engine.work import LiveRun
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import Cancelled
from beamtime_ioc.model import Json, RunState
from beamtime_ioc.runrecord import NOT_BEGUN, RunRecord, pressed_at
from beamtime_ioc.stored_doubts import Asked


class MemoryRecorder:
    """Remembers within one process: for the inline engine and for tests."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(8)
        self.cancel = threading.Event()
        self._doubts: list[str] = []

    def remember(self, title: str, body: Callable[[], Json]) -> Json:
        return body()

    def check(self) -> None:
        if self.cancel.is_set():
            raise Cancelled

    def cancelled_on_disk(self) -> bool:
        return self.cancel.is_set()

    def doubt(self, title: str, text: str, claim: str, asked: Asked) -> None:
        self._doubts.append(text)

    def doubts(self) -> Sequence[str]:
        return self._doubts

    def wait(self, seconds: float) -> None:
        self.cancel.wait(seconds)
        self.check()


class InlineEngine:
    """One thread per resource; nothing is stored."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._recorders: dict[str, MemoryRecorder] = {}
        self._futures: dict[str, Future[None]] = {}
        self._known: set[str] = set()
        self._doubts, self._failures = 0, list[float]()
        self._lock = threading.Lock()

    def start(self, listener: Listener, shown: Collection[str] = ()) -> None:
        self.listener = listener

    def stop(self, grace_s: float) -> bool:
        with self._lock:
            for recorder in self._recorders.values():
                recorder.cancel.set()
            pools, futures = list(self._pools.values()), list(self._futures.values())
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        done = True
        for future in futures:
            try:
                future.exception(grace_s) if not future.cancelled() else None
            except TimeoutError:
                done = False
        return done

    async def submit(self, order: Order) -> None:
        checked_json("the arguments", dict(order.arguments))
        with self._lock:
            if order.id in self._known:
                return
            self._known.add(order.id)
            pool = self._pools.setdefault(
                order.resource, ThreadPoolExecutor(1, thread_name_prefix=order.resource)
            )
            self._recorders[order.id] = MemoryRecorder()
            self._futures[order.id] = pool.submit(self._run, order, self._recorders[order.id])
        await asyncio.sleep(0)

    async def cancel(self, run_id: str) -> None:
        with self._lock:
            recorder, future = self._recorders.get(run_id), self._futures.get(run_id)
        if recorder is None or future is None:
            return
        recorder.cancel.set()
        if future.cancel():
            with self._lock:
                del self._recorders[run_id], self._futures[run_id]
            self.listener.on_end(run_id, Outcome(state=RunState.ABORTED, message=NOT_BEGUN))

    def health(self, midnight: datetime) -> EngineHealth:
        with self._lock:
            futures = dict(self._futures)
            failed = sum(ended >= midnight.timestamp() for ended in self._failures)
        oldest = min((pressed_at(run_id).timestamp() for run_id in futures), default=None)
        return EngineHealth(
            queued=sum(not (future.running() or future.done()) for future in futures.values()),
            oldest_open_s=0.0 if oldest is None else max(0.0, time.time() - oldest),
            failed_today=failed,
            unsure=self._doubts,
        )

    def retire(self, before: datetime, keep: Callable[[Sequence[RunRecord]], None]) -> int:
        """Nothing is kept, so nothing is forgotten."""
        return 0

    def _run(self, order: Order, recorder: MemoryRecorder) -> None:
        self.listener.on_state(order.id, RunState.RUNNING)
        run = LiveRun(
            order, self.workshop, recorder, lambda progress: self.listener.on_progress(order.id, progress)
        )
        outcome = perform(run)
        with self._lock:
            del self._recorders[order.id], self._futures[order.id]
            self._doubts += len(outcome.unknown)
            if outcome.state is RunState.FAILED:
                self._failures.append(outcome.ended)
        self.listener.on_end(order.id, outcome)
