"""What a put means, by the rules for records alone: the oracle of the tests that put anything anywhere.

Written from the rules and from nothing in the faces, so that it does not share their mistakes.
"""

import math
import struct
from collections.abc import Sequence

from beamtime_ioc.record import Record
from beamtime_ioc.recordtypes import Kind
from beamtime_ioc.values import Value

STRING, CHAR = 0, 4
FORMATS = {1: "h", 2: "f", 3: "H", 4: "B", 5: "i", 6: "d"}
ACKNOWLEDGE = (35, 36)


class Refused(Exception):  # noqa: N818 - an outcome
    """The put must be refused, or the client be let go; the value stays."""


def meaning(record: Record, kind: int, count: int, data: bytes) -> Value:
    """The value after a put over Channel Access.

    Raises
    ------
    Refused
    """
    if not record.writable or kind > 6:
        raise Refused
    if kind == STRING:
        elements: Sequence[bytes | float] = [data[at : at + 40] for at in range(0, len(data), 40)][:count]
    elif len(data) < count * struct.calcsize(f">{FORMATS[kind]}"):
        raise Refused
    else:
        elements = struct.unpack_from(f">{count}{FORMATS[kind]}", data)
    if record.kind is Kind.TEXT or (record.kind is Kind.STRING and kind == CHAR):
        return text(record, as_bytes(kind, elements))
    if len(elements) != 1:
        raise Refused
    return single(record, elements[0])


def as_bytes(kind: int, elements: Sequence[bytes | float]) -> bytes:
    """Several strings are numbers of bytes, as `caput -a` sends them."""
    if kind == STRING and len(elements) == 1:
        return bytes(elements[0])  # pyright: ignore[reportArgumentType]
    try:
        numbers = [float(each.split(b"\0")[0] if isinstance(each, bytes) else each) for each in elements]
    except ValueError:
        raise Refused from None
    if any(not number.is_integer() or not -128 <= number <= 255 for number in numbers):
        raise Refused
    return bytes(int(number) & 255 for number in numbers)


def text(record: Record, data: bytes) -> str:
    sent = data.split(b"\0")[0]
    try:
        words = sent.decode()
    except UnicodeDecodeError:
        words = sent.decode("latin-1")
    if len(words.encode()) > record.nelm:
        raise Refused
    return words


def single(record: Record, element: bytes | str | float) -> Value:
    """One element for a record that holds one."""
    words = None
    if isinstance(element, bytes):
        sent = element.split(b"\0")[0]
        try:
            words = sent.decode()
        except UnicodeDecodeError:
            words = sent.decode("latin-1")
    elif isinstance(element, str):
        words = element
    if record.kind is Kind.STRING:
        return text(record, (f"{element:g}" if words is None else words).encode())
    if record.kind is Kind.STATES and words and words in record.states:
        return record.states.index(words)
    try:
        number = float(element if words is None else words)
    except ValueError:
        raise Refused from None
    return in_range(record, number)


def in_range(record: Record, number: float) -> Value:
    if not math.isfinite(number):
        raise Refused
    if record.kind is Kind.STATES:
        if number != int(number) or not 0 <= number < len(record.states):
            raise Refused
        return int(number)
    low, high = record.number("DRVL"), record.number("DRVH")
    if high > low and not low <= number <= high:
        raise Refused
    if record.kind is Kind.FLOAT:
        return number
    if not -(2**31) <= int(number) < 2**31:
        raise Refused
    return int(number)
