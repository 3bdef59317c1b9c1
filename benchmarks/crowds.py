"""Crowds of clients that watch a number, on either protocol: what is asked of them, and how it is counted."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

SETTLE_S = 0.5


class Crowd(Protocol):
    """So many clients that watch one number of a server, and one more that writes it.

    Attributes
    ----------
    events
        How many reached each client.
    """

    label: str
    pid: int
    size: int
    events: list[int]

    def write(self, count: int) -> None:
        """Put so many values."""
        ...

    def burst(self, count: int) -> tuple[float, int]:
        """Put so many and wait until every client has the last; seconds, and events that came."""
        ...


def watch(crowds: Sequence[Crowd], *, rounds: int, burst: int, seconds: float) -> dict[str, Any]:
    """A flood, then a steady change."""
    return {"flood": flood(crowds, rounds=rounds, size=burst), "steady": ten_hertz(crowds, seconds)}


def flood(crowds: Sequence[Crowd], *, rounds: int, size: int) -> dict[str, Any]:
    """By server: seconds and CPU seconds of each round, events that came, and events that were to come."""
    found: dict[str, Any] = {
        crowd.label: {"seconds": [], "cpu": [], "events": 0, "wanted": rounds * size * crowd.size}
        for crowd in crowds
    }
    for crowd in crowds:
        crowd.burst(size)  # warms up
    for _ in range(rounds):
        for crowd in crowds:
            before = cpu_seconds(crowd.pid)
            seconds, events = crowd.burst(size)
            mine = found[crowd.label]
            mine["seconds"].append(seconds)
            mine["cpu"].append(cpu_seconds(crowd.pid) - before)
            mine["events"] += events
    return found


def ten_hertz(crowds: Sequence[Crowd], seconds: float) -> dict[str, Any]:
    """By server: CPU seconds per second while the number changes ten times a second; all at the same time."""
    time.sleep(SETTLE_S)
    before = {crowd.label: (cpu_seconds(crowd.pid), sum(crowd.events)) for crowd in crowds}
    began, turns = time.monotonic(), int(seconds * 10)
    for turn in range(turns):
        for crowd in crowds:
            crowd.write(1)
        time.sleep(max(0.0, began + (turn + 1) / 10 - time.monotonic()))
    took = time.monotonic() - began
    return {
        crowd.label: {
            "cpu": (cpu_seconds(crowd.pid) - before[crowd.label][0]) / took,
            "events": sum(crowd.events) - before[crowd.label][1],
            "wanted": turns * crowd.size,
        }
        for crowd in crowds
    }


def cpu_seconds(pid: int) -> float:
    """Time on a processor of all threads that live now, in s."""
    spent_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
            spent_ns += int(task.joinpath("schedstat").read_text().split()[0])
    return spent_ns / 1e9
