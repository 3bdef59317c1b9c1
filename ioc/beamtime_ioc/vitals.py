"""How the program itself is, on its records: heartbeat, clients, memory, how late the event loop is."""

import asyncio
import logging
import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from beamtime_ioc.alarm import UNDEFINED, Alarm
from beamtime_ioc.bindings import RUNNING_STATES
from beamtime_ioc.board import Board
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.procfs import ProcessUse, process_use

log = logging.getLogger(__name__)

BEAT_S, USE_S = 1.0, 2.0
WATCHDOG_S = 10
LOOK_S, KEPT_S = 0.1, 10.0
MAX_COUNT = 2**31
STOPPED = RUNNING_STATES.index("Stopped")
RUNNING = RUNNING_STATES.index("Running")


class Vitals:
    """Keeps the records of the program's own health. Lives in the event loop."""

    def __init__(self, board: Board, zone: ZoneInfo, *, start_count: int) -> None:
        self._board = board
        self._began = time.monotonic()
        self._beats = 0
        self._watchdog = 0
        self._late: deque[float] = deque(maxlen=round(KEPT_S / LOOK_S))
        self._use: tuple[float, ProcessUse] | None = None
        self._board.report("start-count", start_count)
        self._board.report("start-time", f"{datetime.now(zone):%Y-%m-%d %H:%M:%S %Z}")
        self._board.report("host", socket.gethostname())
        self._board.report("pid", os.getpid())
        for word in ("ca-clients", "ca-channels", "pva-clients", "memory", "descriptors", "cpu-load"):
            self._board.report(word, 0, UNDEFINED)
        for word in ("loop-latency", "loop-latency-max"):
            self._board.report(word, 0.0, UNDEFINED)
        self._show_running()

    def wind_up(self) -> None:
        """The engine has answered that it works."""
        self._watchdog = WATCHDOG_S
        self._show_running()

    def stop(self) -> None:
        """The engine ends, by our own will: said at once."""
        self._watchdog = 0
        self._show_running()

    def _show_running(self) -> None:
        self._board.report("watchdog", self._watchdog)
        self._board.report("running", RUNNING if self._watchdog else STOPPED)

    async def beat(self) -> None:
        """Once a second, without end."""
        due = time.monotonic()
        while True:
            self._board.report("heartbeat", self._beats % MAX_COUNT)
            self._board.report("uptime", uptime(time.monotonic() - self._began))
            self._beats += 1
            due = max(due + BEAT_S, time.monotonic() - 10 * BEAT_S)  # after a long sleep of the computer
            await asyncio.sleep(due - time.monotonic())
            self._watchdog = max(0, self._watchdog - 1)
            self._show_running()

    async def listen(self) -> None:
        """Measure how late the event loop is, without end."""
        count = 0
        while True:
            due = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._late.append(max(0.0, time.monotonic() - due) * 1000)
            count += 1
            if count % round(BEAT_S / LOOK_S) == 0:
                self._board.report("loop-latency", round(percentile(self._late, 99), 1))
                self._board.report("loop-latency-max", round(max(self._late), 1))

    async def weigh(self, ca: Callable[[], tuple[int, int]], pva: Callable[[], int]) -> None:
        """Ask what the process uses, and who is there, without end.

        Parameters
        ----------
        ca
            Clients and channels of Channel Access; must return at once.
        pva
            Clients of PVAccess; asked in a thread.
        """
        while True:
            try:
                use = await in_thread("use of the process", process_use)
                self._show_use(time.monotonic(), use)
            except OSError as error:
                self._unknown(
                    ("memory", "descriptors", "cpu-load"), f"/proc cannot be read: {error.strerror}"
                )
            for word, count in zip(("ca-clients", "ca-channels"), ca(), strict=True):
                self._board.report(word, count)
            try:
                self._board.report("pva-clients", await in_thread("clients", pva))
            except OSError as error:
                self._unknown(("pva-clients",), f"/proc cannot be read: {error.strerror}")
            await asyncio.sleep(USE_S)

    def _show_use(self, now: float, use: ProcessUse) -> None:
        self._board.report("memory", float(use.memory_bytes))
        self._board.report("descriptors", use.descriptors)
        if self._use is not None:
            before, last = self._use
            self._board.report("cpu-load", round(100 * (use.cpu_s - last.cpu_s) / (now - before), 1))
        self._use = now, use

    def _unknown(self, words: Iterable[str], sentence: str) -> None:
        for word in words:
            self._board.report(word, 0, Alarm(UNDEFINED.severity, UNDEFINED.status, sentence))


def uptime(seconds: float) -> str:
    """As devIocStats writes it: `3 days, 04:05:06`."""
    span = timedelta(seconds=int(seconds))
    hours, rest = divmod(span.seconds, 3600)
    clock = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{span.days} day{'s' if span.days > 1 else ''}, {clock}" if span.days else clock


def percentile(values: Iterable[float], percent: float) -> float:
    """The value that so many of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
