"""A schedule as a table: one line a person, as spreadsheets write it."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from beamtime_handlers.clients.file_schedule.entries import (
    COLUMNS,
    PERSON,
    Contents,
    EntryError,
    FileError,
    Rules,
    Word,
    make_beamtime,
    make_person,
    unknown,
)
from beamtime_ioc.model import one_line

_NEEDED = ("id", "start", "end")


def read_csv(text: str, rules: Rules) -> Contents:
    """Read lines under a header of the names of `COLUMNS` and `PERSON`, between commas or semicolons.

    Lines of one id are the people of one beamtime; what they say of it besides must be the same, or empty. A
    beamtime of which one line is wrong is left out: who is missing cannot be known.

    Raises
    ------
    FileError
        No header, or one with other names.
    """
    contents = Contents()
    groups: dict[str, list[Mapping[str, Word]]] = {}
    spoilt: set[str] = set()
    for row in _rows(text, contents.bad, spoilt):
        groups.setdefault(one_line(row["id"].text), []).append(row)
    for ident, rows in groups.items():
        line = rows[0]["id"].line
        with contents.entry():
            if ident in spoilt:
                raise EntryError(line, f"id {ident}: one of its lines is wrong, so all are left out")
            words = _joined(rows)
            people = [make_person(row, row["id"].line) for row in rows]
            contents.take(make_beamtime(words, people, line, rules), line, rules)
    return contents


def _rows(text: str, bad: list[EntryError], spoilt: set[str]) -> Iterator[Mapping[str, Word]]:
    header_line = text.lstrip().partition("\n")[0]
    delimiter = ";" if ";" in header_line and "," not in header_line else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next((row for row in reader if any(cell.strip() for cell in row)), list[str]())
        names = [cell.strip().lower() for cell in header]
        _check_header(names, reader.line_num)
        before = reader.line_num
        for row in reader:
            line, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(names):
                bad.append(EntryError(line, f"has {len(row)} columns, the header {len(names)}"))
                spoilt.add(one_line(row[names.index("id")]) if len(row) > names.index("id") else "")
                continue
            yield {name: Word(cell.strip(), line) for name, cell in zip(names, row, strict=True)}
    except csv.Error as error:
        raise FileError(reader.line_num, f"no CSV: {error}") from error


def _check_header(names: Sequence[str], line: int) -> None:
    if problem := unknown(names, (*COLUMNS, *PERSON)):
        raise FileError(line, f"{problem}; the first line names the columns, between commas or semicolons")
    for name in names:
        if names.count(name) > 1:
            raise FileError(line, f"the column {name} stands twice")
    for name in _NEEDED:
        if name not in names:
            raise FileError(line, f"the column {name} is missing")


def _joined(rows: Sequence[Mapping[str, Word]]) -> Mapping[str, Word]:
    """What all lines of a beamtime say of it."""
    words = {name: rows[0][name] for name in COLUMNS if name in rows[0]}
    for row in rows[1:]:
        for name, known in words.items():
            word = row[name]
            if not known.text:
                words[name] = word
            elif word.text and word.text != known.text:
                raise EntryError(word.line, f"{name} differs from that in line {known.line} of the same id")
    return words
