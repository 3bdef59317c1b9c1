"""One life of the program: which process it is, and which of two with one prefix may work."""

import os
import re
import secrets
import socket
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

_FORM = re.compile(
    r"(?P<host>[\x21-\x7e]{1,64}) pid (?P<pid>[0-9]{1,10}) since (?P<since>[0-9T:.+-]{20,40}) "
    r"id (?P<id>[0-9a-f]{16}) (?P<does>works|waits)"
)

LATEST = 4_102_444_800.0
"""The year 2100; who says that it began later, or before 1970, says nothing that a calendar could show."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A process that serves a prefix.

    Parameters
    ----------
    since
        When it began, in seconds since 1970 by its own clock.
    id
        Made at random: hosts and process ids may be the same in two containers.
    works
        It takes presses; until its first look around has ended it waits.
    """

    host: str
    pid: int
    since: float
    id: str
    works: bool = False

    @classmethod
    def own(cls) -> Self:
        """This process, begun now."""
        host = re.sub(r"[^\x21-\x7e]", "?", socket.gethostname())[:64] or "?"
        return cls(host=host, pid=os.getpid(), since=round(time.time(), 6), id=secrets.token_hex(8))

    def working(self, works: bool) -> "Instance":
        return replace(self, works=works)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="microseconds")
        does = "works" if self.works else "waits"
        return f"{self.host} pid {self.pid} since {since} id {self.id} {does}"

    @classmethod
    def parse(cls, text: str) -> "Instance | None":
        """What `str` wrote; None if it is anything else: it comes from the network."""
        found = _FORM.fullmatch(text)
        if found is None:
            return None
        try:
            since = datetime.fromisoformat(found["since"]).timestamp()
        except (ValueError, OverflowError):
            return None
        if not 0 <= since < LATEST:
            return None
        return cls(
            host=found["host"],
            pid=int(found["pid"]),
            since=since,
            id=found["id"],
            works=found["does"] == "works",
        )

    def yields_to(self, other: "Instance") -> bool:
        """Whether the other one works and this one waits.

        Who works already goes before who waits, then who began earlier. The order is the same wherever it
        is asked, so that of any number of processes the first one always works.
        """
        return other._rank < self._rank

    @property
    def _rank(self) -> tuple[bool, float, str]:
        return not self.works, self.since, self.id
