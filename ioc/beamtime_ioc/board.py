"""The board: a Cell per record holds the only truth; who watches is told."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, Protocol, TypeVar

from beamtime_ioc.action import StepLine
from beamtime_ioc.errors import BadValueError
from beamtime_ioc.model import RunState, Who
from beamtime_ioc.records import Kind, Record, RecordSet

V = TypeVar("V")
POST_RATE_HZ = 5.0


class Severity(IntEnum):
    """As EPICS numbers them."""

    NO_ALARM = 0
    MINOR = 1
    MAJOR = 2
    INVALID = 3


class Status(IntEnum):
    """The alarm states of EPICS that are used here, as EPICS numbers them (alarm.h)."""

    NO_ALARM = 0
    STATE = 7
    COMM = 9
    SOFT = 15
    UDF = 17


@dataclass(frozen=True)
class Alarm:
    """Severity, kind and sentence of an alarm."""

    severity: Severity = Severity.NO_ALARM
    status: Status = Status.NO_ALARM
    message: str = ""


QUIET = Alarm()
UNDEFINED = Alarm(Severity.INVALID, Status.UDF, "not known yet")


@dataclass(frozen=True)
class Reading(Generic[V]):
    """One value with its alarm and its time: what every face shows alike.

    Parameters
    ----------
    stamp
        Seconds since 1970, UTC.
    """

    value: V
    alarm: Alarm
    stamp: float


Watcher = Callable[[Reading[Any]], None]


class Posting(Generic[V]):
    """A value that is shown and watched; only the IOC sets it. Lives in the event loop's thread."""

    def __init__(self, name: str, value: V, alarm: Alarm = QUIET) -> None:
        self.name = name
        self.reading = Reading(value, alarm, time.time())
        self.watchers: list[Watcher] = []
        self._soon: asyncio.TimerHandle | None = None
        self._next: tuple[V, Alarm | None] | None = None

    @property
    def value(self) -> V:
        return self.reading.value

    @property
    def settled(self) -> bool:
        """Whether the reading is the last that was set: no later one waits for its post."""
        return self._soon is None

    def alarm_of(self, value: V) -> Alarm:
        """The alarm that the value itself means."""
        return QUIET

    def set(self, value: V, alarm: Alarm | None = None) -> None:
        """Store, stamp once, tell everybody who watches."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self.post(Reading(value, self.alarm_of(value) if alarm is None else alarm, time.time()))

    def post(self, reading: Reading[V]) -> None:
        """Show a reading as it is, with the time that it has."""
        self.reading = reading
        for watcher in tuple(self.watchers):
            watcher(reading)

    def set_soon(self, value: V, alarm: Alarm | None = None) -> None:
        """As `set`, at most five times a second: the latest wins, and the last is always posted."""
        due = self.reading.stamp + 1 / POST_RATE_HZ - time.time()
        if due <= 0 and self._soon is None:
            self.set(value, alarm)
            return
        self._next = (value, alarm)
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(min(due, 1.0), self._post_next)

    def _post_next(self) -> None:
        self._soon = None
        if self._next is not None:
            self.set(*self._next)


Value = str | int | float
Ending = Awaitable[None]
"""Awaited by a client that waits: returns when the run ended well, raises RunEndedError if not."""

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
        checked = self.check(value)
        ending = None
        if self.hook is None:
            self.set(checked)
        else:
            ending = await self.hook(self, checked, who)
        if caution:
            self.set(self.value, Alarm(Severity.MINOR, Status.STATE, caution))
        return ending

    def check(self, value: object) -> Value:
        """The value as this record holds it: text, state number, integer or float.

        Raises
        ------
        BadValueError
            Too long, no such state, out of range, not a number.
        """
        return CHECKS[self.record.kind](self.record, value)


def cut(text: str, size_bytes: int) -> str:
    """The beginning of a text that fits into so many bytes of UTF-8; no character is cut in two."""
    return text.encode(errors="replace")[:size_bytes].decode(errors="ignore")


def _check_text(record: Record, value: object) -> str:
    text = str(value)
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise BadValueError(f"{record.name}: the text is no Unicode text", advice="send UTF-8") from None
    if size_bytes > record.nelm:
        raise BadValueError(
            f"{record.name} holds {record.nelm} bytes, the text has {size_bytes}", advice="shorten it"
        )
    if "\0" in text:
        raise BadValueError(f"{record.name}: the text has a NUL in it", advice="send it without")
    return text


def _check_state(record: Record, value: object) -> int:
    states = record.states
    allowed = ", ".join(f"{index} {label}" for index, label in enumerate(states))
    # A state without a label has an empty one: "" means none of them.
    if isinstance(value, str) and value and value in states:
        return states.index(value)
    number = _number(record, value, f"its states are {allowed}")
    if number != int(number) or not 0 <= number < len(states):
        raise BadValueError(f"{record.name} has no state {value!s}", advice=f"its states are {allowed}")
    return int(number)


def _number(record: Record, value: object, advice: str) -> float:
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise BadValueError(f"{record.name} cannot take {value!r}", advice=advice) from None
    if not math.isfinite(number):
        raise BadValueError(f"{record.name} cannot take {value}", advice=advice)
    return number


def _check_float(record: Record, value: object) -> float:
    number = _number(record, value, "send a finite number")
    low, high = record.number("DRVL"), record.number("DRVH")
    if high > low and not low <= number <= high:  # equal, as both zeros are: no limits
        raise BadValueError(
            f"{record.name} takes {low:g} to {high:g}, not {number:g}", advice="send one of these"
        )
    return number


def _check_integer(record: Record, value: object) -> int:
    number = int(_check_float(record, value))
    if not -(2**31) <= number < 2**31:
        raise BadValueError(f"{record.name} takes 32 bit, not {number}", advice="send a smaller number")
    return number


def fit(text: str, size_bytes: int) -> str:
    """The text cut at a character, so that it fits a record; a cut is seen by its end."""
    raw = text.encode("utf-8", "replace").replace(b"\0", b" ")
    if len(raw) <= size_bytes:
        return raw.decode()
    return raw[: size_bytes - 4].decode(errors="ignore") + " ..."


CHECKS: Mapping[Kind, Callable[[Record, object], Value]] = {
    Kind.TEXT: _check_text,
    Kind.STRING: _check_text,
    Kind.STATES: _check_state,
    Kind.INTEGER: _check_integer,
    Kind.FLOAT: _check_float,
}


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What `<Action>Progress` shows; times in s, `started` since 1970.

    Parameters
    ----------
    remaining_s
        NaN while it cannot be told.
    """

    action: str
    state: RunState = RunState.IDLE
    percent: float = 0.0
    step: str = ""
    message: str = ""
    advice: str = ""
    run_id: str = ""
    started_by: str = ""
    started: float = 0.0
    elapsed_s: float = 0.0
    remaining_s: float = float("nan")
    steps: tuple[StepLine, ...] = ()


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
