"""A table that follows its source: read beside the event loop whenever something has changed."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from beamtime_ioc.alarm import QUIET, UNDEFINED, Alarm, Severity, Status
from beamtime_ioc.board import Board, Found, StructureCell, TableCell
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.posting import POST_RATE_HZ

log = logging.getLogger(__name__)

RETRY_S, SLOWEST_S = 10.0, 10.0
REST = 200.0
"""How much longer than its reading a table rests after it."""


@dataclass(frozen=True)
class Rows:
    """What a source has found, and how bad that is."""

    rows: Sequence[Found]
    alarm: Alarm = QUIET


class TableSource(Protocol):
    """What fills a table, or a structure."""

    async def rows(self, limit: int) -> Rows | Sequence[Found] | None:
        """The first rows, each by its columns' names; a table may show only some of them.

        Returns
        -------
        Rows, or a sequence
            Of a structure: one. `Rows` where they mean an alarm.
        None
            Nothing is known yet.

        Raises
        ------
        BeamtimeError
            They cannot be read now.
        """
        ...

    def tell_changes(self, changed: Callable[[], None]) -> None:
        """Have `changed` called, in the event loop, whenever the rows may have become others."""
        ...


class FilledTable:
    """Fills one table or structure, at most five times a second; the last change is always shown.

    One that takes long to read is read less often, but once a second: the audit always has new lines.

    While its source hangs, no second reading waits behind it.
    """

    def __init__(self, cell: TableCell | StructureCell, source: TableSource) -> None:
        self.cell, self.source = cell, source
        self.slowest_s = SLOWEST_S
        self._changed = asyncio.Event()
        self._changed.set()
        source.tell_changes(self._changed.set)

    async def follow(self) -> None:
        """Fill it now and after each change, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            began = time.monotonic()
            try:
                await self._fill()
            except BeamtimeError as error:
                log.warning("%s is not up to date: %s", self.cell.name, error)
                self.cell.blame(Alarm(Severity.INVALID, Status.COMM, str(error)))
                await asyncio.sleep(RETRY_S)
                self._changed.set()
            took = time.monotonic() - began
            await asyncio.sleep(min(max(1 / POST_RATE_HZ, took * REST), 1.0))

    async def _fill(self) -> None:
        found = await self._read()
        if found is None:
            self.cell.fill([], UNDEFINED)
        else:
            known = found if isinstance(found, Rows) else Rows(found)
            self.cell.fill(known.rows, known.alarm)

    async def _read(self) -> Rows | Sequence[Found] | None:
        reading = asyncio.ensure_future(self.source.rows(self.cell.table.rows))
        try:
            done, _ = await asyncio.wait({reading}, timeout=self.slowest_s)
            if not done:
                words = f"not up to date: it could not be read within {self.slowest_s:g} s; look at its disk"
                log.warning("%s is %s", self.cell.name, words)
                self.cell.blame(Alarm(Severity.INVALID, Status.TIMEOUT, words))
            return await reading
        finally:
            reading.cancel()


def fill_tables(board: Board, sources: Mapping[str, TableSource]) -> Sequence[FilledTable]:
    """Every table and structure of a board with its source."""
    cells = (*board.tables.values(), *board.structures.values())
    return [FilledTable(cell, sources[cell.table.source]) for cell in cells]
