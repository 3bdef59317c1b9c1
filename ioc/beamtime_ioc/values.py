"""What a record may hold: texts cut to their size, puts checked."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from beamtime_ioc.errors import BadValueError
from beamtime_ioc.record import Line, Record
from beamtime_ioc.recordtypes import Kind

Value = str | int | float


def check(record: Record, value: object) -> Value:
    """The value as the record holds it: text, state number, integer or float.

    Raises
    ------
    BadValueError
        Too long, no such state, out of range, not a number.
    """
    return CHECKS[record.kind](record, value)


def cut(text: str, size_bytes: int) -> str:
    """The beginning of a text that fits into so many bytes of UTF-8; no character is cut in two."""
    return text.encode(errors="replace")[:size_bytes].decode(errors="ignore")


def fit(text: str, size_bytes: int) -> str:
    """The text cut at a character, so that it fits a record; a cut is seen by its end."""
    raw = text.encode("utf-8", "replace").replace(b"\0", b" ")
    if len(raw) <= size_bytes:
        return raw.decode()
    return raw[: size_bytes - 4].decode(errors="ignore") + " ..."


def line_of(text: str, line: Line) -> str:
    """One line of a text that is wrapped at its blanks; the last one says by its end that there is more."""
    lines = _wrapped(text, line.width)
    if line.number > len(lines):
        return ""
    shown = lines[line.number - 1]
    if line.number == line.count < len(lines):
        return textwrap.shorten(f"{shown} ...", line.width, placeholder=" ...") if shown else "..."
    return shown


@lru_cache(maxsize=64)
def _wrapped(text: str, width: int) -> Sequence[str]:
    return [line for row in text.splitlines() for line in textwrap.wrap(row, width) or [""]]


def _check_text(record: Record, value: object) -> str:
    text = str(value)
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise BadValueError(f"{record.name}: the text is no Unicode text", advice="send UTF-8") from None
    if size_bytes > record.nelm:
        raise BadValueError(
            f"{record.name} holds {record.nelm} bytes, the text has {size_bytes}", advice="shorten it"
        )
    if "\0" in text:
        raise BadValueError(f"{record.name}: the text has a NUL in it", advice="send it without")
    return text


def _check_state(record: Record, value: object) -> int:
    states = record.states
    allowed = ", ".join(f"{index} {label}" for index, label in enumerate(states))
    # A state without a label has an empty one: "" means none of them.
    if isinstance(value, str) and value and value in states:
        return states.index(value)
    number = _number(record, value, f"its states are {allowed}")
    if number != int(number) or not 0 <= number < len(states):
        raise BadValueError(f"{record.name} has no state {value!s}", advice=f"its states are {allowed}")
    return int(number)


def _number(record: Record, value: object, advice: str) -> float:
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise BadValueError(f"{record.name} cannot take {value!r}", advice=advice) from None
    if not math.isfinite(number):
        raise BadValueError(f"{record.name} cannot take {value}", advice=advice)
    return number


def _check_float(record: Record, value: object) -> float:
    number = _number(record, value, "send a finite number")
    low, high = record.number("DRVL"), record.number("DRVH")
    if high > low and not low <= number <= high:  # equal, as both zeros are: no limits
        raise BadValueError(
            f"{record.name} takes {low:g} to {high:g}, not {number:g}", advice="send one of these"
        )
    return number


def _check_integer(record: Record, value: object) -> int:
    number = int(_check_float(record, value))
    if not -(2**31) <= number < 2**31:
        raise BadValueError(f"{record.name} takes 32 bit, not {number}", advice="send a smaller number")
    return number


CHECKS: Mapping[Kind, Callable[[Record, object], Value]] = {
    Kind.TEXT: _check_text,
    Kind.STRING: _check_text,
    Kind.STATES: _check_state,
    Kind.INTEGER: _check_integer,
    Kind.FLOAT: _check_float,
}
