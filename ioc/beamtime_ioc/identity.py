"""The identity records: views on the current experiment, and what a put to one of them means."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from beamtime_ioc.activerun import acquire, answered
from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board, Cell
from beamtime_ioc.engine.engine import new_run_id
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BadValueError, BusyError, ExperimentClosedError
from beamtime_ioc.model import Beamtime, Experiment, Person, Site, Who, typed_address
from beamtime_ioc.ports import Identity
from beamtime_ioc.runner import Runner
from beamtime_ioc.values import Value, fit

log = logging.getLogger(__name__)

EDITABLE = frozenset(
    ["pi.first_name", "pi.last_name", "pi.institution", "pi.badge", "pi.email", "title", "esaf_doi"]
)
CHOSEN = frozenset(["proposal", "name", "year_month", "esaf"])


def _times(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _pi(name: str) -> Callable[[Experiment], Value]:
    return lambda experiment: getattr(experiment.pi, name)


FIELDS: dict[str, Callable[[Experiment], Value]] = {
    **{f"pi.{field.name}": _pi(field.name) for field in fields(Person) if field.type in ("str", str)},
    "key": lambda e: e.key,
    "name": lambda e: e.name,
    "year_month": lambda e: e.year_month,
    "proposal": lambda e: e.proposal,
    "title": lambda e: e.title,
    "esaf": lambda e: e.esaf,
    "esaf_doi": lambda e: e.esaf_doi,
    "cycle": lambda e: e.cycle,
    "beamline": lambda e: e.beamline,
    "source": lambda e: e.source,
    "start": lambda e: _times(e.start),
    "end": lambda e: _times(e.end),
    "people.count": lambda e: len(e.people),
    "open": lambda e: int(e.open),
}
LOOKED_UP = "looked_up"


class IdentityRecords:
    """Keeps the records like the row, and the row like what a person types.

    Attributes
    ----------
    experiment
        As it is shown.
    followers
        Called in the event loop when it was shown anew.
    """

    def __init__(self, board: Board, identity: Identity, site: Site, runner: Runner) -> None:
        self.board, self.identity, self.site, self.runner = board, identity, site, runner
        self.cells: dict[str, list[Cell]] = {}
        for cell in board.cells.values():
            path = cell.record.field
            if path is None:
                continue
            self.cells.setdefault(path, []).append(cell)
            cell.hook = self._put
            cell.undefine()
        self.experiment: Experiment | None = None
        self.looked_up: datetime | None = None
        self.followers: list[Callable[[], None]] = []
        self._lock, self._refreshing = asyncio.Lock(), asyncio.Lock()

    def show(self, experiment: Experiment | None, looked_up: datetime | None) -> None:
        """Let the records say what the row says; what is unchanged is not posted again."""
        values: dict[str, Value] = {}
        if experiment is not None:
            values = {path: read(experiment) for path, read in FIELDS.items()}
        if looked_up is not None:
            values[LOOKED_UP] = _times(looked_up.astimezone(self.site.zone))
        for path, cells in self.cells.items():
            for cell in cells:
                if path in values:
                    self._show(cell, values[path])
        self.experiment, self.looked_up = experiment, looked_up
        for follow in self.followers:
            follow()

    def _show(self, cell: Cell, value: Value) -> None:
        alarm, fitting = QUIET, value
        if isinstance(value, str):
            fitting = fit(value, cell.record.nelm)
            if fitting != value:
                alarm = Alarm(Severity.MINOR, Status.STATE, f"cut to {cell.record.nelm} bytes")
        if cell.value != fitting or not cell.is_known:
            cell.set(fitting, alarm)

    async def refresh(self) -> None:
        """Read the row again and show it."""
        async with self._refreshing:  # a later one must not be overtaken by an earlier
            self.show(
                *await in_thread("identity", lambda: (self.identity.current(), self.identity.looked_up()))
            )

    async def _put(self, cell: Cell, value: Value, who: Who) -> None:
        path = cell.record.field or ""
        if path not in EDITABLE:
            chosen = "press UpdateUserInfo, choose by ExperimentChoice or type one into ManualName"
            how = chosen if path in CHOSEN else "it follows from the experiment"
            raise BadValueError(
                f"{cell.record.suffix} is not typed in", advice=f"{how}; other fields can be corrected"
            )
        if path == "pi.email":
            value = self._address(cell, str(value))
        await acquire(self._lock, "somebody corrects the current experiment", advice="type it again")
        changing = asyncio.create_task(self._change(cell, path, value, who), name=f"edit of {path}")
        await answered(
            changing,
            advice=f"it may be written yet: look at its host and at {cell.record.suffix}, then type it again",
        )

    def _address(self, cell: Cell, text: str) -> str:
        try:
            return typed_address(text)
        except ValueError as error:
            raise BadValueError(f"{cell.record.suffix}: {error}", advice="an empty text is none") from None

    async def _change(self, cell: Cell, path: str, value: Value, who: Who) -> None:
        """Until it is written nobody else changes the experiment, even if the client has long been told."""
        try:
            busy = next((run for run in self.runner.active.values() if run.action.exclusive), None)
            if busy is not None:
                raise BusyError(
                    f"not while {self._button(busy.action.name)} runs",
                    advice="wait for its end, then type it again",
                )
            self.runner.guards.require()
            self.runner.editing += 1
            try:
                await in_thread("edit of the experiment", self._edit, path, str(value))
            finally:
                self.runner.editing -= 1
            log.info("%s set to %r by %s", cell.name, value, who)
            self.runner.guards.passed(who, cell.record.suffix)
            await self.refresh()
        finally:
            self._lock.release()

    def _button(self, action: str) -> str:
        return self.runner.panel.rows[action].button.suffix

    def _edit(self, path: str, text: str) -> None:
        current = self.identity.current() or self._blank()
        if not current.open:
            raise ExperimentClosedError(current.name)
        if FIELDS[path](current) != text:
            self.identity.adopt(current.edit(path, text))

    def _blank(self) -> Experiment:
        """An experiment that no schedule knows, from now on for a day."""
        now = datetime.now(UTC)
        return self.site.experiment(
            Beamtime(source="manual", id=new_run_id(), start=now, end=now + timedelta(days=1))
        )
