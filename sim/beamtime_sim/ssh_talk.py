"""One connection to a host of the box: who is let in, and commands as processes of the box's user."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import asyncssh

from beamtime_sim.sessions import end_session

Process = asyncssh.SSHServerProcess[bytes]
CHUNK = 65_536
_LEFT = (OSError, asyncssh.Error, asyncssh.BreakReceived, asyncssh.SignalReceived)


class Manners(Protocol):
    """How a host behaves at this moment."""

    def lets_in(self) -> bool:
        """Say whether the right key opens it."""
        ...

    async def may_work(self, waits: Callable[[], bool]) -> bool:
        """Return when a command may begin; False if it never may."""
        ...

    def take_lost_reply(self) -> bool:
        """Say whether the answer that begins now is lost."""
        ...

    def environment(self) -> dict[str, str]:
        """What a command finds in its environment."""
        ...


@dataclass(frozen=True, kw_only=True)
class Talk:
    """What connections to one host have in common.

    Parameters
    ----------
    home
        Where commands begin.
    user
        Who may log in, with the key at `user_key`.
    commands
        Those that are at work; they go on when a connection ends, as those of sshd do.
    """

    manners: Manners
    host_key: Path
    user_key: Path
    user: str
    home: Path
    count: Callable[[], None]
    commands: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def hold(self, client: socket.socket) -> None:
        """Speak to one client until it leaves; to be cancelled to cut the connection."""
        connection: asyncssh.SSHServerConnection | None = None
        try:
            connection = await asyncssh.run_server(
                client,
                server_factory=lambda: _Door(self),
                server_host_keys=[str(self.host_key)],
                process_factory=self._begin,
                encoding=None,
                line_editor=False,
                allow_pty=False,
                allow_scp=False,
                agent_forwarding=False,
                gss_host=None,
                login_timeout=30,
            )
            await connection.wait_closed()
        except (OSError, asyncssh.Error):
            return  # It left, or was not let in.
        finally:
            if connection is not None:
                connection.abort()
            client.close()

    def _begin(self, process: Process) -> None:
        # A task of ours: asyncssh ends its own with the connection.
        command = asyncio.get_running_loop().create_task(self._serve(process))
        self.commands.add(command)
        command.add_done_callback(self.commands.discard)

    async def _serve(self, process: Process) -> None:
        channel = process.channel
        if not await self.manners.may_work(lambda: not channel.is_closing()):
            channel.get_connection().abort()
            return
        self.count()
        child = await asyncio.create_subprocess_exec(
            *("sh", "-c", process.command) if process.command else ("sh",),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.home,
            env=self.manners.environment(),
            start_new_session=True,
        )
        try:
            is_lost, code = await self._carry(process, child)
        except asyncio.CancelledError:
            end_session(child.pid)
            await child.wait()
            raise
        if is_lost:
            channel.get_connection().abort()
        elif code < 0:
            process.exit_with_signal(_signal_name(-code))
        else:
            process.exit(code)

    async def _carry(self, process: Process, child: asyncio.subprocess.Process) -> tuple[bool, int]:
        """Carry words to and fro until the command ends; whether its answer was lost, and its code."""
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        answer = _Answer(self.manners)
        reading = asyncio.create_task(_read(process, child.stdin))
        try:
            await asyncio.gather(
                answer.carry(child.stdout, process.stdout), answer.carry(child.stderr, process.stderr)
            )
            return answer.is_lost, await child.wait()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


async def _read(process: Process, stdin: asyncio.StreamWriter) -> None:
    try:
        with suppress(*_LEFT):
            while chunk := await process.stdin.read(CHUNK):
                stdin.write(chunk)
                await stdin.drain()
    finally:
        stdin.close()


class _Answer:
    """What a command writes; it is lost as a whole, or not at all."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._has_begun = False
        self.is_lost = False

    async def carry(self, source: asyncio.StreamReader, target: "asyncssh.SSHWriter[bytes]") -> None:
        waits = True
        while chunk := await source.read(CHUNK):
            if not self._has_begun:
                self._has_begun, self.is_lost = True, self._manners.take_lost_reply()
            if self.is_lost or not waits:
                continue
            try:
                target.write(chunk)
                await target.drain()
            except (OSError, asyncssh.Error):
                waits = False  # It left; the command goes on.


class _Door(asyncssh.SSHServer):
    """Lets one user in, with one key."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._key = asyncssh.read_public_key(talk.user_key.with_name(f"{talk.user_key.name}.pub"))

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._talk.user and key == self._key and self._talk.manners.lets_in()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)
