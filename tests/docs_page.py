"""A page of the documentation as a reader walks through it: what to type, and what comes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<kind>[\w{}-]*)[^\n]*\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE
)

# What differs from one day, computer or user to the next; all else must come as it is printed.
CHANGING = (
    (r"\d{20}-[0-9a-f]{6}", "<run>"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)( (\d{4}-)?\d\d-\d\d)? \d\d:\d\d", "<time>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([+-]\d\d:\d\d)?", "<time>"),
    (r"\b\d{1,2}:\d\d(:\d\d)?\b", "<time>"),
    (r"\b20\d\d-(0\d|1[0-2])\b", "<month>"),
    (r"\b(ca|pva)=\d+", "<port>"),
    (r"\b127\.0\.0\.1:\d+", "<port>"),
    (r"\d+\.\d+ ?s\b", "<duration>"),
    (r"[\d.e+]+ GB\b", "<space>"),
    (r"aps:\d+", "<key>"),
    (r"\b\d+ records\b", "<many> records"),  # each new record would change the pages
    (r"[\w.-]+ from 127\.0\.0\.1", "<somebody>"),
    # It is kept in whole seconds, and a machine can press twice in one.
    (r"(made|stands already) +time of the look-up", "<noted> time of the look-up"),
    (r"[ \t]+$", ""),
    (r"[ ─━╸╺]{2,}", " "),
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """Something to type.

    Parameters
    ----------
    line
        Where it stands in its page.
    output
        What the page shows below it; None where it shows nothing at all.
    """

    line: int
    words: str
    output: str | None


def commands(page: Path) -> Iterator[Command]:
    """Each `$ command` of the page's `console` blocks, and each `python` block as a program."""
    text = page.read_text(encoding="utf-8")
    blocks = list(FENCE.finditer(text))
    for block, following in pairwise([*blocks, None]):
        assert block is not None
        line = text.count("\n", 0, block.start()) + 2
        if block["kind"] == "console":
            yield from _console(block["text"], line)
        elif block["kind"] == "python":
            output = None
            if (
                following
                and following["kind"] == "text"
                and not text[block.end() : following.start()].strip()
            ):
                output = following["text"]
            yield Command(
                line=line, words=f"python - <<'end of program'\n{block['text']}end of program", output=output
            )


def _console(text: str, first_line: int) -> Iterator[Command]:
    words, output, line = "", "", 0
    for number, typed in enumerate(text.splitlines(keepends=True), first_line):
        if typed.startswith("$ "):
            if words:
                yield Command(line=line, words=words, output=output)
            words, output, line = typed[2:].rstrip("\n"), "", number
        elif typed.startswith("> ") and not output:
            words += f"\n{typed[2:]}".rstrip("\n")
        else:
            output += typed
    if words:
        yield Command(line=line, words=words, output=output)


def alike(shown: str, came: str) -> bool:
    """Whether a page shows what came; `...` on a page stands for anything."""
    pattern = ".*".join(re.escape(part) for part in _unchanging(shown).split("..."))
    return re.fullmatch(pattern, _unchanging(came), re.DOTALL) is not None


def _unchanging(text: str) -> str:
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text.strip()
