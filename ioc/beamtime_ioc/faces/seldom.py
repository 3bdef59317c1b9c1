"""A log line that comes again and again is written seldom."""

import logging

from beamtime_ioc.pace import Pace, more


class Seldom:
    """Lets one line through per key and period, and counts the others."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._pace = log, Pace()

    def warning(self, key: str, period_s: float, words: str) -> None:
        self.line(logging.WARNING, key, period_s, words)

    def line(self, level: int, key: str, period_s: float, words: str) -> None:
        held = self._pace.take(key, period_s)
        if held is not None:
            self._log.log(level, "%s%s", words, more(held))
