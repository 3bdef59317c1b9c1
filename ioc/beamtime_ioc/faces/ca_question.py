"""Asks the network, over Channel Access, who serves a name: all of them, where a client takes the first.

A client of any library connects to whoever answers first, which is mostly the program itself. This says the
few messages that are needed, as the Channel Access Protocol Specification of EPICS describes them.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beamtime_ioc.faces.listening import ANY, LOOPBACK, addresses, broadcast_addresses, is_loopback
from beamtime_ioc.instance import Instance
from beamtime_ioc.twin import Found

Address = tuple[str, int]

VERSION, SEARCH, READ, CREATE, USER, HOST, REFUSED = 0, 6, 15, 18, 20, 21, 26
MINOR, DBR_CHAR, NORMAL = 13, 4, 1
SENDER = 0xFFFFFFFF
"""In the answer to a search: the server is where the answer came from."""
_HEADER = struct.Struct(">HHHHII")
READ_S = 1.0
MOST_ANSWERS, MOST_BYTES = 16, 65536


@dataclass(frozen=True)
class _Message:
    command: int
    kind: int
    count: int
    first: int
    second: int
    payload: bytes


def targets(interfaces: Sequence[str], port: int, more: Sequence[str]) -> list[Address]:
    """Where to search: the networks that are served, EPICS_CA_ADDR_LIST, and the addresses given.

    Raises
    ------
    BeamtimeError
        An address cannot be resolved.
    """
    own = [LOOPBACK] if ANY in interfaces else [one for one in interfaces if is_loopback(one)]
    if not all(is_loopback(one) for one in interfaces):
        own += broadcast_addresses(interfaces).values()
    found = [(host, port) for host in own] + addresses("EPICS_CA_ADDR_LIST", default_port=port)
    found += addresses("twin.addresses of the site file", default_port=port, listed=" ".join(more))
    return list(dict.fromkeys(found))


def find_instances(name: str, where: Sequence[Address], wait_s: float) -> list[Found]:
    """Everybody who serves an `Instance` record, and who it says it is.

    Blocks a little longer than it waits for answers.

    Raises
    ------
    OSError
        The question cannot be sent to anybody.
    """
    found = search(name, where, wait_s)
    return [Found(address=f"{host}:{port}", instance=_instance((host, port), name)) for host, port in found]


def search(name: str, where: Sequence[Address], wait_s: float) -> list[Address]:
    """Addresses of all servers that say they have the name."""
    body = name.encode() + b"\0"
    question = _message(VERSION, count=MINOR) + _message(SEARCH, body, kind=5, count=MINOR, first=1, second=1)
    begun, found = time.monotonic(), dict[Address, None]()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for part in (0.0, 0.25, 0.5):  # datagrams are lost
            _send(asker, question, where)
            end = begun + (wait_s if part == 0.5 else (part + 0.25) * wait_s)
            while (left := end - time.monotonic()) > 0 and len(found) < MOST_ANSWERS:
                asker.settimeout(left)
                with contextlib.suppress(TimeoutError, ConnectionError):
                    raw, sender = asker.recvfrom(MOST_BYTES)
                    found |= dict.fromkeys(_servers(raw, sender[0]))
    return list(found)


def _send(asker: socket.socket, question: bytes, where: Sequence[Address]) -> None:
    problem: OSError | None = None
    sent = False
    for address in where:
        try:
            asker.sendto(question, address)
            sent = True
        except OSError as error:  # one network of several may be away
            problem = error
    if problem is not None and not sent:
        raise problem


def _servers(raw: bytes, sender: str) -> Iterator[Address]:
    for message in _messages(raw):
        if message.command == SEARCH and message.second == 1 and 0 < message.kind < 65536:
            host = sender if message.first in (SENDER, 0) else socket.inet_ntoa(message.first.to_bytes(4))
            yield host, message.kind


def _instance(address: Address, name: str) -> Instance | None:
    for _ in range(2):
        with contextlib.suppress(OSError, ValueError):
            return Instance.parse(read_text(address, name, READ_S))
    return None


def read_text(address: Address, name: str, timeout_s: float) -> str:
    """The text that one server has for a name.

    Raises
    ------
    OSError
        It does not answer in time.
    ValueError
        It answers something else.
    """
    end = time.monotonic() + timeout_s
    with socket.create_connection(address, timeout_s) as server:
        server.sendall(
            _message(VERSION, count=MINOR)
            + _message(USER, b"beamtime-ioc\0")
            + _message(HOST, socket.gethostname().encode() + b"\0")
            + _message(CREATE, name.encode() + b"\0", first=1, second=MINOR)
        )
        made = _answer(server, CREATE, end)
        question = _message(READ, kind=DBR_CHAR, count=made.count, first=made.second, second=1)
        server.sendall(question)
        answer = _answer(server, READ, end)
    if answer.kind != DBR_CHAR or answer.first != NORMAL:
        raise ValueError(f"it answers with type {answer.kind} and status {answer.first}")
    return answer.payload.split(b"\0")[0].decode()


def _answer(server: socket.socket, command: int, end: float) -> _Message:
    """The next message of a kind; what comes before it is passed over."""
    while True:
        found, size_bytes, kind, count, first, second = _HEADER.unpack(_receive(server, _HEADER.size, end))
        if size_bytes == 0xFFFF:
            raise ValueError("it answers more than was asked")
        payload = _receive(server, size_bytes, end)
        if found == command:
            return _Message(found, kind, count, first, second, payload)
        if found == REFUSED:
            raise ValueError("it does not have the name")


def _receive(server: socket.socket, size_bytes: int, end: float) -> bytes:
    got = b""
    while len(got) < size_bytes:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        server.settimeout(left)
        more = server.recv(size_bytes - len(got))
        if not more:
            raise ConnectionError("it hung up")
        got += more
    return got


def _messages(raw: bytes) -> Iterator[_Message]:
    at = 0
    while at + _HEADER.size <= len(raw):
        command, size_bytes, kind, count, first, second = _HEADER.unpack_from(raw, at)
        at += _HEADER.size + size_bytes
        yield _Message(command, kind, count, first, second, raw[at - size_bytes : at])


def _message(
    command: int, payload: bytes = b"", *, kind: int = 0, count: int = 0, first: int = 0, second: int = 0
) -> bytes:
    padded = payload + b"\0" * (-len(payload) % 8)
    return _HEADER.pack(command, len(padded), kind, count, first, second) + padded
