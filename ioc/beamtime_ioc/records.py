"""The records of a site: declared once in `db/`, served over both protocols."""

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from beamtime_ioc.bindings import check_bindings
from beamtime_ioc.dbfile import Declaration, Text, merge, parse_db
from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.macros import Mark
from beamtime_ioc.record import Line, Record
from beamtime_ioc.recordtypes import TYPES, Kind, check, check_name
from beamtime_ioc.substitutions import parse_substitutions
from beamtime_ioc.tablefile import Table, check_tables, parse_tables

__all__ = ["ActionRow", "Kind", "Record", "RecordSet", "db_dir", "load_records", "shipped", "split_prefix"]

CALL = "Press"
"""Behind the prefix: what presses any action by an RPC."""


@dataclass(frozen=True, kw_only=True)
class ActionRow:
    """A button and what stands beside it.

    Parameters
    ----------
    parts
        By word: `state`, `percent`, `step`, `message`, `advice`, `elapsed`, `started-by`, `run-id`, `plan`,
        `preview`, `abort`, `arm`, `resolve`, `schedule`, `schedule-text`; a site's own row may have fewer.
    """

    action: str
    button: Record
    parts: Mapping[str, Record]


@dataclass(frozen=True, kw_only=True)
class RecordSet:
    """All records of a site, in the order of their declaration; a short view stands behind its text."""

    prefix: str
    records: Mapping[str, Record]
    tables: tuple[Table, ...] = ()

    def by_suffix(self, suffix: str) -> Record:
        """The record of this name behind the prefix; KeyError when there is none."""
        return self.records[self.prefix + suffix]

    def actions(self) -> tuple[ActionRow, ...]:
        """One row per button."""
        parts: dict[str, dict[str, Record]] = {r.action: {} for r in self.records.values() if r.action}
        for record in self.records.values():
            if record.beside:
                action, word = record.beside
                parts[action][word] = record
        return tuple(
            ActionRow(action=record.action, button=record, parts=parts[record.action])
            for record in self.records.values()
            if record.action
        )

    def fields(self) -> tuple[Record, ...]:
        """The records that show a field of the experiment."""
        return tuple(record for record in self.records.values() if record.field)

    def engine_reports(self) -> Mapping[str, Record]:
        """The records that show the engine: `state`, `queued`, ..."""
        return dict(self.reports("engine"))

    def reports(self, about: str) -> Iterator[tuple[str, Record]]:
        """The words and records of what the program reports of something, such as `engine` or `service`."""
        found = ((record.report, record) for record in self.records.values() if record.report)
        return ((word, record) for (head, word), record in found if head == about)

    def ask(self, word: str) -> Record | None:
        """The record in which a client asks something of the program."""
        return next((one for one in self.records.values() if one.info.get("beamtime:ask") == word), None)

    def groups(self) -> Collection[str]:
        """Access groups of what clients may write, and of the tables."""
        written = (record.asg for record in self.records.values() if record.writable)
        return {*written, *(table.asg for table in self.tables)}

    def check_actions(self, known: Collection[str]) -> None:
        """See that every button's action has a handler.

        Raises
        ------
        RecordFileError
            With the button's file and line, and the actions that are known.
        """
        for row in self.actions():
            if row.action not in known:
                names = ", ".join(sorted(known)) or "none"
                raise row.button.mark.error(
                    f'"{row.button.name}": no handler for the action {row.action}; these are: {names}'
                )

    def check_knobs(self, *, training: bool) -> None:
        """See that there is a box for every knob.

        Raises
        ------
        RecordFileError
            With the record's file and line.
        """
        turned = next((record for record in self.records.values() if record.knob), None)
        if turned is not None and not training:
            raise turned.mark.error(
                f'"{turned.name}": a knob needs a box; add sim: {{url: ...}} to the site file'
            )

    def check_armed(self, armed: Collection[str]) -> None:
        """See that what has to be armed has a second step.

        Raises
        ------
        RecordFileError
            With the button's file and line, and the row that is missing.
        """
        for row in self.actions():
            if row.action in armed and not {"arm", "armed"} <= row.parts.keys():
                raise row.button.mark.error(
                    f'"{row.button.name}": the action {row.action} has to be armed and nothing arms it; '
                    f'add a row {{ "{row.action}", "{row.button.suffix}" }} of arm.template'
                )

    def check_sources(self, known: Mapping[str, Collection[str]]) -> None:
        """See that every table and structure, and each of its columns, is filled by something.

        Parameters
        ----------
        known
            The columns that each source has; those of a list in it behind a dot: `users.first`.

        Raises
        ------
        RecordFileError
            With the table's file and line, and what is known.
        """
        for table in self.tables:
            if table.source not in known:
                names = ", ".join(sorted(known)) or "none"
                raise table.mark.error(
                    f'"{table.name}": nothing fills a {table.kind} from {table.source}; known are: {names}'
                )
            columns = known[table.source]
            lists = {path.partition(".")[0] for path in columns if "." in path}
            for path in table.paths:
                if path not in columns:
                    raise table.mark.error(
                        f'"{table.name}": {table.source} has no column {path}; '
                        f"these are: {', '.join(columns)}"
                    )
            for column in table.columns:
                if column.name in lists and not column.columns:
                    raise table.mark.error(
                        f'"{table.name}": {column.name} is a list; show it in a structure, with its columns'
                    )

    def check_fields(self, known: Collection[str]) -> None:
        """See that the experiment has every field that is shown.

        Parameters
        ----------
        known
            Paths, such as `pi.last_name`.

        Raises
        ------
        RecordFileError
            With the record's file and line.
        """
        for record in self.fields():
            if record.field not in known:
                raise record.mark.error(
                    f'"{record.name}": an experiment has no field {record.field}; '
                    f"these are: {', '.join(sorted(known))}"
                )


def db_dir() -> Path:
    """The records that come with the program: the checkout's, else the installed ones."""
    source_root = Path(__file__).resolve().parents[1]
    beside = source_root.parent / "db"
    if source_root.name == "ioc" and beside.is_dir():
        return beside
    return Path(sys.prefix) / "share" / "beamtime-ioc" / "db"


def shipped(*, training: bool = False) -> Sequence[Path]:
    """The files of records and tables that come with the program; those of a box only for training."""
    box = [db_dir() / "sim.substitutions"] if training else []
    return [db_dir() / "beamtime.substitutions", db_dir() / "tables.yaml", *box]


def split_prefix(prefix: str) -> tuple[str, str]:
    """The macros P and R: `99bm:Beamtime:` is `99bm:` and `Beamtime:`; what has no two colons is all P."""
    match = re.fullmatch(r"(.*:)([^:]+:)", prefix, re.DOTALL)
    return (match[1], match[2]) if match else (prefix, "")


def load_records(files: Sequence[Path], *, prefix: str, macros: Mapping[str, str] | None = None) -> RecordSet:
    """Read and check the records of a site.

    A later file may add fields to a record of an earlier one. A template that a substitutions file names is
    looked for beside it, then among the program's own.

    Parameters
    ----------
    files
        `.substitutions` files, or `.template` and `.db` files; `.yaml` files declare tables.
    prefix
        Given to the files as the macros P and R, see `split_prefix`.
    macros
        Further ones, such as `BUSY` for the type of the buttons.

    Raises
    ------
    RecordFileError
        A file cannot be read, or says what is not served; with file and line.
    """
    p, r = split_prefix(prefix)
    known = {"P": p, "R": r, **(macros or {})}
    declared: list[Declaration] = []
    tables: list[Table] = []
    for path in files:
        if path.suffix in (".yaml", ".yml"):
            tables += parse_tables(_read(path, None), path=path, prefix=prefix)
            continue
        found = _load_file(path, known)
        if not found:
            raise RecordFileError(path, 0, "declares no records")
        declared += found
    records: list[Record] = []
    for declaration in merge(declared):
        check(declaration)
        record = _record(declaration, prefix)
        records.append(record)
        if record.text39:
            records.append(_view(record, record.text39, prefix))
        records += _line_views(record, prefix)
    check_bindings(records)
    taken = {name for record in records for name in (record.name, *record.aliases)}
    for record in records:
        if prefix + CALL in (record.name, *record.aliases):
            raise record.mark.error(f'"{prefix}{CALL}" takes calls over PVAccess; choose another name')
    progress = {f"{record.name}Progress" for record in records if record.action}
    check_tables(tables, {*taken, *progress, prefix + CALL})
    return RecordSet(prefix=prefix, records={record.name: record for record in records}, tables=tuple(tables))


def _load_file(path: Path, macros: Mapping[str, str]) -> list[Declaration]:
    if path.suffix not in (".substitutions", ".subs"):
        return list(parse_db(_read(path, None), path=path, macros=macros))
    declared: list[Declaration] = []
    for row in parse_substitutions(_read(path, None), path=path, macros=macros):
        beside = path.parent / row.template
        template = beside if beside.exists() else db_dir() / row.template
        if not template.exists():
            raise row.mark.error(f"there is no template {row.template}, neither here nor in {db_dir()}")
        declared += parse_db(_read(template, row.mark), path=template, macros=row.macros, row=row.mark)
    return declared


def _read(path: Path, row: Mark | None) -> str:
    def error(line: int, text: str) -> RecordFileError:
        return Mark(path=path, line=line, row=row).error(text)

    try:
        content = path.read_bytes()
    except OSError as problem:
        raise error(0, f"cannot be read: {problem.strerror}") from problem
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise error(line, f"byte {content[problem.start]:#04x} is no UTF-8; save it as UTF-8") from problem


def _record(declaration: Declaration, prefix: str) -> Record:
    return Record(
        name=declaration.name,
        suffix=declaration.name.removeprefix(prefix),
        type=declaration.type,
        kind=TYPES[declaration.type].kind,
        fields={name: text.value for name, text in declaration.fields.items()},
        info={name: text.value for name, text in declaration.info.items()},
        aliases=tuple(alias.value for alias in declaration.aliases),
        mark=declaration.mark,
    )


def _view(record: Record, name: str, prefix: str) -> Record:
    """The read-only `stringin` beside a text, for links of C records."""
    head, colon, _ = record.name.rpartition(":")
    return _shown(record, head + colon + name, prefix, type="stringin", kind=Kind.STRING)


def _line_views(record: Record, prefix: str) -> list[Record]:
    """The lines beside a text, for MEDM, which wraps nothing: `BeginBeamtimeMessageLine1`, ..."""
    count, width = record.lines or (0, 0)
    fields = {"FTVL": "CHAR", "NELM": str(2 * width)}  # letters of most languages have two bytes at most
    return [
        _shown(
            record,
            f"{record.name}Line{number}",
            prefix,
            type="waveform",
            kind=Kind.TEXT,
            fields=fields,
            line=Line(number=number, count=count, width=width),
        )
        for number in range(1, count + 1)
    ]


def _shown(
    record: Record,
    full: str,
    prefix: str,
    *,
    type: str,
    kind: Kind,
    fields: Mapping[str, str] | None = None,
    line: Line | None = None,
) -> Record:
    check_name(Text(value=full, mark=record.mark))
    return Record(
        name=full,
        suffix=full.removeprefix(prefix),
        type=type,
        kind=kind,
        fields={**(fields or {}), **({"DESC": record.desc} if record.desc else {})},
        info={
            **({"Q:form": "String"} if line else {}),
            **({"beamtime:group": record.group} if record.group else {}),
        },
        mark=record.mark,
        view_of=record.name,
        line=line,
    )
