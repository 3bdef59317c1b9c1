"""A log line that comes again and again is written seldom."""

import logging
import time


class Seldom:
    """Lets one warning through per key and period, and counts the others."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._last: dict[str, tuple[float, int]] = {}

    def warning(self, key: str, period_s: float, words: str) -> None:
        now = time.monotonic()
        at, kept = self._last.get(key, (-period_s, 0))
        if now - at < period_s:
            self._last[key] = at, kept + 1
            return
        if len(self._last) > 1000:  # somebody invents keys
            self._last.clear()
        self._last[key] = now, 0
        self._log.warning("%s%s", words, f"; {kept} more like it since the last line" if kept else "")
