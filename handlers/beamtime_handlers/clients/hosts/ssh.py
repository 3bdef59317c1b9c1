"""Places on other hosts, over ssh, and on disks that this computer sees."""

import math
import re
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from beamtime_handlers.clients.hosts.bounds import Bounds
from beamtime_handlers.clients.hosts.connection import Connection, Ssh, Target, quoted
from beamtime_handlers.clients.hosts.directories import Directories
from beamtime_handlers.clients.hosts.local import LocalDisks
from beamtime_handlers.clients.hosts.remote import RemoteDisks
from beamtime_ioc.model import Place
from beamtime_ioc.ports import Context

LONGEST_DIRECTORY = 50
"""Characters of the directory for temporary files: the path of a socket has room for about a hundred."""


def _limit(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_./ -]*", text):
        raise ValueError("words of letters, digits, hyphens, dots and slashes, such as timeout -k 2")
    return text


def _path(path: Path | None) -> Path | None:
    if path is not None and not re.fullmatch(r'[^"\\\n\r\0]+', str(path)):
        raise ValueError("a path without quotes and backslashes")
    return path


SshPath = Annotated[Path | None, pydantic.AfterValidator(_path)]


class Settings(Bounds):
    """Section `hosts` of the site file."""

    backend: Literal["ssh"] = pydantic.Field(
        default="ssh",
        description="By OpenSSH for each place with `host`; disks that this computer sees for the rest.",
    )
    config: SshPath = pydantic.Field(
        default=None, description="Configuration of ssh; by default that of the user whom the IOC runs as."
    )
    identity: SshPath = pydantic.Field(
        default=None, description="File of the private key; by default as the configuration says."
    )
    known_hosts: SshPath = pydantic.Field(
        default=None, description="File of the host keys; by default as the configuration says."
    )
    host_keys: Literal["strict", "accept-new"] = pydantic.Field(
        default="strict",
        description="strict: a host must be in known_hosts. accept-new: a new host may show any key.",
    )
    connect_timeout_s: float = pydantic.Field(
        default=5, ge=1, le=60, description="Longest wait for a connection, in s."
    )
    timeout_s: float = pydantic.Field(
        default=10,
        gt=0,
        le=600,
        description="How long a command may take on a host, in s; then it is ended there.",
    )
    limit: Annotated[str, pydantic.AfterValidator(_limit)] = pydantic.Field(
        default="timeout -k 2",
        description="What ends a command on a host; the seconds are added to it. Empty: nothing does.",
    )
    sessions: int = pydantic.Field(
        default=9,
        ge=1,
        le=100,
        description="Commands at once on one host: one less than `MaxSessions` of its sshd, 10 by default.",
    )


def build(settings: Settings, context: Context) -> "SshHosts":
    return SshHosts(settings, context)


class SshHosts(Directories):
    """Places on other hosts and on this computer."""

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(context.site, settings, self._reach_of)
        self._ssh = _ssh(settings, context)
        self._local = LocalDisks()
        self._connections: dict[Target, Connection] = {}
        self._sockets: Path | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the connections; they end by themselves when this process does."""
        for connection in self._connections.values():
            connection.close()

    def _reach_of(self, place: Place) -> LocalDisks | RemoteDisks:
        if not place.host:
            return self._local
        target = Target(host=place.host, user=place.user, port=place.port)
        with self._lock:
            if target not in self._connections:
                name = str(len(self._connections))
                self._connections[target] = Connection(self._ssh, target, lambda: self._directory() / name)
            connection = self._connections[target]
        return RemoteDisks(connection, asks_space=self.bounds.ask_space)

    def _directory(self) -> Path:
        """Where the connections listen: of this process, and nobody else may enter."""
        with self._lock:
            if self._sockets is None or not self._sockets.is_dir():  # what lies there long may be cleaned up
                short = len(tempfile.gettempdir()) <= LONGEST_DIRECTORY
                made = tempfile.mkdtemp(prefix="beamtime-ssh-", dir=None if short else "/tmp")
                weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
                self._sockets = Path(made)
            return self._sockets


def _ssh(settings: Settings, context: Context) -> Ssh:
    def options(*pairs: str) -> list[str]:
        return [word for pair in pairs for word in ("-o", pair)]

    words, by_hand = ["ssh", "-T", "-x", "-a"], list[str]()
    if settings.config:
        by_hand = ["-F", str(context.directory / settings.config.expanduser())]
        words += by_hand
    if settings.identity:
        file = context.directory / settings.identity.expanduser()
        by_hand += ["-i", str(file)]
        words += options(f"IdentityFile={quoted(file)}", "IdentitiesOnly=yes")
    if settings.known_hosts:
        file = context.directory / settings.known_hosts.expanduser()
        words += options(f"UserKnownHostsFile={quoted(file)}")
    words += options(
        "BatchMode=yes",
        f"ConnectTimeout={math.ceil(settings.connect_timeout_s)}",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=2",
        f"StrictHostKeyChecking={'yes' if settings.host_keys == 'strict' else 'accept-new'}",
        "ForwardX11=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "UpdateHostKeys=no",
        "LogLevel=ERROR",  # no banner; what went wrong is said
    )
    return Ssh(
        words=tuple(words),
        by_hand=tuple(by_hand),
        limit=tuple(settings.limit.split()),
        connect_timeout_s=settings.connect_timeout_s,
        timeout_s=settings.timeout_s,
        sessions=settings.sessions,
    )
