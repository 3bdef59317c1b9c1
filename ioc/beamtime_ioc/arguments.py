"""The arguments of an action: what its handler takes, and whether what came fits."""

import inspect
import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import pydantic

from beamtime_ioc.action import Action
from beamtime_ioc.errors import BadValueError
from beamtime_ioc.model import Json, one_line
from beamtime_ioc.records import RecordSet

LONGEST = 65_536
"""Characters of all arguments as JSON."""


def parsed_arguments(text: str) -> Mapping[str, Json]:
    """The arguments out of a JSON object; an empty text is none.

    Raises
    ------
    BadValueError
    """
    if len(text) > LONGEST:
        raise BadValueError(f"the arguments have {len(text)} characters", advice=f"send {LONGEST} at most")
    try:
        found: Any = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadValueError("the arguments are no JSON object", advice='write them as {"name": value}')
    return cast(Mapping[str, Json], found)


def check_arguments(records: RecordSet, actions: Mapping[str, Action]) -> None:
    """See that each record in which an argument is typed belongs to one that its action takes.

    Raises
    ------
    RecordFileError
        With the record's file and line.
    """
    for record in records.records.values():
        if record.argument is None:
            continue
        action, name = record.argument
        known = list(_model(actions[action]).model_fields)
        if name not in known:
            takes = ", ".join(known) or "none"
            raise record.mark.error(f'"{record.name}": {action} takes no argument {name}; these are: {takes}')


def checked_arguments(
    action: Action, given: Mapping[str, Json], records: Mapping[str, str] | None = None
) -> Mapping[str, Json]:
    """The arguments as the handler gets them; what is left out has its default.

    Parameters
    ----------
    records
        The record of each argument, if they were typed there: then those are named.

    Raises
    ------
    BadValueError
        One is unknown or does not fit its type.
    """
    model, advice = _model(action), _takes(action)
    try:
        fitting = model.model_validate(dict(given))
    except pydantic.ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else "the arguments"
        said = _said(model, name, given.get(name), wrong["type"], wrong["msg"])
        if records is not None and name in records:
            raise BadValueError(f"{records[name]}: {said}") from None
        raise BadValueError(f"{action.name}: {one_line(name, 100)}: {said}", advice=advice) from None
    try:
        return fitting.model_dump(mode="json", exclude_unset=True)
    except (ValueError, TypeError):
        raise BadValueError(f"{action.name}: the arguments are no JSON", advice=advice) from None


def _said(model: type[pydantic.BaseModel], name: str, value: Json, kind: str, message: str) -> str:
    """What is wrong with one argument, in words of ours."""
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "missing":
        return "it is missing"
    if name not in model.model_fields:
        return "there is no such argument"
    shown = one_line(json.dumps(value, ensure_ascii=False, default=str), 40)
    return f"{shown} is not {_kind(model.model_fields[name].annotation)}"


_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


def _kind(annotation: Any) -> str:
    """What may stand there, in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(parts[0])
    if origin in (Union, UnionType):
        return " or ".join(map(_kind, parts))
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "an object"
    if isinstance(origin, type) and issubclass(origin, Collection):
        return "a list of texts" if parts[:1] == (str,) else "a list"
    return _KINDS.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _takes(action: Action) -> str:
    fields = _model(action).model_fields
    if not fields:
        return "it takes no arguments; leave them out"
    words = (f"{name} ({_kind(field.annotation)})" for name, field in fields.items())
    return f"it takes {', '.join(words)}"


@lru_cache(maxsize=200)
def _model(action: Action) -> type[pydantic.BaseModel]:
    """A model of what follows run and experiment in the handler's signature."""
    parameters = list(inspect.signature(action.handler).parameters.values())[2:]
    hints = get_type_hints(action.handler, include_extras=True)
    named = [one for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters)
    fields: dict[str, Any] = {
        one.name: (hints.get(one.name, Any), ... if one.default is one.empty else one.default)
        for one in named
    }
    config = pydantic.ConfigDict(extra="allow" if anything else "forbid")
    return pydantic.create_model(f"Arguments of {action.name}", __config__=config, **fields)
