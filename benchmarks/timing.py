"""How long something takes."""

import time
from collections.abc import Callable


def timed(act: Callable[[], None]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def spread(seconds: list[float]) -> list[float]:
    """Median, 99th percentile and maximum, in ms."""
    ordered = sorted(seconds)
    return [1e3 * ordered[min(int(len(ordered) * part), len(ordered) - 1)] for part in (0.5, 0.99, 1.0)]
