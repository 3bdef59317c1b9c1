"""What the hosts of the box and their clients need: keys, known_hosts, and a configuration of ssh."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from beamtime_sim.errors import BoxError
from beamtime_sim.web import HOST

PROGRAM_S = 10.0


def ssh_works() -> bool:
    """Say whether an ssh client runs here; it does not for a user whom the system has no name for."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        return False
    # With its version it asks who the user is, and nothing else.
    return _run("ssh", "-V").returncode == 0


def user_name() -> str:
    """The name by which ssh logs in: that of the box's user."""
    return pwd.getpwuid(os.getuid()).pw_name


@dataclass(frozen=True, kw_only=True)
class SshFiles:
    """Below one directory, for its owner alone: written once, and `ssh_config` at each start.

    ``user_key`` opens every host; ``NAME_key`` is the key of a host.
    """

    directory: Path

    @property
    def config(self) -> Path:
        """For `ssh -F`, with the key and the known hosts in it."""
        return self.directory / "ssh_config"

    @property
    def user_key(self) -> Path:
        """Private key; the public one stands beside it, with the ending `.pub`."""
        return self.directory / "user_key"

    @property
    def known_hosts(self) -> Path:
        """The host keys, as ssh looks them up."""
        return self.directory / "known_hosts"

    def host_key(self, name: str) -> Path:
        """Private key of a host."""
        return self.directory / f"{name}_key"

    def home(self, name: str) -> Path:
        """Where commands on a host begin."""
        return self.directory / name

    def write(self, ports: Mapping[str, int]) -> None:
        """Write what is missing, and what follows from the ports.

        Parameters
        ----------
        ports
            By the name of the host.

        Raises
        ------
        BoxError
            A key cannot be made.
        """
        self.directory.mkdir(mode=0o700, exist_ok=True)
        _make_key(self.user_key)
        for name in ports:
            self.home(name).mkdir(exist_ok=True)
            _make_key(self.host_key(name))
        keys = {name: _public(self.host_key(name)) for name in ports}
        known = [f"[{HOST}]:{port} {keys[name]}" for name, port in ports.items()]
        _write(self.known_hosts, known)
        _write(self.config, [*self._head(), *(line for item in ports.items() for line in _host(*item))])

    def _head(self) -> tuple[str, ...]:
        return (
            "# Written at each start of the box. By hand: ssh -F this-file det1",
            f"User {user_name()}",
            f"IdentityFile {_quoted(self.user_key)}",
            "IdentitiesOnly yes",
            "IdentityAgent none",
            f"UserKnownHostsFile {_quoted(self.known_hosts)}",
            "GlobalKnownHostsFile /dev/null",
            "StrictHostKeyChecking yes",
        )


def _host(name: str, port: int) -> tuple[str, ...]:
    return (f"Host {name}", f"  HostName {HOST}", f"  Port {port}")


def _make_key(path: Path) -> None:
    public = path.with_name(f"{path.name}.pub")
    if path.exists() and public.exists():
        return
    for half in (path, public):
        half.unlink(missing_ok=True)
    done = _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "box", "-f", str(path))
    if done.returncode:
        raise BoxError(f"ssh-keygen cannot make {path}: {done.stderr.strip() or 'nothing was said'}")


def _public(private: Path) -> str:
    kind, key, *_ = private.with_name(f"{private.name}.pub").read_text(encoding="ascii").split()
    return f"{kind} {key}"


def _write(path: Path, lines: list[str]) -> None:
    half = path.with_suffix(".part")
    half.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    half.rename(path)


def _quoted(path: Path) -> str:
    # In the configuration of ssh a per cent sign begins a token.
    return '"' + str(path).replace("%", "%%") + '"'


def _run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, capture_output=True, text=True, timeout=PROGRAM_S, check=False, stdin=subprocess.DEVNULL
    )
