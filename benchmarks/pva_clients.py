"""PVAccess clients: p4p without its wrappers for threads, so that little of Python is measured.

A program: a request as JSON on stdin, the findings as JSON on stdout. A client is one p4p context, with a
connection of its own; a hundred of them live in this one process.
"""

import itertools
import json
import os
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from crowds import watch
from p4p.client.raw import Context
from timing import timed

TIMEOUT_S = 60.0
OUTSTANDING = 25
PREFIX = "99bm:Beamtime:"
NUMBER, TEXT = PREFIX + "BenchNumber", PREFIX + "BenchText"


def context(server: dict[str, Any]) -> Context:
    conf = {
        "EPICS_PVA_ADDR_LIST": f"127.0.0.1:{server['pva_search']}",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_BROADCAST_PORT": str(server["pva_search"]),
    }
    return Context("pva", conf=conf, useenv=False, nt=False)


class Waiter:
    """Begins an operation of p4p and waits for its end."""

    def __init__(self) -> None:
        self._ended = threading.Lock()
        self._ended.acquire()
        self._answer: Any = None

    def __call__(self, answer: Any) -> None:
        self._answer = answer
        self._ended.release()

    def wait(self) -> Any:
        if not self._ended.acquire(timeout=TIMEOUT_S):
            raise TimeoutError("p4p got no answer")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def getter(client: Context, name: str) -> Callable[[], None]:
    waiter = Waiter()

    def get() -> None:
        operation = client.get(name, waiter)
        waiter.wait()
        operation.close()

    return get


def putter(client: Context, name: str, value_of: Callable[[int], Any]) -> Callable[[], None]:
    """Another value each time."""
    waiter, numbers = Waiter(), itertools.count(1)

    def put() -> None:
        operation = client.put(name, waiter, builder={"value": value_of(next(numbers))}, get=False)
        waiter.wait()
        operation.close()

    return put


def round_trips(request: dict[str, Any]) -> dict[str, Any]:
    """Median times of gets and puts in ms, one per round; all servers in each round."""
    found: dict[str, dict[str, list[float]]] = {}
    clients = [(server["label"], context(server)) for server in request["servers"]]
    tasks = [
        (what, label, act)
        for label, client in clients
        for what, act in (
            ("get double", getter(client, NUMBER)),
            ("get string", getter(client, TEXT)),
            ("put double", putter(client, NUMBER, float)),
            ("put string", putter(client, TEXT, lambda number: f"text {number}")),
        )
        if not (label == "C" and what.endswith("string"))  # to QSRV a CHAR waveform is an array
    ]
    tasks.sort(key=lambda task: task[0])  # the servers take turns
    for _, _, act in tasks:
        act()  # connects
    for _ in range(request["rounds"]):
        for what, label, act in tasks:
            times = [timed(act) for _ in range(request["trips"])]
            found.setdefault(what, {}).setdefault(label, []).append(1e3 * statistics.median(times))
    return found


class Crowd:
    """So many clients that watch one number of a server, and one more that writes it."""

    def __init__(self, server: dict[str, Any], size: int) -> None:
        self.size, self.pid, self.label = size, server["pid"], server["label"]
        self._goal, self._value, self._wanted = 0.0, 0.0, 0
        self._all, self._put = threading.Lock(), threading.Lock()
        self._all.acquire()
        self._put.acquire()
        self._arrivals = itertools.count(1)
        self.events = [0] * size
        self._writer = context(server)
        self._clients = [context(server) for _ in range(size)]
        self.write(1)
        # The server keeps so many changes for each client before it merges them.
        request = Context.makeRequest("field()record[queueSize=200]")
        self._subscriptions: list[Any] = []
        for number, client in enumerate(self._clients):
            self._subscriptions.append(None)
            self._subscriptions[number] = client.monitor(
                NUMBER, lambda number=number: self._on_events(number), request=request
            )
            # One after another: a server has room for few that knock at the same time, the others wait long.
            self._await_first(number)

    def _await_first(self, number: int) -> None:
        end = time.monotonic() + TIMEOUT_S
        while not self.events[number]:
            if time.monotonic() > end:
                raise TimeoutError(f"client {number} of {self.size} of {self.label} hears nothing")
            time.sleep(0.001)

    def _on_events(self, number: int) -> None:
        subscription = self._subscriptions[number]
        while subscription is not None and (value := subscription.pop()) is not None:
            if isinstance(value, Exception):
                continue
            self.events[number] += 1
            if value["value"] == self._goal and next(self._arrivals) == self.size:
                self._all.release()

    def write(self, count: int) -> None:
        """Put so many values, up to 25 of them on their way at a time."""
        under_way: deque[tuple[Any, Waiter]] = deque()
        for _ in range(count):
            if len(under_way) == OUTSTANDING:
                _finish(*under_way.popleft())
            self._value += 1
            waiter = Waiter()
            put = self._writer.put(NUMBER, waiter, builder={"value": self._value}, get=False)
            under_way.append((put, waiter))
        while under_way:
            _finish(*under_way.popleft())

    def burst(self, count: int) -> tuple[float, int]:
        """Put so many and wait until every client has the last; seconds, and events that came."""
        self._arrivals = itertools.count(1)
        self._goal = self._value + count
        before = sum(self.events)
        began = time.perf_counter()
        self.write(count)
        if not self._all.acquire(timeout=TIMEOUT_S):
            raise TimeoutError(f"the last of {count} values did not reach all clients of {self.label}")
        return time.perf_counter() - began, sum(self.events) - before


def _finish(operation: Any, waiter: Waiter) -> None:
    waiter.wait()
    operation.close()


def crowds(request: dict[str, Any]) -> dict[str, Any]:
    """A flood and a steady change, before the same clients."""
    made = [Crowd(server, request["clients"]) for server in request["servers"]]
    return watch(made, rounds=request["rounds"], burst=request["burst"], seconds=request["seconds"])


TASKS = {"round_trips": round_trips, "crowds": crowds}


def main() -> None:
    request = json.load(sys.stdin)
    print(json.dumps(TASKS[request["task"]](request)), flush=True)
    # A hundred contexts take their time to end in order; their server sees closed connections either way.
    os._exit(0)


if __name__ == "__main__":
    main()
