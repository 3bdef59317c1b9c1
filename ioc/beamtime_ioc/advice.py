"""What to do about several failures at once: each thing is said one time."""

import re
from collections.abc import Iterable

AGAIN = "then press again"
MOST_NAMED = 3
"""Things at most that are named behind one colon."""

_AGAIN = re.compile(rf"(?:^|[;,] ){AGAIN}$")


def together(advices: Iterable[str]) -> str:
    """One advice out of several; where only what stands behind a colon differs, that before it is said once.

    `try by hand: ssh det1 true; then press again` and the same of ana1 give `try by hand: ssh det1 true; ssh
    ana1 true; then press again`.
    """
    different = list(dict.fromkeys(filter(None, advices)))
    if len(different) < 2:
        return "".join(different)
    begins: dict[str, list[str]] = {}
    for advice in different:
        begin, colon, thing = _AGAIN.sub("", advice).partition(": ")
        things = begins.setdefault(begin + colon, [])
        if thing and thing not in things:
            things.append(thing)
    parts = [begin + _named(things) for begin, things in begins.items()]
    if any(map(_AGAIN.search, different)):
        parts.append(AGAIN)
    return "; ".join(filter(None, parts))


def _named(things: list[str]) -> str:
    more = len(things) - MOST_NAMED
    return "; ".join(things[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
