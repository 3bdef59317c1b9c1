"""Many puts at once, some in each turn of the loop: who waits for the loop waits for few of them."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

SLICE_S = 0.003
"""Of a turn; whatever else is due comes between two of them."""


class Turns:
    """Does what it is given in its order, at once while there is time in this turn of the loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._began_s: float | None = None

    def do(self, act: Callable[[], None]) -> None:
        """Now, or in one of the next turns; `act` must not raise."""
        if self._waiting or not self._has_time():
            self._waiting.append(act)
            return
        act()

    def _has_time(self) -> bool:
        now = time.perf_counter()
        if self._began_s is None:
            self._began_s = now
            asyncio.get_running_loop().call_soon(self._next_turn)
        return now - self._began_s < SLICE_S

    def _next_turn(self) -> None:
        self._began_s = None
        while self._waiting and self._has_time():
            self._waiting.popleft()()
