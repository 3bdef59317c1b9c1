"""The reference page of a site's records, tables and structures."""

from collections.abc import Iterable, Sequence

from beamtime_ioc.record import Record
from beamtime_ioc.records import ActionRow, RecordSet
from beamtime_ioc.recordtypes import Kind
from beamtime_ioc.tablefile import Column, Table, TableKind

_SHAPES = {
    Kind.TEXT: ("CHAR[{nelm}]", "string"),
    Kind.STRING: ("STRING", "string"),
    Kind.STATES: ("ENUM", "enum"),
    Kind.INTEGER: ("LONG", "int"),
    Kind.FLOAT: ("DOUBLE", "double"),
}
"""Native type of Channel Access, and normative scalar of PVAccess."""


_RARER_PARTS = {"resolve": "resolve.template", "schedule": "schedule.template", "arm": "arm.template"}
"""What a row of `action.template` does not bring."""


_NOTES = {
    "training": "Only where the site file names a box at `sim:`: faults for training, none on a beamline. "
    "What each may be, `beamtime sim show` says."
}
"""What is to be said of a group as a whole."""


def reference_page(records: RecordSet) -> str:
    """The page `docs/reference/records.md`."""
    rows = records.actions()
    in_rows = {id(record) for row in rows for record in (row.button, *row.parts.values())}
    others = [one for one in records.records.values() if id(one) not in in_rows and one.line is None]
    parts = [_INTRODUCTION]
    if rows:
        parts.append(_actions(rows))
    groups = dict.fromkeys(record.group or "others" for record in others)
    for group in groups:
        table = _table(others=[record for record in others if (record.group or "others") == group])
        note = f"{_NOTES[group]}\n\n" if group in _NOTES else ""
        parts.append(f"## {group.capitalize()}\n\n{note}{table}")
    for kind, show in ((TableKind.STRUCTURE, _structures), (TableKind.TABLE, _tables)):
        if of_kind := [table for table in records.tables if table.kind is kind]:
            parts.append(show(of_kind))
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
# Records

<!-- Written by `beamtime export`; change db/ instead. -->

Every name stands behind the site's prefix, `$(P)$(R)`. A text is a CHAR waveform over Channel Access, UTF-8,
and a string over PVAccess. Beside a long one stand its lines, for screens that do not wrap. *Writes* names
the access group in which clients may write, as far as the access file lets them; "IOC" are records that only
the program writes."""


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
        f"`<Action>Progress` shows them all in one PVAccess structure.{_rarer(rows)}\n\n{beside}"
    )


def _rarer(rows: Sequence[ActionRow]) -> str:
    """What not every button has, in words: the table shows each part once."""
    sentences = ""
    for word, template in _RARER_PARTS.items():
        having = [row for row in rows if word in row.parts]
        if having and len(having) < len(rows):
            names = ", ".join(f"`{row.parts[word].suffix}`" for row in having)
            part = having[0].parts[word].suffix.removeprefix(having[0].button.suffix)
            sentences += f" Only an action with a row of `{template}` has `<Action>{part}`: here {names}."
    return sentences


def _tables(tables: Sequence[Table]) -> str:
    overview = _overview(tables, "Table")
    parts = [
        "## Tables\n\nServed over PVAccess only, as NTTable (`epics:nt/NTTable:1.0`), and written by the "
        "program only. Declared in `db/tables.yaml`; *Rows* is the most that a table shows.\n\n" + overview
    ]
    for table in tables:
        columns = _lines(
            ("Column", "Label", "Type"),
            ((f"`{column.name}`", column.label, f"{column.type}[]") for column in table.columns),
        )
        parts.append(f"The columns of `{table.suffix}`:\n\n{columns}")
    return "\n\n".join(parts)


def _structures(structures: Sequence[Table]) -> str:
    parts = [
        "## Structures\n\nServed over PVAccess only, with `alarm` and `timeStamp`, and written by the "
        "program only. Declared in `db/tables.yaml`; *Rows* is the most that a list in it shows.\n\n"
        + _overview(structures, "Structure")
    ]
    for one in structures:
        fields = _lines(
            ("Field", "What it is", "Type"),
            (row for column in one.columns for row in _field_rows(column)),
        )
        parts.append(f"The fields of `{one.suffix}` (`beamtime:{one.suffix}/1.0`):\n\n{fields}")
    return "\n\n".join(parts)


def _field_rows(column: Column) -> Sequence[Sequence[str]]:
    inner = [(f"`{column.name}[].{one.name}`", one.label, str(one.type)) for one in column.columns]
    return [(f"`{column.name}`", column.label, "structure[]" if inner else str(column.type)), *inner]


def _overview(tables: Sequence[Table], what: str) -> str:
    return _lines(
        (what, "Rows", "Access group", "What it shows"),
        ((f"`{table.suffix}`", str(table.rows), f"`{table.asg}`", table.description) for table in tables),
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
    if record.knob and record.type == "mbbo":
        text += f": write one of {', '.join(record.states)}"
    elif record.states and record.writable:
        text += f": write `{record.states[1]}`"
    elif record.states:
        text += f": {', '.join(record.states)}"
    if record.lines:
        tail = (action and record.suffix.removeprefix(action)) or record.suffix
        text += f"; line by line in `...{tail}Line1` to `{record.lines[0]}`"
    return text + (f" (`{record.field}`)" if record.field else "")


def _writes(record: Record) -> str:
    return f"`{record.asg}`" if record.writable else "IOC"


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)
