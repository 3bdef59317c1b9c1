"""The records in the forms that other programs read: a flat `.db`, a `.req`, a reference page."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from beamtime_ioc.app import load_site_records
from beamtime_ioc.config import Frame, read_site_file
from beamtime_ioc.dbfile import Declaration, Text, render_db
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.record import Record
from beamtime_ioc.records import ActionRow, RecordSet, db_dir, load_records
from beamtime_ioc.recordtypes import Kind
from beamtime_ioc.registry import SERVICES, load_actions
from beamtime_ioc.sitepage import site_page

_SHAPES = {
    Kind.TEXT: ("CHAR[{nelm}]", "string"),
    Kind.STRING: ("STRING", "string"),
    Kind.STATES: ("ENUM", "enum"),
    Kind.INTEGER: ("LONG", "int"),
    Kind.FLOAT: ("DOUBLE", "double"),
}
"""Native type of Channel Access, and normative scalar of PVAccess."""


ANY_PREFIX = "P:R:"
"""The files that are written say `$(P)$(R)`: without a site, any prefix will do."""


def write_all(directory: Path, site: Path | None) -> list[Path]:
    """Write every form into a directory; with a site file, that site's own records are in them.

    Raises
    ------
    BeamtimeError
        The site file or a record file is wrong, or the directory cannot be written.
    """
    records = _records(site)
    texts = {
        "beamtime.db": flat_db(records),
        "beamtime_settings.req": request_file(records),
        "records.md": reference_page(records),
        "site-file.md": site_page(Frame, installed_sections()),
    }
    paths = [directory / name for name in texts]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.write_text(texts[path.name], encoding="utf-8")
    except OSError as error:
        raise BeamtimeError(
            f"{error.filename or directory} cannot be written: {error.strerror}",
            advice="name another directory",
        ) from error
    return paths


def _records(site: Path | None) -> RecordSet:
    if site is None:
        return load_records([db_dir() / "beamtime.substitutions"], prefix=ANY_PREFIX)
    return load_site_records(read_site_file(site), load_actions())


def installed_sections() -> Mapping[str, type[Any]]:
    """What checks each service's section of a site file, by section and backend: `schedule.aps`."""
    return {point.name: point.load().Settings for point in entry_points(group=SERVICES)}


def flat_db(records: RecordSet) -> str:
    """One file for a C IOC, with the macros P and R.

    The short views are left out: here and there they are made from their tag.
    """
    declarations = [_declaration(record) for record in records.records.values() if record.view_of is None]
    return "# Written by `beamtime export`.\n\n" + render_db(declarations, prefix=records.prefix)


def _declaration(record: Record) -> Declaration:
    def text(value: str) -> Text:
        return Text(value=value, mark=record.mark)

    return Declaration(
        type=record.type,
        name=record.name,
        mark=record.mark,
        fields={name: text(value) for name, value in record.fields.items()},
        info={name: text(value) for name, value in record.info.items()},
        aliases=tuple(text(alias) for alias in record.aliases),
    )


def request_file(records: RecordSet) -> str:
    """One `.req`: what autosave saves, and behind `#controlPV` what TomoScan reads besides.

    Saved is what the record's `info(autosaveFields, ...)` names. Names stand without `.VAL`, as TomoScan
    takes them for its keys.
    """
    # TomoScan takes any line with its mark in it for a PV, so that this comment must not hold it.
    lines = ["# Written by `beamtime export`."]
    for record in records.records.values():
        name = _macro_name(record, records.prefix)
        fields = record.info.get("autosaveFields", "").split()
        lines += [name if field == "VAL" else f"{name}.{field}" for field in fields]
        if not fields:
            lines.append(f"#controlPV {name}")
    return "\n".join(lines) + "\n"


def _macro_name(record: Record, prefix: str) -> str:
    return f"$(P)$(R){record.suffix}" if record.name == prefix + record.suffix else record.name


def reference_page(records: RecordSet) -> str:
    """The page `docs/reference/records.md`."""
    rows = records.actions()
    in_rows = {id(record) for row in rows for record in (row.button, *row.parts.values())}
    others = [record for record in records.records.values() if id(record) not in in_rows]
    parts = [_INTRODUCTION]
    if rows:
        parts.append(_actions(rows))
    groups = dict.fromkeys(record.group or "others" for record in others)
    for group in groups:
        table = _table(others=[record for record in others if (record.group or "others") == group])
        parts.append(f"## {group.capitalize()}\n\n{table}")
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
# Records

<!-- Written by `beamtime export`; change db/ instead. -->

Every name stands behind the site's prefix, `$(P)$(R)`. A text is a CHAR waveform over Channel Access, UTF-8,
and a string over PVAccess. *Writes* names the access group in which clients may write, as far as the access
file lets them; "IOC" are records that only the program writes."""


def _actions(rows: Sequence[ActionRow]) -> str:
    buttons = _lines(
        ("Button", "Action", "Press", "Writes", "What it does"),
        (
            (
                f"`{row.button.suffix}`",
                f"`{row.action}`",
                row.button.states[1],
                _writes(row.button),
                row.button.desc,
            )
            for row in rows
        ),
    )
    parts: dict[str, Record] = {}
    heads: dict[str, str] = {}
    for row in rows:
        for word, record in row.parts.items():
            parts.setdefault(word, record)
            heads.setdefault(word, row.button.suffix)
    beside = _lines(
        ("Record", *_COLUMNS),
        (
            (f"`<Action>{record.suffix.removeprefix(heads[word])}`", *_cells(record, heads[word]))
            for word, record in parts.items()
        ),
    )
    return (
        f"## Actions\n\n{buttons}\n\nBeside each button stand these; `<Action>` is the button's name. "
        f"`<Action>Progress` shows them all in one PVAccess structure.\n\n{beside}"
    )


_COLUMNS = ("Type", "Channel Access", "PVAccess", "Writes", "What it shows")


def _table(others: Iterable[Record]) -> str:
    return _lines(("Record", *_COLUMNS), ((f"`{record.suffix}`", *_cells(record)) for record in others))


def _cells(record: Record, action: str = "") -> tuple[str, ...]:
    ca, pva = _SHAPES[record.kind]
    return record.type, ca.format(nelm=record.nelm), pva, _writes(record), _meaning(record, action)


def _meaning(record: Record, action: str) -> str:
    if record.view_of:
        return f"{record.desc}: the first 39 bytes"
    text = record.desc.removeprefix(f"{action}: ") if action else record.desc
    text = text[:1].upper() + text[1:]
    if record.egu:
        text += f" [{record.egu}]"
    if record.states and record.writable:
        text += f": write `{record.states[1]}`"
    elif record.states:
        text += f": {', '.join(record.states)}"
    return text + (f" (`{record.field}`)" if record.field else "")


def _writes(record: Record) -> str:
    return f"`{record.asg}`" if record.writable else "IOC"


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)
