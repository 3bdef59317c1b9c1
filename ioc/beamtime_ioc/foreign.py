"""Values of records in other IOCs: what they show, and what they can hold of a text."""

import math
import re
import struct
from dataclasses import dataclass
from enum import IntEnum

from beamtime_ioc.errors import BadValueError
from beamtime_ioc.values import cut

STRING_BYTES = 40
_STATES, _STATE_BYTES = 16, 26


class Type(IntEnum):
    """Native types, as Channel Access numbers them."""

    STRING = 0
    SHORT = 1
    FLOAT = 2
    ENUM = 3
    CHAR = 4
    LONG = 5
    DOUBLE = 6


CTRL_ENUM = 31
"""An enum with its labels."""

FORMATS = {Type.SHORT: "h", Type.FLOAT: "f", Type.CHAR: "B", Type.LONG: "i", Type.DOUBLE: "d"}


@dataclass(frozen=True)
class Shape:
    """What a record holds: type, elements, and whether it lets us write."""

    type: Type
    count: int
    writable: bool

    @property
    def room_bytes(self) -> int:
        """Bytes of a text that fit; 0 where it holds none."""
        if self.type is Type.STRING:
            return STRING_BYTES - 1
        return self.count if self.type is Type.CHAR and self.count > 1 else 0


@dataclass(frozen=True)
class Shown:
    """A value as it came over the wire: as a text, and as a number where it is one."""

    text: str
    number: float | None = None
    raw: bytes = b""
    """The bytes of a text; what is no UTF-8 is compared by these."""


@dataclass(frozen=True)
class Fitted:
    """A text as a record can hold it, ready for the wire."""

    type: Type
    count: int
    data: bytes
    shown: Shown
    is_cut: bool = False

    def stands(self, found: Shown) -> bool:
        """Whether a record shows it already."""
        if self.shown.number is not None:
            return found.number == self.shown.number
        return found.raw == self.shown.raw


def request_type(shape: Shape) -> int:
    """As what a record of this shape is read."""
    return CTRL_ENUM if shape.type is Type.ENUM else shape.type


def size_bytes(kind: int, count: int) -> int:
    """Of a value on the wire."""
    if kind == CTRL_ENUM:
        return 6 + _STATES * _STATE_BYTES + 2
    if kind == Type.STRING:
        return STRING_BYTES * count
    return struct.calcsize(FORMATS[Type(kind)]) * count


def parse(kind: int, count: int, data: bytes) -> Shown:
    """What came over the wire; of an array of numbers or strings the first."""
    if not count:
        return Shown("")
    if kind == CTRL_ENUM:
        states, number = (
            struct.unpack_from("=h", data, 4)[0],
            struct.unpack_from("=H", data, len(data) - 2)[0],
        )
        start = 6 + number * _STATE_BYTES
        label = _text(data[start : start + _STATE_BYTES]).text if number < min(states, _STATES) else ""
        return Shown(label or str(number), float(number))
    if kind == Type.STRING or (kind == Type.CHAR and count > 1):
        return _text(data[:STRING_BYTES] if kind == Type.STRING else data)
    number = struct.unpack_from(f"={FORMATS[Type(kind)]}", data)[0]
    return Shown(f"{number:g}" if isinstance(number, float) else str(number), float(number))


def _text(data: bytes) -> Shown:
    raw = data.partition(b"\0")[0]
    try:
        return Shown(raw.decode(), raw=raw)
    except UnicodeDecodeError:
        return Shown(raw.decode("latin-1"), raw=raw)


def fit_text(text: str, shape: Shape) -> Fitted:
    """The text for a record of another IOC: cut at a character, or parsed as a number.

    Raises
    ------
    BadValueError
        A record of this type cannot show it.
    """
    if shape.type is Type.ENUM:
        raise BadValueError("it has states, and no text can be written there", advice="name another record")
    if not shape.room_bytes:
        return _number(text.strip(), shape)
    fitting = cut(text.replace("\0", " "), shape.room_bytes)
    raw = fitting.encode()
    # With a NUL behind it, as C writes texts, where there is room for one.
    padded = raw.ljust(STRING_BYTES, b"\0") if shape.type is Type.STRING else (raw + b"\0")[: shape.count]
    count = 1 if shape.type is Type.STRING else len(padded)
    return Fitted(
        shape.type, count, padded, Shown(fitting, raw=raw), is_cut=fitting != text.replace("\0", " ")
    )


def _number(text: str, shape: Shape) -> Fitted:
    whole = shape.type in (Type.SHORT, Type.LONG, Type.CHAR)
    try:
        number = int(text) if whole and re.fullmatch(r"[+-]?[0-9]{1,18}", text) else float(text)
        if (whole and not isinstance(number, int)) or not math.isfinite(number):
            raise ValueError
        data = struct.pack(f"={FORMATS[shape.type]}", number)
    except (ValueError, struct.error, OverflowError):
        kind = shape.type.name
        raise BadValueError(
            f"it holds a number ({kind}), and {text!r} is none that it can hold", advice="name another record"
        ) from None
    return Fitted(shape.type, 1, data, parse(shape.type, 1, data))
