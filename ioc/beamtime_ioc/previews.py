"""The preview of a press: a plan by looking only, one at a time for each action. Lives in the event loop."""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from beamtime_ioc.action import Action
from beamtime_ioc.activerun import RunEnd, freeze
from beamtime_ioc.audit import AuditEntry, Deed
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board, Ending
from beamtime_ioc.engine.engine import Engine, Order, Outcome
from beamtime_ioc.engine.plan import plan
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import BeamtimeError, BusyError, RefusedError
from beamtime_ioc.guards import Guards
from beamtime_ioc.model import Experiment, Json, RunState, Who
from beamtime_ioc.panel import Panel
from beamtime_ioc.ports import Identity

NONE: Mapping[str, Json] = MappingProxyType({})


class Pressing(Protocol):
    """What a preview needs of the runner."""

    board: Board
    workshop: Workshop
    identity: Identity
    audit: Auditor
    panel: Panel
    guards: Guards

    def ready_engine(self) -> Engine: ...

    def require_conditions(
        self, action: Action, who: Who, experiment: Experiment | None, *, preview: bool = False
    ) -> None: ...

    def refuse(self, name: str, who: Who, error: RefusedError, part: str = "") -> None: ...


class Previews:
    """Looks what a press would do, and writes it to the plan record."""

    def __init__(self, pressing: Pressing) -> None:
        self.pressing = pressing
        self._planning: set[str] = set()

    async def preview(self, name: str, who: Who, arguments: Mapping[str, Json] = NONE) -> Ending:
        """Begin to look; the plan record has the plan when what is returned has ended.

        Raises
        ------
        RefusedError
            It is being looked at, or the engine is not ready.
        """
        end, planning = RunEnd(), self._begin(name, who, arguments)
        planning.add_done_callback(lambda _: end.set(Outcome(state=RunState.DONE)))
        return end

    async def plan(self, name: str, who: Who, arguments: Mapping[str, Json]) -> str:
        """The plan of a press with arguments.

        Raises
        ------
        RefusedError
            As of `preview`.
        """
        return await asyncio.shield(self._begin(name, who, arguments))

    def _begin(self, name: str, who: Who, arguments: Mapping[str, Json]) -> asyncio.Task[str]:
        row = self.pressing.panel.rows[name]
        button = self.pressing.board.cells[row.parts["preview"].name]
        try:
            if name in self._planning:
                raise BusyError(f"the preview of {row.button.suffix} runs", advice="wait for its end")
            self.pressing.ready_engine()
        except RefusedError as error:
            self.pressing.refuse(name, who, error, "preview")
            raise
        self.pressing.audit.note(AuditEntry(what=Deed.PREVIEW, who=who, action=name))
        self._planning.add(name)
        button.set(1)
        task = asyncio.create_task(self._plan(name, who, arguments), name=f"preview {name}")
        task.add_done_callback(lambda _: (self._planning.discard(name), button.set(0)))
        return task

    async def _plan(self, name: str, who: Who, arguments: Mapping[str, Json]) -> str:
        action, began = self.pressing.workshop.actions[name], time.monotonic()
        try:
            if action.exclusive:
                self.pressing.guards.require()
            experiment = await freeze(self.pressing.identity, action)
            self.pressing.require_conditions(action, who, experiment, preview=True)
            order = Order(
                id="preview",
                action=name,
                resource=action.resource,
                who=who,
                experiment=experiment,
                arguments=dict(arguments),
            )
            text = await in_thread(f"plan of {name}", plan, order, self.pressing.workshop)
        except BeamtimeError as error:
            text = f"would be refused: {error}"
        else:
            if who.via != "schedule":  # a plan by the clock answers nobody
                self.pressing.panel.take_back_refusal(name, before=began)
        self.pressing.panel.plan(name, text)
        return text
