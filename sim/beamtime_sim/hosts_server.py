"""The hosts of the box, which speak SSH to the client of the system, with their knobs."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

from beamtime_sim.faults import HOSTS
from beamtime_sim.full_disk import write_programs
from beamtime_sim.knobs import Knobs
from beamtime_sim.server import Server
from beamtime_sim.ssh_files import SshFiles
from beamtime_sim.ssh_host import FULL, SshHost


class HostsServer(Server):
    """Two hosts, each on a loopback port.

    Commands run as processes of the box's user. A key that nobody else may read opens both.

    Parameters
    ----------
    directory
        Where keys and homes are kept.
    ports
        By the name of the host; 0, or none, takes a free one.
    """

    def __init__(
        self, directory: Path, *, ports: Mapping[str, int] | None = None, knobs: Knobs | None = None
    ) -> None:
        self.files = SshFiles(directory=directory.absolute())
        self.knobs = knobs or Knobs()
        given = ports or {}
        self._hosts = {name: SshHost(name, self.files, self.knobs, given.get(name, 0)) for name in HOSTS}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.knobs.tell(self._obey)

    @property
    def ports(self) -> dict[str, int]:
        """The port of each host, by its name."""
        return {name: host.port for name, host in self._hosts.items()}

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many connections came to each host, and commands were begun."""
        return {name: host.counts for name, host in self._hosts.items()}

    def start(self) -> None:
        """Listen, and write what a client needs.

        Raises
        ------
        BoxError
            Another process has a port, or a key cannot be made.
        """
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._open())
            self.files.write(self.ports)
            write_programs(self.files.directory / FULL)
        except BaseException:
            loop.run_until_complete(self._stop())
            loop.close()
            raise
        self._loop = loop
        self._thread = threading.Thread(target=self._serve, args=(loop,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the ports and every connection, also those that hang, and end every command."""
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop = self._thread = None

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _obey(self) -> None:
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._obeyed(), self._loop).result()

    async def _obeyed(self) -> None:
        for host in self._hosts.values():
            await host.obey()

    async def _open(self) -> None:
        for host in self._hosts.values():
            host.open()

    async def _stop(self) -> None:
        for host in self._hosts.values():
            await host.stop()
