"""What a program said that was run on another host."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from beamtime_ioc.model import one_line


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many files were counted, and how large they are.

    Parameters
    ----------
    code
        Exit code of `find`; empty before it has ended.
    """

    files: int
    size_bytes: int
    code: str


@dataclass(kw_only=True)
class Walk:
    """What was said of one way.

    Parameters
    ----------
    levels
        Mode, number of the owner, number of the group, owner, group, and whether we may write; the top first.
    end
        Why it ended, such as `here` or `absent`, and what was said of that.
    """

    levels: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    end: str = ""
    said: str = ""
    files: list[str] = field(default_factory=list[str])
    marker: str = ""
    acl: list[str] = field(default_factory=list[str])
    free_bytes: int | None = None
    count: Count | None = None


@dataclass(kw_only=True)
class Answer:
    """What a job said.

    Parameters
    ----------
    processes
        Number of the group that all its processes are in.
    is_stuck
        Whether an earlier job still hangs there.
    """

    me: str = ""
    processes: str = ""
    is_stuck: bool = False
    walks: list[Walk] = field(default_factory=list[Walk])
    is_whole: bool = False


def _lines(token: str, output: bytes) -> Iterator[str]:
    """What stands behind the token, of each line that begins with it; the rest may be long."""
    mark, at = f"\n{token} ".encode(), 0
    output = b"\n" + output
    while (begin := output.find(mark, at)) >= 0:
        at = output.find(b"\n", begin + 1)
        at = len(output) if at < 0 else at
        yield output[begin + len(mark) : at].decode("utf-8", "replace")


def read_answer(token: str, output: bytes) -> Answer:
    """Read what a job said, between whatever a login writes."""
    answer = Answer()
    for said in _lines(token, output):
        word, _, rest = said.partition(" ")
        if word == "me":
            # As `id` says it: uid=1000(bm99) gid=...
            found = re.match(r"uid=(\d+)(?:\(([^)]*)\))?", rest)
            answer.me = one_line((found[2] or found[1]) if found else "?", 80)
        elif word == "processes":
            answer.processes = rest if re.fullmatch(r"[1-9]\d{1,9}", rest, re.ASCII) else ""
        elif word == "stuck":
            answer.is_stuck = True
        elif word == "done":
            answer.is_whole = True
        elif word == "walk":
            answer.walks.append(Walk())
        elif answer.walks:
            _note(answer.walks[-1], word, rest)
    return answer


def _note(walk: Walk, word: str, rest: str) -> None:
    if word == "level":
        walk.levels.append(_level(rest))
    elif word == "now" and walk.levels:
        walk.levels[-1] = _level(rest)
    elif word == "end":
        walk.end, _, walk.said = rest.partition(" ")
    elif word == "file":
        walk.files.append(rest)
    elif word == "marker":
        walk.marker = rest
    elif word == "acl":
        walk.acl.append(rest)
    elif word == "free":
        walk.free_bytes = _free_bytes(rest)
    elif word in ("so-far", "counted"):
        walk.count = _count(rest) or walk.count


def _level(text: str) -> tuple[str, ...]:
    # Names of groups may hold blanks, and none a slash.
    fields = tuple(one_line(field, 80) for field in text.split("/"))
    well = len(fields) == 6 and re.fullmatch(r"[0-7]{1,5}", fields[0])
    return fields if well else ("0", "", "", "?", "?", "0")


def _free_bytes(text: str) -> int | None:
    """The fourth column of `df -P`, the one before its percentage: names of file systems may hold blanks."""
    found = re.fullmatch(r"(1|1024) .*\s\d+\s+-?\d+\s+(-?\d{1,20})\s+\d+%\s.*", text, re.ASCII)
    return int(found[1]) * int(found[2]) if found else None


def _count(text: str) -> Count | None:
    found = re.fullmatch(r"(\d{1,18}) (\d{1,20})(?: (\d{1,3}))?", text, re.ASCII)
    return Count(files=int(found[1]), size_bytes=int(found[2]), code=found[3] or "") if found else None
