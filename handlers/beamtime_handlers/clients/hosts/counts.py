"""Counts of what lies at the places, each with an end: a disk that hangs keeps nobody waiting."""

import threading
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from beamtime_handlers.clients.hosts.tally import Tally
from beamtime_ioc.errors import BeamtimeError, ConflictError, PlaceError
from beamtime_ioc.model import Content, Place

SLACK_S = 2.0
"""How long a host has to say how far its count came, after that was ended there."""

CountOne = Callable[[PurePosixPath, Tally], bool]
"""Counts in one directory; False if it is not there. Raises BeamtimeError."""


class Counts:
    """Counts beside whoever wants them; of each place one at a time."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._lock = threading.Lock()
        self._last: dict[str, _Count] = {}

    def of(self, place: Place, paths: Sequence[PurePosixPath], count: CountOne) -> Sequence[Content]:
        """What lies in some directories of a place; comes back in time, whatever its disk does."""
        with self._lock:
            last = self._last.get(place.name)
            if last is not None and last.is_alive():
                return [_unknown(path, "an earlier count there has not ended") for path in paths]
            going_on = self._last[place.name] = _Count(place, paths, count, self.limit_s)
            going_on.start()
        going_on.join(self.limit_s + SLACK_S)
        return going_on.contents()


class _Count(threading.Thread):
    """The count of one place. It does not keep the process alive."""

    def __init__(self, place: Place, paths: Sequence[PurePosixPath], count: CountOne, limit_s: float) -> None:
        super().__init__(name=f"count {place.name}", daemon=True)
        self._place, self._count_one = place, count
        self._tallies = [(path, Tally(limit_s)) for path in paths]
        self._found: list[Content] = []

    def run(self) -> None:
        for path, tally in self._tallies:
            self._found.append(self._count(path, tally))

    def contents(self) -> Sequence[Content]:
        """What is known now; the thread may go on."""
        found = list(self._found)
        return [*found, *(_counted(path, tally) for path, tally in self._tallies[len(found) :])]

    def _count(self, path: PurePosixPath, tally: Tally) -> Content:
        try:
            is_there = self._count_one(path, tally)
        except BeamtimeError as error:
            tally.reason = error.sentence.removeprefix(f"{self._place.name}: ")
            return _counted(path, tally, _state(error))
        return _counted(path, tally, "" if is_there else "MISSING")


def _state(error: BeamtimeError) -> str:
    if isinstance(error, ConflictError):
        return "CONFLICT"
    return "NO_TOPDIR" if isinstance(error, PlaceError) and error.state == "NO_TOPDIR" else "UNKNOWN"


def _counted(path: PurePosixPath, tally: Tally, state: str = "") -> Content:
    state = state or ("UNKNOWN" if tally.reason else "OK" if tally.files else "EMPTY")
    return Content(
        path=path, state=state, files=tally.files, size_bytes=tally.size_bytes, reason=tally.reason
    )


def _unknown(path: PurePosixPath, reason: str) -> Content:
    return Content(path=path, state="UNKNOWN", reason=reason)
