"""The world outside an engine: a log of what was done to it, and gates that hold whoever does it."""

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE_S = 30.0


def until(condition: Callable[[], Any], what: str = "the condition", deadline_s: float = DEADLINE_S) -> Any:
    """Wait for a true value, and give it."""
    end = time.monotonic() + deadline_s
    pause = select.poll()
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        pause.poll(5)
    raise AssertionError(f"{what} did not come within {deadline_s:g} s")


class World:
    """What an outside service knows, in files: it outlives the process that works on it.

    Parameters
    ----------
    directory
        Its log is one line a deed, such as `made a`; a gate is a file that must go away before the deed
        of its name goes on.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        directory.mkdir(exist_ok=True)

    def note(self, deed: str) -> None:
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(log, f"{deed}\n".encode())
        os.close(log)

    def deeds(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def count(self, deed: str) -> int:
        return self.deeds().count(deed)

    # -- gates ------------------------------------------------------------------------------

    def close(self, *gates: str) -> None:
        for gate in gates:
            self._file("closed", gate).touch()

    def open(self, *gates: str) -> None:
        for gate in gates:
            self._file("closed", gate).unlink(missing_ok=True)
            self._file("reached", gate).unlink(missing_ok=True)

    def gate(self, name: str) -> None:
        """Called by who works: wait while the gate is closed."""
        closed = self._file("closed", name)
        if closed.exists():
            self._file("reached", name).touch()
            until(lambda: not closed.exists(), f"the opening of {name}")

    def until_reached(self, gate: str) -> None:
        until(self._file("reached", gate).exists, f"somebody at the gate {gate}")

    def _file(self, kind: str, gate: str) -> Path:
        return self.directory / f"{kind}-{gate.replace(' ', '-')}"

    # -- what a client of this world does ---------------------------------------------------

    def find(self, name: str) -> str | None:
        self.gate(f"look {name}")
        return name if f"made {name}" in self.deeds() else None

    def make(self, name: str) -> str:
        self.gate(f"make {name}")
        self.note(f"made {name}")
        self.gate(f"made {name}")
        return name

    def check(self, name: str) -> str:
        self.gate(f"verify {name}")
        return name

    def read(self, name: str) -> int:
        """A value that differs at each reading."""
        self.gate(f"read {name}")
        self.note(f"read {name}")
        return self.count(f"read {name}")
