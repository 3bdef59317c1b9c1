"""Macros of record files: `$(NAME)`, `${NAME}`, `$(NAME=default)`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from beamtime_ioc.errors import RecordFileError

# Deeper than any real file, and far from Python's own limit.
DEEPEST = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A line of a record file.

    Parameters
    ----------
    row
        The row of the substitutions file that loaded this file.
    """

    path: Path
    line: int
    row: "Mark | None" = None

    def error(self, text: str) -> RecordFileError:
        """Say what is wrong on this line."""
        behind = f" (row {self.row})" if self.row else ""
        return RecordFileError(self.path, self.line, text + behind)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def expand(text: str, macros: Mapping[str, str], mark: Mark) -> str:
    """Put the macros' values into one text.

    As in EPICS base a backslash protects the character behind it, the default of a macro may
    hold macros, and an unused default is not looked at.

    Raises
    ------
    RecordFileError
        A macro is not defined, or its bracket is not closed.
    """
    return _Expansion(text, macros, mark).line(comments=False)


def expand_lines(text: str, macros: Mapping[str, str], path: Path, *, row: Mark | None = None) -> str:
    """Put the macros' values into a file's text, and drop its comments; the lines keep their numbers."""
    lines = text.replace("\r\n", "\n").split("\n")
    marks = (Mark(path=path, line=number, row=row) for number in range(1, len(lines) + 1))
    return "\n".join(
        _Expansion(line, macros, mark).line(comments=True) for line, mark in zip(lines, marks, strict=True)
    )


class _Expansion:
    """One pass over one line."""

    def __init__(self, text: str, macros: Mapping[str, str], mark: Mark) -> None:
        self.text, self.macros, self.mark, self.at = text, macros, mark, 0

    def line(self, *, comments: bool) -> str:
        pieces: list[str] = []
        quoted = False
        while self.at < len(self.text):
            character = self.text[self.at]
            if self._reference_starts():
                pieces.append(self._reference(wanted=True, depth=0))
                continue
            if comments and character == "#" and not quoted:
                break
            if character == '"':
                quoted = not quoted
            width = 2 if character == "\\" else 1
            pieces.append(self.text[self.at : self.at + width])
            self.at += width
        return "".join(pieces)

    def _reference_starts(self) -> bool:
        return self.text.startswith(("$(", "${"), self.at)

    def _reference(self, *, wanted: bool, depth: int) -> str:
        """Read a reference from its `$` to its bracket; with `wanted` false only skip it."""
        if depth > DEEPEST:
            raise self.mark.error(f"macros are nested more than {DEEPEST} deep")
        close = ")" if self.text[self.at + 1] == "(" else "}"
        start, self.at = self.at, self.at + 2
        name = self._part(close + "=,", wanted=wanted, depth=depth)
        default: str | None = None
        if self.text.startswith("=", self.at):
            self.at += 1
            defined = name in self.macros
            default = self._part(close + ",", wanted=wanted and not defined, depth=depth)
        if self.text.startswith(",", self.at):
            raise self.mark.error(f"$({name},...): definitions inside a macro are not supported here")
        if self.at >= len(self.text):
            raise self.mark.error(f"the macro {self.text[start : start + 30]} is not closed")
        self.at += 1
        if not wanted:
            return ""
        value = self.macros.get(name, default)
        if value is None:
            raise self.mark.error(f'the macro "{name}" is not defined')
        return value

    def _part(self, ends: str, *, wanted: bool, depth: int) -> str:
        """A name or a default: quotes and backslashes go, what they protect stays."""
        pieces: list[str] = []
        quoted = False
        while self.at < len(self.text):
            character = self.text[self.at]
            if self._reference_starts():
                pieces.append(self._reference(wanted=wanted, depth=depth + 1))
                continue
            if character in ends and not quoted:
                break
            if character == '"':
                quoted = not quoted
            elif character == "\\" and self.at + 1 < len(self.text):
                self.at += 1
                pieces.append(self.text[self.at])
            else:
                pieces.append(character)
            self.at += 1
        return "".join(pieces)
