"""The gate of a site, which may be given other rules while the IOC serves."""

from collections.abc import Callable, Iterable
from pathlib import Path

from beamtime_ioc.access import Gatekeeper, load_gate
from beamtime_ioc.model import Who


class SiteGate:
    """The rules of the access file as it was when it was last read well.

    Parameters
    ----------
    path
        None: nobody writes.

    Attributes
    ----------
    changed
        Called when other rules have come into force.

    Raises
    ------
    AccessFileError
        The file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rules: Gatekeeper = load_gate(path)
        self.changed: list[Callable[[], None]] = []

    def require(self, group: str, who: Who) -> None:
        """Let `who` write records of the group.

        Raises
        ------
        NotAllowedError
        """
        self.rules.require(group, who)

    def check_groups(self, groups: Iterable[str]) -> tuple[str, ...]:
        """Warn about access groups of records that the file does not have."""
        return self.rules.check_groups(groups)

    def read_again(self) -> Gatekeeper:
        """The rules as the file has them now; blocks while host names are resolved.

        Raises
        ------
        AccessFileError
            The file cannot be used.
        """
        return load_gate(self.path)

    def use(self, rules: Gatekeeper) -> None:
        """Put rules into force, and tell who follows them. Called in the event loop."""
        self.rules = rules
        for tell in tuple(self.changed):
            tell()
