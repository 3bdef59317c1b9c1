"""A value that is shown: stamped once, and told to everybody who watches."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from beamtime_ioc.alarm import QUIET, Alarm

V = TypeVar("V")
POST_RATE_HZ = 5.0


@dataclass(frozen=True)
class Reading(Generic[V]):
    """One value with its alarm and its time: what every face shows alike.

    Parameters
    ----------
    stamp
        Seconds since 1970, UTC.
    """

    value: V
    alarm: Alarm
    stamp: float


Watcher = Callable[[Reading[Any]], None]


class Posting(Generic[V]):
    """A value that is shown and watched; only the IOC sets it. Lives in the event loop's thread."""

    def __init__(self, name: str, value: V, alarm: Alarm = QUIET) -> None:
        self.name = name
        self.reading = Reading(value, alarm, time.time())
        self.watchers: list[Watcher] = []
        self._soon: asyncio.TimerHandle | None = None
        self._next: tuple[V, Alarm | None] | None = None

    @property
    def value(self) -> V:
        return self.reading.value

    @property
    def settled(self) -> bool:
        """Whether the reading is the last that was set: no later one waits for its post."""
        return self._soon is None

    def alarm_of(self, value: V) -> Alarm:
        """The alarm that the value itself means."""
        return QUIET

    def set(self, value: V, alarm: Alarm | None = None) -> None:
        """Store, stamp once, tell everybody who watches."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self.post(Reading(value, self.alarm_of(value) if alarm is None else alarm, time.time()))

    def post(self, reading: Reading[V]) -> None:
        """Show a reading as it is, with the time that it has."""
        self.reading = reading
        for watcher in tuple(self.watchers):
            watcher(reading)

    def set_soon(self, value: V, alarm: Alarm | None = None) -> None:
        """As `set`, at most five times a second: the latest wins, and the last is always posted."""
        due = self.reading.stamp + 1 / POST_RATE_HZ - time.time()
        if due <= 0 and self._soon is None:
            self.set(value, alarm)
            return
        self._next = (value, alarm)
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(min(due, 1.0), self._post_next)

    def _post_next(self) -> None:
        self._soon = None
        if self._next is not None:
            self.set(*self._next)
