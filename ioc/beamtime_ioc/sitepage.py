"""The reference page of the site file, out of the models that check it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Schema = Mapping[str, Any]

_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "mapping",
}
_REQUIRED = "must be given"
_INTRODUCTION = """\
# The site file

<!-- Written by `beamtime export`; change the models that check the file instead. -->

One YAML file says all that is true of one beamline. The program reads it at its start and never writes it.
Relative paths start at the file. An unknown key, a key that stands twice and a wrong value are errors that
name file, line and key. `beamtime sim --dir DIR` writes a complete file with comments to begin with;
`beamtime check SITE.yaml` tries one.

What is not a service stands at the top level:"""
_SERVICES = """\
## Services

Each service outside has a section of its own. `backend` says which kind it is; the other keys belong to that
kind. An installed package may bring more. An action that needs a section which is not there ends Failed and
says so."""


def site_page(frame: type[BaseModel], sections: Mapping[str, type[BaseModel]]) -> str:
    """The page `docs/reference/site-file.md`.

    Parameters
    ----------
    frame
        Checks what is not a service.
    sections
        What checks a service's section, by section and backend: `schedule.aps`.
    """
    parts = [_INTRODUCTION, _table(frame)]
    for name, part in _parts(frame):
        parts += [f"## `{name}`", _sentence((part.__doc__ or "").partition("\n")[0]), _table(part)]
    parts.append(_SERVICES)
    for name in sorted(sections):
        section, _, backend = name.partition(".")
        parts += [f"### `{section}`, `backend: {backend}`", _table(sections[name])]
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    """A description as a sentence, with a backslash before what Markdown would take for a mark."""
    parts = text.split("`")
    parts[::2] = (re.sub(r"([*_<\[])", r"\\\1", part) for part in parts[::2])
    text = "`".join(parts)
    if not re.match(r"\S*:", text):  # a value of the key begins it, and stays as it is written
        text = text[:1].upper() + text[1:]
    return text if not text or text.endswith(".") else f"{text}."


def _parts(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The models inside a model, by the key that holds one or a list of them."""
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield name, kind


def _table(model: type[BaseModel]) -> str:
    schemas = cast(Mapping[str, Schema], model.model_json_schema()["properties"])
    inner = dict(_parts(model))
    rows = [("Key", "Type", "Default", "Meaning"), ("---",) * 4]
    # The key that says whose the others are comes first, also before those that several kinds share.
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] != "backend"):
        text = f"See [`{name}`](#{name})." if name in inner else _sentence(field.description or "")
        # The client is chosen by it, so that a default of its own would never count.
        default = _REQUIRED if name == "backend" else _default(field)
        rows.append((f"`{name}`", _type(schemas[name]), default, text))
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def _type(schema: Schema) -> str:
    if "anyOf" in schema:
        kinds = (kind for kind in schema["anyOf"] if kind.get("type") != "null")
        return " or ".join(dict.fromkeys(map(_type, kinds)))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema or "properties" in schema:
        return "section"
    if schema.get("type") == "array":
        items = cast(Schema, schema.get("items", {}))
        return f"list of {_type(items)}s"
    if schema.get("format") in ("path", "file-path", "directory-path"):
        return "path"
    return _WORDS[schema["type"]] + _range(schema)


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low:g} to {high:g}"
    bounds = [
        f"{words} {schema[key]:g}"
        for key, words in (
            ("exclusiveMinimum", "more than"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "less than"),
            ("maximum", "at most"),
        )
        if key in schema
    ]
    return "".join(f", {bound}" for bound in bounds)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return _REQUIRED
    value = cast(object, field.default)
    if value is None or value is PydanticUndefined or value == "" or value == ():
        return ""
    return f"`{value if isinstance(value, str) or not _is_plain(value) else json.dumps(value)}`"


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float)
