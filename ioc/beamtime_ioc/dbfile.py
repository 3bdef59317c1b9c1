"""Record files as they are written: `record(type, "name") { field(...) info(...) alias(...) }`.

The language is that of EPICS base 7 for what belongs to records. Whether a record is served here is
asked later, in `recordtypes.py`: this step also reads the files of other IOCs.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.macros import DEEPEST, Mark, expand_lines

_BLANK = re.compile(r"[ \t\r\n]*")
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x1f]|\\[^\x00-\x1f])*)"')
_BARE = re.compile(r"[A-Za-z0-9_\-+:.\[\]<>;]+")
_CONTROL = re.compile(r"[\x00-\x1f]")
_JSON_WORD = re.compile(r"[A-Za-z0-9_+\-.]+|[:,]")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_WRITTEN = str.maketrans(
    {char: f"\\{letter}" for letter, char in _ESCAPED.items()} | {'"': '\\"', "\\": "\\\\"}
)
_CLOSING = {"{": "}", "[": "]"}
_ELSEWHERE = frozenset(
    "include path addpath menu recordtype device driver link breaktable registrar function variable".split()  # noqa: SIM905
)


@dataclass(frozen=True, kw_only=True)
class Text:
    """A word of a record file, and the line it stands on."""

    value: str
    mark: Mark = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One `record(...)` of a file; what a line says about a record declared before has the type `*`."""

    type: str
    name: str
    mark: Mark = field(compare=False)
    fields: Mapping[str, Text]
    info: Mapping[str, Text]
    aliases: tuple[Text, ...] = ()


def parse_db(
    text: str, *, path: Path, macros: Mapping[str, str], row: Mark | None = None
) -> tuple[Declaration, ...]:
    """Read the declarations of one file, in their order and not yet merged.

    Raises
    ------
    RecordFileError
        The text is not in the language; file and line are named.
    """
    return _Reader(expand_lines(text, macros, path, row=row), path, row).declarations()


def merge(declarations: Iterable[Declaration]) -> tuple[Declaration, ...]:
    """Lay declarations of one record together: a later field replaces an earlier one, as in EPICS base.

    Raises
    ------
    RecordFileError
        The types differ, a name is taken, or the record that a line speaks of is not declared.
    """
    merged: dict[str, Declaration] = {}
    taken: dict[str, str] = {}
    for new in declarations:
        owner = taken.get(new.name)
        if owner is None and new.type == "*":
            raise new.mark.error(f'no record "{new.name}" is declared before this line')
        if owner is None:
            merged[new.name] = replace(new, aliases=())
            owner = taken[new.name] = new.name
        else:
            merged[owner] = _added(merged[owner], new)
        for alias in new.aliases:
            if alias.value in taken:
                raise alias.mark.error(f'the alias "{alias.value}" is the name of another record')
            taken[alias.value] = owner
            merged[owner] = replace(merged[owner], aliases=(*merged[owner].aliases, alias))
    return tuple(merged.values())


def _added(old: Declaration, new: Declaration) -> Declaration:
    if new.type not in ("*", old.type):
        raise new.mark.error(f'"{new.name}" is a {new.type} here, and a {old.type} in {old.mark}')
    for tag, text in new.info.items():
        before = old.info.get(tag)
        # A binding replaced in silence would leave an action without its button.
        if tag.startswith("beamtime:") and before is not None and before != text:
            raise text.mark.error(
                f'"{new.name}": {tag} is "{text.value}" here, and "{before.value}" in {before.mark}'
            )
    return replace(old, fields={**old.fields, **new.fields}, info={**old.info, **new.info})


def quoted(value: str) -> str:
    """Write a text between quotes, so that `parse_db` and EPICS base read it back unchanged."""
    # `\$` is no escape of EPICS base 7; a macro nobody defines keeps the bracket apart from its dollar.
    return '"' + re.sub(r"\$(?=[({])", "$(DOLLAR=$)", value.translate(_WRITTEN)) + '"'


def _word(text: str) -> str:
    return text if _BARE.fullmatch(text) else quoted(text)


def render_db(declarations: Iterable[Declaration], *, prefix: str = "") -> str:
    """Write declarations as one flat file; names with the prefix begin with `$(P)$(R)`."""

    def name(full: str) -> str:
        if prefix and full.startswith(prefix):
            return f'"$(P)$(R){quoted(full.removeprefix(prefix))[1:]}'
        return quoted(full)

    lines: list[str] = []
    for record in declarations:
        lines.append(f"record({_word(record.type)}, {name(record.name)}) {{")
        lines += [f"    alias({name(alias.value)})" for alias in record.aliases]
        lines += [f"    field({_word(tag)}, {quoted(text.value)})" for tag, text in record.fields.items()]
        lines += [f"    info({_word(tag)}, {quoted(text.value)})" for tag, text in record.info.items()]
        lines += ["}", ""]
    return "\n".join(lines)


class _Reader:
    """Reads one file whose macros are expanded and whose comments are gone."""

    def __init__(self, text: str, path: Path, row: Mark | None) -> None:
        self.text, self.path, self.row, self.at = text, path, row, 0
        self.starts = [0, *(newline.end() for newline in re.finditer("\n", text))]

    def declarations(self) -> tuple[Declaration, ...]:
        found: list[Declaration] = []
        while self._skip_blank() < len(self.text):
            mark = self._mark()
            keyword = self._word("record, grecord or alias").value
            if keyword in ("record", "grecord"):
                found.append(self._record(mark))
            elif keyword == "alias":
                found.append(self._top_alias(mark))
            elif keyword in _ELSEWHERE:
                raise mark.error(f'"{keyword}" is not supported here; only records can stand in this file')
            else:
                raise mark.error(f'expected record, grecord or alias, found "{keyword}"')
        return tuple(found)

    def _record(self, mark: Mark) -> Declaration:
        self._expect("(")
        kind = self._word("a record type").value
        self._expect(",")
        name = self._word("a record name")
        self._expect(")")
        if not kind or not name.value:
            raise mark.error("a record needs a type and a name")
        fields: dict[str, Text] = {}
        info: dict[str, Text] = {}
        aliases: list[Text] = []
        if self._peek() == "{":
            opened = self._mark()
            self.at += 1
            while self._peek() != "}":
                if self._skip_blank() >= len(self.text):
                    raise opened.error(f'the bracket of record "{name.value}" is not closed')
                self._item(name.value, fields, info, aliases)
            self.at += 1
        return Declaration(
            type=kind, name=name.value, mark=mark, fields=fields, info=info, aliases=tuple(aliases)
        )

    def _item(self, record: str, fields: dict[str, Text], info: dict[str, Text], aliases: list[Text]) -> None:
        keyword = self._word("field, info or alias")
        if keyword.value not in ("field", "info", "alias"):
            raise keyword.mark.error(
                f'record "{record}": expected field, info or alias, found "{keyword.value}"'
            )
        self._expect("(")
        tag = self._word("a name")
        if not tag.value:
            raise tag.mark.error(f'record "{record}": {keyword.value}() needs a name')
        if keyword.value == "alias":
            aliases.append(tag)
        else:
            self._expect(",")
            (fields if keyword.value == "field" else info)[tag.value] = self._value()
        self._expect(")")

    def _top_alias(self, mark: Mark) -> Declaration:
        self._expect("(")
        record = self._word("a record name")
        self._expect(",")
        alias = self._word("an alias")
        self._expect(")")
        if not record.value or not alias.value:
            raise mark.error("an alias needs a record and a name")
        return Declaration(type="*", name=record.value, mark=mark, fields={}, info={}, aliases=(alias,))

    def _value(self) -> Text:
        """A word, or a JSON constant such as `{const:"text"}`, kept as it is without its blanks."""
        if self._peek() not in _CLOSING:
            return self._word("a value")
        mark, open_brackets, pieces = self._mark(), list[str](), list[str]()
        while True:
            character = self._peek()
            if character in _CLOSING:
                open_brackets.append(_CLOSING[character])
            elif open_brackets and character == open_brackets[-1]:
                open_brackets.pop()
            else:
                match = _QUOTED.match(self.text, self.at) or _JSON_WORD.match(self.text, self.at)
                if match is None:
                    raise self._surprise("a JSON value")
                character = match[0]
            if len(open_brackets) > DEEPEST:
                raise mark.error(f"JSON is nested more than {DEEPEST} deep")
            pieces.append(character)
            self.at += len(character)
            if not open_brackets:
                return Text(value="".join(pieces), mark=mark)

    def _word(self, expected: str) -> Text:
        self._skip_blank()
        mark = self._mark()
        if match := _QUOTED.match(self.text, self.at):
            value = _ESCAPE.sub(lambda escape: self._unescaped(escape[1], mark), match[1])
        elif match := _BARE.match(self.text, self.at):
            value = match[0]
        else:
            raise self._surprise(expected)
        self.at = match.end()
        return Text(value=value, mark=mark)

    def _unescaped(self, letter: str, mark: Mark) -> str:
        if letter in "0123456789xu":
            raise mark.error(f"\\{letter}: a character cannot be given as a number here; write it as it is")
        return _ESCAPED.get(letter, letter)

    def _surprise(self, expected: str) -> RecordFileError:
        rest = self.text[self.at :]
        if not rest:
            return self._mark().error(f"expected {expected}, found the end of the file")
        line = rest.split("\n")[0]
        if line.startswith('"') and not _QUOTED.match(line):
            control = "has a control character (a tab is written \\t)" if _CONTROL.search(line) else ""
            return self._mark().error(f"the text {line[:30]} {control or 'has no closing quote on its line'}")
        return self._mark().error(f"expected {expected}, found {line[:20]!r}")

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            raise self._surprise(f'"{sign}"')
        self.at += 1

    def _peek(self) -> str:
        self._skip_blank()
        return self.text[self.at : self.at + 1]

    def _skip_blank(self) -> int:
        match = _BLANK.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.at

    def _mark(self) -> Mark:
        return Mark(path=self.path, line=bisect_right(self.starts, self.at), row=self.row)
