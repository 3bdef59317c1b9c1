"""EPICS' own client library for Channel Access, the one that pyepics brings, called directly."""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import epics.ca

DBR_CHAR, DBR_LONG, DBR_DOUBLE, DBR_TIME_DOUBLE = 4, 5, 6, 20
DBE_VALUE = 1
VALUE_OFFSET = 16
"""Of the value in a DBR_TIME_DOUBLE, in bytes."""
ECA_NORMAL = 1
TIMEOUT_S = 60.0


class Event(ctypes.Structure):
    """`event_handler_args` of cadef.h."""

    _fields_ = (
        ("usr", ctypes.c_void_p),
        ("chid", ctypes.c_void_p),
        ("type", ctypes.c_long),
        ("count", ctypes.c_long),
        ("dbr", ctypes.c_void_p),
        ("status", ctypes.c_int),
    )


HANDLER = ctypes.CFUNCTYPE(None, Event)


def load() -> Any:
    library = ctypes.CDLL(epics.ca.find_libca())
    pointer, number, count = ctypes.c_void_p, ctypes.c_long, ctypes.c_ulong
    library.ca_current_context.restype = pointer
    library.ca_attach_context.argtypes = [pointer]
    library.ca_create_channel.argtypes = [ctypes.c_char_p, pointer, pointer, ctypes.c_uint, pointer]
    library.ca_array_get.argtypes = [number, count, pointer, pointer]
    library.ca_array_put.argtypes = [number, count, pointer, pointer]
    library.ca_array_put_callback.argtypes = [number, count, pointer, pointer, HANDLER, pointer]
    library.ca_create_subscription.argtypes = [number, count, pointer, number, HANDLER, pointer, pointer]
    library.ca_pend_io.argtypes = [ctypes.c_double]
    return library


LIBCA = load()


def check(status: int) -> None:
    if status != ECA_NORMAL:
        raise RuntimeError(f"libca says {status}")


class Client:
    """One libca context."""

    def __init__(self, port: int, name: str) -> None:
        # Read by libca when the context opens its first channel.
        os.environ["EPICS_CA_SERVER_PORT"] = str(port)
        check(LIBCA.ca_context_create(1))
        self._handle = LIBCA.ca_current_context()
        self.chid = self.open(name)
        LIBCA.ca_detach_context()

    def open(self, name: str) -> ctypes.c_void_p:
        """A channel, connected; the context must be attached."""
        chid = ctypes.c_void_p()
        check(LIBCA.ca_create_channel(name.encode(), None, None, 0, ctypes.byref(chid)))
        check(LIBCA.ca_pend_io(TIMEOUT_S))
        return chid

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Make calls belong to this client."""
        check(LIBCA.ca_attach_context(self._handle))
        try:
            yield
        finally:
            LIBCA.ca_detach_context()

    def subscribe(self, kind: int, handler: Any, number: int = 0) -> None:
        """Let the handler hear of changes, with this number as `usr`; it must be kept alive."""
        with self.attached():
            usr = ctypes.c_void_p(number)
            check(LIBCA.ca_create_subscription(kind, 1, self.chid, DBE_VALUE, handler, usr, None))
            LIBCA.ca_flush_io()


@contextmanager
def loopback() -> Iterator[None]:
    """Let clients search on loopback only, and start no repeater, which would outlive this process."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as repeater:
        repeater.bind(("", 0))  # libca finds its repeater's port taken
        os.environ |= {
            "EPICS_CA_ADDR_LIST": "127.0.0.1",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_REPEATER_PORT": str(repeater.getsockname()[1]),
        }
        yield
