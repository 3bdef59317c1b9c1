"""The board: a Cell per record holds the only truth; who watches is told."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from beamtime_ioc.alarm import UNDEFINED, Alarm, Severity, Status
from beamtime_ioc.errors import BadValueError, RefusedError
from beamtime_ioc.model import Who, one_line
from beamtime_ioc.posting import Posting, Reading, V
from beamtime_ioc.progress import RunView
from beamtime_ioc.records import Record, RecordSet
from beamtime_ioc.tablefile import Column, Table, TableKind
from beamtime_ioc.valuealarm import ValueAlarm, at_least, undefined
from beamtime_ioc.values import Value, check, cut, fit, line_of

Ending = Awaitable[None]
"""Awaited by a client that waits: returns when the run ended well, raises RunEndedError if not.

An object as `runner.RunEnd` is: mostly nobody awaits it, and a coroutine or a Future would complain of that.
"""

Hook = Callable[["Cell", Value, Who], Awaitable[Ending | None]]
"""What a put means: returns when it is accepted, with the run's end if there is one."""

Refused = Callable[[Who, RefusedError], object]
"""Told of a put that its hook never sees: gate or value are wrong. Must return at once and not raise."""

SHOWN_CHARACTERS = 200


@dataclass(kw_only=True)
class Put:
    """A client's put while it is looked at.

    Parameters
    ----------
    record
        Full name.
    old, new
        As they are written down: one line each, cut to 200 characters.
    noted
        Whether somebody has written down what was asked for.
    """

    record: str
    who: Who
    old: str
    new: str
    noted: bool = False


asked: ContextVar[Put | None] = ContextVar("asked", default=None)
"""The put that the present task works on."""


@dataclass(frozen=True, kw_only=True)
class Called:
    """What a call is answered: how the run stands, or what it would do."""

    view: RunView
    plan: str = ""


Call = Callable[[Mapping[str, object], Who], Awaitable[Called]]
"""Presses an action by a name and arguments; raises RefusedError when nothing was begun."""


class Ledger(Protocol):
    """Who writes down what clients put; must return at once and not raise."""

    def note_put(self, put: Put, error: RefusedError | None) -> None: ...


class Gate(Protocol):
    """Who may write; `access.py` has the real one."""

    def require(self, group: str, who: Who) -> None:
        """Raise NotAllowedError unless `who` may write records of the access group."""
        ...


class Cell(Posting[Value]):
    """A record at work."""

    def __init__(self, record: Record, gate: Gate) -> None:
        self._means = ValueAlarm(record)
        first = undefined(record) if record.told_later else self._means.of(record.initial)
        super().__init__(record.name, record.initial, first)
        self.record, self.gate = record, gate
        self.hook: Hook | None = None
        self.refused: Refused | None = None
        self.ledger: Ledger | None = None

    def alarm_of(self, value: Value, alarm: Alarm | None = None) -> Alarm:
        """The alarm that the value means by the record file, or the program's if that is worse."""
        declared = self._means.of(value)
        return declared if alarm is None else at_least(declared, alarm)

    @property
    def writable(self) -> bool:
        return self.record.writable

    @property
    def is_known(self) -> bool:
        """Whether it was ever set to a value."""
        return self.reading.alarm.status is not Status.UDF

    def undefine(self) -> None:
        """Say that what it shows is not known yet."""
        super().set(self.value, undefined(self.record))

    def set(self, value: Value, alarm: Alarm | None = None) -> None:
        shown = self.alarm_of(value, alarm)
        self._means.take(value)
        super().set(value, shown)

    def show(self, value: Value, alarm: Alarm | None = None) -> None:
        """Show a value of the program's own, texts cut to the record; what is shown already is not posted."""
        fitting = fit(value, self.record.nelm) if isinstance(value, str) else value
        if (self.value, self.reading.alarm) != (fitting, self.alarm_of(fitting, alarm)):
            self.set(fitting, alarm)

    def follow(self, text: "Cell") -> None:
        """Be a short view: show the beginning of a text, or one of its lines, with its alarm and its time."""
        line, size = self.record.line, self.record.nelm

        def show(reading: Reading[Value]) -> None:
            whole, alarm = f"{reading.value}", reading.alarm
            shown = cut(whole, size) if line is None else fit(line_of(whole, line), size)
            if line is None and shown != whole and alarm.severity is Severity.NO_ALARM:
                alarm = Alarm(Severity.MINOR, Status.STATE, f"cut to {size} bytes: {text.name} has the whole")
            # Most lines of a text that changes stay empty.
            if line is None or (self.value, self.reading.alarm) != (shown, alarm):
                self.post(Reading(shown, alarm, reading.stamp))

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
        put = Put(record=self.name, who=who, old=self.text_of(self.value), new=self.text_of(value))
        token = asked.set(put)
        try:
            checked = self._admit(value, who)
            ending = None
            if self.hook is None:
                self.set(checked)
            else:
                ending = await self.hook(self, checked, who)
            self._note(put, None)
        except RefusedError as error:
            self._note(put, error)
            raise
        finally:
            asked.reset(token)
        if caution:
            self.set(self.value, Alarm(Severity.MINOR, Status.STATE, caution))
        return ending

    def _admit(self, value: object, who: Who) -> Value:
        try:
            self.gate.require(self.record.asg, who)
            if not self.writable:
                raise BadValueError(f"{self.name} is written by the IOC only", advice="read it")
            return check(self.record, value)
        except RefusedError as error:
            if self.refused is not None:
                self.refused(who, error)
            raise

    def refuse(self, sent: object, who: Who, error: RefusedError) -> None:
        """A put whose value cannot even be read is refused by a face; first of all whoever may not write."""
        try:
            self.gate.require(self.record.asg, who)
        except RefusedError as denied:
            error = denied
        put = Put(record=self.name, who=who, old=self.text_of(self.value), new=self.text_of(sent))
        token = asked.set(put)
        try:
            if self.refused is not None:
                self.refused(who, error)
            self._note(put, error)
        finally:
            asked.reset(token)

    def _note(self, put: Put, error: RefusedError | None) -> None:
        if self.ledger is not None and self.record.writable and not put.noted:
            self.ledger.note_put(put, error)

    def text_of(self, value: object) -> str:
        """A value as it is written down."""
        states = self.record.states
        if isinstance(value, int) and 0 <= value < len(states):
            return states[value]
        return one_line(str(value), SHOWN_CHARACTERS)


Row = Sequence[Value]
"""One value per column of a table."""

Found = Mapping[str, Any]
"""What a source knows of one row, by its columns' names; of a list a sequence of such."""


class FilledCell(Posting[V], ABC):
    """What is filled from a source as a whole; undefined before."""

    def __init__(self, table: Table) -> None:
        super().__init__(table.name, self.arranged(table, []), UNDEFINED)
        self.table = table

    @staticmethod
    @abstractmethod
    def arranged(table: Table, found: Sequence[Found]) -> V:
        """What the source has found, as it is shown."""

    def fill(self, found: Sequence[Found], alarm: Alarm) -> None:
        """Show it, unless it is shown already."""
        value = self.arranged(self.table, found)
        if (value, alarm) != (self.value, self.reading.alarm):
            self.set(value, alarm)

    def blame(self, alarm: Alarm) -> None:
        """Say what is wrong with what is shown."""
        self.set(self.value, alarm)


class TableCell(FilledCell[tuple[Row, ...]]):
    """A table at work: rows with the table's columns in their order."""

    @staticmethod
    def arranged(table: Table, found: Sequence[Found]) -> tuple[Row, ...]:
        return _rows(found, table.columns, table.rows)


class StructureCell(FilledCell[Found]):
    """A structure at work: a value for each field, rows for each list; empty where nothing was found."""

    @staticmethod
    def arranged(table: Table, found: Sequence[Found]) -> Found:
        if not found:
            return {}
        first, rows = found[0], table.rows
        return {
            one.name: _rows(first[one.name], one.columns, rows) if one.columns else first[one.name]
            for one in table.columns
        }


def _rows(found: Sequence[Found], columns: Sequence[Column], limit: int) -> tuple[Row, ...]:
    return tuple(tuple(row[column.name] for column in columns) for row in found[:limit])


class Board:
    """All cells, the progress structures of the actions, the tables and the other structures.

    Attributes
    ----------
    cells
        By full name.
    aliases
        The full name that each alias stands for.
    progress
        By action; the name of each ends in `Progress`.
    tables, structures
        By full name.
    rights_changed
        Called when others may write than before.
    call
        Answers a press by a call; None while nobody does.
    """

    def __init__(self, records: RecordSet, gate: Gate) -> None:
        self.records, self.gate = records, gate
        self.rights_changed: list[Callable[[], None]] = []
        self.call: Call | None = None
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
        self.tables = {one.name: TableCell(one) for one in records.tables if one.kind is TableKind.TABLE}
        self.structures = {
            one.name: StructureCell(one) for one in records.tables if one.kind is TableKind.STRUCTURE
        }
        self._reports = {word: self.cells[record.name] for word, record in records.engine_reports().items()}

    def tell_rights(self) -> None:
        """Let the faces announce who may write now."""
        for tell in tuple(self.rights_changed):
            tell()

    def cell(self, suffix: str) -> Cell:
        """The cell of a record by its name without the prefix."""
        return self.cells[self.records.prefix + suffix]

    def report_cell(self, word: str) -> Cell | None:
        """The cell in which the program tells something of itself; a site's own records may lack it."""
        return self._reports.get(word)

    def report(self, word: str, value: Value, alarm: Alarm | None = None) -> None:
        """Show a value of the program's own where there is a record for it."""
        cell = self._reports.get(word)
        if cell is not None:
            cell.show(value, alarm)
