"""The arguments of an action: what its handler takes, and whether what came fits."""

import inspect
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast, get_type_hints

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


def checked_arguments(action: Action, given: Mapping[str, Json]) -> Mapping[str, Json]:
    """The arguments as the handler gets them; what is left out has its default.

    Raises
    ------
    BadValueError
        One is unknown or does not fit its type.
    """
    model = _model(action)
    try:
        fitting = model.model_validate(dict(given))
    except pydantic.ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, wrong["loc"])) or "the arguments"
        raise BadValueError(
            f"{action.name}: {one_line(where, 100)}: {wrong['msg'].removeprefix('Value error, ')}",
            advice=_takes(action),
        ) from None
    try:
        return fitting.model_dump(mode="json", exclude_unset=True)
    except (ValueError, TypeError):
        raise BadValueError(f"{action.name}: the arguments are no JSON", advice=_takes(action)) from None


def _takes(action: Action) -> str:
    fields = _model(action).model_fields
    if not fields:
        return "it takes no arguments; leave them out"
    words = (
        f"{name} ({getattr(field.annotation, '__name__', field.annotation)})"
        for name, field in fields.items()
    )
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
