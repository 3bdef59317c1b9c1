"""What a service sends, parsed once: kinds of fields, and words for what is not as it should be."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache, partial
from typing import Annotated, Any, TypeVar, cast

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, StringConstraints
from pydantic_core import CoreSchema

from beamtime_ioc.errors import BadResponseError
from beamtime_ioc.model import one_line, parse_time

T = TypeVar("T")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("is no text")


def not_none(text: str) -> str:
    """A text; nothing where a program has written out `None` or `null` for it."""
    return "" if text.lower() in ("none", "null") else text


def _not_none(value: object) -> str:
    return not_none(_text(value))


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("is no time")
    return parse_time(value)


def _flag(value: object) -> bool:
    return _text(value).lower() in ("y", "yes")


Text = Annotated[str, BeforeValidator(_text)]
"""One line without blanks around it; null is empty, and a whole number is its digits."""

NotNone = Annotated[str, BeforeValidator(_not_none)]
"""The same, where programs write `None` for nothing."""

Id = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_not_none)]
"""A text that must be there."""

Flag = Annotated[bool, BeforeValidator(_flag)]
"""Whether it says `Y` or `Yes`; one service writes the one, the next the other, and null for no."""

Time = Annotated[datetime, BeforeValidator(_time)]
"""A time with its zone, as UTC."""


class _FirstFault:
    """Ends a list, a tuple, a set or a mapping at its first fault, at any depth of what is read.

    The library would keep one for each of a million elements: gigabytes, and nothing else runs meanwhile.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _end_at_first_fault(schema)
        return schema


def _end_at_first_fault(part: Any) -> None:
    if isinstance(part, dict):
        fields = cast(dict[str, Any], part)
        if fields.get("type") in ("list", "tuple", "set", "frozenset", "dict"):
            fields["fail_fast"] = True
        part = list(fields.values())
    if isinstance(part, list | tuple):
        for inner in cast(Iterable[Any], part):
            _end_at_first_fault(inner)


class Reply(_FirstFault, BaseModel):
    """An object of a reply: unknown fields are ignored, what is missing or of another kind is an error."""

    model_config = ConfigDict(extra="ignore", frozen=True)


@cache
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    annotated: Any = Annotated
    return pydantic.TypeAdapter(annotated[kind, _FirstFault])


def parse(kind: type[T], body: bytes, service: str) -> T:
    """Read a body of JSON.

    Raises
    ------
    BadResponseError
        Names the first field that is not as it should be, and never what stands in it.
    """
    return _read(partial(_adapter(kind).validate_json, body), service, "schedule.url")


def check(kind: type[T], given: object, service: str) -> T:
    """The same for what a library has read already."""
    return _read(partial(_adapter(kind).validate_python, given), service)


def _read(validate: Callable[[], T], service: str, key: str = "its address") -> T:
    try:
        return validate()
    except pydantic.ValidationError as error:
        fault = first_fault(error)
    # Outside of the except block: the library's own text quotes people's data.
    raise unforeseen(service, fault, key)


def unforeseen(service: str, fault: str, key: str = "its address") -> BadResponseError:
    """A field is not as it should be; `key` of the site file says who is asked."""
    return BadResponseError(
        f"{service} answered what its interface does not foresee: {fault}",
        advice=f"nothing was changed; look whether {key} is right, or tell its maintainers",
    )


def first_fault(error: pydantic.ValidationError) -> str:
    """Where the first one is, and what: `[0].activities[1].startTime: is no time`."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    where, what = "".join(steps).lstrip("."), first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
