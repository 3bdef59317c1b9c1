"""Clients that cost next to nothing: sockets that are read, and of each number only the latest is kept.

A hundred real clients with fifty monitors each would keep both cores busy by themselves, so that one would
measure them. These send what libca and pvxs send, and take what comes.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

TIMEOUT_S = 60.0
CA_EVENT = np.dtype([("head", "V8"), ("status", ">u4"), ("id", ">u4"), ("meta", "V16"), ("value", ">f8")])
CA_HEADER, PVA_HEADER = struct.Struct(">HHHHII"), struct.Struct("<BBBBI")
TIME_DOUBLE, DOUBLE = 20, 6
OPEN, PUT, MONITOR = 7, 11, 13
INIT, START = 0x08, 0x44
ALL_FIELDS = bytes.fromhex("800000")


class Stream(Protocol):
    """One client that has all names open.

    Attributes
    ----------
    latest
        Of each name, by its place.
    events
        How many came.
    unanswered
        Puts: of a name the next one waits for the answer to the last, as with any client.
    """

    socket: socket.socket
    latest: Any
    events: int
    unanswered: int

    def watch(self) -> None:
        """Ask for every change of every name."""
        ...

    def take(self) -> None:
        """Read what there is."""
        ...

    def live(self) -> None:
        """Say that the client is there, as real ones do every 15 s."""
        ...

    def put(self, value: float) -> None:
        """Put the value to every name, without waiting."""
        ...


class _Client:
    def __init__(self, port: int, names: Sequence[str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.names, self.events, self.unanswered, self._data = names, 0, 0, b""
        self.latest = np.full(len(names), np.nan)

    def _receive(self) -> bytes:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


class CaStream(_Client):
    """On Channel Access."""

    def __init__(self, server: dict[str, Any], names: Sequence[str]) -> None:
        super().__init__(server["ca"], names)
        opening = [(0, 0, 13, 0, 0, b""), (20, 0, 0, 0, 0, b"bench\0"), (21, 0, 0, 0, 0, b"here\0")]
        opening += [(18, 0, 0, number, 13, name.encode() + b"\0") for number, name in enumerate(names)]
        self._send(*opening)
        self._sids = [0] * len(names)
        opened = 0
        while opened < len(names):
            command, _, _, first, second = self._next()
            if command == 18:
                self._sids[first], opened = second, opened + 1

    def _send(self, *messages: tuple[int, int, int, int, int, bytes]) -> None:
        parts: list[bytes] = []
        for command, kind, count, first, second, payload in messages:
            payload += bytes(-len(payload) % 8)
            parts += [CA_HEADER.pack(command, len(payload), kind, count, first, second), payload]
        self.socket.sendall(b"".join(parts))

    def _next(self) -> tuple[int, int, int, int, int]:
        while len(self._data) < 16 or len(self._data) < 16 + CA_HEADER.unpack_from(self._data)[1]:
            self._data += self._receive()
        command, size, kind, count, first, second = CA_HEADER.unpack_from(self._data)
        self._data = self._data[16 + size :]
        return command, kind, count, first, second

    def watch(self) -> None:
        mask = struct.pack(">3fHH", 0, 0, 0, 5, 0)
        self._send(*((1, TIME_DOUBLE, 1, sid, number, mask) for number, sid in enumerate(self._sids)))

    def take(self) -> None:
        self._data += self._receive()
        whole = len(self._data) // CA_EVENT.itemsize
        found = np.frombuffer(self._data, CA_EVENT, whole)
        self.latest[found["id"]] = found["value"]  # of several the last one stays
        self.events += whole
        self._data = self._data[whole * CA_EVENT.itemsize :]

    def live(self) -> None:
        """The server does not ask for it."""

    def put(self, value: float) -> None:
        data = struct.pack(">d", value)
        self._send(*((4, DOUBLE, 1, sid, number, data) for number, sid in enumerate(self._sids)))


class PvaStream(_Client):
    """On PVAccess."""

    def __init__(self, server: dict[str, Any], names: Sequence[str]) -> None:
        super().__init__(server["pva"], names)
        self._expect(1)
        user = bytes.fromhex("fd0001800002") + _words("user") + b"\x60" + _words("host") + b"\x60"
        claims = _words("ca") + user + _words("bench") + _words("here")
        self._send(1, struct.pack("<IHH", 1 << 16, 0x7FFF, 0) + claims)
        self._expect(9)
        for number, name in enumerate(names):
            self._send(OPEN, struct.pack("<HI", 1, number) + _words(name))
        self._sids = [0] * len(names)
        for _ in names:
            number, sid = struct.unpack_from("<II", self._expect(OPEN))
            self._sids[number] = sid
        self._begun = False

    def _send(self, *words: Any) -> None:
        """Command and payload, and again."""
        parts = zip(words[::2], words[1::2], strict=True)
        self.socket.sendall(
            b"".join(PVA_HEADER.pack(0xCA, 2, 0, command, len(load)) + load for command, load in parts)
        )

    def _expect(self, wanted: int) -> bytes:
        while True:
            while len(self._data) >= 8:
                _, _, flags, command, size = PVA_HEADER.unpack_from(self._data)
                size = 0 if flags & 1 else size
                if len(self._data) < 8 + size:
                    break
                payload, self._data = self._data[8 : 8 + size], self._data[8 + size :]
                if command == wanted and not flags & 1:
                    return payload
            self._data += self._receive()

    def _begin(self, command: int, offset: int) -> None:
        for number, sid in enumerate(self._sids):
            self._send(command, struct.pack("<IIB", sid, offset + number, INIT) + ALL_FIELDS)
        for _ in self._sids:
            self._expect(command)

    def watch(self) -> None:
        self._begin(MONITOR, 0)
        for number, sid in enumerate(self._sids):
            self._send(MONITOR, struct.pack("<IIB", sid, number, START))

    def take(self) -> None:
        self._data += self._receive()
        data, at = self._data, 0
        while len(data) - at >= 8:
            end = at + 8 + (0 if data[at + 2] & 1 else int.from_bytes(data[at + 4 : at + 8], "little"))
            if len(data) < end:
                break
            if data[at + 3] == MONITOR and not data[at + 2] & 1:
                changed = data[at + 13]  # bytes of the set of fields; the value is the first of all
                if data[at + 14] & 3:
                    number = int.from_bytes(data[at + 8 : at + 12], "little")
                    self.latest[number] = struct.unpack_from("<d", data, at + 14 + changed)[0]
                self.events += 1
            self.unanswered -= data[at + 3] == PUT
            at = end
        self._data = data[at:]

    def live(self) -> None:
        self._send(2, b"here")

    def put(self, value: float) -> None:
        if not self._begun:
            self._begin(PUT, 1000)
            self._begun = True
        data = b"\x01\x02" + struct.pack("<d", value)
        words: list[Any] = []
        for number, sid in enumerate(self._sids):
            words += [PUT, struct.pack("<IIB", sid, 1000 + number, 0) + data]
        self.unanswered += len(self._sids)
        self._send(*words)


def _words(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


STREAMS: dict[str, type[CaStream] | type[PvaStream]] = {"CA": CaStream, "PVA": PvaStream}
