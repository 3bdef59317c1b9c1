"""Free ports for the box, chosen once and kept."""

import fcntl
import io
import json
import os
import random
import socket
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import cast

# Below Linux' range for outgoing connections (32768 and up): nothing takes one by chance between two starts.
FIRST, LAST = 20_000, 32_000
RECENT_S = 600.0
"""So long nobody else of this user is given a port, though nothing may be bound to it just then."""


def free_ports(count: int) -> list[int]:
    """Return different ports that are free for TCP and for UDP on every interface.

    EPICS searches by UDP on the port that it serves by TCP. Nothing stays bound: a program that does not ask
    here may still take one later. Two boxes of one user that ask within `RECENT_S` of each other get
    different ones, as long as there are any.
    """
    found: list[int] = []
    with _given() as given:
        ports = random.sample(range(FIRST, LAST), LAST - FIRST)
        for port in sorted(ports, key=lambda port: str(port) in given):
            if len(found) == count:
                break
            if _is_free(port, socket.SOCK_STREAM) and _is_free(port, socket.SOCK_DGRAM):
                found.append(port)
        given.update({str(port): time.time() for port in found})
    return found


@contextmanager
def _given() -> Generator[dict[str, float], None, None]:
    """When each port was given away of late, in s since 1970; nobody else of this user reads it meanwhile.

    Where it can be neither read nor written, nothing is known of other boxes, as on another host.
    """
    path = Path(tempfile.gettempdir(), f"beamtime-ports-{os.getuid()}.json")
    given: dict[str, float] = {}
    with ExitStack() as opened:
        file: io.FileIO | None = None
        with suppress(OSError):
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            file = opened.enter_context(io.FileIO(number, "r+"))
            fcntl.flock(file, fcntl.LOCK_EX)
            given = _read(file.readall() or b"")  # of a pipe there is nothing to read
        yield given
        if file is not None:
            with suppress(OSError):
                file.seek(0)
                file.truncate()
                file.write(json.dumps(given).encode("ascii"))


def _read(text: bytes) -> dict[str, float]:
    """What stands there and is not too long ago; nothing if a process was killed while it wrote."""
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    times = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    recent = time.time() - RECENT_S
    return {port: at for port, at in times.items() if isinstance(at, float) and at > recent}


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
