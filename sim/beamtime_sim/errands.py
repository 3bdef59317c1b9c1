"""What the errands service has accepted: notes, and copies that take their time."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beamtime_sim.errors import BoxError
from beamtime_sim.json_lines import NAME, JsonLines


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy job. Nobody has to look at it: the clock of the service moves it.

    Its rate is that of the moment at which it was started.
    """

    id: str
    bytes: int
    rate_bytes_per_s: float
    at: datetime

    def done_bytes(self, now: datetime) -> int:
        """Return how much is copied at a moment."""
        seconds = max(0.0, (now - self.at).total_seconds())
        return min(self.bytes, int(seconds * self.rate_bytes_per_s))

    def as_json(self, now: datetime) -> dict[str, Any]:
        """Return the job as it stands at a moment; its state is `running` or `done`."""
        done = self.done_bytes(now)
        return {
            "id": self.id,
            "bytes": self.bytes,
            "done_bytes": done,
            "state": "done" if done == self.bytes else "running",
            "started_at": _stamp(self.at),
        }


class Errands:
    """Append-only, as the mailbox: what was accepted stands in the log, once for each time it was accepted.

    A line has ``what``, ``at`` and, for a note, its ``text``; for a copy its ``id``, ``bytes`` and
    ``rate_bytes_per_s``. Copies go on over a restart of the box.
    """

    def __init__(self, directory: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._log = JsonLines(directory.absolute() / NAME)
        self._clock = clock
        self._lock = threading.Lock()
        self._notes = 0
        self._copies: dict[str, Copy] = {}
        try:
            for line in self._log.mend():
                self._remember(line)
        except (ValueError, TypeError, KeyError) as error:
            raise BoxError(f"{self._log.path} is damaged; remove it to forget notes and copies") from error

    @property
    def counts(self) -> dict[str, int]:
        """How many notes and copies were accepted."""
        with self._lock:
            return {"notes": self._notes, "copies": len(self._copies)}

    def note(self, text: str) -> dict[str, Any]:
        """Accept a note: twice the same text is two notes."""
        with self._lock:
            return self._accept({"what": "note", "text": text, "at": _stamp(self._clock())})

    def start_copy(self, name: str, size_bytes: int, rate_bytes_per_s: float) -> bool:
        """Start a copy unless it was started before; say whether it was started now.

        Raises
        ------
        ValueError
            A copy of this name has another size.
        """
        with self._lock:
            known = self._copies.get(name)
            if known is not None:
                if known.bytes != size_bytes:
                    raise ValueError(f"the copy {name} has {known.bytes} bytes, not {size_bytes}")
                return False
            at, size = _stamp(self._clock()), {"bytes": size_bytes, "rate_bytes_per_s": rate_bytes_per_s}
            self._accept({"what": "copy", "id": name, **size, "at": at})
            return True

    def copy(self, name: str) -> dict[str, Any] | None:
        """Return how a copy stands now; None if none was started under this name."""
        with self._lock:
            found = self._copies.get(name)
        return None if found is None else found.as_json(self._clock())

    def _accept(self, line: dict[str, Any]) -> dict[str, Any]:
        self._log.append(line)
        self._remember(line)
        return line

    def _remember(self, line: dict[str, Any]) -> None:
        at = datetime.fromisoformat(line["at"])
        if line["what"] == "copy":
            size, rate = line["bytes"], line["rate_bytes_per_s"]
            self._copies[line["id"]] = Copy(id=line["id"], bytes=size, rate_bytes_per_s=rate, at=at)
        else:
            self._notes += 1


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
