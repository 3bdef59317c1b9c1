"""The lines of a calendar (RFC 5545): unfolded, cut into name, parameters and value."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One content line.

    Parameters
    ----------
    params
        By their names in capitals; of several values the text with its commas.
    """

    number: int
    name: str
    value: str
    params: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def text(self) -> str:
        """The value of a property that is a text."""
        return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], self.value)


def content_lines(text: str) -> Iterator[Line | int]:
    """Each line, or the number of one that is none."""
    for number, whole in _unfolded(text):
        head, value = _halves(whole)
        name, *params = _cut(head, ";")
        if value is None or not re.fullmatch(r"[A-Za-z0-9-]+", name):
            yield number
            continue
        pairs = (param.partition("=") for param in params)
        yield Line(
            number=number,
            name=name.upper(),
            value=value,
            params={key.upper(): given.replace('"', "") for key, _, given in pairs},
        )


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    parts: list[str] = []
    first = 0
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if line[:1] in (" ", "\t"):
            parts.append(line[1:])
            continue
        if parts and "".join(parts).strip():
            yield first, "".join(parts)
        parts, first = [line], number
    if "".join(parts).strip():
        yield first, "".join(parts)


def _halves(whole: str) -> tuple[str, str | None]:
    head, *rest = _cut(whole, ":", once=True)
    return head, rest[0] if rest else None


def _cut(text: str, sign: str, *, once: bool = False) -> list[str]:
    """Cut at a sign that stands outside of quotes."""
    quoted, begin, parts = False, 0, list[str]()
    for index, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif letter == sign and not quoted:
            parts.append(text[begin:index])
            begin = index + 1
            if once:
                break
    return [*parts, text[begin:]]
