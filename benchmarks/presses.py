"""Presses of a real button, as two clients see them: libca over Channel Access, p4p over PVAccess.

A program: a request as JSON on stdin, the findings as JSON on stdout. The button is UpdateUserInfo: its first
look is a question to the schedule, and the box notes when that came.
"""

import ctypes
import json
import os
import sqlite3
import sys
import threading
import time
from datetime import datetime
from typing import Any

import requests
from libca import DBR_LONG, HANDLER, LIBCA, Client, check, loopback
from pva_clients import Waiter, context

PREFIX = "99bm:Beamtime:"
BUTTON = f"{PREFIX}UpdateUserInfo"
QUEUED, RUNNING = 1, 2
DEADLINE_S = 30.0


class Watcher:
    """Notes when an action was first seen Queued or Running, and when it was over."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state = 0
        self._seen: float | None = None

    def note(self, state: int) -> None:
        """A post of the action's state; called in a client's thread."""
        now = time.time()
        with self._changed:
            self._state = state
            if self._seen is None and state in (QUEUED, RUNNING):
                self._seen = now
            self._changed.notify_all()

    def begin(self) -> None:
        with self._changed:
            self._seen = None

    def seen(self) -> float:
        """When it was seen at work; waits for it."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._seen is not None, DEADLINE_S):
                raise TimeoutError("nobody saw the press")
            assert self._seen is not None
            return self._seen

    def wait_for_end(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._state not in (QUEUED, RUNNING), DEADLINE_S):
                raise TimeoutError("the run does not end")


class CaPresser:
    """A libca client that watches the state and presses by a put without callback."""

    def __init__(self, server: dict[str, Any], watcher: Watcher) -> None:
        def on_event(event: Any) -> None:
            watcher.note(ctypes.c_int32.from_address(event.dbr).value)

        self._handler = HANDLER(on_event)
        self._client = Client(server["ca"], f"{BUTTON}State")
        with self._client.attached():
            self._button = self._client.open(BUTTON)
        self._client.subscribe(DBR_LONG, self._handler)

    def press(self) -> None:
        one = ctypes.c_int32(1)
        with self._client.attached():
            check(LIBCA.ca_array_put(DBR_LONG, 1, self._button, ctypes.byref(one)))
            LIBCA.ca_flush_io()

    def wait(self) -> None:
        """A put without callback has no answer."""


class PvaPresser:
    """A p4p client that watches the state and presses by a put."""

    def __init__(self, server: dict[str, Any], watcher: Watcher) -> None:
        self._watcher, self._answered = watcher, Waiter()
        self._context = context(server)
        self._monitor = self._context.monitor(f"{BUTTON}State", self._on_event)

    def _on_event(self) -> None:
        while (value := self._monitor.pop()) is not None:
            if not isinstance(value, Exception):
                self._watcher.note(value["value.index"])

    def press(self) -> None:
        self._put = self._context.put(BUTTON, self._answered, builder={"value.index": 1}, get=False)

    def wait(self) -> None:
        """Wait for the answer to the press."""
        self._answered.wait()
        self._put.close()


class Rows:
    """The state database, by a connection of its own: it sees what is committed."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def newer_than(self, seconds: float) -> bool:
        """Whether a run pressed after this time stands in it; a run's id begins with its ns since 1970."""
        first = f"{int(seconds * 1e9):020d}"
        found = self._db.execute("SELECT 1 FROM workflow_status WHERE workflow_uuid >= ? LIMIT 1", (first,))
        return found.fetchone() is not None


def first_requests(url: str, since: float) -> float:
    """When the schedule was first asked after this time."""
    times = [datetime.fromisoformat(seen["at"]).timestamp() for seen in requests.get(url, timeout=10).json()]
    return min(at for at in times if at >= since - 0.001)


def press_all(request: dict[str, Any]) -> dict[str, Any]:
    """By protocol and server: ms until seen written down, ms until the first look, rows that were there."""
    found: dict[str, dict[str, Any]] = {"ca": {}, "pva": {}}
    pressers: list[tuple[str, str, Any, Watcher, Rows]] = []
    for server in request["servers"]:
        for protocol, kind in (("ca", CaPresser), ("pva", PvaPresser)):
            watcher, rows = Watcher(), Rows(request["databases"][server["label"]])
            pressers.append((protocol, server["label"], kind(server, watcher), watcher, rows))
            found[protocol][server["label"]] = {"seen_ms": [], "look_ms": [], "on_disk": 0}
    for turn in range(request["presses"] + 1):
        for protocol, label, presser, watcher, rows in pressers:
            watcher.wait_for_end()
            time.sleep(request["pause_s"] * (1 + turn % 7 / 7))  # not in step with anybody's polling
            watcher.begin()
            pressed = time.time()
            presser.press()
            seen = watcher.seen()
            stands = rows.newer_than(pressed)
            presser.wait()
            watcher.wait_for_end()
            looked = first_requests(request["schedule"], pressed)
            if turn:  # the first one warms up
                mine = found[protocol][label]
                mine["seen_ms"].append(1e3 * (seen - pressed))
                mine["look_ms"].append(1e3 * (looked - pressed))
                mine["on_disk"] += stands
    return found


def main() -> None:
    request = json.load(sys.stdin)
    with loopback():
        print(json.dumps(press_all(request)), flush=True)
        os._exit(0)


if __name__ == "__main__":
    main()
