"""A file of saved settings in the form of EPICS autosave: `.sav`, and `.savB` with what was before.

The form is that of `docs/autoSaveRestore.md` of epics-modules/autosave: a line `name value` each, arrays as
`@array@ { "1" "2" }`, comments behind `#` and `!`, and a last line `<END>`. Texts are written readable, with
escapes where a line would not give them back; a file says in its first line that its texts are so written.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

END = "<END>"
ESCAPED = "beamtime-ioc"
"""In the first line: backslashes in texts are escapes. C autosave writes texts as they are."""

LONGEST_BYTES = 50_000_000
_ARRAY = "@array@"
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(?:([\\nrt])|x([0-9a-f]{2})|u([0-9a-f]{4}))")
_SHORT = {"\\": "\\", "\n": "n", "\r": "r", "\t": "t"}
_LONG = {letter: sign for sign, letter in _SHORT.items()}

Content = str | tuple[str, ...]
"""What stands behind a name: a text, or the elements of an array."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the file."""

    name: str
    content: Content
    line: int


def render(values: Mapping[str, str | int | float], now: datetime) -> bytes:
    """The file that holds these values."""
    lines = [f"# save/restore {ESCAPED}\tAutomatically generated - DO NOT MODIFY - {now:%y%m%d-%H%M%S}"]
    lines += [f"{name} {_written(value)}" for name, value in values.items()]
    return "\n".join([*lines, END, ""]).encode()


def _written(value: str | int | float) -> str:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, int):
        return f"{value}"
    short = f"{value:.14g}"  # as C autosave; where that loses the last digits, all of them
    return short if float(short) == value else repr(value)


def escape(text: str) -> str:
    """The text on one line, as `unescape` gives it back."""
    plain = "".join(f"\\{_SHORT[sign]}" if sign in _SHORT else sign for sign in text)
    if plain.startswith(_ARRAY) or plain[:1].isspace():
        plain = _by_number(plain[0]) + plain[1:]
    return plain[:-1] + _by_number(plain[-1]) if plain[-1:].isspace() else plain


def _by_number(sign: str) -> str:
    return f"\\x{ord(sign):02x}" if ord(sign) < 256 else f"\\u{ord(sign):04x}"


def unescape(text: str) -> str:
    """What was escaped; a backslash before anything else stays as it is."""

    def sign(found: re.Match[str]) -> str:
        letter, *codes = found.groups()
        return _LONG[letter] if letter else chr(int(codes[0] or codes[1], 16))

    return _ESCAPE.sub(sign, text)


def is_whole(raw: bytes) -> bool:
    """Whether it was written to its end."""
    return raw.rstrip(b"\r\n").split(b"\n")[-1] == END.encode()


def parse(raw: bytes) -> list[Entry]:
    """The entries of a whole file, ours or that of C autosave.

    Raises
    ------
    ValueError
        It is not whole: its last line is not `<END>`.
    """
    if not is_whole(raw):
        raise ValueError(f"its last line is not {END}: it was not written to its end")
    try:
        text = raw.decode()
    except UnicodeDecodeError:  # C autosave writes the bytes that a client sent
        text = raw.decode("latin-1")
    lines = text.split("\n")
    escaped = ESCAPED in lines[0]
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        name, _, rest = line.removesuffix("\r").partition(" ")
        if name and name[0] not in "#!" and name != END:
            entries.append(Entry(name=name, content=_content(rest, escaped=escaped), line=number))
    return entries


def _content(rest: str, *, escaped: bool) -> Content:
    if rest.startswith(_ARRAY):
        return tuple(re.sub(r"\\(.)", r"\1", found) for found in _ELEMENT.findall(rest))
    return unescape(rest) if escaped else rest


def read(path: Path) -> list[Entry] | None:
    """The entries of a file; None if there is no such file.

    Raises
    ------
    ValueError
        It is not whole, or no file.
    OSError
        It cannot be read.
    """
    try:
        # A pipe would let whoever opens it wait for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is no file")
            raw = file.read(LONGEST_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(raw) > LONGEST_BYTES:
        raise ValueError(f"it has more than {LONGEST_BYTES // 1_000_000} MB")
    return parse(raw)


def write(path: Path, raw: bytes) -> None:
    """Put a whole file in the place of the old one, which becomes the `.savB`.

    Killed anywhere in between, either the old values or the new ones are found by `read` of the file or of
    its `.savB`: never a part of them. A file that was not whole does not replace a good `.savB`: it is kept
    as `.savBad`.

    Raises
    ------
    OSError
        Nothing is lost: what was read before is still there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".savTmp")
    made = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    try:
        left = memoryview(raw)
        while left:
            left = left[os.write(made, left) :]
        os.fsync(made)
    finally:
        os.close(made)
    _set_aside(path)
    os.rename(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _set_aside(path: Path) -> None:
    try:
        found = read(path)
    except (ValueError, OSError):
        os.rename(path, path.with_suffix(".savBad"))
        return
    if found is not None:
        os.rename(path, path.with_suffix(".savB"))
