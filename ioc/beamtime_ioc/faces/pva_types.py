"""Structures of PVAccess: records and tables as normative types, the rest as our own."""
# pyright: basic

import math
from collections.abc import Sequence
from typing import Any

from p4p import Type, Value
from p4p.nt import NTEnum, NTScalar, NTTable
from p4p.nt.common import alarm as alarm_type
from p4p.nt.common import timeStamp as time_type

from beamtime_ioc.board import Found, Row
from beamtime_ioc.faces.limits import (
    ALARM,
    WARNING,
    alarm_limits,
    control_limits,
    display_limits,
    severity_of,
)
from beamtime_ioc.faces.stamp import split_stamp
from beamtime_ioc.posting import Reading
from beamtime_ioc.progress import RunView, StepLine
from beamtime_ioc.records import Kind, Record
from beamtime_ioc.tablefile import Column, ColumnType, Table

COLUMNS = {
    ColumnType.STRING: "as",
    ColumnType.BOOLEAN: "a?",
    ColumnType.INT: "ai",
    ColumnType.LONG: "al",
    ColumnType.DOUBLE: "ad",
}
SCALARS = {Kind.TEXT: "s", Kind.STRING: "s", Kind.INTEGER: "i", Kind.FLOAT: "d"}
LINE = [("name", "s"), ("state", "s"), ("reason", "s"), ("seconds", "d")]
PROGRESS = Type(
    id="beamtime:Progress/1.0",
    spec=[
        ("action", "s"),
        ("state", "s"),
        ("percent", "d"),
        ("step", "s"),
        ("message", "s"),
        ("advice", "s"),
        ("runId", "s"),
        ("startedBy", "s"),
        ("started", time_type),
        ("elapsed", "d"),
        ("remaining", "d"),
        ("alarm", alarm_type),
        ("timeStamp", time_type),
        ("steps", ("aS", None, LINE)),
    ],
)


def type_of(record: Record) -> Type:
    """NTEnum for states, NTScalar for everything else."""
    if record.kind is Kind.STATES:
        return NTEnum.buildType(extra=[("display", ("S", None, [("description", "s")]))])
    return NTScalar.buildType(SCALARS[record.kind], display=True, control=True, valueAlarm=True, form=True)


def first_value(kind: Type, record: Record, reading: Reading[Any]) -> Value:
    """The whole structure, with what the record file says."""
    value = later_value(kind, record, reading)
    value["display.description"] = record.desc
    if record.kind is Kind.STATES:
        value["value.choices"] = list(record.states)
        return value
    value["display.units"] = record.egu
    if record.kind not in (Kind.INTEGER, Kind.FLOAT):
        return value
    exact = int if record.kind is Kind.INTEGER else float
    for place, ends in {"display": display_limits(record), "control": control_limits(record)}.items():
        value[f"{place}.limitLow"], value[f"{place}.limitHigh"] = (exact(end) for end in ends)
    value["display.precision"] = int(record.number("PREC"))
    value["display.form.choices"] = [
        "Default",
        "String",
        "Binary",
        "Decimal",
        "Hex",
        "Exponential",
        "Engineering",
    ]
    _set_alarm_limits(value, record)
    return value


def _set_alarm_limits(value: Value, record: Record) -> None:
    """As the C records announce them: of a number that has none NaN, of an integer 0."""
    for word, pair in (("Alarm", ALARM), ("Warning", WARNING)):
        for side, (_, name), limit in zip(("low", "high"), pair, alarm_limits(record, pair), strict=True):
            if record.kind is Kind.FLOAT or math.isfinite(limit):
                value[f"valueAlarm.{side}{word}Limit"] = limit if record.kind is Kind.FLOAT else int(limit)
            value[f"valueAlarm.{side}{word}Severity"] = severity_of(record, name)
            value["valueAlarm.active"] |= severity_of(record, name) > 0
    value["valueAlarm.hysteresis"] = record.number("HYST")


def later_value(
    kind: Type, record: Record, reading: Reading[Any], before: Reading[Any] | None = None
) -> Value:
    """What changes: value and time, and the alarm unless it is as before."""
    value = {"index": reading.value} if record.kind is Kind.STATES else sent(reading.value)
    if before is not None and before.alarm == reading.alarm:
        return Value(kind, {"value": value, "timeStamp": _time(reading.stamp)})
    return Value(kind, {"value": value, **_state(reading)})


def progress_value(reading: Reading[RunView]) -> Value:
    """A run as a structure."""
    view = reading.value
    return Value(
        PROGRESS,
        {
            "action": view.action,
            "state": view.state.value,
            "percent": view.percent,
            "step": sent(view.step),
            "message": sent(view.message),
            "advice": sent(view.advice),
            "runId": view.run_id,
            "startedBy": sent(view.started_by),
            "started": _time(view.started),
            "elapsed": view.elapsed_s,
            "remaining": view.remaining_s,
            "steps": line_values(view.steps),
            **_state(reading),
        },
    )


def line_values(lines: Sequence[StepLine]) -> list[dict[str, Any]]:
    """Lines of a checklist, of the type `LINE`."""
    return [
        {
            "name": sent(line.name),
            "state": line.state.value,
            "reason": sent(line.reason),
            "seconds": line.seconds,
        }
        for line in lines
    ]


def table_type(table: Table) -> Type:
    """NTTable with the table's columns, and a description for people."""
    return NTTable.buildType([(column.name, COLUMNS[column.type]) for column in table.columns])


def table_value(kind: Type, table: Table, reading: Reading[tuple[Row, ...]]) -> Value:
    """All rows, column by column; those above the table's size are left out."""
    rows = reading.value[: table.rows]
    return Value(
        kind,
        {
            "labels": [column.label for column in table.columns],
            "value": {
                column.name: [sent(row[place]) for row in rows] for place, column in enumerate(table.columns)
            },
            "descriptor": table.description,
            **_state(reading),
        },
    )


NOTHING: dict[ColumnType, Any] = {**dict.fromkeys(ColumnType, 0), ColumnType.STRING: ""}
STRUCTURE_FIELDS = {kind: letters.removeprefix("a") for kind, letters in COLUMNS.items()}


def structure_type(table: Table) -> Type:
    """The structure's fields, lists of structures among them, with alarm and time."""
    fields: list[tuple[str, Any]] = []
    for one in table.columns:
        inner = [(column.name, STRUCTURE_FIELDS[column.type]) for column in one.columns]
        fields.append((one.name, ("aS", None, inner) if inner else STRUCTURE_FIELDS[one.type]))
    fields += [("alarm", alarm_type), ("timeStamp", time_type)]
    return Type(id=f"beamtime:{table.suffix}/1.0", spec=fields)


def structure_value(kind: Type, table: Table, reading: Reading[Found]) -> Value:
    """The structure as it is known; before that it is empty."""
    value: dict[str, Any] = {}
    for one in table.columns:  # each of them: what a post leaves out stays as it was
        found = reading.value.get(one.name, [] if one.columns else NOTHING[one.type])
        value[one.name] = [_entry(one, row) for row in found] if one.columns else sent(found)
    return Value(kind, {**value, **_state(reading)})


def _entry(one: Column, row: Row) -> dict[str, Any]:
    return {column.name: sent(value) for column, value in zip(one.columns, row, strict=True)}


def _state(reading: Reading[Any]) -> dict[str, Any]:
    alarm = reading.alarm
    return {
        # The numbers of alarm.h, as on Channel Access.
        "alarm": {
            "severity": int(alarm.severity),
            "status": int(alarm.status),
            "message": sent(alarm.message),
        },
        "timeStamp": _time(reading.stamp),
    }


def sent(value: Any) -> Any:
    """A value as it can be sent: a name of a file on a disk may be no Unicode text."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _time(stamp: float) -> dict[str, int]:
    seconds, nanoseconds = split_stamp(stamp)
    return {"secondsPastEpoch": seconds, "nanoseconds": nanoseconds}
