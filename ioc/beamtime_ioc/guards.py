"""What is asked before the current experiment may change."""

from typing import Protocol

from beamtime_ioc.model import Who


class Guard(Protocol):
    """Something that may speak against it. Lives in the event loop, and answers at once."""

    def require(self) -> None:
        """Raise BusyError unless the experiment may change now."""
        ...

    def passed(self, who: Who, what: str, run: str = "") -> None:
        """Hear that it changes, by an action or by a field that is typed in."""
        ...


class Guards:
    """All of them, in the order in which they are asked."""

    def __init__(self) -> None:
        self.all: list[Guard] = []

    def require(self) -> None:
        """See that the current experiment may change now.

        Raises
        ------
        BusyError
            With the reason of the first that speaks against it.
        """
        for guard in self.all:
            guard.require()

    def passed(self, who: Who, what: str, run: str = "") -> None:
        for guard in self.all:
            guard.passed(who, what, run)
