"""Searches and beacons: how clients find a server, and hear that it is back."""
# pyright: basic

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Collection, Sequence
from typing import Any

import caproto as ca

from beamtime_ioc.faces.seldom import Seldom

log = logging.getLogger(__name__)

DATAGRAM_BYTES = 1400
FIRST_BEACON_S = 0.02
_VERSION = struct.Struct(">HHHHII")


class Searches(asyncio.DatagramProtocol):
    """Answers searches that come in on one socket; what is not ours is not answered."""

    def __init__(
        self,
        knows: Callable[[str], bool],
        tcp_port: Callable[[], int],
        ignored: Collection[str],
        seldom: Seldom,
    ) -> None:
        self._knows, self._tcp_port, self._ignored, self._seldom = knows, tcp_port, ignored, seldom
        self._parser = ca.Broadcaster(ca.SERVER)
        self.answers: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A socket on a broadcast address cannot send: its neighbour on the interface answers for it.
        self.answers = self.answers or transport  # pyright: ignore[reportAttributeAccessIssue]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr[0] in self._ignored:
            return
        try:
            messages = self._parser.recv(data, addr)
            found = [m.cid for m in messages if isinstance(m, ca.SearchRequest) and self._knows(m.name)]
        except Exception as error:  # anybody can send anything here
            log.debug("nonsense in a search from %s: %s", addr[0], error)
            return
        if found and self.answers is not None:
            greeting = next((m for m in messages if isinstance(m, ca.VersionRequest)), None)
            self._answer(greeting, found, addr)

    def _answer(self, greeting: Any, found: Sequence[int], addr: tuple[str, int]) -> None:
        # The client times its searches by the number that comes back.
        number = (
            greeting.header.parameter1 if greeting is not None and greeting.header.data_type == 1 else None
        )
        head = _VERSION.pack(0, 0, int(number is not None), ca.DEFAULT_PROTOCOL_VERSION, number or 0, 0)
        replies = [
            bytes(ca.SearchResponse(self._tcp_port(), None, cid, ca.DEFAULT_PROTOCOL_VERSION))
            for cid in found
        ]
        step = (DATAGRAM_BYTES - len(head)) // len(replies[0])
        for start in range(0, len(replies), step):
            self._send(head + b"".join(replies[start : start + step]), addr)

    def _send(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            assert self.answers is not None
            self.answers.sendto(data, addr)
        except OSError as error:
            self._seldom.warning(
                f"search {addr[0]}", 3600, f"CA search of {addr[0]} cannot be answered: {error}"
            )

    def error_received(self, exc: Exception) -> None:
        log.debug("CA search socket: %s", exc)


class Beacons:
    """Says that the server is there: often at its start, then every 15 s."""

    def __init__(
        self, targets: Sequence[tuple[str, int]], *, interface: str, period_s: float, seldom: Seldom
    ) -> None:
        self._targets, self._period_s, self._seldom = targets, period_s, seldom
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._socket.setblocking(False)
        self._socket.bind((interface, 0))

    async def run(self, tcp_port: int) -> None:
        number, wait_s = 0, FIRST_BEACON_S
        while True:
            # Address 0: who hears it takes that of the sender.
            beacon = bytes(ca.Beacon(ca.DEFAULT_PROTOCOL_VERSION, tcp_port, number, "0.0.0.0"))
            for target in self._targets:
                self._send(beacon, target)
            number = (number + 1) % 2**32
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, self._period_s)

    def _send(self, beacon: bytes, target: tuple[str, int]) -> None:
        try:
            self._socket.sendto(beacon, target)
        except OSError as error:
            host, port = target
            words = (
                f"CA beacon to {host}:{port} cannot be sent ({error.strerror}): clients there reconnect late"
            )
            self._seldom.warning(f"beacon {host}", 3600, words)

    def close(self) -> None:
        self._socket.close()
