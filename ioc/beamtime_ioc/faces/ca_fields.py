"""What stands behind the dot of a record's name on Channel Access; reading it never calls a hook."""
# pyright: basic

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from caproto import ChannelType

from beamtime_ioc.alarm import Severity, Status
from beamtime_ioc.posting import Reading
from beamtime_ioc.records import Kind, Record
from beamtime_ioc.recordtypes import LIMIT_SEVERITIES, STATE_NAMES, STATE_SEVERITIES
from beamtime_ioc.values import Value, cut

SEVERITIES = tuple(Severity.__members__)
# The menus of EPICS base 7: menuAlarmStat, menuScan, menuPini, menuFtype.
STATUSES = (
    *("NO_ALARM", "READ", "WRITE", "HIHI", "HIGH", "LOLO", "LOW", "STATE", "COS", "COMM", "TIMEOUT"),
    *(
        "HWLIMIT",
        "CALC",
        "SCAN",
        "LINK",
        "SOFT",
        "BAD_SUB",
        "UDF",
        "DISABLE",
        "SIMM",
        "READ_ACCESS",
        "WRITE_ACCESS",
    ),
)
SCANS = ("Passive", "Event", "I/O Intr", *(f"{s} second" for s in ("10", "5", "2", "1", ".5", ".2", ".1")))
PINIS = ("NO", "YES", "RUN", "RUNNING", "PAUSE", "PAUSED")
FTYPES = (
    *("STRING", "CHAR", "UCHAR", "SHORT", "USHORT", "LONG", "ULONG", "INT64", "UINT64", "FLOAT", "DOUBLE"),
    "ENUM",
)
STRING_BYTES = 40
"""Of a DBR string, its closing NUL included."""
MESSAGE_BYTES = 256

KINDS = {
    Kind.TEXT: ChannelType.CHAR,
    Kind.STRING: ChannelType.STRING,
    Kind.STATES: ChannelType.ENUM,
    Kind.INTEGER: ChannelType.LONG,
    Kind.FLOAT: ChannelType.DOUBLE,
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field, the value among them.

    Parameters
    ----------
    native
        DBR type announced to clients.
    show
        What it says of a reading: a text, a number, or the index of a label.
    count
        Elements; of a CHAR array its bytes.
    size_bytes
        Of the CHAR array that a text becomes behind `$`; 0 where there is none.
    live
        It changes with the record, not only at its start.
    """

    native: ChannelType
    show: Callable[[Reading[Any]], Value]
    labels: tuple[str, ...] = ()
    count: int = 1
    size_bytes: int = 0
    live: bool = False

    def long_string(self) -> "Field | None":
        """The same behind a `$`: a CHAR array; None for what is no text."""
        if self.native is ChannelType.STRING:
            return replace(self, native=ChannelType.CHAR, count=self.size_bytes)
        return self if self.count > 1 or self.size_bytes else None


def field_of(record: Record, name: str) -> Field | None:
    """A field by its name; empty or `VAL` for the value. None for one that is not served."""
    if name in ("", "VAL"):
        text = record.kind is Kind.TEXT
        return Field(
            native=KINDS[record.kind],
            show=lambda reading: reading.value,
            labels=record.states,
            count=record.nelm if text else 1,
            size_bytes=record.nelm if text else STRING_BYTES if record.kind is Kind.STRING else 0,
            live=True,
        )
    maker = EVERY.get(name) or FIELDS[record.type].get(name)
    return None if maker is None else maker(record, name)


Maker = Callable[[Record, str], Field]


def _text(size_bytes: int, find: Callable[[Record], str] | None = None) -> Maker:
    def make(record: Record, name: str) -> Field:
        value = find(record) if find else record.fields.get(name, "")
        return Field(native=ChannelType.STRING, show=lambda _: value, size_bytes=size_bytes)

    return make


def _menu(labels: tuple[str, ...], default: int = 0) -> Maker:
    """A choice; the default where the file says nothing."""

    def make(record: Record, name: str) -> Field:
        index = labels.index(record.fields.get(name) or labels[default])
        return Field(native=ChannelType.ENUM, show=lambda _: index, labels=labels)

    return make


def _number(native: ChannelType) -> Maker:
    def make(record: Record, name: str) -> Field:
        value = record.number(name)
        return Field(native=native, show=lambda _: value)

    return make


def _live(
    native: ChannelType,
    show: Callable[[Record, Reading[Any]], Value],
    labels: tuple[str, ...] = (),
    size_bytes: int = 0,
) -> Maker:
    def make(record: Record, _: str) -> Field:
        return Field(
            native=native,
            show=lambda reading: show(record, reading),
            labels=labels,
            size_bytes=size_bytes,
            live=True,
        )

    return make


def _used_bytes(record: Record, reading: Reading[Any]) -> int:
    return min(len(cut(str(reading.value), record.nelm).encode()) + 1, record.nelm)


EVERY: Mapping[str, Maker] = {
    "NAME": _text(61, lambda record: record.name),
    "DESC": _text(41),
    "RTYP": _text(40, lambda record: record.type),
    "ASG": _text(29),
    "DTYP": _menu(("Soft Channel",)),
    "SCAN": _menu(SCANS),
    "PINI": _menu(PINIS),
    "STAT": _live(ChannelType.ENUM, lambda _, reading: int(reading.alarm.status), STATUSES),
    "UDFS": _menu(SEVERITIES, default=int(Severity.INVALID)),
    "SEVR": _live(ChannelType.ENUM, lambda _, reading: int(reading.alarm.severity), SEVERITIES),
    # Behind a $ the whole sentence; a C record has 39 letters there too.
    "AMSG": _live(ChannelType.STRING, lambda _, reading: reading.alarm.message, size_bytes=MESSAGE_BYTES),
    "UDF": _live(ChannelType.CHAR, lambda _, reading: int(reading.alarm.status is Status.UDF)),
    "PACT": _live(ChannelType.CHAR, lambda record, reading: int(bool(record.action and reading.value))),
    "DISP": _live(ChannelType.CHAR, lambda *_: 0),
    "TPRO": _live(ChannelType.CHAR, lambda *_: 0),
    "PROC": _live(ChannelType.CHAR, lambda *_: 0),
}
"""Fields of every record."""

_SEVERITY = _menu(SEVERITIES)
_RANGE = ("HOPR", "LOPR", "HIHI", "HIGH", "LOW", "LOLO", "MDEL", "ADEL", "HYST")
_DRIVE = ("DRVH", "DRVL")
_TEXT = {
    "NELM": _live(ChannelType.DOUBLE, lambda record, _: record.nelm),
    "NORD": _live(ChannelType.DOUBLE, _used_bytes),
    "FTVL": _menu(FTYPES),
    "EGU": _text(16),
    "PREC": _number(ChannelType.INT),
    **dict.fromkeys(("HOPR", "LOPR"), _number(ChannelType.DOUBLE)),
}
_TWO: dict[str, Maker] = {
    **dict.fromkeys(("ZNAM", "ONAM"), _text(26)),
    **dict.fromkeys(("ZSV", "OSV", "COSV"), _SEVERITY),
}
_MANY: dict[str, Maker] = {
    **dict.fromkeys(STATE_NAMES, _text(26)),
    **dict.fromkeys((*STATE_SEVERITIES, "UNSV", "COSV"), _SEVERITY),
}
_LIMITS: dict[str, Maker] = dict.fromkeys(LIMIT_SEVERITIES, _SEVERITY)
_INTEGER = {"EGU": _text(16), **_LIMITS, **dict.fromkeys(_RANGE, _number(ChannelType.LONG))}
_FLOAT = {
    "EGU": _text(16),
    "PREC": _number(ChannelType.INT),
    **_LIMITS,
    **dict.fromkeys(_RANGE, _number(ChannelType.DOUBLE)),
}

FIELDS: dict[str, dict[str, Maker]] = {
    "waveform": _TEXT,
    "stringin": {},
    "stringout": {},
    **dict.fromkeys(("bi", "bo", "busy"), _TWO),
    **dict.fromkeys(("mbbi", "mbbo"), _MANY),
    "longin": _INTEGER,
    "longout": _INTEGER | dict.fromkeys(_DRIVE, _number(ChannelType.LONG)),
    "ai": _FLOAT,
    "ao": _FLOAT | dict.fromkeys(_DRIVE, _number(ChannelType.DOUBLE)),
}
"""Further fields, by record type."""
