"""The time of a reading, split as both protocols write it."""

import math


def split_stamp(stamp: float) -> tuple[int, int]:
    """Whole seconds and nanoseconds of a time in seconds."""
    fraction, seconds = math.modf(stamp)
    return int(seconds), min(int(fraction * 1e9), 999_999_999)
