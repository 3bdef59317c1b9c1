"""One host of the box: its port, who is at it, and how its knobs stand."""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING

from beamtime_sim.errors import PortTakenError
from beamtime_sim.faults import NEVER, HostsFaults
from beamtime_sim.knobs import Knobs, listed
from beamtime_sim.ssh_files import SshFiles, user_name
from beamtime_sim.web import HOST

if TYPE_CHECKING:
    from beamtime_sim.ssh_talk import Talk

FULL = "full"
"""Directory, beside the homes, of the programs of a full disk."""
_WORDS = ("connections", "commands")


class SshHost:
    """Speaks SSH on a loopback port; all but the constructor belongs to the loop it is opened in."""

    def __init__(self, name: str, files: SshFiles, knobs: Knobs, port: int = 0) -> None:
        self.name, self.port = name, port
        self._files, self._knobs = files, knobs
        self._counts: Counter[str] = Counter()
        self._listening: tuple[socket.socket, asyncio.Task[None]] | None = None
        self._waiting: set[asyncio.Task[None]] = set()
        self._talking: set[asyncio.Task[None]] = set()
        self._talk: Talk | None = None
        self._turned = asyncio.Event()

    @property
    def counts(self) -> dict[str, int]:
        """How many connections came, and commands were begun."""
        return {word: self._counts[word] for word in _WORDS}

    @property
    def faults(self) -> HostsFaults:
        """The knobs, as far as they touch this host."""
        faults = self._knobs.hosts
        return faults if listed(faults.only, self.name) else HostsFaults()

    def open(self) -> None:
        """Listen.

        Raises
        ------
        PortTakenError
            Another process has the port.
        """
        try:
            listening = socket.create_server((HOST, self.port), backlog=64)
        except OSError as error:
            raise PortTakenError(self.port) from error
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        self._listening = listening, asyncio.get_running_loop().create_task(self._accept(listening))

    async def shut(self) -> None:
        """Close the port; connections that stand go on."""
        if self._listening is not None:
            listening, accepting = self._listening
            self._listening = None
            await _ended({accepting})
            listening.close()

    async def stop(self) -> None:
        """Close the port and every connection, and end every command."""
        await self.shut()
        await _ended(self._waiting | self._talking)
        if self._talk is not None:
            await _ended(self._talk.commands)

    async def obey(self) -> None:
        """Do as the knobs say that were turned just now."""
        self._turned.set()
        self._turned = asyncio.Event()
        faults = self.faults
        if faults.refuse == "connect":
            await self.shut()
        elif self._listening is None:
            self.open()
        if faults.refuse != NEVER or faults.hang == "connect":
            # As of a host that goes down: with its connections a client would work on.
            await _ended(self._talking)

    # -- manners ----------------------------------------------------------------------------

    def lets_in(self) -> bool:
        return self.faults.refuse != "key"

    async def may_work(self, waits: Callable[[], bool]) -> bool:
        loop, hung = asyncio.get_running_loop(), False
        begin = loop.time()
        while waits():
            hangs = self.faults.hang == "command"
            if hung and not hangs:
                return False
            hung = hangs
            left = begin + self.faults.delay_s - loop.time()
            if not hung and left <= 0:
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(None if hung else left):
                    await self._turned.wait()
        return False

    def take_lost_reply(self) -> bool:
        return listed(self._knobs.hosts.only, self.name) and self._knobs.take_lost_reply("hosts")

    def environment(self) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        if self.faults.full:
            path = f"{self._files.directory / FULL}{os.pathsep}{path}"
        home = str(self._files.home(self.name))
        return {**os.environ, "PATH": path, "HOME": home, "USER": user_name(), "LOGNAME": user_name()}

    # -- those who come ---------------------------------------------------------------------

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listening)
            self._counts["connections"] += 1
            if self.faults.hang == "connect":
                self._begin(self._waiting, self._say_nothing(client))
            else:
                self._begin(self._talking, self._speak(client))

    def _begin(self, tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _say_nothing(self, client: socket.socket) -> None:
        with client:
            while self.faults.hang == "connect":
                await self._turned.wait()

    async def _speak(self, client: socket.socket) -> None:
        # Not at the top: asyncssh takes a third of a second to load, for a host that may never be asked.
        from beamtime_sim.ssh_talk import Talk

        if self._talk is None:
            self._talk = Talk(
                manners=self,
                host_key=self._files.host_key(self.name),
                user_key=self._files.user_key,
                user=user_name(),
                home=self._files.home(self.name),
                count=lambda: self._counts.update(commands=1),
            )
        await self._talk.hold(client)


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    left = list(tasks)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
