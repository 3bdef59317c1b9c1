"""Alarms: how bad a value is, of what kind, and in words."""

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """As EPICS numbers them."""

    NO_ALARM = 0
    MINOR = 1
    MAJOR = 2
    INVALID = 3


class Status(IntEnum):
    """The alarm states of EPICS that are used here, as EPICS numbers them (alarm.h)."""

    NO_ALARM = 0
    HIHI = 3
    HIGH = 4
    LOLO = 5
    LOW = 6
    STATE = 7
    COS = 8
    COMM = 9
    TIMEOUT = 10
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
