"""The alarm that a record's value means by itself, as the record support of EPICS base 7 decides it."""

import math
from collections.abc import Callable
from dataclasses import replace

from beamtime_ioc.alarm import QUIET, UNDEFINED, Alarm, Severity, Status
from beamtime_ioc.record import Record
from beamtime_ioc.recordtypes import STATE_SEVERITIES, Kind
from beamtime_ioc.values import Value

LIMITS = (
    ("HIHI", "HHSV", Status.HIHI, 1),
    ("LOLO", "LLSV", Status.LOLO, -1),
    ("HIGH", "HSV", Status.HIGH, 1),
    ("LOW", "LSV", Status.LOW, -1),
)
"""Field of the limit and of its severity, in the order in which base looks; 1 for a limit from above."""


def undefined(record: Record) -> Alarm:
    """The alarm of a value that is not known yet: INVALID unless the record's UDFS says otherwise."""
    severity = Severity[record.fields.get("UDFS") or UNDEFINED.severity.name]
    return replace(UNDEFINED, severity=severity) if severity else QUIET


def at_least(declared: Alarm, said: Alarm) -> Alarm:
    """What the program says, unless the record file says worse of the value; its words go along with both.

    An alarm without severity gives its words to whatever the value means; where that is nothing it is silent.
    """
    if said.severity >= declared.severity:
        return said if said.severity else QUIET
    return replace(declared, message=said.message) if said.message else declared


class ValueAlarm:
    """Judges the values of one record; remembers, as LALM of a C record does, what it judged last."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._last: float = math.nan
        self._severity_of = {
            name: Severity[record.fields.get(name) or Severity.NO_ALARM.name]
            for name in ("COSV", "UNSV", "ZSV", "OSV", *STATE_SEVERITIES, *(sev for _, sev, *_ in LIMITS))
        }
        self._look: Callable[[float], tuple[Alarm, float]] | None = None
        if record.kind is Kind.STATES and any(self._severity_of.values()):
            self._look, self._last = self._state, float(record.initial)
        elif record.kind in (Kind.INTEGER, Kind.FLOAT):
            self._hysteresis = record.number("HYST")
            self._limits = [
                (record.number(field), side, field, Alarm(self._severity_of[name], status))
                for field, name, status, side in LIMITS
                if self._severity_of[name]
            ]
            if self._limits or record.kind is Kind.FLOAT:
                self._look = self._range

    def of(self, value: Value) -> Alarm:
        """What a value would mean; nothing is remembered."""
        return QUIET if self._look is None or not isinstance(value, int | float) else self._look(value)[0]

    def take(self, value: Value) -> None:
        """The value is shown: the next one is judged after it."""
        if self._look is not None and isinstance(value, int | float):
            _, self._last = self._look(value)

    def _state(self, value: float) -> tuple[Alarm, float]:
        index = int(value)
        label = self._record.states[index] if 0 <= index < len(self._record.states) else f"{index}"
        names = STATE_SEVERITIES if self._record.type.startswith("mbb") else ("ZSV", "OSV")
        severity = self._severity_of[names[index] if 0 <= index < len(names) else "UNSV"]
        alarm = Alarm(severity, Status.STATE, label) if severity else QUIET
        changed = self._severity_of["COSV"]
        if value != self._last and changed > severity:
            alarm = Alarm(changed, Status.COS, f"changed to {label}")
            # As in base: two states are compared with the last one, several with the last that raised none.
            return alarm, self._last if self._record.type.startswith("mbb") else value
        return alarm, value

    def _range(self, value: float) -> tuple[Alarm, float]:
        if math.isnan(value):
            return undefined(self._record), self._last
        for limit, side, field, alarm in self._limits:
            # Below a limit that it has reached, it stays in alarm until it is clear of it.
            reached = limit - side * self._hysteresis if self._last == limit else limit
            if side * value >= side * limit or side * value >= side * reached:
                return replace(alarm, message=f"{value:g} is {_beyond(side)} {field} ({limit:g})"), limit
        return QUIET, value


def _beyond(side: int) -> str:
    return "at or above" if side > 0 else "at or below"
