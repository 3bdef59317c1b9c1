"""The board: a Cell per record holds the only truth; who watches is told."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.errors import BadValueError
from beamtime_ioc.model import Who
from beamtime_ioc.posting import Posting, Reading
from beamtime_ioc.progress import RunView
from beamtime_ioc.records import Kind, Record, RecordSet
from beamtime_ioc.values import Value, check, cut

Ending = Awaitable[None]
"""Awaited by a client that waits: returns when the run ended well, raises RunEndedError if not.

An object as `runner.RunEnd` is: mostly nobody awaits it, and a coroutine or a Future would complain of that.
"""

Hook = Callable[["Cell", Value, Who], Awaitable[Ending | None]]
"""What a put means: returns when it is accepted, with the run's end if there is one."""


class Gate(Protocol):
    """Who may write; `access.py` has the real one."""

    def require(self, group: str, who: Who) -> None:
        """Raise NotAllowedError unless `who` may write records of the access group."""
        ...

    def may_write_from_somewhere(self, group: str, user: str) -> bool:
        """Whether the user could write from at least one host: what is announced at connect."""
        ...


class Cell(Posting[Value]):
    """A record at work."""

    def __init__(self, record: Record, gate: Gate) -> None:
        super().__init__(record.name, record.initial)
        self.record, self.gate = record, gate
        self.hook: Hook | None = None

    def alarm_of(self, value: Value) -> Alarm:
        severities = self.record.severities
        if self.record.kind is Kind.STATES and isinstance(value, int) and value < len(severities):
            severity = Severity[severities[value]]
            if severity:
                return Alarm(severity, Status.STATE, self.record.states[value])
        return QUIET

    @property
    def writable(self) -> bool:
        return self.record.writable

    def follow(self, text: "Cell") -> None:
        """Be a short view: show the beginning of a text, with its alarm and its time."""

        def show(reading: Reading[Value]) -> None:
            self.post(Reading(cut(f"{reading.value}", self.record.nelm), reading.alarm, reading.stamp))

        show(text.reading)
        text.watchers.append(show)

    async def put(self, value: object, who: Who, caution: str = "") -> Ending | None:
        """A client asks, on any protocol: gate, check, then hook or set.

        Parameters
        ----------
        value
            A text, a number, or the label, number or digits of a state.
        caution
            Shown as a MINOR alarm after the put: the value may have been damaged on its way.

        Returns
        -------
        Ending or None
            The run that was begun, for a client that waits for its end.

        Raises
        ------
        NotAllowedError, BadValueError, BusyError, RefusedError
            Value and alarm are as before.
        """
        self.gate.require(self.record.asg, who)
        if not self.writable:
            raise BadValueError(f"{self.name} is written by the IOC only", advice="read it")
        checked = check(self.record, value)
        ending = None
        if self.hook is None:
            self.set(checked)
        else:
            ending = await self.hook(self, checked, who)
        if caution:
            self.set(self.value, Alarm(Severity.MINOR, Status.STATE, caution))
        return ending


class Board:
    """All cells, and the progress structures of the actions.

    Attributes
    ----------
    cells
        By full name.
    aliases
        The full name that each alias stands for.
    progress
        By action; the name of each ends in `Progress`.
    """

    def __init__(self, records: RecordSet, gate: Gate) -> None:
        self.records, self.gate = records, gate
        self.cells: dict[str, Cell] = {}
        self.aliases: dict[str, str] = {}
        for record in records.records.values():
            self.cells[record.name] = Cell(record, gate)
            self.aliases |= dict.fromkeys(record.aliases, record.name)
        for view in self.cells.values():
            if view.record.view_of is not None:
                view.follow(self.cells[view.record.view_of])
        self.progress: dict[str, Posting[RunView]] = {
            row.action: Posting(f"{row.button.name}Progress", RunView(action=row.action))
            for row in records.actions()
        }

    def cell(self, suffix: str) -> Cell:
        """The cell of a record by its name without the prefix."""
        return self.cells[self.records.prefix + suffix]
