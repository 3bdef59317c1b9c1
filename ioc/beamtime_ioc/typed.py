"""Arguments that are typed into records: a press of the button takes them as they are then."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from beamtime_ioc.arguments import checked_arguments
from beamtime_ioc.board import Board, Cell, Ending
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import RefusedError, RunEndedError
from beamtime_ioc.model import Json, Who
from beamtime_ioc.previews import Previews
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)


class Pressing(Protocol):
    """What is needed of the runner."""

    board: Board
    workshop: Workshop
    previews: Previews

    async def press(self, name: str, who: Who, *, arguments: Mapping[str, Json]) -> Ending: ...

    def refuse(self, name: str, who: Who, error: RefusedError, part: str = "") -> None: ...


class Typed:
    """Presses with what stands in the records `info(beamtime:argument, ...)`. Lives in the event loop.

    What was typed is good for one run that ends well: then it is cleared, so that nobody's old text goes with
    another press. It is kept in memory only.

    Attributes
    ----------
    cells
        By action and argument.
    """

    def __init__(self, pressing: Pressing) -> None:
        self.pressing = pressing
        self.cells: dict[str, dict[str, Cell]] = {}
        for cell in pressing.board.cells.values():
            if cell.record.argument is not None:
                action, name = cell.record.argument
                self.cells.setdefault(action, {})[name] = cell
        self._waiting: set[asyncio.Task[None]] = set()

    async def press(self, name: str, who: Who) -> Ending:
        """Press an action; see `Runner.press`.

        Raises
        ------
        RefusedError
            Also when what was typed does not fit.
        """
        values = self._values(name)
        end = await self.pressing.press(name, who, arguments=self._arguments(name, who, values, ""))
        if values:
            waiting = asyncio.create_task(self._clear_after(end, name, values), name=f"typed for {name}")
            self._waiting.add(waiting)
            waiting.add_done_callback(self._waiting.discard)
        return end

    async def preview(self, name: str, who: Who) -> Ending:
        """Plan what a press would do; see `Previews.preview`."""
        arguments = self._arguments(name, who, self._values(name), "preview")
        return await self.pressing.previews.preview(name, who, arguments)

    def _values(self, name: str) -> Mapping[str, Value]:
        """What was typed; an empty text is nothing."""
        return {word: cell.value for word, cell in self.cells.get(name, {}).items() if cell.value != ""}

    def _arguments(self, name: str, who: Who, values: Mapping[str, Value], part: str) -> Mapping[str, Json]:
        if name not in self.cells:
            return {}
        records = {word: cell.record.suffix for word, cell in self.cells[name].items()}
        try:
            return checked_arguments(self.pressing.workshop.actions[name], values, records)
        except RefusedError as error:
            self.pressing.refuse(name, who, error, part)
            raise

    async def _clear_after(self, end: Ending, name: str, values: Mapping[str, Value]) -> None:
        try:
            await end
        except RunEndedError:
            return  # it may be mended, and pressed again
        for word, value in values.items():
            cell = self.cells[name][word]
            if cell.value == value:  # somebody may have begun to type the next one
                cell.set(cell.record.initial)
