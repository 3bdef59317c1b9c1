"""Ports and addresses of a server: the environment wins over the site file, and that over EPICS' defaults."""

import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beamtime_ioc.errors import BeamtimeError, PortTakenError
from beamtime_ioc.faces.backlog import BACKLOG

ANY = "0.0.0.0"
LOOPBACK = "127.0.0.1"
_SIOCGIFADDR, _SIOCGIFBRDADDR = 0x8915, 0x8919  # linux/sockios.h


@dataclass(frozen=True, kw_only=True)
class PortChoice:
    """A port, and who chose it.

    Parameters
    ----------
    setting
        The variable or the key of the site file; empty for EPICS' default, which may be shared.
    """

    port: int
    setting: str = ""


def choose_port(names: Sequence[str], *, configured: int | None, key: str, default: int) -> PortChoice:
    """The first of the variables that is set, else the site file's, else EPICS' default.

    Raises
    ------
    BeamtimeError
        A variable is no port.
    """
    for name in names:
        if text := os.environ.get(name, "").strip():
            return PortChoice(port=_port(text, name), setting=name)
    if configured is not None:
        return PortChoice(port=configured, setting=f"{key} of the site file")
    return PortChoice(port=default)


def _port(text: str, name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise BeamtimeError(f"{name}={text} is no port", advice="set it to 1 to 65535, or unset it")
    return int(text)


def choose_interfaces(name: str, configured: Sequence[str]) -> list[str]:
    """IPv4 addresses to listen on; `0.0.0.0` for all.

    Raises
    ------
    BeamtimeError
        A name cannot be resolved.
    """
    found = [host for host, _ in addresses(name, default_port=0)]
    return found or [resolve(host, "epics.interfaces of the site file") for host in configured] or [ANY]


def addresses(name: str, *, default_port: int, listed: str | None = None) -> list[tuple[str, int]]:
    """The addresses that a variable lists, such as `192.0.2.255 console1:5064`.

    Parameters
    ----------
    listed
        The list itself, when it is no variable of the environment that has it.

    Raises
    ------
    BeamtimeError
        A name cannot be resolved, or a port is none.
    """
    found: list[tuple[str, int]] = []
    text = os.environ.get(name, "") if listed is None else listed
    for word in text.replace(",", " ").split():
        host, colon, port = word.partition(":")
        found.append((resolve(host, name), _port(port, name) if colon else default_port))
    return found


def resolve(host: str, setting: str) -> str:
    """IPv4 address of a host.

    Raises
    ------
    BeamtimeError
        It has none.
    """
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise BeamtimeError(
            f"{setting}: {host} cannot be resolved ({error.strerror})",
            advice="name hosts with an IPv4 address",
        ) from error


def is_ours(address: str) -> bool:
    """Whether this computer has the address, and may listen on it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            asker.bind((address, 0))
        except OSError:
            return False
    return True


def is_loopback(address: str) -> bool:
    return address.startswith("127.")


def is_yes(name: str, *, default: bool) -> bool:
    """Whether a variable of the kind AUTO_..._LIST says yes."""
    word = os.environ.get(name, "").strip().upper()
    return word[:1] not in ("N", "0") if word else default


def broadcast_addresses(interfaces: Sequence[str]) -> Mapping[str, str]:
    """Broadcast addresses of the interfaces, by the interface's address; of all for `0.0.0.0`."""
    found: dict[str, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            address, broadcast = (_ask(asker, name, what) for what in (_SIOCGIFADDR, _SIOCGIFBRDADDR))
            wanted = address in interfaces or (ANY in interfaces and not is_loopback(address))
            if wanted and address and broadcast not in ("", ANY, address):
                found[address] = broadcast
    return found


def _ask(asker: socket.socket, interface: str, what: int) -> str:
    """One address of an interface; empty when it has none. The answer is a `struct ifreq`."""
    try:
        answer = fcntl.ioctl(asker.fileno(), what, struct.pack("256s", interface.encode()[:15]))
    except OSError:
        return ""
    return socket.inet_ntoa(answer[20:24])


def bind_tcp(interfaces: Sequence[str], choice: PortChoice, protocol: str) -> list[socket.socket]:
    """One socket per interface, all on one port; a default that is taken gives way to a free port.

    Raises
    ------
    PortTakenError
        Somebody chose the port, and it is in use.
    """
    port, tries = choice.port, 20
    while True:
        sockets: list[socket.socket] = []
        try:
            for interface in interfaces:
                sockets.append(_bound(socket.SOCK_STREAM, interface, port))
                port = sockets[0].getsockname()[1]
            return sockets
        except OSError as error:
            for made in sockets:
                made.close()
            tries -= 1
            if choice.setting or not tries or error.errno != errno.EADDRINUSE:
                raise _taken(error, protocol, port, choice.setting) from error
            port = 0


def bind_udp(interface: str, port: int, protocol: str, setting: str) -> socket.socket:
    """A socket for searches, shared with other servers on this host.

    Raises
    ------
    PortTakenError
        Another program has it for itself alone.
    """
    try:
        return _bound(socket.SOCK_DGRAM, interface, port)
    except OSError as error:
        raise _taken(error, protocol, port, setting) from error


def _taken(error: OSError, protocol: str, port: int, setting: str) -> BeamtimeError:
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(protocol, port, setting or "the port in the site file")
    return BeamtimeError(
        f"{protocol} cannot listen on port {port}: {error.strerror}", advice="check the interfaces"
    )


def _bound(kind: socket.SocketKind, interface: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    try:
        # After kill -9 the old connections linger for a minute: their port may be bound at once.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind is socket.SOCK_DGRAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.setblocking(False)
        made.bind((interface, port))
        if kind is socket.SOCK_STREAM:
            made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
