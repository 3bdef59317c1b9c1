"""Tables and structures of a site: declared in files such as `tables.yaml`, served over PVAccess."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import yaml

from beamtime_ioc.dbfile import Text
from beamtime_ioc.macros import Mark
from beamtime_ioc.recordtypes import check_name
from beamtime_ioc.yamlnodes import compose, keys, pairs, word

TABLE_KEYS = ("kind", "description", "source", "asg", "rows", "columns")
STRUCTURE_KEYS = ("kind", "description", "source", "asg", "rows", "fields")
COLUMN_KEYS = ("label", "type")
LIST_KEYS = ("label", "columns")
MOST_ROWS = 10_000
TAKEN = ("alarm", "timeStamp")
"""Fields that every structure has."""


class ColumnType(StrEnum):
    """What a column holds; numbers are signed."""

    STRING = "string"
    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    DOUBLE = "double"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table, or one field of a structure: its name for programs, its label for people.

    Parameters
    ----------
    columns
        Of a structure's field that is a list: what each of its entries holds. Empty: a single value.
    """

    name: str
    label: str
    type: ColumnType = ColumnType.STRING
    columns: tuple["Column", ...] = ()


class TableKind(StrEnum):
    """How it is served: as NTTable, or as a structure with lists of structures in it."""

    TABLE = "table"
    STRUCTURE = "structure"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table, or one structure, as a file declares it.

    Parameters
    ----------
    suffix
        The name without the site's prefix.
    source
        What fills it: a word that the program knows.
    columns
        Of a structure: its fields.
    asg
        Access group.
    rows
        At most; of a structure: the entries of each list.
    """

    name: str
    suffix: str
    description: str
    source: str
    columns: tuple[Column, ...]
    kind: TableKind = TableKind.TABLE
    asg: str = "DEFAULT"
    rows: int = 50
    mark: Mark = field(compare=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """Its columns by their names, those of a list behind a dot: `users.first`."""
        inner = (f"{column.name}.{one.name}" for column in self.columns for one in column.columns)
        return (*(column.name for column in self.columns), *inner)


def parse_tables(text: str, *, path: Path, prefix: str) -> tuple[Table, ...]:
    """Read one file of tables and structures.

    Raises
    ------
    RecordFileError
        No YAML, an unknown or missing key, a wrong value; with file and line.
    """
    node, start = compose(text, path, "tables")
    return tuple(_table(suffix, inner, mark, prefix) for suffix, inner, mark in pairs(node, start))


def _table(suffix: str, node: yaml.Node, mark: Mark, prefix: str) -> Table:
    kind = _kind(node, mark)
    what, inside = f"the {kind} {suffix}", "columns" if kind is TableKind.TABLE else "fields"
    found = keys(node, mark, TABLE_KEYS if kind is TableKind.TABLE else STRUCTURE_KEYS, what)
    for key in ("description", "source", inside):
        if key not in found:
            raise mark.error(f"{what}: {key} is missing")
    check_name(Text(value=prefix + suffix, mark=mark))
    found.pop("kind", None)
    inside_node, inside_mark = found.pop(inside)
    words = {key: word(inner, at, key) for key, (inner, at) in found.items()}
    rows = words.pop("rows", str(Table.rows))
    if not (rows.isascii() and rows.isdecimal() and 0 < int(rows) <= MOST_ROWS):
        raise found["rows"][1].error(f"rows: a number from 1 to {MOST_ROWS}, not {rows}")
    make = _column if kind is TableKind.TABLE else _field
    columns = tuple(make(name, inner, at) for name, inner, at in pairs(inside_node, inside_mark))
    if not columns:
        raise inside_mark.error(f"{what} has no {inside}")
    return Table(
        name=prefix + suffix,
        suffix=suffix,
        columns=columns,
        kind=kind,
        rows=int(rows),
        mark=mark,
        **cast(Any, words),
    )


def _kind(node: yaml.Node, mark: Mark) -> TableKind:
    for key, inner, at in pairs(node, mark):
        if key == "kind":
            kind = word(inner, at, key)
            if kind not in set(TableKind):
                raise at.error(f"kind: {' or '.join(TableKind)}, not {kind}")
            return TableKind(kind)
    return TableKind.TABLE


def _field(name: str, node: yaml.Node, mark: Mark) -> Column:
    """A field of a structure: a single value, or a list where it has columns of its own."""
    if name in TAKEN:
        raise mark.error(f"the field {name}: every structure has it; give it another name")
    inner = next(((node, at) for key, node, at in pairs(node, mark) if key == "columns"), None)
    if inner is None:
        return _column(name, node, mark)
    found = keys(node, mark, LIST_KEYS, name)
    columns = tuple(_column(*one) for one in pairs(*inner))
    if not columns:
        raise inner[1].error(f"the list {name} has no columns")
    label = word(*found["label"], "label") if "label" in found else name
    return Column(name=_column_name(name, mark), label=label, columns=columns)


def _column_name(name: str, mark: Mark) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise mark.error(f"the column {name!r}: letters, digits and underscores, a letter first")
    return name


def _column(name: str, node: yaml.Node, mark: Mark) -> Column:
    _column_name(name, mark)
    words = {key: word(inner, at, key) for key, (inner, at) in keys(node, mark, COLUMN_KEYS, name).items()}
    kind = words.get("type", ColumnType.STRING.value)
    if kind not in set(ColumnType):
        raise mark.error(f"the column {name}: no type {kind}; these are: {', '.join(ColumnType)}")
    return Column(name=name, label=words.get("label", name), type=ColumnType(kind))


def check_tables(tables: Sequence[Table], taken: Collection[str]) -> None:
    """See that each table or structure has a name of its own.

    Parameters
    ----------
    taken
        Names of records and aliases.

    Raises
    ------
    RecordFileError
        With the table's file and line.
    """
    seen: dict[str, Table] = {}
    for table in tables:
        if table.name in taken:
            raise table.mark.error(f'"{table.name}" is the name of a record')
        if table.name in seen:
            raise table.mark.error(f'"{table.name}" stands in {seen[table.name].mark} too')
        seen[table.name] = table
