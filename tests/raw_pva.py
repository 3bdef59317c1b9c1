"""A PVAccess client that may say anything: one TCP connection, and the messages of the protocol by hand."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

TIMEOUT_S = 10.0
SEARCH, ANSWER, VALIDATION, ECHO, VALIDATED = 3, 4, 1, 2, 9
OPEN, CLOSE, GET, PUT, PUT_GET, MONITOR, DESTROY, RPC = 7, 8, 10, 11, 12, 13, 15, 20
TYPE, CANCEL = 17, 21
INIT, START = 0x08, 0x44
ALL_FIELDS = bytes.fromhex("800000")
"""The request of a client that wants everything: a structure without fields."""
_HEADER = struct.Struct("<BBBBI")


def words(text: str | bytes) -> bytes:
    """A text with its size before it."""
    data = text.encode() if isinstance(text, str) else text
    return (bytes([len(data)]) if len(data) < 254 else b"\xfe" + struct.pack("<I", len(data))) + data


def message(command: int, payload: bytes) -> bytes:
    return _HEADER.pack(0xCA, 2, 0, command, len(payload)) + payload


def numbered(command: int, sid: int, ioid: int, what: int, rest: bytes = b"") -> bytes:
    """A step of a get, put, monitor or RPC."""
    return message(command, struct.pack("<IIB", sid, ioid, what) + rest)


def hello(account: str | bytes = "tester") -> bytes:
    """The answer to the server's greeting: an account as the client claims it."""
    user = bytes.fromhex("fd0001 8000 02") + words("user") + b"\x60" + words("host") + b"\x60"
    claims = words("ca") + user + words(account) + words("here")
    return message(VALIDATION, struct.pack("<IHH", 0x10000, 0x7FFF, 0) + claims)


def opening(cid: int, name: str) -> bytes:
    return message(OPEN, struct.pack("<HI", 1, cid) + words(name))


def searching(number: int, port: int, *names: str, reply: bool = False) -> bytes:
    """One datagram."""
    asked = b"".join(struct.pack("<I", cid) + words(name) for cid, name in enumerate(names))
    head = struct.pack("<IB3x16xH", number, 0x81 if reply else 0x80, port)
    return message(SEARCH, head + b"\x01" + words("tcp") + struct.pack("<H", len(names)) + asked)


@dataclass(frozen=True)
class Answer:
    """A message of the server."""

    command: int
    payload: bytes


def split(data: bytes) -> Iterator[tuple[Answer, int]]:
    """Whole messages at the beginning, each with the place where it ends."""
    at = 0
    while len(data) - at >= 8:
        _, _, flags, command, size = _HEADER.unpack_from(data, at)
        end = at + 8 + (0 if flags & 1 else size)  # a control message has no payload
        if len(data) < end:
            return
        if not flags & 1:
            yield Answer(command, data[at + 8 : end]), end
        at = end


class RawPva:
    """One connection, greeted and known to the server."""

    def __init__(
        self, port: int, *, account: str | bytes = "tester", source: str = "127.0.0.1", small: bool = False
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT_S)
        if small:  # a client whose own buffer is soon full
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self._data = b""
        self.receive(VALIDATION)
        self.send(hello(account))
        self.receive(VALIDATED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *messages: bytes) -> None:
        self.socket.sendall(b"".join(messages))

    def receive(self, *commands: int) -> Answer:
        """The next message of these kinds; others are dropped."""
        while True:
            for answer, end in split(self._data):
                if answer.command in commands:
                    self._data = self._data[end:]
                    return answer
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._data += data

    def open(self, cid: int, name: str) -> int | None:
        """The server's number of a channel; None when it does not have it."""
        self.send(opening(cid, name))
        answer = self.receive(OPEN).payload
        _, sid, status = struct.unpack_from("<IIB", answer)
        return sid if status in (0xFF, 0) else None

    def begin(self, command: int, sid: int, ioid: int, request: bytes = ALL_FIELDS) -> bytes:
        """Begin an operation; the type's description as it came."""
        self.send(numbered(command, sid, ioid, INIT, request))
        return self.receive(command).payload[6:]

    def go_on(self, command: int, sid: int, ioid: int, rest: bytes = b"", what: int = 0) -> bytes:
        """A get or a put that has begun; what follows its number: a status and a value."""
        self.send(numbered(command, sid, ioid, what, rest))
        return self.receive(command).payload[5:]
