"""Channel Access clients, little of Python in them.

A program: a request as JSON on stdin, the findings as JSON on stdout. A client is one context of libca, with
a connection and threads of its own; a hundred of them live in this one process.
"""

import ctypes
import itertools
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from crowds import watch
from libca import (
    DBR_CHAR,
    DBR_DOUBLE,
    DBR_TIME_DOUBLE,
    HANDLER,
    LIBCA,
    TIMEOUT_S,
    VALUE_OFFSET,
    Client,
    check,
    loopback,
)
from timing import spread, timed

PREFIX = "99bm:Beamtime:"
NUMBER, TEXT = PREFIX + "BenchNumber", PREFIX + "BenchText"
PAUSE_S = 0.002


# -- round trips ------------------------------------------------------------------------------


def getter(chid: ctypes.c_void_p, kind: int, count: int) -> Callable[[], None]:
    buffer = ctypes.create_string_buffer(max(count, 8))

    def get() -> None:
        check(LIBCA.ca_array_get(kind, count, chid, buffer))
        check(LIBCA.ca_pend_io(TIMEOUT_S))

    return get


def putter(chid: ctypes.c_void_p, kind: int, count: int) -> Callable[[], None]:
    """Puts with callback, another value each time."""
    answered = threading.Lock()
    answered.acquire()
    statuses: list[int] = []

    def on_answer(event: Any) -> None:
        statuses.append(event.status)
        answered.release()

    handler, numbers = HANDLER(on_answer), itertools.count(1)

    def put() -> None:
        number = next(numbers)
        data: Any = ctypes.c_double(number)
        if kind == DBR_CHAR:
            data = ctypes.create_string_buffer(f"text {number}".encode(), count)
        check(LIBCA.ca_array_put_callback(kind, count, chid, ctypes.byref(data), handler, None))
        LIBCA.ca_flush_io()
        if not answered.acquire(timeout=TIMEOUT_S):
            raise TimeoutError("a put was not answered")
        check(statuses.pop())

    return put


def round_trips(request: dict[str, Any]) -> dict[str, Any]:
    """Median times of gets and puts in ms, one per round; all servers in each round."""
    found: dict[str, dict[str, list[float]]] = {}
    clients = [(s["label"], Client(s["ca"], NUMBER)) for s in request["servers"]]
    tasks: list[tuple[str, str, Client, Callable[[], None]]] = []
    for label, client in clients:
        with client.attached():
            text = client.open(TEXT)
        for what, act in (
            ("get double", getter(client.chid, DBR_DOUBLE, 1)),
            ("get char[256]", getter(text, DBR_CHAR, 256)),
            ("put double", putter(client.chid, DBR_DOUBLE, 1)),
            ("put char[256]", putter(text, DBR_CHAR, 256)),
        ):
            tasks.append((what, label, client, act))
    tasks.sort(key=lambda task: task[0])  # the servers take turns
    for _ in range(request["rounds"]):
        for what, label, client, act in tasks:
            with client.attached():
                times = [timed(act) for _ in range(request["trips"])]
            found.setdefault(what, {}).setdefault(label, []).append(1e3 * statistics.median(times))
    return found


def pipelined(request: dict[str, Any]) -> dict[str, list[float]]:
    """Gets per second, many asked before the first answer is waited for."""
    found: dict[str, list[float]] = {}
    clients = [(s["label"], Client(s["ca"], NUMBER)) for s in request["servers"]]
    count = request["gets"]
    buffers = [ctypes.create_string_buffer(8) for _ in range(count)]
    for turn in range(request["rounds"] + 1):
        for label, client in clients:
            with client.attached():
                began = time.perf_counter()
                for buffer in buffers:
                    LIBCA.ca_array_get(DBR_DOUBLE, 1, client.chid, buffer)
                check(LIBCA.ca_pend_io(TIMEOUT_S))
                rate = count / (time.perf_counter() - began)
            if turn:  # the first one warms up
                found.setdefault(label, []).append(rate)
    return found


# -- monitors ---------------------------------------------------------------------------------


class Crowd:
    """So many clients that watch one number of a server, and one more that writes it."""

    def __init__(self, server: dict[str, Any], size: int) -> None:
        self.size, self.pid, self.label = size, server["pid"], server["label"]
        self._goal = 0.0
        self._all = threading.Lock()
        self._all.acquire()
        self._arrivals = itertools.count(1)
        self.events = [0] * size
        self._handler = HANDLER(self._on_event)
        self._writer = Client(server["ca"], NUMBER)
        self._clients = [Client(server["ca"], NUMBER) for _ in range(size)]
        self._value = 0.0
        self.write(1)
        for number, client in enumerate(self._clients):
            client.subscribe(DBR_TIME_DOUBLE, self._handler, number)
        self._await_first()

    def _await_first(self) -> None:
        end = time.monotonic() + TIMEOUT_S
        while not all(self.events):
            if time.monotonic() > end:
                silent = self.events.count(0)
                raise TimeoutError(f"{silent} of {self.size} clients of {self.label} hear nothing")
            time.sleep(0.01)

    def _on_event(self, event: Any) -> None:
        # Each client has a thread of its own, so that a slot of the list has one writer.
        self.events[event.usr or 0] += 1
        value = ctypes.c_double.from_address(event.dbr + VALUE_OFFSET).value
        if value == self._goal and next(self._arrivals) == self.size:
            self._all.release()

    def write(self, count: int) -> None:
        """Put so many values without waiting."""
        with self._writer.attached():
            for _ in range(count):
                self._value += 1
                data = ctypes.c_double(self._value)
                check(LIBCA.ca_array_put(DBR_DOUBLE, 1, self._writer.chid, ctypes.byref(data)))
            LIBCA.ca_flush_io()

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


def crowds(request: dict[str, Any]) -> dict[str, Any]:
    """A flood and a steady change, before the same clients."""
    made = [Crowd(server, request["clients"]) for server in request["servers"]]
    return watch(made, rounds=request["rounds"], burst=request["burst"], seconds=request["seconds"])


# -- waits ------------------------------------------------------------------------------------


def waits(request: dict[str, Any]) -> dict[str, list[float]]:
    """How long gets take that come every 2 ms."""
    found: dict[str, list[float]] = {}
    for server in request["servers"]:
        client = Client(server["ca"], NUMBER)
        times: list[float] = []
        with client.attached():
            get = getter(client.chid, DBR_DOUBLE, 1)
            end = time.monotonic() + request["seconds"]
            while time.monotonic() < end:
                times.append(timed(get))
                time.sleep(PAUSE_S)
        found[server["label"]] = spread(times[10:])
    return found


def runs(request: dict[str, Any]) -> dict[str, Any]:
    """The same while another client presses a button, again at each end; and how long each run took."""
    found: dict[str, Any] = {}
    for server in request["servers"]:
        client, presser = Client(server["ca"], NUMBER), Client(server["ca"], PREFIX + request["button"])
        times: list[float] = []
        took_s: list[float] = []
        get = getter(client.chid, DBR_DOUBLE, 1)
        for _ in range(request["runs"]):
            ended = threading.Event()
            handler = HANDLER(lambda event, ended=ended: ended.set())
            one = ctypes.c_double(1)
            began = time.perf_counter()
            with presser.attached():
                sent = ctypes.byref(one)
                check(LIBCA.ca_array_put_callback(DBR_DOUBLE, 1, presser.chid, sent, handler, None))
                LIBCA.ca_flush_io()
            with client.attached():
                while not ended.is_set():
                    times.append(timed(get))
                    time.sleep(PAUSE_S)
            took_s.append(time.perf_counter() - began)
        found[server["label"]] = {"gets_ms": spread(times), "runs_s": took_s}
    return found


TASKS = {
    "round_trips": round_trips,
    "pipelined": pipelined,
    "crowds": crowds,
    "waits": waits,
    "runs": runs,
}


def main() -> None:
    request = json.load(sys.stdin)
    with loopback():
        print(json.dumps(TASKS[request["task"]](request)), flush=True)
        # A hundred contexts take their time to end in order; their server sees closed connections either way.
        os._exit(0)


if __name__ == "__main__":
    main()
