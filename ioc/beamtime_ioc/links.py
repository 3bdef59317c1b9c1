"""A client of other IOCs over Channel Access, in a thread of its own.

libca is called by that thread alone, and by C types: pyepics loads and starts it, but hides how a put has
ended, and spoils what is no ASCII (3.5). Its callbacks come in threads of libca; they only leave a note.
"""
# pyright: basic

import ctypes
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from beamtime_ioc.foreign import Fitted, Shape, Shown, Type, parse, request_type, size_bytes

log = logging.getLogger(__name__)

TICK_S = 0.5
SILENT_S = 5.0
"""After this a record that does not answer counts as away, or as not there."""
ECA_NORMAL = 1
_CONNECTED, _VALUE_OR_ALARM = 6, 1 | 4

Answer = Callable[[str, Shown | None], None]
"""Told how a request ended: a sentence, empty for success, and what was read."""


class _Connection(ctypes.Structure):
    _fields_ = (("chid", ctypes.c_void_p), ("op", ctypes.c_long))


class _Rights(ctypes.Structure):
    _fields_ = (("chid", ctypes.c_void_p), ("read", ctypes.c_uint, 1), ("write", ctypes.c_uint, 1))


class _Event(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("usr", "chid")),
        *((name, ctypes.c_long) for name in ("type", "count")),
        ("dbr", ctypes.c_void_p),
        ("status", ctypes.c_int),
    )


_kept: list[object] = []
"""What libca may still call: nothing of it is ever freed."""


class Channel:
    """One record of another IOC. Written by the client's thread; any thread may read an attribute.

    Attributes
    ----------
    shape
        None while it is not connected.
    shown
        Its value since it was last connected; None while that is not known.
    since
        When it was last connected or lost, on the monotonic clock.
    """

    def __init__(self, name: str, changed: "Callable[[Channel], None]") -> None:
        self.name, self.changed = name, changed
        self.shape: Shape | None = None
        self.shown: Shown | None = None
        self.since = time.monotonic()
        self.connections = 0
        self.chid = ctypes.c_void_p()
        self.subscription: ctypes.c_void_p | None = None
        self.subscribed: int | None = None

    @property
    def sought(self) -> bool:
        """Whether it has never answered, and the first seconds of the search are not over."""
        return self.shape is None and not self.connections and time.monotonic() - self.since < SILENT_S


class Links:
    """The client: make channels, then start it once; a process has one.

    Attributes
    ----------
    ticks
        Called twice a second in the client's thread.
    trouble
        A sentence while it does not work; empty while it does.
    """

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self.ticks: list[Callable[[], None]] = []
        self.failure = ""
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._ids = itertools.count(1)
        self._by_id: dict[int, Channel] = {}
        self._asked: dict[int, Answer] = {}
        self._generations: dict[int, int] = {}
        self._latest: dict[tuple[int, int], tuple[int, int, bytes]] = {}
        self._noted: set[tuple[int, int]] = set()
        self._stopping = False
        self._ca: Any = None
        self._thread = threading.Thread(target=self._work, name="channel access", daemon=True)
        self._on_connection = ctypes.CFUNCTYPE(None, _Connection)(self._note_connection)
        self._on_rights = ctypes.CFUNCTYPE(None, _Rights)(self._note_rights)
        self._on_value = ctypes.CFUNCTYPE(None, _Event)(self._note_value)
        self._on_answer = ctypes.CFUNCTYPE(None, _Event)(self._note_answer)
        _kept.append(self)

    def channel(self, name: str, changed: Callable[[Channel], None]) -> Channel:
        """A record to follow; `changed` is called in the client's thread. Before `start`."""
        made = Channel(name, changed)
        self.channels.append(made)
        return made

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; returns at once, and what was asked stays unanswered."""
        self._stopping = True
        self.call(lambda: None)

    def call(self, do: Callable[[], None]) -> None:
        """Have something done in the client's thread; from any thread."""
        self._todo.put(do)

    @property
    def trouble(self) -> str:
        ended = self._thread.ident is not None and not self._thread.is_alive()
        if self.failure or (ended and not self._stopping):
            reason = self.failure or "its thread has ended, see the log"
            return f"the Channel Access client does not work: {reason}; start the IOC again"
        return ""

    # -- the client's thread ------------------------------------------------------------------

    def _work(self) -> None:
        from epics import ca

        ca.AUTO_CLEANUP = False  # it would wait for dead IOCs at the end of the process
        try:
            self._ca = _declared(ctypes.CDLL(ca.initialize_libca()._name))
        except ca.ChannelAccessException as error:
            self.failure = str(error)
            log.error("%s", self.trouble)
            return
        for channel in self.channels:
            self._create(channel)
        due = 0.0
        while not self._stopping:
            if time.monotonic() >= due:
                due = time.monotonic() + TICK_S
                for tick in self.ticks:
                    tick()
                self._ca.ca_flush_io()
            try:
                do = self._todo.get(timeout=max(due - time.monotonic(), 0))
            except queue.Empty:
                continue
            do()
            self._ca.ca_flush_io()

    def _create(self, channel: Channel) -> None:
        number = next(self._ids)
        self._by_id[number] = channel
        status = self._ca.ca_create_channel(
            channel.name.encode(), self._on_connection, number, 0, ctypes.byref(channel.chid)
        )
        if status == ECA_NORMAL:
            self._ca.ca_replace_access_rights_event(channel.chid, self._on_rights)
        else:
            log.error("%s cannot be looked for: %s", channel.name, self._message(status))

    def read(self, channel: Channel, answer: Answer) -> None:
        """Ask for the value as it stands there now."""
        if channel.shape is None:
            answer("it does not answer", None)
            return
        number = self._ask(answer)
        status = self._ca.ca_array_get_callback(
            request_type(channel.shape), 0, channel.chid, self._on_answer, number
        )
        self._check(number, status)

    def write(self, channel: Channel, fitted: Fitted, answer: Answer) -> None:
        """Put, and hear when the record has processed it."""
        number = self._ask(answer)
        status = self._ca.ca_array_put_callback(
            fitted.type, fitted.count, channel.chid, fitted.data, self._on_answer, number
        )
        self._check(number, status)

    def _ask(self, answer: Answer) -> int:
        number = next(self._ids)
        self._asked[number] = answer
        return number

    def _check(self, number: int, status: int) -> None:
        if status != ECA_NORMAL:  # it was not sent, so that no callback comes
            self._answer(number, status, None)

    def _answer(self, number: int, status: int, found: tuple[int, int, bytes] | None) -> None:
        answer = self._asked.pop(number, None)
        if answer is not None:
            sentence = "" if status == ECA_NORMAL else self._message(status)
            answer(sentence, parse(*found) if found else None)

    def _message(self, status: int) -> str:
        return self._ca.ca_message(status).decode(errors="replace")

    def _connection(self, channel: Channel, number: int, *, up: bool) -> None:
        channel.shape = channel.shown = None
        channel.since = time.monotonic()
        if up:
            channel.connections += 1
            try:
                kind = Type(self._ca.ca_field_type(channel.chid))
            except ValueError:  # -1: it is gone again, and the next note says so
                return
            count = self._ca.ca_element_count(channel.chid)
            channel.shape = Shape(kind, count, bool(self._ca.ca_write_access(channel.chid)))
            self._subscribe(channel, number)
        channel.changed(channel)

    def _subscribe(self, channel: Channel, number: int) -> None:
        """libca renews a subscription by itself, but under the type that it had."""
        assert channel.shape is not None
        kind = request_type(channel.shape)
        if channel.subscribed == kind:
            return
        if channel.subscription is not None:
            self._ca.ca_clear_subscription(channel.subscription)
        channel.subscription, channel.subscribed = ctypes.c_void_p(), kind
        self._ca.ca_create_subscription(
            kind, 0, channel.chid, _VALUE_OR_ALARM, self._on_value, number, ctypes.byref(channel.subscription)
        )

    def _rights(self, channel: Channel, *, write: bool) -> None:
        shape = channel.shape
        if shape is not None and shape.writable != write:
            channel.shape = Shape(shape.type, shape.count, write)
            channel.changed(channel)

    def _value(self, channel: Channel, key: tuple[int, int]) -> None:
        self._noted.discard(key)
        found = self._latest.pop(key, None)
        if found is not None and channel.shape is not None:
            channel.shown = parse(*found)
            channel.changed(channel)

    # -- libca's threads: a note for ours, and nothing else -------------------------------------

    def _note_connection(self, event: Any) -> None:
        number = self._ca.ca_puser(event.chid)
        up = event.op == _CONNECTED
        self._generations[number] = self._generations.get(number, 0) + 1
        self._todo.put(partial(self._connection, self._by_id[number], number, up=up))

    def _note_rights(self, event: Any) -> None:
        channel = self._by_id[self._ca.ca_puser(event.chid)]
        self._todo.put(partial(self._rights, channel, write=bool(event.write)))

    def _note_value(self, event: Any) -> None:
        if event.status != ECA_NORMAL:
            return
        key = (
            event.usr,
            self._generations.get(event.usr, 0),
        )  # a value is never taken for one of a new connection
        self._latest[key] = _copied(event)
        if key not in self._noted:  # else a note lies there: of a record that never rests the latest counts
            self._noted.add(key)
            self._todo.put(partial(self._value, self._by_id[event.usr], key))

    def _note_answer(self, event: Any) -> None:
        found = _copied(event) if event.status == ECA_NORMAL else None
        self._todo.put(partial(self._answer, event.usr, event.status, found))


def _copied(event: Any) -> tuple[int, int, bytes]:
    if not event.dbr:  # an array that nobody has written, or the answer to a put
        return event.type, 0, b""
    return event.type, event.count, ctypes.string_at(event.dbr, size_bytes(event.type, event.count))


def _declared(libca: Any) -> Any:
    """The functions that are called here, with their types; on a handle of ours, beside that of pyepics."""
    pointer, number = ctypes.c_void_p, ctypes.c_ulong
    types: dict[str, tuple[Any, Sequence[Any]]] = {
        "ca_create_channel": (ctypes.c_int, [ctypes.c_char_p, pointer, pointer, ctypes.c_uint, pointer]),
        "ca_replace_access_rights_event": (ctypes.c_int, [pointer, pointer]),
        "ca_create_subscription": (
            ctypes.c_int,
            [ctypes.c_long, number, pointer, ctypes.c_long, pointer, pointer, pointer],
        ),
        "ca_clear_subscription": (ctypes.c_int, [pointer]),
        "ca_array_get_callback": (ctypes.c_int, [ctypes.c_long, number, pointer, pointer, pointer]),
        "ca_array_put_callback": (
            ctypes.c_int,
            [ctypes.c_long, number, pointer, ctypes.c_char_p, pointer, pointer],
        ),
        "ca_field_type": (ctypes.c_short, [pointer]),
        "ca_element_count": (number, [pointer]),
        "ca_write_access": (ctypes.c_uint, [pointer]),
        "ca_puser": (pointer, [pointer]),
        "ca_message": (ctypes.c_char_p, [ctypes.c_long]),
        "ca_flush_io": (ctypes.c_int, []),
    }
    for name, (result, arguments) in types.items():
        function = getattr(libca, name)
        function.restype, function.argtypes = result, arguments
    return libca
