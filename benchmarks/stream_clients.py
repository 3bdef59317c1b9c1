"""A crowd that watches many numbers which change ten times a second, in turns before each server.

A program: a request as JSON on stdin, the findings as JSON on stdout.
"""

import json
import os
import selectors
import signal
import sys
import time
from pathlib import Path
from typing import Any

from crowds import cpu_seconds
from streams import STREAMS, Stream

PERIOD_S, FINISH_S = 0.1, 20.0


class Crowd:
    """So many clients of one server, and one more that writes."""

    def __init__(self, server: dict[str, Any], protocol: str, size: int, names: list[str]) -> None:
        self.label, self.pid = server["label"], server["pid"]
        self._lateness = Path(server["lateness"])
        made = STREAMS[protocol]
        self._writer: Stream = made(server, names)
        self._clients: list[Stream] = [made(server, names) for _ in range(size)]
        self._value = 0.0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._writer.socket, selectors.EVENT_READ, self._writer)
        for client in self._clients:
            client.watch()
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        self._tick()
        self._read(0.5)
        self._finish()

    def _tick(self) -> None:
        while self._writer.unanswered:
            self._read(0.001)
        self._value += 1
        self._writer.put(self._value)

    def _read(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                key.data.take()

    def _behind(self) -> int:
        """Values of all clients that are not the last that was put."""
        return sum(int((client.latest != self._value).sum()) for client in self._clients)

    def _finish(self) -> int:
        end = time.monotonic() + FINISH_S
        while (behind := self._behind()) and time.monotonic() < end:
            self._read(0.02)
        return behind

    def live(self) -> None:
        for client in (self._writer, *self._clients):
            client.live()

    def _late(self) -> list[float]:
        """How late its loop was since the last call."""
        self._lateness.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        end = time.monotonic() + FINISH_S
        while not self._lateness.exists():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.label} does not tell how late it is")
            time.sleep(0.01)
        return json.loads(self._lateness.read_text(encoding="utf-8"))

    def turn(self, seconds: float) -> dict[str, Any]:
        """Ten changes a second for so long, and what came of them."""
        self._late()
        before, events = cpu_seconds(self.pid), sum(client.events for client in self._clients)
        began, own, ticks = time.monotonic(), time.process_time(), int(seconds / PERIOD_S)
        for tick in range(ticks):
            self._tick()
            self._read(began + (tick + 1) * PERIOD_S - time.monotonic())
        took, spent = time.monotonic() - began, time.process_time() - own
        lost = self._finish()
        return {
            "cpu": (cpu_seconds(self.pid) - before) / took,
            "clients_cpu": spent / took,
            "late": self._late(),
            "lost": lost,
            "events": sum(client.events for client in self._clients) - events,
            "wanted": ticks * sum(len(client.latest) for client in self._clients),
            "rate": ticks / took,
        }


def main() -> None:
    request = json.load(sys.stdin)
    crowds = [
        Crowd(server, request["protocol"], request["clients"], request["names"])
        for server in request["servers"]
    ]
    found: dict[str, list[Any]] = {crowd.label: [] for crowd in crowds}
    for _ in range(request["turns"]):
        for crowd in crowds:
            for each in crowds:
                each.live()
            found[crowd.label].append(crowd.turn(request["seconds"]))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
