"""What comes again and again is let through now and then, and counted between."""

import time
from collections.abc import Callable, Hashable

KEYS = 1000
"""How many are told apart; whoever invents more of them shares one."""


class Pace:
    """Lets one through per key and period.

    Parameters
    ----------
    clock
        In seconds; never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[Hashable, tuple[float, int]] = {}
        """Until when the next is held back, and how many were."""

    def take(self, key: Hashable, period_s: float) -> int | None:
        """How many were held back since the last of this key; None if this one is held back too."""
        now = self._clock()
        if key not in self._last and len(self._last) >= KEYS:
            self._last = {one: state for one, state in self._last.items() if now < state[0]}
            if len(self._last) >= KEYS:
                key = None
        until, held = self._last.get(key, (now, 0))
        if now < until:
            self._last[key] = until, held + 1
            return None
        self._last[key] = now + period_s, 0
        return held


def more(held: int) -> str:
    """The end of a line that stands for others too."""
    return f"; {held} more like it since the last line" if held else ""
