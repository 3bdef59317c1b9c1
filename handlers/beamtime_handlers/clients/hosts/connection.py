"""The ssh connection to one host: one is held open, and what is done goes over it."""

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from beamtime_handlers.clients.hosts.talk import MOST_BYTES, Murmur, UnfinishedTalkError, talk
from beamtime_ioc.model import one_line

Child = subprocess.Popen[bytes]

END_S = 2.0
"""How long the remote side has between SIGTERM and SIGKILL."""
SLACK_S = 3.0
SLOT_S = 60.0
"""Longest wait for others that work on the same host."""
TIMED_OUT = (124, 137)
NO_PROGRAM = (126, 127)
SSH_FAILED = 255


class SshTroubleError(Exception):
    """A host could not be asked.

    Parameters
    ----------
    state
        As that of a PlaceError.
    reason
        Continues `host ...`.
    output
        What it wrote before it was given up.
    goes_on
        Whether it may be at work still, over there.
    """

    def __init__(
        self, state: str, reason: str, advice: str, *, output: bytes = b"", goes_on: bool = False
    ) -> None:
        super().__init__(reason)
        self.state, self.reason, self.advice = state, reason, advice
        self.output, self.goes_on = output, goes_on

    def again(self) -> Self:
        """The same for another thread."""
        return type(self)(self.state, self.reason, self.advice)


@dataclass(frozen=True, kw_only=True)
class Ssh:
    """How ssh is called, for all hosts of a site.

    Parameters
    ----------
    words
        The program and its options, before host and user.
    by_hand
        Of these, what a person needs who wants to see the same.
    limit
        What begins the command over there: it ends what hangs.
    """

    words: tuple[str, ...]
    by_hand: tuple[str, ...]
    limit: tuple[str, ...]
    connect_timeout_s: float
    timeout_s: float
    sessions: int

    def command(self, timeout_s: float) -> str:
        """The whole remote command: words that every login shell reads alike."""
        limit = (*self.limit, f"{timeout_s:.3g}") if self.limit else ()
        return " ".join(("env", "LC_ALL=C", *limit, "sh", "-s"))

    def patience_s(self, timeout_s: float) -> float:
        """How long this side waits for one command."""
        return self.connect_timeout_s + timeout_s + END_S + SLACK_S


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whom to ask: out of the site file, never out of a PV."""

    host: str
    user: str = ""
    port: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        port = ("-p", str(self.port)) if self.port else ()
        user = ("-l", self.user) if self.user else ()
        return (*port, *user, "--", self.host)


class Connection:
    """Runs programs on one host, several at once, over one connection.

    The connection is a child of ours that ends with us, whatever ends us: it reads a pipe that only we hold
    open.
    Where it cannot be had, each program makes a connection of its own.
    """

    def __init__(self, ssh: Ssh, target: Target, socket: Callable[[], Path]) -> None:
        self.ssh, self.target, self._socket_path = ssh, target, socket
        self._slots = threading.BoundedSemaphore(ssh.sessions)
        self._lock = threading.Lock()
        self._master: Child | None = None
        self._failed: tuple[float, SshTroubleError] | None = None
        self._hung: Child | None = None
        """The last connection that was ended since a command over it had no answer."""
        self.stuck: dict[str, str] = {}
        """Processes that could not be ended over there, by the top of the place where they hang."""

    def run(self, program: str, is_whole: Callable[[bytes], bool], timeout_s: float | None = None) -> bytes:
        """Run a program for sh over there, and give what it wrote; it may be begun twice.

        Parameters
        ----------
        is_whole
            Whether an answer came to its end; else the reason is looked for.
        timeout_s
            How long it may take there; by default as for all.

        Raises
        ------
        SshTroubleError
        """
        timeout_s, began = self.ssh.timeout_s if timeout_s is None else timeout_s, time.monotonic()
        with self._slot():
            begun = time.monotonic()
            master, code, output, said = self._run_once(program, timeout_s, began)
            if code == SSH_FAILED and not is_whole(output):
                self._drop(master)
                if master is not self._hung or time.monotonic() - begun < timeout_s:
                    # It may have died: a new one tells what the host says now.
                    master, code, output, said = self._run_once(program, timeout_s, began)
            if is_whole(output):
                return output
            # Another thread that waited in vain has ended what both used: the host hangs, it is not away.
            hangs = code in TIMED_OUT or (code == SSH_FAILED and master is self._hung)
            raise self._timed_out(began, output) if hangs else self._trouble(code, said)

    def _run_once(self, program: str, timeout_s: float, began: float) -> tuple[Child, int, bytes, str]:
        """The connection that was used, the exit code, and what came on stdout and stderr.

        Parameters
        ----------
        began
            Since when an answer is waited for, by `time.monotonic`: an earlier try counts.
        """
        master, socket = self._open()
        options = ("-o", "ControlMaster=no", "-o", f"ControlPath={quoted(socket)}")
        child, murmur = self._start(options, self.ssh.command(timeout_s), stdout=subprocess.PIPE)
        try:
            output = talk(child, program.encode(), self.ssh.patience_s(timeout_s))
        except UnfinishedTalkError as broken:
            child.kill()
            with suppress(subprocess.TimeoutExpired):
                child.wait(END_S)
            if broken.is_too_long or murmur.is_too_long:
                raise self._too_long() from None
            self._hung = master
            self._drop(master)
            raise self._timed_out(began, broken.output, goes_on=True) from None
        said = murmur.text()
        if murmur.is_too_long:
            raise self._too_long()
        return master, child.returncode, output, said

    def close(self) -> None:
        with self._lock:
            self._drop_locked()

    # -- the one that is held open ----------------------------------------------------------

    def _open(self) -> tuple[Child, Path]:
        """The connection, and where it listens; it is made if it is not there.

        Raises
        ------
        SshTroubleError
            The host cannot be reached, or does not let us in; said to all who waited for it meanwhile.
        """
        asked, socket = time.monotonic(), self._socket_path()
        with self._lock:
            if self._master is not None and self._master.poll() is None and socket.exists():
                return self._master, socket
            if self._failed is not None and self._failed[0] >= asked:
                raise self._failed[1].again()
            self._drop_locked()
            try:
                self._master = self._connect(socket)
            except SshTroubleError as error:
                self._failed = time.monotonic(), error
                raise
            return self._master, socket

    def _connect(self, socket: Path) -> Child:
        options = ("-o", "ControlMaster=yes", "-o", "ControlPersist=no")
        listening = ("-o", f"ControlPath={quoted(socket)}")
        master, murmur = self._start((*options, *listening), "cat", stdout=subprocess.DEVNULL)
        began = time.monotonic()
        end = began + self.ssh.connect_timeout_s + SLACK_S
        while not socket.exists():
            with suppress(subprocess.TimeoutExpired):
                code = master.wait(0.01)
                _end(master)
                said = murmur.text()
                raise self._too_long() if murmur.is_too_long else self._trouble(code, said)
            if time.monotonic() > end:
                _end(master)
                raise self._timed_out(began)
        return master

    def _drop(self, used: Child) -> None:
        """Unless another thread has done so, and uses a new one."""
        with self._lock:
            if self._master is used:
                self._drop_locked()

    def _drop_locked(self) -> None:
        master, self._master = self._master, None
        if master is not None:
            _end(master)
            self._socket_path().unlink(missing_ok=True)

    @contextmanager
    def _slot(self) -> Generator[None]:
        if not self._slots.acquire(timeout=SLOT_S):
            raise SshTroubleError(
                "TIMEOUT",
                f"is still at work for others after {SLOT_S:g} s",
                "see whether its disks hang, then press again",
            )
        try:
            yield
        finally:
            self._slots.release()

    def _start(self, options: Sequence[str], command: str, *, stdout: int) -> tuple[Child, Murmur]:
        words = [*self.ssh.words, *options, *self.target.words, command]
        try:
            # A session of its own: Ctrl-C in our terminal ends us, and leaves what is at work to its end.
            child = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise SshTroubleError(
                "UNREACHABLE",
                f"cannot be asked: {self.ssh.words[0]} does not run here: {reason}",
                "install openssh-client on this computer, then press again",
            ) from error
        return child, Murmur(child)

    # -- why it failed ----------------------------------------------------------------------

    @property
    def _by_hand(self) -> str:
        """What a person types to see the same."""
        words = ("ssh", *self.ssh.by_hand, *self.target.words, "true")
        return " ".join(shlex.quote(word) for word in words if word != "--")

    def _timed_out(self, began: float, output: bytes = b"", *, goes_on: bool = False) -> SshTroubleError:
        waited_s = time.monotonic() - began
        return SshTroubleError(
            "TIMEOUT",
            f"did not answer within {waited_s:.{0 if waited_s >= 2 else 1}f} s",
            f"see whether its disk hangs, and by hand: {self._by_hand}; then press again",
            output=output,
            goes_on=goes_on,
        )

    def _too_long(self) -> SshTroubleError:
        return SshTroubleError(
            "UNREACHABLE",
            f"wrote more than {MOST_BYTES >> 20} MB, which is no answer",
            f"see what its login writes, by hand: {self._by_hand}; then press again",
        )

    def _trouble(self, code: int, said: str) -> SshTroubleError:
        hand = f"try by hand: {self._by_hand}; then press again"
        if code in NO_PROGRAM:
            return SshTroubleError(
                "UNREACHABLE",
                f"has no {' or '.join(dict.fromkeys((*self.ssh.limit[:1], 'sh')))} that could be used",
                "install coreutils there, or mend `limit` of hosts in the site file and start the IOC again; "
                "then press again",
            )
        if code != SSH_FAILED:
            why = _first(said.splitlines()) or "nothing was said"
            return SshTroubleError("UNREACHABLE", f"broke off with code {code}: {why}", hand)
        if "Permission denied" in said:
            why = _first(line for line in said.splitlines() if "Permission denied" in line)
            return SshTroubleError("DENIED", f"does not let us in: {why}", f"give it our key, and {hand}")
        if "ost key verification failed" in said or "IDENTIFICATION HAS CHANGED" in said:
            return SshTroubleError(
                "UNREACHABLE",
                "has not the host key that is known here: it is new, or it is not that host",
                f"compare its key with its administrator, put it into known_hosts, and {hand}",
            )
        why = _first(said.splitlines()) or "the connection ended"
        return SshTroubleError(
            "UNREACHABLE", f"cannot be reached: {why}", f"see whether it is on, and {hand}"
        )


def _first(lines: Iterable[str]) -> str:
    return next((one_line(line, 200) for line in lines if any(map(str.isalpha, line))), "")


def _end(child: Child) -> None:
    """By its process id; it has closed its connection, or is ended."""
    if child.stdin is not None:
        with suppress(OSError):
            child.stdin.close()
    child.terminate()
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def quoted(path: Path | str) -> str:
    """A path as an option of ssh takes it, where `%` begins a token."""
    return '"' + os.fspath(path).replace("%", "%%") + '"'
