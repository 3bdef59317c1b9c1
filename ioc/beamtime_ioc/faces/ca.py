"""The board on Channel Access."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from beamtime_ioc.board import Board
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.faces.ca_channels import Channels
from beamtime_ioc.faces.ca_circuit import Circuit
from beamtime_ioc.faces.ca_search import Beacons, Searches
from beamtime_ioc.faces.ca_session import Session
from beamtime_ioc.faces.ca_surroundings import Surroundings
from beamtime_ioc.faces.descriptors import is_reserved
from beamtime_ioc.faces.listening import (
    ANY,
    LOOPBACK,
    addresses,
    bind_tcp,
    bind_udp,
    broadcast_addresses,
    choose_interfaces,
    choose_port,
    is_loopback,
    is_yes,
)
from beamtime_ioc.faces.seldom import Seldom

log = logging.getLogger(__name__)

DEFAULT_PORT, BEACON_PORT = 5064, 5065
BEACON_PERIOD_S = 15.0
RESTART_S = 1.0
PORT_NAMES = ("EPICS_CAS_SERVER_PORT", "EPICS_CA_SERVER_PORT")


class CaServer:
    """Serves every record, alias and field of a board over Channel Access.

    Parameters
    ----------
    port
        Of the site file, for TCP and for searches (UDP); None for EPICS' 5064.
    interfaces
        Addresses to listen on; empty for all.

    Attributes
    ----------
    port
        Where searches are answered.
    tcp_port
        Where clients are served: another one only if nobody chose and 5064 was taken.
    interfaces
        What is listened on, when it is.
    """

    def __init__(self, board: Board, *, port: int | None, interfaces: Sequence[str]) -> None:
        self._board, self._wanted_port, self._wanted_interfaces = board, port, interfaces
        self.channels = Channels(board)
        self.circuits: dict[Circuit, Session] = {}
        self.interfaces: list[str] = []
        self.seldom = Seldom(log)
        # The longest put there can be: a text, sent as strings of 40 bytes a letter.
        longest = max((cell.record.nelm for cell in board.cells.values()), default=0)
        self._message_limit_bytes = 65536 + 48 * longest
        self.port = self.tcp_port = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closers: list[Callable[[], object]] = []

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self.circuits)

    def counts(self) -> tuple[int, int]:
        """How many clients there are, and how many channels they have open."""
        return self.clients, sum(session.open_channels for session in self.circuits.values())

    async def start(self) -> None:
        """Listen; returns when searches are answered.

        Raises
        ------
        PortTakenError
            The port was chosen by the environment or the site file, and is in use.
        BeamtimeError
            A variable, or an interface, is wrong.
        """
        self.loop = asyncio.get_running_loop()
        self._surroundings = Surroundings(
            loop=self.loop,
            channels=self.channels,
            seldom=self.seldom,
            message_limit_bytes=self._message_limit_bytes,
            tcp_port=lambda: self.tcp_port,
            keep=self._keep,
        )
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        choice = choose_port(
            PORT_NAMES, configured=self._wanted_port, key="epics.ca_port", default=DEFAULT_PORT
        )
        interfaces = choose_interfaces("EPICS_CAS_INTF_ADDR_LIST", self._wanted_interfaces)
        self.interfaces = interfaces
        listening = bind_tcp(interfaces, choice, "CA")
        self._closers += [made.close for made in listening]
        self.tcp_port, self.port = listening[0].getsockname()[1], choice.port
        ignored = {host for host, _ in addresses("EPICS_CAS_IGNORE_ADDR_LIST", default_port=0)}
        broadcasts: Mapping[str, str] = {} if ANY in interfaces else broadcast_addresses(interfaces)
        for interface in interfaces:
            answers = None
            for address in (interface, *([broadcasts[interface]] if interface in broadcasts else [])):
                made = bind_udp(address, self.port, "CA", choice.setting)
                searches = Searches(self._knows, lambda: self.tcp_port, ignored, self.seldom)
                searches.answers = answers
                transport, _ = await self.loop.create_datagram_endpoint(lambda s=searches: s, sock=made)
                self._closers.append(transport.close)
                answers = searches.answers
        self._board.rights_changed.append(self._announce_new_rights)
        self._closers.append(lambda: self._board.rights_changed.remove(self._announce_new_rights))
        for made in listening:
            self._guard("clients", lambda made=made: self._accept(made))
        beacons = Beacons(
            _beacon_targets(interfaces),
            interface=ANY if len(interfaces) > 1 else interfaces[0],
            period_s=_beacon_period_s(),
            seldom=self.seldom,
        )
        self._closers.append(beacons.close)
        self._guard("beacons", lambda: beacons.run(self.tcp_port))

    async def stop(self) -> None:
        """Let the clients go; a put that is still waited for ends without an answer."""
        for close in reversed(self._closers):
            close()
        self._closers.clear()
        for circuit in tuple(self.circuits):
            circuit.abort()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self.circuits:
            await asyncio.sleep(0)

    def _announce_new_rights(self) -> None:
        for circuit in tuple(self.circuits):
            circuit.session.announce_new_rights()

    def _circuit(self) -> Circuit:
        return Circuit(self._surroundings, welcome=self._welcome, farewell=self._farewell)

    def _welcome(self, circuit: Circuit) -> Session:
        """A client has come."""
        session = self.circuits[circuit] = Session(circuit, self._surroundings)
        return session

    def _farewell(self, circuit: Circuit) -> None:
        """A client has gone."""
        self.circuits.pop(circuit, None)

    def _keep(self, work: Coroutine[Any, Any, Any], name: str = "CA put") -> asyncio.Task[Any]:
        """Run something that does not end with the client who asked for it."""
        task = self.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _knows(self, name: str) -> bool:
        return self.channels.find(name) is not None

    async def _accept(self, listening: socket.socket) -> None:
        # asyncio's own server loses a socket that is accepted in the moment of its end.
        while True:
            made, address = await self.loop.sock_accept(listening)
            if is_reserved(made.fileno()):
                self._turn_away(made, address[0])
                continue
            try:
                await self.loop.connect_accepted_socket(self._circuit, made)
            except BaseException:
                made.close()
                raise

    def _turn_away(self, made: socket.socket, host: str) -> None:
        words = (
            f"CA client {host} was turned away: {made.fileno()} files and sockets are open; see whether "
            "CA_CLNT_CNT or PVA_CLNT_CNT is too high, or raise the limit (LimitNOFILE, ulimit -n)"
        )
        made.close()
        self.seldom.warning("turned away", 60, words)

    def _guard(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something for ever: begun again when it breaks off, and the rest serves on meanwhile."""

        async def guarded() -> None:
            while True:
                try:
                    await work()
                except Exception as error:
                    words = f"CA {what} broke off ({error!r}) and are begun again"
                    self.seldom.warning(f"guard {what}", 3600, words)
                await asyncio.sleep(RESTART_S)

        self._keep(guarded(), name=f"CA {what}")


def _beacon_targets(interfaces: Sequence[str]) -> list[tuple[str, int]]:
    """Where beacons go: what the environment says, and the broadcast addresses unless it forbids them."""
    port = choose_port(
        ("EPICS_CAS_BEACON_PORT", "EPICS_CA_REPEATER_PORT"), configured=None, key="", default=BEACON_PORT
    ).port
    targets = addresses("EPICS_CAS_BEACON_ADDR_LIST", default_port=port)
    local = all(is_loopback(interface) for interface in interfaces)
    if is_yes("EPICS_CAS_AUTO_BEACON_ADDR_LIST", default=True):
        found = [LOOPBACK] if local else broadcast_addresses(interfaces).values()
        targets += [(host, port) for host in found]
    return list(dict.fromkeys(targets))


def _beacon_period_s() -> float:
    text = os.environ.get("EPICS_CAS_BEACON_PERIOD") or os.environ.get("EPICS_CA_BEACON_PERIOD") or ""
    with contextlib.suppress(ValueError):
        return max(float(text), 0.1) if text else BEACON_PERIOD_S
    raise BeamtimeError(f"EPICS_CAS_BEACON_PERIOD={text} is no time in s", advice="set it to 15, or unset it")
