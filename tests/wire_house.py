"""Both faces over one board, in a thread with a loop of its own, and clients of many kinds."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from p4p.client.thread import Context

from beamtime_ioc.access import load_gate
from beamtime_ioc.board import Board, Cell
from beamtime_ioc.errors import BusyError, PortTakenError, RunEndedError
from beamtime_ioc.faces.ca import CaServer
from beamtime_ioc.faces.pva import PvaServer
from beamtime_ioc.model import Who
from beamtime_ioc.progress import RunView
from beamtime_ioc.records import load_records
from beamtime_ioc.values import Value
from spare_ports import spare_port

T = TypeVar("T")
DATA = Path(__file__).parent / "data"
PREFIX = "X:Wire:"
DEADLINE_S = 10.0
LOOPBACK = ("127.0.0.1",)


RECORDS = (DATA / "wire.substitutions", DATA / "wire_tables.yaml")


class Wire:
    """A board on the wire."""

    def __init__(
        self,
        files: Sequence[Path] = RECORDS,
        *,
        prefix: str = PREFIX,
        access: Path = DATA / "wire.acf",
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="wire")
        self._thread.start()
        records = load_records(files, prefix=prefix)
        self.gate = load_gate(access)
        self.board = Board(records, self.gate)
        self._initial = {name: cell.value for name, cell in self.board.cells.items()}
        self.ca, self.pva = self.run(self._serve())

    async def _serve(self) -> tuple[CaServer, PvaServer]:
        for _ in range(10):
            ca = CaServer(self.board, port=spare_port(), interfaces=LOOPBACK)
            pva = PvaServer(self.board, port=spare_port(), interfaces=LOOPBACK)
            try:
                await ca.start()
                await pva.start()
            except PortTakenError:  # another test was quicker
                await ca.stop()
                continue
            return ca, pva
        raise AssertionError("no port is free")

    def stop(self) -> None:
        self.run(self.ca.stop())
        self.run(self.pva.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(DEADLINE_S)

    def do(self, function: Callable[[], T]) -> T:
        """Call in the loop's thread, where the board lives."""

        async def call() -> T:
            return function()

        return self.run(call())

    def cell(self, suffix: str) -> Cell:
        return self.board.cell(suffix)

    def value(self, suffix: str) -> Value:
        return self.do(lambda: self.cell(suffix).value)

    def wait_for(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not self.do(condition):
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.005)

    def wait_for_outside(self, condition: Callable[[], object]) -> None:
        """The same, asked in the caller's thread."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.005)

    def reset(self) -> None:
        """Everything as the files say, no hooks."""

        def reset() -> None:
            for name, cell in self.board.cells.items():
                cell.hook, cell.gate = None, self.gate
                if cell.record.view_of is None:
                    cell.set(self._initial[name])
            for action, posting in self.board.progress.items():
                posting.set(RunView(action=action))
            for table in self.board.tables.values():
                table.set(())
            for structure in self.board.structures.values():
                structure.set({})

        self.do(reset)

    def hook(self, suffix: str, hook: Callable[[Cell, Value, Who], Awaitable[Any]]) -> None:
        def hang() -> None:
            self.cell(suffix).hook = hook

        self.do(hang)


class End:
    """The end of a run, for a client that waits for it; nobody needs to."""

    def __init__(self, failing: str = "") -> None:
        self._failing = failing
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def _wait(self) -> None:
        await self._event.wait()
        if self._failing:
            raise RunEndedError("Failed", self._failing)

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()


class Walk:
    """Stands in for the runner behind the button Walk: one run at a time, as long as the test wants.

    Attributes
    ----------
    begun
        Who pressed and was taken.
    """

    def __init__(self, wire: Wire, *, failing: str = "") -> None:
        self._wire = wire
        self._failing = failing
        self.begun: list[Who] = []
        self.refused = self.ended = 0
        self._end: End | None = None
        wire.hook("Walk", self._press)

    async def _press(self, cell: Cell, value: Value, who: Who) -> End | None:
        if not value:
            return None
        if self._end is not None:
            self.refused += 1
            raise BusyError("Walk runs since 09:14:02, pressed by somebody", advice="wait for its end")
        self._end = End(self._failing)
        await asyncio.sleep(0.001)  # written down
        self.begun.append(who)
        cell.set(1)
        return self._end

    def end(self) -> None:
        """Let the run end."""
        self._wire.wait_for(lambda: self.begun)
        self._wire.do(self.finish)

    def finish(self) -> None:
        """The same, in the loop's thread."""
        assert self._end is not None
        end, self._end = self._end, None
        self._wire.cell("Walk").set(0)
        self.ended += 1
        end.set()


PvaClient = Any
"""A `Context` of p4p, whose types say that every answer may be None."""


def pva_context(port: int, *, plain: bool = True) -> PvaClient:
    """A client of pvxs.

    Parameters
    ----------
    plain
        Give structures as they are, without the wrappers of p4p.
    """
    conf = {
        "EPICS_PVA_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_BROADCAST_PORT": str(port),
    }
    return Context("pva", conf=conf, useenv=False, nt=False if plain else None)
