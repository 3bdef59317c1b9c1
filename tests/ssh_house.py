"""Two hosts with disks: real sshd on loopback, run by whoever runs the tests and ended by their process ids.

What programs a host has is a directory of links, so that a test takes one away or puts another in its stead.
"""

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from beamtime_handlers.clients.hosts import ssh
from beamtime_handlers.clients.hosts.ssh import Settings, SshHosts
from beamtime_ioc.model import Place, Site
from beamtime_ioc.ports import Context
from beamtime_ioc.testing import MemoryOutbox
from disk_house import ZONE
from spare_ports import spare_port

START_S = 20.0
PROGRAMS = (
    *("sh", "bash", "env", "timeout", "id", "stat", "mkdir", "chmod", "chgrp", "ls", "head", "tail", "grep"),
    *("dd", "od", "tr", "cat", "ln", "mv", "rm", "df", "find", "getent", "setfacl", "getfacl", "sleep"),
    *("true",),
)
"""All that is used over there, and what the tests use besides."""
WHOLE_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def program(name: str) -> str:
    found = shutil.which(name, path=WHOLE_PATH)
    if found is None:
        raise FileNotFoundError(f"no {name}: see TEST_PACKAGES in tools/debian.sh")
    return found


@dataclass
class Host:
    """One sshd.

    Attributes
    ----------
    bin
        What it has on PATH.
    home
        Where its users' start-up files lie.
    """

    name: str
    directory: Path
    port: int = field(default_factory=spare_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def bin(self) -> Path:
        return self.directory / "bin"

    @property
    def home(self) -> Path:
        return self.directory / "home"

    @property
    def banner(self) -> Path:
        """What it writes before each login, in words that are trouble elsewhere."""
        return self.directory / "banner"

    def make(self, authorized: Path) -> None:
        for directory in (self.directory, self.bin, self.home):
            directory.mkdir(mode=0o755)
        for name in PROGRAMS:
            (self.bin / name).symlink_to(program(name))
        make_key(self.directory / "host")
        self.banner.write_text("Permission denied to others. Host key verification failed. done\n")
        config = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.directory / "host",
            "PidFile": "none",
            "AuthorizedKeysFile": authorized,
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "AllowUsers": getpass.getuser(),
            "PrintMotd": "no",
            "Banner": self.banner,
            "SetEnv": f"PATH={self.bin} HOME={self.home}",
        }
        if ssh_version() >= (9, 8):  # a key that is refused must not shut out the next test
            config["PerSourcePenalties"] = "no"
        (self.directory / "sshd_config").write_text("".join(f"{k} {v}\n" for k, v in config.items()))

    def start(self) -> None:
        """Returns when it answers."""
        words = [program("setpriv"), "--pdeathsig=TERM", "--", program("sshd"), "-D", "-e"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*words, "-f", str(self.directory / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"sshd did not start: {(self.directory / 'log').read_text()}")
            threading.Event().wait(0.02)

    def stop(self) -> None:
        """End it, and the connections it has."""
        process, self.process = self.process, None
        if process is None:
            return
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        connections = children.read_text().split() if children.exists() else []
        process.terminate()
        process.wait(START_S)
        for pid in connections:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)

    @contextmanager
    def gone(self) -> Generator[None]:
        """It is down for as long as the block lasts."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def planted(self, name: str, text: str) -> Generator[None]:
        """A program of the test's own in the stead of one, as a script for sh."""
        path, before = self.bin / name, program(name)
        path.unlink()
        path.write_text(f"#!{program('sh')}\n{text}\n")
        path.chmod(0o755)
        try:
            yield
        finally:
            path.unlink()
            path.symlink_to(before)

    @contextmanager
    def without(self, *names: str) -> Generator[None]:
        for name in names:
            (self.bin / name).unlink()
        try:
            yield
        finally:
            for name in names:
                (self.bin / name).symlink_to(program(name))


def ssh_version() -> tuple[int, int]:
    said = subprocess.run([program("ssh"), "-V"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    assert found is not None, said
    return int(found[1]), int(found[2])


def make_key(path: Path) -> None:
    words = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(words, check=True, timeout=30, stdin=subprocess.DEVNULL)


@dataclass
class SshHouse:
    """Two hosts, one user with one key who may log in on both, and clients of them."""

    directory: Path
    det1: Host
    ana1: Host

    @property
    def settings(self) -> dict[str, Any]:
        """Section `hosts` of a site file."""
        return {
            "backend": "ssh",
            "config": str(self.directory / "config"),
            "identity": str(self.directory / "user"),
            "known_hosts": str(self.directory / "known_hosts"),
        }

    @contextmanager
    def key_with(self, path: Path, command: str) -> Generator[str]:
        """A key whose logins run a command: there `$SSH_ORIGINAL_COMMAND` is what was asked for."""
        make_key(path)
        before, quotes = self.authorized.read_text(), command.replace('"', '\\"')
        self.authorized.write_text(f'{before}command="{quotes}" {path.with_suffix(".pub").read_text()}')
        try:
            yield str(path)
        finally:
            self.authorized.write_text(before)

    @contextmanager
    def nobody_let_in(self) -> Generator[None]:
        """No key opens the hosts, and connections that stood are gone."""
        before = self.authorized.read_text()
        with self.det1.gone(), self.ana1.gone():
            self.authorized.write_text("")
        try:
            yield
        finally:
            self.authorized.write_text(before)

    @property
    def authorized(self) -> Path:
        """The keys that may log in, a line each."""
        return self.directory / "user.pub"

    def place(self, host: Host, top: Path, **fields: Any) -> Place:
        return Place(**{"name": host.name, "host": host.name, "top": PurePosixPath(top), **fields})

    def hosts(self, *places: Place, **settings: Any) -> SshHosts:
        site = Site(prefix="99bm:Beamtime:", beamline="99-BM-A,B", zone=ZONE, places=places)
        context = Context(site=site, directory=self.directory, state=Path("/"), outbox=MemoryOutbox())
        return ssh.build(Settings(**{**self.settings, **settings}), context)

    @contextmanager
    def client(self, *places: Place, **settings: Any) -> Generator[SshHosts]:
        """One of the test's own."""
        hosts = self.hosts(*places, **settings)
        try:
            yield hosts
        finally:
            hosts.close()


@contextmanager
def ssh_house() -> Generator[SshHouse]:
    """Both hosts, for as long as the block lasts."""
    directory = Path(tempfile.mkdtemp(prefix="beamtime-sshd-"))
    house = SshHouse(directory, *(Host(name, directory / name) for name in ("det1", "ana1")))
    try:
        make_key(directory / "user")
        known, config = "", "GlobalKnownHostsFile /dev/null\nIdentityAgent none\n"
        for host in (house.det1, house.ana1):
            host.make(house.authorized)
            kind, key, *_ = (host.directory / "host.pub").read_text().split()
            known += f"[127.0.0.1]:{host.port} {kind} {key}\n"
            config += f"Host {host.name}\n  HostName 127.0.0.1\n  Port {host.port}\n"
        (directory / "known_hosts").write_text(known)
        (directory / "config").write_text(config)
        for host in (house.det1, house.ana1):
            host.start()
        yield house
    finally:
        for host in (house.det1, house.ana1):
            host.stop()
        shutil.rmtree(directory, ignore_errors=True)


def at(place: Place, **fields: Any) -> Place:
    return replace(place, **fields)


def on_path(directory: Path, name: str, text: str) -> dict[str, str]:
    """An environment with a program of the test's own before all others."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
