"""A Channel Access client that may say anything: any user, any source address, any bytes."""

import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any, Self

import caproto as ca
from caproto import ChannelType

TIMEOUT_S = 10.0
NORMAL, PUTFAIL, NOWTACCESS, GETFAIL = 1, 160, 376, 152
"""Codes of caerr.h, as they come with an answer."""

NUMBERS = {1: "h", 2: "f", 3: "H", 4: "B", 5: "i", 6: "d"}


def element(kind: int, value: object) -> bytes:
    """One element as it goes over the wire: a string with its NUL, or a number."""
    if isinstance(value, str):
        return value.encode() + b"\0"
    return struct.pack(f">{NUMBERS[kind]}", value)


@dataclass(frozen=True)
class Opened:
    """A channel."""

    sid: int
    kind: int
    count: int
    rights: int

    @property
    def may_write(self) -> bool:
        return bool(self.rights & 2)


class RawCa:
    """One connection."""

    def __init__(
        self,
        port: int,
        *,
        user: str = "tester",
        host: str = "here",
        source: str = "127.0.0.1",
        small: bool = False,
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT_S)
        if small:  # a client whose own buffer is soon full
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self._parser = ca.VirtualCircuit(ca.CLIENT, ("127.0.0.1", port), 0)
        self._got: deque[Any] = deque()
        self._number = 0
        self.send(ca.VersionRequest(0, 13), ca.ClientNameRequest(user), ca.HostNameRequest(host))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *messages: Any) -> None:
        self.socket.sendall(b"".join(bytes(message) for message in messages))

    def receive(self, *kinds: type) -> Any:
        """The next message of these kinds; others are dropped."""
        while True:
            while self._got:
                message = self._got.popleft()
                if not kinds or isinstance(message, kinds):
                    return message
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the circuit")
            self._got += self._parser.recv(data)[0]

    def number(self) -> int:
        self._number += 1
        return self._number

    def open(self, name: str) -> Opened | None:
        """None when the server does not have it."""
        cid = self.number()
        self.send(ca.CreateChanRequest(name, cid, 13))
        rights = self.receive(ca.AccessRightsResponse, ca.CreateChFailResponse)
        if isinstance(rights, ca.CreateChFailResponse):
            return None
        made = self.receive(ca.CreateChanResponse)
        return Opened(made.sid, int(made.data_type), made.data_count, int(rights.access_rights))

    def sid(self, name: str) -> int:
        opened = self.open(name)
        assert opened is not None
        return opened.sid

    def read_request(self, sid: int, kind: int, count: int = 0) -> Any:
        return ca.ReadNotifyRequest(kind, count, sid, self.number())

    def read(self, sid: int, kind: int, count: int = 0) -> Any:
        self.send(self.read_request(sid, kind, count))
        return self.receive(ca.ReadNotifyResponse, ca.ErrorResponse)

    def put_request(self, sid: int, kind: int, count: int, data: bytes, *, waits: bool = True) -> Any:
        made = ca.WriteNotifyRequest if waits else ca.WriteRequest
        return made(data, ChannelType(kind), count, sid, self.number())

    def put(self, sid: int, kind: int, value: object) -> int:
        """Put one element and wait; the status."""
        return self.put_bytes(sid, kind, 1, element(kind, value))

    def put_bytes(self, sid: int, kind: int, count: int, data: bytes) -> int:
        self.send(self.put_request(sid, kind, count, data))
        return int(self.receive(ca.WriteNotifyResponse).header.parameter1)

    def subscribe(self, sid: int, kind: int, mask: int = 5, count: int = 0) -> int:
        number = self.number()
        self.send(ca.EventAddRequest(kind, count, sid, number, 0, 0, 0, mask))
        return number

    def echo(self) -> None:
        """Come back when everything before is answered."""
        self.send(ca.EchoRequest())
        self.receive(ca.EchoResponse)


def search(port: int, *names: str, timeout_s: float = TIMEOUT_S) -> list[int]:
    """The TCP ports that answer to a search for these names, in one datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(timeout_s)
        requests = [ca.SearchRequest(name, number, 13) for number, name in enumerate(names)]
        asker.sendto(b"".join(map(bytes, [ca.VersionRequest(0, 13), *requests])), ("127.0.0.1", port))
        try:
            data, address = asker.recvfrom(65536)
        except TimeoutError:
            return []
        answers = ca.Broadcaster(ca.CLIENT).recv(data, address)
        return [answer.port for answer in answers if isinstance(answer, ca.SearchResponse)]
