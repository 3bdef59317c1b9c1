"""The processes of a command: its own session, which whatever it starts belongs to."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def end_session(leader: int) -> None:
    """Kill every process of a session; `leader` is the process id of the one that began it.

    Not by process group: `timeout` makes a group of its own.
    """
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _session(entry) == leader:
            with suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)


def _session(process: Path) -> int | None:
    try:
        text = (process / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # It has ended since.
    # The name, in parentheses, may hold anything; the session is the fourth field behind it.
    return int(text.rpartition(")")[2].split()[3])
