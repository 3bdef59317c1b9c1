"""A client of C's libca, by pyepics, in a process of its own: libca takes its ports from the environment.

Run as a program it reads one request a line, `["function", [arguments]]` in JSON, and answers one line.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

TIMEOUT_S = 10.0


class CClient:
    """The other end: asks such a program."""

    def __init__(self, port: int) -> None:
        self.port = port
        settings = {
            "EPICS_CA_SERVER_PORT": str(port),
            "EPICS_CA_ADDR_LIST": "127.0.0.1",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            # Nobody's: libca would start a repeater, if it had one, and leave it running.
            "EPICS_CA_REPEATER_PORT": "65000",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **settings},
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def begin(self, function: str, *arguments: object) -> None:
        """Ask, without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([function, arguments]) + "\n")
        self._process.stdin.flush()

    def finish(self) -> Any:
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["result"]

    def __call__(self, function: str, *arguments: object) -> Any:
        self.begin(function, *arguments)
        return self.finish()


# -- the program ------------------------------------------------------------------------------------------


def opened(name: str) -> Any:
    from epics import ca

    chid = ca.create_channel(name)
    if not ca.connect_channel(chid, timeout=TIMEOUT_S):
        raise TimeoutError(name)
    return chid


def plain(value: Any) -> Any:
    """As JSON: an array as a list."""
    return value.tolist() if hasattr(value, "tolist") else value


def info(name: str) -> list[int]:
    """Type, elements, read and write access of a channel."""
    from epics import ca

    chid = opened(name)
    return [ca.field_type(chid), ca.element_count(chid), ca.read_access(chid), ca.write_access(chid)]


def get(name: str, kind: int | None = None, count: int = 0) -> Any:
    from epics import ca

    return plain(ca.get(opened(name), ftype=kind, count=count or None, timeout=TIMEOUT_S))


def text(name: str) -> Any:
    """What caget -S shows."""
    from epics import ca

    return ca.get(opened(name), as_string=True, timeout=TIMEOUT_S)


def get_all(names: list[str]) -> list[Any]:
    from epics import ca

    chids = [ca.create_channel(name) for name in names]
    for name, chid in zip(names, chids, strict=True):
        if not ca.connect_channel(chid, timeout=TIMEOUT_S):
            raise TimeoutError(name)
    return [plain(ca.get(chid, timeout=TIMEOUT_S)) for chid in chids]


def timed(name: str) -> list[Any]:
    """Value, severity, status, and the stamp in seconds and nanoseconds."""
    from epics import ca

    chid = opened(name)
    kind = ca.promote_type(chid, use_time=True)
    found: Any = ca.get_with_metadata(chid, ftype=kind, timeout=TIMEOUT_S)
    keys = ("severity", "status", "posixseconds", "nanoseconds")
    return [plain(found["value"]), *(int(found[key]) for key in keys)]


def control(name: str) -> dict[str, Any]:
    from epics import ca

    found: Any = ca.get_ctrlvars(opened(name), timeout=TIMEOUT_S)
    return {key: plain(value) for key, value in found.items()}


def caput(name: str, value: Any) -> Any:
    """As a script does it; what pyepics returns, or the name of what it raises."""
    import epics

    try:
        return epics.caput(name, value, wait=True, timeout=TIMEOUT_S)
    except (epics.ca.CASeverityException, epics.ca.ChannelAccessException) as error:
        return type(error).__name__


def put_and_get(name: str, texts: list[str]) -> list[Any]:
    """Put each text and ask for it at once."""
    import epics

    pv = epics.PV(name, auto_monitor=True)
    pv.wait_for_connection(TIMEOUT_S)
    found: list[Any] = []
    for words in texts:
        pv.put(words, wait=True, timeout=TIMEOUT_S)
        found.append(pv.get(as_string=True, use_monitor=False, timeout=TIMEOUT_S))
    return found


class EventArguments(ctypes.Structure):
    """`struct event_handler_args` of cadef.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("usr", "chid")),
        *((name, ctypes.c_long) for name in ("type", "count")),
        ("dbr", ctypes.c_void_p),
        ("status", ctypes.c_int),
    )


statuses: list[int] = []
note_status = ctypes.CFUNCTYPE(None, EventArguments)(lambda arguments: statuses.append(arguments.status))


def put(name: str, kind: int, count: int, data: str, timeout_s: float = TIMEOUT_S) -> int:
    """What caput -c does, with these elements in hexadecimal; returns the status that comes back."""
    before = len(statuses)
    put_begin(name, kind, count, data)
    from epics import ca

    end = time.monotonic() + timeout_s
    while len(statuses) == before:
        ca.poll(1e-3)
        if time.monotonic() > end:
            raise TimeoutError(name)
    return statuses[-1]


def put_begin(name: str, kind: int, count: int, data: str) -> None:
    """The same, and not waited for."""
    from epics import ca, dbr

    libca: Any = ca.libca
    raw = bytes.fromhex(data)
    buffer = ctypes.create_string_buffer(raw, max(len(raw), 1))
    chid = opened(name)
    status = libca.ca_array_put_callback(
        ctypes.c_long(kind), ctypes.c_ulong(count), chid, buffer, note_status, ctypes.c_void_p(0)
    )
    if status != dbr.ECA_NORMAL:
        statuses.append(status)
    ca.flush_io()


def put_plain(name: str, kind: int, count: int, data: str) -> int:
    """What plain caput and MEDM do."""
    from epics import ca

    libca: Any = ca.libca
    raw = bytes.fromhex(data)
    buffer = ctypes.create_string_buffer(raw, max(len(raw), 1))
    chid = opened(name)
    status = libca.ca_array_put(ctypes.c_long(kind), ctypes.c_ulong(count), chid, buffer)
    ca.flush_io()
    return status


seen: dict[str, list[list[Any]]] = {}
watched: dict[str, Any] = {}
given_up: list[Any] = []


def watch(name: str) -> None:
    """Begin to collect, from now on, what is posted: value, severity, status, stamp."""
    from epics import ca, dbr

    if name in watched:
        # Kept: libca's thread may be in the middle of its callback, and nothing of it may be freed.
        given_up.append(watched.pop(name))
        ca.clear_subscription(given_up[-1][2])
    events = seen[name] = []
    chid = opened(name)

    def post(value: Any, **more: Any) -> None:
        keys = ("severity", "status", "posixseconds", "nanoseconds")
        events.append([plain(value), *(int(more.get(key, -1)) for key in keys)])

    mask = dbr.DBE_VALUE | dbr.DBE_ALARM
    watched[name] = ca.create_subscription(chid, use_time=True, callback=post, mask=mask)
    ca.flush_io()
    wait_for(lambda: events)


def events(name: str, count: int) -> list[list[Any]]:
    """What was posted, when it is at least so much."""
    wait_for(lambda: len(seen[name]) >= count)
    return seen[name]


def wait_for(condition: Callable[[], object]) -> None:
    from epics import ca

    end = time.monotonic() + TIMEOUT_S
    while not condition():
        ca.poll(5e-3)
        if time.monotonic() > end:
            raise TimeoutError


def gets_during_put(name: str, other: str, count: int) -> list[float]:
    """Press, and while the press is held read another record so often; the time of each read, in s."""
    from epics import ca

    put_begin(name, 5, 1, (1).to_bytes(4, sys.byteorder).hex())
    chid = opened(other)
    took: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        ca.get(chid, timeout=TIMEOUT_S)
        took.append(time.perf_counter() - began)
    return took


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import epics

    epics.ca.initialize_libca()
    for line in sys.stdin:
        function, arguments = json.loads(line)
        try:
            answer = {"result": globals()[function](*arguments)}
        except Exception as error:  # noqa: BLE001 - the other end says what it was
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
