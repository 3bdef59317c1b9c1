"""The lives of an IOC that is killed at random times, and started again at once."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from beamtime_ioc.journal import reading
from beamtime_ioc.model import RunState
from box_house import Ioc

START_S = 120.0


class ChaosError(Exception):
    """The IOC does not come back, or takes no press any more."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill -9.

    Parameters
    ----------
    hit
        A run was at work, or was on its way back to work after the kill before.
    restart_s
        From the start of the next process until it took presses, in s.
    """

    hit: bool
    restart_s: float


class Lives:
    """Kills and starts in a thread of its own; the IOC runs when `begin` and `finish` return.

    Parameters
    ----------
    between_s
        Shortest and longest time from READY to the kill, in s.
    """

    def __init__(self, ioc: Ioc, state: Path, between_s: tuple[float, float], chance: Random) -> None:
        self.ioc, self.state, self.between_s, self.chance = ioc, state, between_s, chance
        self.kills: list[Kill] = []
        self._begun: set[str] = set()
        self._up, self._finished = threading.Event(), threading.Event()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._kill_and_start, name="lives", daemon=True)

    def begin(self) -> None:
        """Start the IOC, and the clock of its first life.

        Raises
        ------
        ChaosError
            It does not start.
        """
        try:
            self.ioc.start()
        except AssertionError as error:
            raise ChaosError(f"the IOC did not start: {error}") from error
        self._up.set()
        self._thread.start()

    def finish(self) -> None:
        """Kill no more."""
        self._finished.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def number(self) -> int:
        """Which life it is: 0 for the first."""
        return len(self.kills)

    def wait_until_up(self) -> None:
        """Return when the IOC takes presses.

        Raises
        ------
        ChaosError
            It does not come back.
        """
        if not self._up.wait(START_S) or self._fault is not None:
            raise ChaosError(f"the IOC did not come back after kill {self.number}: {self._fault}")

    def _kill_and_start(self) -> None:
        while not self._finished.wait(self.chance.uniform(*self.between_s)):
            self._up.clear()
            self.ioc.kill()
            try:
                hit = self._was_at_work()
                began = time.monotonic()
                self.ioc.start()
            except Exception as error:  # noqa: BLE001  told by the thread that waits
                self._fault = error
                self._up.set()
                return
            self.kills.append(Kill(hit=hit, restart_s=time.monotonic() - began))
            self._up.set()

    def _was_at_work(self) -> bool:
        with reading(self.state) as journal:
            left: list[Any] = list(journal.open())
        running = {run.id for run in left if run.state in (RunState.RUNNING, RunState.ABORTING)}
        hit = any(run.id in running | self._begun for run in left)
        self._begun |= running
        return hit
