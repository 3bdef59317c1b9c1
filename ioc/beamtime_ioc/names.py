"""Names that are safe for paths: the only form in which a text of a person reaches one."""

import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

from anyascii import anyascii

NAME_LIMIT = 40
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,199}")
"""What an experiment is chosen by: `aps:300011`, or of a calendar `file:x@example.org`. In no path."""

RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))]
)


class SafeName(str):
    """A name of ASCII letters, digits and single underscores: the only form that reaches a path.

    Deterministic and never empty; at most 40 characters. Not unique: identity is a
    number, the name is decoration.
    """

    __slots__ = ()

    @classmethod
    def of(cls, text: str | None) -> Self:
        """Make any Unicode text safe; what has nothing safe in it becomes `unknown`."""
        ascii_text = anyascii(unicodedata.normalize("NFC", text or "")).replace("'", "")
        name = re.sub(r"[^A-Za-z0-9]+", "_", ascii_text).strip("_")[:NAME_LIMIT].strip("_")
        return cls("unknown" if not name or name.lower() in RESERVED else name)


def legacy_name(text: str | None) -> str:
    """As DMagic makes a name, for a beamline whose directories have such names.

    Letters lose their accents; what then is not ASCII, and all punctuation but hyphens, is left out; blanks
    become one underscore. Where DMagic has nothing left, or what no path should begin with or be, this has a
    safe name instead. Never empty, at most 40 characters.
    """
    ascii_text = unicodedata.normalize("NFKD", text or "").encode("ascii", "ignore").decode()
    kept = re.sub(r"[^A-Za-z0-9_\s-]", "", ascii_text)
    name = re.sub(r"\s+", "_", kept.strip()).lstrip("-_")[:NAME_LIMIT].rstrip("-_")
    return SafeName.of(text) if not name or name.lower() in RESERVED else name


RULES: Mapping[str, Callable[[str], str]] = {"safe": SafeName.of, "legacy": legacy_name}
"""What makes a text safe, by the word for it in the site file."""


TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Turn the direction of what follows, also past the end of their own text: `Doe` would be shown as `eoD`."""


def one_line(text: str | None, limit: int = 1000) -> str:
    """Fold white space and control characters, so that a text can stand in a record or a header.

    Signs that turn the direction of a line go, too; those that join letters or emoji stay. Of a text without
    end only the beginning is looked at: clients send as much as they like.
    """
    if not text:
        return ""
    begin = text[: 10 * limit + 1000]
    if begin.isascii() and begin.isprintable():  # as nearly all are: nothing to replace but runs of spaces
        return " ".join(begin.split())[:limit]
    straight = (c for c in begin if c not in TURNS)
    clean = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") else c for c in straight)
    return " ".join(clean.split())[:limit]


def counted(count: int, one: str, several: str = "") -> str:
    """A number and what is counted: `1 letter`, `2 letters`."""
    return f"{count} {one if count == 1 else several or one + 's'}"


class Safe(str):
    """A text that is already safe for paths."""

    __slots__ = ()


class _Fields(string.Formatter):
    """Fills a name template: known fields only, each made safe by a rule."""

    def __init__(self, rule: str) -> None:
        self.safe = RULES[rule]

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        if field_name not in kwargs:
            allowed = ", ".join(sorted(kwargs))
            raise ValueError(f"unknown field {{{field_name}}}; allowed are {allowed}")
        return kwargs[field_name], field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, datetime):
            return re.sub(r"[^0-9A-Za-z_-]+", "_", format(value, format_spec or "%Y-%m-%d"))
        if format_spec:
            raise ValueError(f"a format {format_spec!r} is allowed for start and end only")
        return value if isinstance(value, Safe) else self.safe(str(value))


def safe_cycle(cycle: str) -> Safe:
    """As a safe name, but `2026-3` keeps its hyphen."""
    clean = re.sub(r"[^0-9A-Za-z-]+", "_", cycle).strip("-_")[:NAME_LIMIT].strip("-_")
    return Safe(clean or "unknown")


def fill(template: str, rule: str = "safe", /, **fields: Any) -> str:
    """Fill a name template.

    Parameters
    ----------
    rule
        One of `RULES`: how each field is made safe.

    Raises
    ------
    ValueError
        An unknown field, a format that does not belong to it, or a broken template.
    """
    return _Fields(rule).format(template, **fields)
