"""The record types served here, and what their fields may hold.

Limits are those of EPICS base 7 (`dbCommon.dbd` and the records' own `.dbd`), so that one file serves
both: what C refuses is refused, and so is what would be accepted here and then not done.
"""

import enum
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from beamtime_ioc.alarm import Severity
from beamtime_ioc.dbfile import Declaration, Text

NAME_LIMIT = 60
"""Characters of a record name: the longest a C client can ask for with a field behind it."""

TEXT39_BYTES = 39
"""Bytes of a `stringin` without its closing NUL."""


NELM_LIMIT = 1_000_000
"""Bytes of a text: far above every report, and no danger for the server's memory."""


class Kind(enum.Enum):
    """How a record's value is held."""

    TEXT = "text"
    """CHAR waveform: UTF-8, up to NELM bytes."""
    STRING = "string"
    """Up to 39 bytes."""
    STATES = "states"
    INTEGER = "integer"
    """Signed, 32 bits."""
    FLOAT = "float"


@dataclass(frozen=True, kw_only=True)
class RecordType:
    """One record type.

    Parameters
    ----------
    output
        Clients may write; input types are written by the IOC only.
    fields
        What a file may set.
    """

    kind: Kind
    output: bool
    fields: frozenset[str]


STATE_WORDS = ["ZR", "ON", "TW", "TH", "FR", "FV", "SX", "SV", "EI", "NI", "TE", "EL", "TV", "TT", "FT", "FF"]
STATE_NAMES = tuple(f"{word}ST" for word in STATE_WORDS)
STATE_SEVERITIES = tuple(f"{word}SV" for word in STATE_WORDS)

_EVERY = ["DESC", "ASG", "ASL", "SCAN", "PINI", "DTYP", "FLNK", "SDIS", "UDF", "UDFS"]
_TWO = ["VAL", "ZNAM", "ONAM", "ZSV", "OSV", "COSV"]
_MANY = ["VAL", *STATE_NAMES, *(f"{word}VL" for word in STATE_WORDS), *STATE_SEVERITIES, "UNSV", "COSV"]
LIMIT_SEVERITIES = ("HHSV", "HSV", "LSV", "LLSV")
_LIMITS = ["HIHI", "HIGH", "LOW", "LOLO", "HYST", *LIMIT_SEVERITIES]
_NUMBER = ["VAL", "EGU", "HOPR", "LOPR", "MDEL", "ADEL", *_LIMITS]
_DRIVEN = [*_NUMBER, "DRVH", "DRVL", "DOL", "OUT", "OMSL"]


def _type(kind: Kind, *fields: str, output: bool) -> RecordType:
    return RecordType(kind=kind, output=output, fields=frozenset([*_EVERY, *fields]))


TYPES: Mapping[str, RecordType] = {
    "waveform": _type(Kind.TEXT, "NELM", "FTVL", "INP", "MPST", "APST", output=True),
    "stringout": _type(Kind.STRING, "VAL", "DOL", "OUT", "OMSL", output=True),
    "stringin": _type(Kind.STRING, "VAL", "INP", output=False),
    "bo": _type(Kind.STATES, *_TWO, "DOL", "OUT", "OMSL", output=True),
    "busy": _type(Kind.STATES, *_TWO, "DOL", "OUT", "OMSL", output=True),
    "bi": _type(Kind.STATES, *_TWO, "INP", output=False),
    "mbbo": _type(Kind.STATES, *_MANY, "DOL", "OUT", "OMSL", output=True),
    "mbbi": _type(Kind.STATES, *_MANY, "INP", output=False),
    "longout": _type(Kind.INTEGER, *_DRIVEN, output=True),
    "longin": _type(Kind.INTEGER, *_NUMBER, "INP", output=False),
    "ao": _type(Kind.FLOAT, *_DRIVEN, "PREC", output=True),
    "ai": _type(Kind.FLOAT, *_NUMBER, "PREC", "INP", output=False),
}

_NAME = re.compile(r"[A-Za-z0-9_<>;:/#~@!&*%^=|?\-+\[\]{}()]+")
_BYTES = {"DESC": 40, "EGU": 15, "ASG": 28, "ZNAM": 25, "ONAM": 25, **dict.fromkeys(STATE_NAMES, 25)}
_LINKS = frozenset(["INP", "OUT", "DOL", "FLNK", "SDIS"])
_FLOATS = frozenset(["HOPR", "LOPR", "HIHI", "HIGH", "LOW", "LOLO", "MDEL", "ADEL", "HYST", "DRVH", "DRVL"])
_WHOLE = frozenset(["ASL", "UDF", "PREC", "NELM", *(f"{word}VL" for word in STATE_WORDS)])
_SEVERE = frozenset(["ZSV", "OSV", "COSV", "UNSV", "UDFS", *STATE_SEVERITIES, *LIMIT_SEVERITIES])
_MENUS = {
    "SCAN": ("Passive",),
    "DTYP": ("Soft Channel",),
    "PINI": ("NO", "YES"),
    "OMSL": ("supervisory",),
    "FTVL": ("CHAR", "UCHAR"),
    "MPST": ("Always", "On Change"),
    "APST": ("Always", "On Change"),
}
_CONSTANT = re.compile(r'\{\s*"?const"?\s*:\s*(?P<value>"(?:[^"\\]|\\.)*")\s*\}')
# No longer than a number needs: Python itself refuses to read thousands of digits.
_WHOLE_NUMBER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,15})")
_NUMBER_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def whole_number(text: str) -> int:
    """Read an integer as EPICS does: decimal, or hexadecimal behind `0x`."""
    return int(text, 16 if text.lower().lstrip("+-").startswith("0x") else 10)


def constant_text(link: str) -> str:
    """The text of `{const:"text"}`; a missing link gives an empty text.

    Raises
    ------
    ValueError
        It is no JSON text, or no text that UTF-8 can write.
    """
    found = _CONSTANT.fullmatch(link)
    if found is None:
        return ""
    value: object = json.loads(found["value"])
    text = str(value)
    text.encode()
    return text


def check(record: Declaration) -> None:
    """See that one merged declaration can be served as it says.

    Raises
    ------
    RecordFileError
        With file, line, record and field.
    """
    for name in (Text(value=record.name, mark=record.mark), *record.aliases):
        check_name(name)
    served = TYPES.get(record.type)
    if served is None:
        raise record.mark.error(
            f'"{record.name}": the record type {record.type} is not supported here; '
            f"these are: {', '.join(TYPES)}"
        )
    for field, text in record.fields.items():
        problem = _problem(record.type, served, field, text.value)
        if problem:
            raise text.mark.error(f'"{record.name}": field {field} {problem}')
    problem = _problem_of_all(served.kind, {field: text.value for field, text in record.fields.items()})
    if problem:
        raise record.mark.error(f'"{record.name}": {problem}')


def check_name(name: Text) -> None:
    """See that a name can be asked for by every client.

    Raises
    ------
    RecordFileError
        It is longer than 60 characters, or has a sign that ends a name elsewhere.
    """
    if len(name.value) > NAME_LIMIT:
        raise name.mark.error(
            f'the name "{name.value}" has {len(name.value)} characters; {NAME_LIMIT} are allowed'
        )
    if not _NAME.fullmatch(name.value):
        raise name.mark.error(f'the name "{name.value}" holds a blank, a dot or another forbidden sign')


def _problem(type_name: str, served: RecordType, field: str, value: str) -> str:
    """What is wrong with one field, as the rest of a sentence."""
    if field == "HIGH" and served.kind is Kind.STATES:
        return "is not supported here; a button goes back by itself when its action has ended"
    if field == "VAL" and served.kind is Kind.TEXT:
        return 'cannot be set in a file (nor in EPICS base); write field(INP, {const:"text"})'
    if field not in served.fields:
        return f"of a {type_name} is not supported here"
    if not value:
        return ""  # As if the line were not there.
    if field in _LINKS:
        return _link_problem(served.kind, field, value)
    if field in _BYTES and len(value.encode()) > _BYTES[field]:
        return f'"{value}" has {len(value.encode())} bytes; {_BYTES[field]} are allowed'
    # The FTVL of an mbbo is the value of its fifteenth state.
    if field in _MENUS and (field != "FTVL" or served.kind is Kind.TEXT):
        return "" if value in _MENUS[field] else f'"{value}" is not supported here, only {_either(field)}'
    if field in _SEVERE and value not in Severity.__members__:
        return f'"{value}" is no severity; these are: {", ".join(Severity.__members__)}'
    if field == "VAL":
        return _value_problem(served.kind, value)
    if field in _WHOLE or (field in _FLOATS and served.kind is Kind.INTEGER):
        return "" if _is_whole(value) else f'"{value}" is no whole number'
    if field in _FLOATS:
        return "" if is_number(value) else f'"{value}" is no number'
    return ""


def _either(menu: str) -> str:
    return " or ".join(_MENUS[menu])


def _link_problem(kind: Kind, field: str, value: str) -> str:
    if field == "INP" and kind in (Kind.TEXT, Kind.STRING) and _CONSTANT.fullmatch(value):
        try:
            text = constant_text(value)
        except ValueError:
            return f"{value} is no JSON text"
        return _value_problem(kind, text) if kind is Kind.STRING else ""
    if field in ("INP", "DOL") and kind not in (Kind.TEXT, Kind.STRING) and is_number(value):
        return _value_problem(kind, value)
    return f'"{value}": links to other records and devices are not supported here'


def _value_problem(kind: Kind, value: str) -> str:
    if kind is Kind.STRING:
        size = len(value.encode())
        return f"has {size} bytes; {TEXT39_BYTES} are allowed" if size > TEXT39_BYTES else ""
    if kind is Kind.FLOAT:
        return "" if is_number(value) else f'"{value}" is no number'
    return "" if _is_whole(value) else f'"{value}" is no whole number'


def _problem_of_all(kind: Kind, fields: Mapping[str, str]) -> str:
    """What is wrong with the fields together."""
    if kind is Kind.TEXT:
        size = whole_number(fields.get("NELM") or "0")
        if fields.get("FTVL") not in ("CHAR", "UCHAR"):
            return "a waveform is served as text only: it needs field(FTVL, CHAR)"
        if not 1 <= size <= NELM_LIMIT:
            return f"a text needs field(NELM, ...): its size in bytes, from 1 to {NELM_LIMIT}"
        first = len(constant_text(fields.get("INP", "")).encode())
        return f"its first value has {first} bytes, and NELM is {size}" if first > size else ""
    if kind is Kind.STATES:
        states = state_names(fields)
        if not states or (len(states) == 2 and not all(states)):
            return "its states have no names; give ZNAM and ONAM, or ZRST, ONST, ..."
        named = [state for state in states if state]
        if len(set(named)) < len(named):
            return "two states have one name"
        first = first_number(fields)
        if not 0 <= first < len(states):
            return f"its first value {first:g} is none of its {len(states)} states"
    if kind is Kind.INTEGER and not -(2**31) <= first_number(fields) < 2**31:
        return "its first value does not fit 32 bits"
    return ""


def state_names(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the states in their order, up to the last one given."""
    if "ZNAM" in fields or "ONAM" in fields:
        return fields.get("ZNAM", ""), fields.get("ONAM", "")
    names = [fields.get(field, "") for field in STATE_NAMES]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def first_number(fields: Mapping[str, str]) -> float:
    """The value before anybody wrote: a constant link goes before VAL, as in EPICS base."""
    text = fields.get("INP") or fields.get("DOL") or fields.get("VAL") or "0"
    return number_of(text)


def number_of(text: str) -> float:
    """Read a number as EPICS does: decimal, or a whole one in hexadecimal."""
    return float(whole_number(text)) if _is_whole(text) else float(text)


def _is_whole(text: str) -> bool:
    return _WHOLE_NUMBER.fullmatch(text) is not None


def is_number(text: str) -> bool:
    return _is_whole(text) or (_NUMBER_TEXT.fullmatch(text) is not None and math.isfinite(float(text)))
