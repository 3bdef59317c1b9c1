"""Structures of PVAccess: a record as a normative type, a run as `beamtime:Progress/1.0`."""
# pyright: basic

import math
from typing import Any

from p4p import Type, Value
from p4p.nt import NTEnum, NTScalar
from p4p.nt.common import alarm as alarm_type
from p4p.nt.common import timeStamp as time_type

from beamtime_ioc.faces.limits import control_limits, display_limits
from beamtime_ioc.faces.stamp import split_stamp
from beamtime_ioc.posting import Reading
from beamtime_ioc.progress import RunView
from beamtime_ioc.records import Kind, Record

SCALARS = {Kind.TEXT: "s", Kind.STRING: "s", Kind.INTEGER: "i", Kind.FLOAT: "d"}
_LINE = [("name", "s"), ("state", "s"), ("reason", "s"), ("seconds", "d")]
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
        ("steps", ("aS", None, _LINE)),
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
    if record.kind is Kind.FLOAT:
        for name in ("lowAlarm", "lowWarning", "highWarning", "highAlarm"):
            value[f"valueAlarm.{name}Limit"] = math.nan
    return value


def later_value(
    kind: Type, record: Record, reading: Reading[Any], before: Reading[Any] | None = None
) -> Value:
    """What changes: value and time, and the alarm unless it is as before."""
    value = {"index": reading.value} if record.kind is Kind.STATES else _sent(reading.value)
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
            "step": _sent(view.step),
            "message": _sent(view.message),
            "advice": _sent(view.advice),
            "runId": view.run_id,
            "startedBy": _sent(view.started_by),
            "started": _time(view.started),
            "elapsed": view.elapsed_s,
            "remaining": view.remaining_s,
            "steps": [
                {
                    "name": _sent(line.name),
                    "state": line.state.value,
                    "reason": _sent(line.reason),
                    "seconds": line.seconds,
                }
                for line in view.steps
            ],
            **_state(reading),
        },
    )


def _state(reading: Reading[Any]) -> dict[str, Any]:
    alarm = reading.alarm
    return {
        # The numbers of alarm.h, as on Channel Access.
        "alarm": {
            "severity": int(alarm.severity),
            "status": int(alarm.status),
            "message": _sent(alarm.message),
        },
        "timeStamp": _time(reading.stamp),
    }


def _sent(value: Any) -> Any:
    """A value as it can be sent: a name of a file on a disk may be no Unicode text."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _time(stamp: float) -> dict[str, int]:
    seconds, nanoseconds = split_stamp(stamp)
    return {"secondsPastEpoch": seconds, "nanoseconds": nanoseconds}
