"""Limits of a number as clients are told of them."""

import math

from beamtime_ioc.alarm import Severity
from beamtime_ioc.records import Record


def display_limits(record: Record) -> tuple[float, float]:
    """Low and high end of the scale."""
    return record.number("LOPR"), record.number("HOPR")


def control_limits(record: Record) -> tuple[float, float]:
    """Low and high end of what may be put, as the C records announce it."""
    if record.type in ("ao", "longout"):
        return record.number("DRVL"), record.number("DRVH")
    return display_limits(record)


ALARM, WARNING = (("LOLO", "LLSV"), ("HIHI", "HHSV")), (("LOW", "LSV"), ("HIGH", "HSV"))
"""Low and high field of each pair of limits, with the field of its severity."""


def alarm_limits(record: Record, pair: tuple[tuple[str, str], ...] = ALARM) -> tuple[float, ...]:
    """Low and high end of what is well, as the C records announce it: NaN where the limit has no severity."""
    return tuple(record.number(limit) if severity_of(record, name) else math.nan for limit, name in pair)


def severity_of(record: Record, name: str) -> int:
    """What the file says, such as of HHSV."""
    return int(Severity[record.fields.get(name) or Severity.NO_ALARM.name])
