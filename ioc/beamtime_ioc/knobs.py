"""A knob of a box, as its record shows it and as a put to the record means it."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from beamtime_ioc.errors import BadValueError
from beamtime_ioc.model import Json
from beamtime_ioc.record import Record
from beamtime_ioc.recordtypes import Kind, number_of
from beamtime_ioc.values import Value


def shown(record: Record, value: Json) -> Value:
    """What a record shows of a knob's value; a list with commas, counts as `a@example.org=2`.

    Raises
    ------
    ValueError
        The record cannot show it.
    """
    if value is None and (none := none_of(record)) is not None:
        return none
    match record.kind:
        case Kind.TEXT if isinstance(value, str | list | dict):
            return _text(value)
        case Kind.STATES if record.type == "bo" and isinstance(value, bool):
            return int(value)
        case Kind.STATES if isinstance(value, str) and value in record.states:
            return record.states.index(value)
        case Kind.INTEGER if _is_whole(value) and -(2**31) <= cast(int, value) < 2**31:
            return cast(int, value)
        case Kind.FLOAT if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        case _:
            raise ValueError(f"a {record.type} cannot show {value!r}")


def meant(record: Record, value: Value, default: Json) -> Json:
    """What the box is asked for when a client puts a value; None takes the knob back.

    Parameters
    ----------
    default
        Of the knob: where it is a list or counts, a text may be JSON.

    Raises
    ------
    BadValueError
        It begins as JSON and is none.
    """
    if value == none_of(record):
        return None
    if record.kind is Kind.STATES:
        return bool(value) if record.type == "bo" else record.states[int(value)]
    if isinstance(value, str) and isinstance(default, list | dict) and value.lstrip().startswith(("[", "{")):
        try:
            return cast(Json, json.loads(value))
        except (ValueError, RecursionError):
            raise BadValueError(
                f"{record.name}: the text is no JSON",
                advice='write it like {"a@example.org": 2}, or without brackets: a@example.org=2',
            ) from None
    return value


def none_of(record: Record) -> Value | None:
    """The value that takes a knob back; an empty text always does. None: there is none."""
    if record.kind is Kind.TEXT:
        return ""
    word = record.info.get("beamtime:none", "")
    if not word:
        return None
    if record.kind is Kind.STATES:
        return record.states.index(word)
    return int(number_of(word)) if record.kind is Kind.INTEGER else number_of(word)


def _text(value: "str | Sequence[Json] | Mapping[str, Json]") -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        counts = list(value.values())
        if not counts:
            return ""
        if all(_is_whole(one) and one == counts[0] for one in counts):
            return f"{','.join(value)}={counts[0]}"
    elif all(isinstance(one, str) for one in value):
        return ",".join(cast("Sequence[str]", value))
    return json.dumps(value, ensure_ascii=False)


def _is_whole(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
