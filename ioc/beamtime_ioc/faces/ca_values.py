"""Values as Channel Access writes them: encoded for any type that is asked for, and decoded from a put."""
# pyright: basic

import ctypes
import math
import struct
from collections.abc import Sequence
from typing import Any

import caproto
from caproto import ChannelType

from beamtime_ioc.errors import BadValueError
from beamtime_ioc.faces.ca_fields import STRING_BYTES, Field
from beamtime_ioc.faces.limits import WARNING, alarm_limits, control_limits, display_limits
from beamtime_ioc.faces.stamp import split_stamp
from beamtime_ioc.posting import Reading
from beamtime_ioc.records import Record
from beamtime_ioc.values import Value, cut

EPICS_EPOCH_S = 631152000
_HEADER = struct.Struct(">HHHHII")
_EXTENDED = struct.Struct(">HHHHIIII")
# By native DBR type: how struct writes it, and its range.
FORMATS = {
    ChannelType.INT: ("h", -(2**15), 2**15 - 1),
    ChannelType.ENUM: ("H", 0, 2**16 - 1),
    ChannelType.CHAR: ("B", 0, 255),
    ChannelType.LONG: ("i", -(2**31), 2**31 - 1),
    ChannelType.FLOAT: ("f", -math.inf, math.inf),
    ChannelType.DOUBLE: ("d", -math.inf, math.inf),
}
SIZES_BYTES = {
    ChannelType.STRING: STRING_BYTES,
    **{kind: struct.calcsize(f">{letter}") for kind, (letter, *_) in FORMATS.items()},
}
# caproto gives CTRL_STRING the layout of the TIME types; in C it is that of the STS types.
STRUCTURES: dict[Any, Any] = {**caproto.DBR_TYPES}
STRUCTURES[ChannelType.CTRL_STRING] = STRUCTURES[ChannelType.STS_STRING]


class CannotShowError(Exception):
    """The value cannot be written in the type that was asked for."""


def native_of(kind: ChannelType) -> ChannelType:
    """The type of the elements: DOUBLE of CTRL_DOUBLE."""
    return ChannelType(kind % 7)


def size_of(kind: ChannelType, count: int) -> int:
    """Bytes of so many elements, with what stands before them."""
    before = ctypes.sizeof(STRUCTURES[kind]) if kind > ChannelType.DOUBLE else 0
    return before + SIZES_BYTES[native_of(kind)] * count


def encode(value: Value, field: Field, record: Record, kind: ChannelType, count: int) -> bytes:
    """Elements of a native type, as many as asked for.

    Raises
    ------
    CannotShowError
    """
    if field.native is ChannelType.CHAR and isinstance(value, str):
        data = cut(value, field.count).encode().ljust(field.count, b"\0")[:count]
        if kind is ChannelType.CHAR:
            return data
        return b"".join(_element(byte, kind) for byte in data)
    if kind is ChannelType.STRING:
        element = cut(_as_text(value, field, record), STRING_BYTES - 1).encode().ljust(STRING_BYTES, b"\0")
    elif isinstance(value, str):
        try:
            element = _element(float(value), kind)
        except (ValueError, OverflowError):
            raise CannotShowError from None
    else:
        element = _element(value, kind)
    return element.ljust(count * SIZES_BYTES[kind], b"\0")


def _as_text(value: Value, field: Field, record: Record) -> str:
    if field.native is ChannelType.ENUM and isinstance(value, int):
        return field.labels[value] if 0 <= value < len(field.labels) else str(value)
    if isinstance(value, float) and field.native in (ChannelType.DOUBLE, ChannelType.FLOAT):
        precision = min(max(int(record.number("PREC")), 0), 17)
        text = _with_digits(value, precision)
        return text if len(text) < STRING_BYTES else f"{value:.{precision}e}"
    return str(int(value)) if isinstance(value, float) else str(value)


def _with_digits(value: float, precision: int) -> str:
    """As C writes it: with up to 8 digits and below ten millions, halves are rounded away from 0."""
    if precision > 8 or not abs(value) <= 1e7:
        return f"{value:.{precision}f}"
    scale = 10**precision
    whole = int(abs(value))
    rest = (int((abs(value) - whole) * scale * 10) + 5) // 10
    digits = f".{rest % scale:0{precision}d}" if precision else ""
    return f"{'-' if value < 0 else ''}{whole + rest // scale}{digits}"


def _element(value: float, kind: ChannelType) -> bytes:
    if kind is ChannelType.STRING:
        return str(value).encode().ljust(STRING_BYTES, b"\0")
    letter, low, high = FORMATS[kind]
    if letter in "fd":
        try:
            return struct.pack(f">{letter}", value)
        except OverflowError:
            return struct.pack(f">{letter}", math.copysign(math.inf, value))
    return struct.pack(f">{letter}", int(min(max(value, low), high)) if math.isfinite(value) else 0)


def encode_metadata(kind: ChannelType, field: Field, record: Record, reading: Reading[Any]) -> bytes:
    """What stands before the elements of a STS, TIME, GR or CTRL type."""
    structure: Any = STRUCTURES[kind]()
    structure.status, structure.severity = int(reading.alarm.status), int(reading.alarm.severity)
    if hasattr(structure, "stamp"):
        seconds, nanoseconds = split_stamp(reading.stamp)
        structure.stamp.secondsSinceEpoch = max(seconds - EPICS_EPOCH_S, 0)
        structure.stamp.nanoSeconds = nanoseconds
    if hasattr(structure, "units"):
        structure.units = cut(record.egu, 7).encode()
    if hasattr(structure, "precision"):
        structure.precision = int(record.number("PREC"))
    if hasattr(structure, "strs"):
        structure.enum_strings = [cut(label, 25).encode() for label in field.labels]
    if hasattr(structure, "upper_disp_limit"):
        _fill_limits(structure, kind, field, record)
    return bytes(structure)


def _fill_limits(structure: Any, kind: ChannelType, field: Field, record: Record) -> None:
    native = native_of(kind)
    floats = native in (ChannelType.FLOAT, ChannelType.DOUBLE)
    nothing = (math.nan, math.nan) if floats else (0.0, 0.0)
    limits = {
        "disp": display_limits(record) if field.live else nothing,
        "ctrl": control_limits(record) if field.live else nothing,
        "alarm": alarm_limits(record) if field.live else nothing,
        "warning": alarm_limits(record, WARNING) if field.live else nothing,
    }
    for word, ends in limits.items():
        for side, value in zip(("lower", "upper"), ends, strict=True):
            name = f"{side}_{word}_limit"
            if not hasattr(structure, name):
                continue
            if native is ChannelType.CHAR:
                setattr(structure, name, _element(value, native))
            elif floats:
                setattr(structure, name, value)
            else:
                _, low, high = FORMATS[native]
                setattr(structure, name, int(min(max(value, low), high)) if math.isfinite(value) else 0)


def with_elements(command: int, kind: int, count: int, status: int, number: int, payload: bytes) -> bytes:
    """One answer with elements; caproto's own classes take seventy times as long to write it."""
    padding = b"\0" * (-len(payload) % 8)
    size = len(payload) + len(padding)
    if size < 0xFFFF and count <= 0xFFFF:
        return b"".join((_HEADER.pack(command, size, kind, count, status, number), payload, padding))
    header = _EXTENDED.pack(command, 0xFFFF, kind, 0, status, number, size, count)
    return b"".join((header, payload, padding))


def decode_put(kind: ChannelType, count: int, data: bytes, field: Field) -> tuple[str | float, str]:
    """What a client wants to write, and a word of caution about it.

    Raises
    ------
    BadValueError
        It is no value, several, or shorter than it says.
    """
    if kind > ChannelType.DOUBLE:
        raise BadValueError(f"a put of type {kind.name} is not supported", advice="put the plain value")
    if kind is ChannelType.STRING:
        # A lone string comes without the rest of its 40 bytes.
        items: Sequence[Any] = [data[at : at + STRING_BYTES] for at in range(0, len(data), STRING_BYTES)]
    elif len(data) < count * SIZES_BYTES[kind]:
        raise BadValueError(f"the put says {count} elements and has fewer", advice="send all of them")
    else:
        items = struct.unpack_from(f">{count}{FORMATS[kind][0]}", data)
    if field.native is ChannelType.CHAR or (kind is ChannelType.CHAR and field.native is ChannelType.STRING):
        return _decode_text(_as_bytes(kind, items))
    if len(items) != 1:
        raise BadValueError(f"a single value is wanted, not {len(items)}", advice="send one")
    if kind is ChannelType.STRING:
        return _decode_text(items[0])
    return (f"{items[0]:g}", "") if field.native is ChannelType.STRING else (items[0], "")


def _as_bytes(kind: ChannelType, items: Sequence[Any]) -> bytes:
    if kind is ChannelType.CHAR:
        return bytes(items)
    if kind is ChannelType.STRING and len(items) == 1:
        return items[0]
    try:
        numbers = [
            float(item.partition(b"\0")[0]) if isinstance(item, bytes) else float(item) for item in items
        ]
        if not all(number.is_integer() and -128 <= number <= 255 for number in numbers):
            raise ValueError
        return bytes(int(number) & 255 for number in numbers)
    except ValueError:
        raise BadValueError("the elements of a text are its bytes, 0 to 255", advice="send a text") from None


def _decode_text(data: bytes) -> tuple[str, str]:
    data = data.partition(b"\0")[0]
    caution = ""
    if 0xFD in data:
        caution = "letters may be lost: pyepics sends byte 0xFD for those outside ASCII; put over PVA"
    try:
        return data.decode(), caution
    except UnicodeDecodeError:
        return data.decode("latin-1"), caution
