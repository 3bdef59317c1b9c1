"""Substitutions files: which template is loaded how often, and with which macros."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.macros import Mark, expand

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+|\#[^\n]*)
    |(?P<quoted>"(?:[^"\\\n]|\\[^\n])*")
    |(?P<bare>(?:\$\([^()"\s]*\)|\$\{[^{}"\s]*\}|[A-Za-z0-9_\-+:./\\\[\]<>;])+)
    |(?P<sign>[{},=])""",
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One loading of one template.

    Parameters
    ----------
    macros
        Those of the row, the globals before it and those given from outside, expanded.
    """

    template: str
    macros: Mapping[str, str]
    mark: Mark


@dataclass(frozen=True, kw_only=True)
class _Token:
    kind: str
    value: str
    mark: Mark


def parse_substitutions(text: str, *, path: Path, macros: Mapping[str, str]) -> tuple[Row, ...]:
    """Read the rows of one file.

    They are written `file NAME { pattern {A, B} {"1", "2"} }` or `file NAME { {A=1, B=2} }`; `global {A=1}`
    holds for all rows after it. A value may hold the macros known before it: those from outside, the
    globals, the row's earlier ones.

    Raises
    ------
    RecordFileError
        The text is not in the language, or a row has more or fewer values than its pattern.
    """
    return _Reader(_tokens(text.replace("\r\n", "\n"), path), path, macros).rows()


def _tokens(text: str, path: Path) -> list[_Token]:
    starts = [0, *(newline.end() for newline in re.finditer("\n", text))]
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        mark = Mark(path=path, line=bisect_right(starts, at))
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].split("\n")[0]
            if rest.startswith('"'):
                raise mark.error(f"the text {rest[:30]} has no closing quote on its line")
            raise mark.error(f"{rest[:20]!r} is not understood here; put such a value between quotes")
        at = match.end()
        if match["quoted"]:
            # Only what would end the text is protected; the rest of the backslashes belongs to the value.
            tokens.append(_Token(kind="word", value=re.sub(r'\\(["\\])', r"\1", match[0][1:-1]), mark=mark))
        elif match["bare"]:
            tokens.append(_Token(kind="word", value=match[0], mark=mark))
        elif match["sign"]:
            tokens.append(_Token(kind=match[0], value=match[0], mark=mark))
    return tokens


class _Reader:
    """Reads the tokens of one substitutions file."""

    def __init__(self, tokens: list[_Token], path: Path, macros: Mapping[str, str]) -> None:
        self.tokens, self.path, self.at = tokens, path, 0
        self.globals = dict(macros)

    def rows(self) -> tuple[Row, ...]:
        found: list[Row] = []
        while self.at < len(self.tokens):
            keyword = self._take("word", "file or global")
            if keyword.value == "global":
                self._globals()
            elif keyword.value == "file":
                found += self._file(keyword.mark)
            else:
                raise keyword.mark.error(f'expected file or global, found "{keyword.value}"')
        return tuple(found)

    def _file(self, mark: Mark) -> list[Row]:
        template = expand(self._take("word", "the name of a template").value, self.globals, mark)
        self._take("{", '"{"')
        found: list[Row] = []
        pattern: list[str] | None = None
        while not self._next_is("}"):
            if self._next_is("word", "pattern"):
                self.at += 1
                if found:
                    raise self.tokens[self.at - 1].mark.error("the pattern stands before the rows")
                pattern = [token.value for token in self._words()]
            elif self._next_is("word", "global"):
                self.at += 1
                self._globals()
            else:
                row = self._mark()
                values = self._definitions() if pattern is None else self._values(pattern)
                found.append(Row(template=template, macros=values, mark=row))
        self.at += 1
        if not found:
            raise mark.error(f"file {template} has no rows; write {{}} inside its brackets to load it once")
        return found

    def _globals(self) -> None:
        self.globals = self._definitions()

    def _definitions(self) -> dict[str, str]:
        """Read `{ A=1, B="2" }`; the answer holds the globals too."""
        macros = dict(self.globals)
        self._take("{", '"{"')
        while not self._next_is("}"):
            name = self._take("word", "the name of a macro")
            self._take("=", f'"=" behind {name.value}')
            value = self._take("word", f"the value of {name.value}")
            macros[name.value] = expand(value.value, macros, value.mark)
            self._skip_comma()
        self.at += 1
        return macros

    def _values(self, pattern: list[str]) -> dict[str, str]:
        """Read `{ "1", "2" }`; the answer holds the globals too."""
        macros, mark = dict(self.globals), self._mark()
        words = self._words()
        if len(words) != len(pattern):
            raise mark.error(
                f"{len(words)} values for the {len(pattern)} macros {', '.join(pattern)}; "
                'write "" for an empty one'
            )
        for name, word in zip(pattern, words, strict=True):
            macros[name] = expand(word.value, macros, word.mark)
        return macros

    def _words(self) -> list[_Token]:
        self._take("{", '"{"')
        words: list[_Token] = []
        while not self._next_is("}"):
            words.append(self._take("word", "a word"))
            self._skip_comma()
        self.at += 1
        return words

    def _skip_comma(self) -> None:
        if self._next_is(","):
            self.at += 1

    def _next_is(self, kind: str, value: str = "") -> bool:
        if self.at >= len(self.tokens):
            return False
        token = self.tokens[self.at]
        return token.kind == kind and (not value or token.value == value)

    def _take(self, kind: str, expected: str) -> _Token:
        if not self._next_is(kind):
            raise self._surprise(expected)
        self.at += 1
        return self.tokens[self.at - 1]

    def _surprise(self, expected: str) -> RecordFileError:
        if self.at >= len(self.tokens):
            return self._mark().error(f"expected {expected}, found the end of the file")
        return self._mark().error(f'expected {expected}, found "{self.tokens[self.at].value}"')

    def _mark(self) -> Mark:
        if self.at < len(self.tokens):
            return self.tokens[self.at].mark
        return self.tokens[-1].mark if self.tokens else Mark(path=self.path, line=1)
