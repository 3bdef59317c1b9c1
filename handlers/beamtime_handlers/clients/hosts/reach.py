"""What is asked of every kind of place, whoever acts on it: levels, ways, and what a place wants."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Generic, Protocol, TypeVar

from beamtime_handlers.clients.hosts.marker import Marker
from beamtime_handlers.clients.hosts.tally import Tally
from beamtime_handlers.clients.hosts.trouble import where
from beamtime_ioc.errors import PlaceError
from beamtime_ioc.model import Experiment, Place


class Level(Protocol):
    """One level of a place, from its top down, as it was found."""

    @property
    def place(self) -> Place: ...
    @property
    def path(self) -> PurePosixPath: ...
    @property
    def me(self) -> str:
        """The user whom we are there."""
        ...

    @property
    def mode(self) -> int: ...
    @property
    def owner(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def writable(self) -> bool: ...
    @property
    def free_bytes(self) -> int | None:
        """Space for users other than root; None if it cannot be told."""
        ...

    @property
    def is_owned_well(self) -> bool:
        """Whether it has the mode, the group and the access list of its place."""
        ...

    @property
    def left_unfinished(self) -> bool:
        """Whether a crash may have left it between its making and its mode."""
        ...

    def files(self) -> Sequence[str]:
        """What lies in it besides the marker; of many only the first."""
        ...

    def marker(self) -> Marker | None:
        """Its marker; None if it has none.

        Raises
        ------
        UnreadableMarkerError
        PlaceError
        """
        ...


AnyLevel = TypeVar("AnyLevel", bound=Level, covariant=True)


@dataclass(frozen=True)
class Trail(Generic[AnyLevel]):
    """The way from a top down to a directory, as far as it stands.

    Parameters
    ----------
    levels
        The top first.
    is_whole
        Whether it ends at that directory.
    """

    levels: Sequence[AnyLevel]
    is_whole: bool

    @property
    def last(self) -> AnyLevel:
        return self.levels[-1]


Whose = Callable[[Level], Marker | None]


class Reach(Protocol):
    """A way to act on places: on a disk, or over ssh."""

    def look(
        self, place: Place, paths: Sequence[PurePosixPath]
    ) -> AbstractContextManager[Sequence[Trail[Level]]]:
        """The ways to some directories below the place's top; changes nothing.

        Raises
        ------
        PlaceError
            The top is missing, no directory, not mounted, or may not be entered; the group of the place is
            unknown; or something that is no directory is in the way.
        """
        ...

    def make(self, place: Place, path: PurePosixPath, marker: Marker | None, whose: Whose) -> None:
        """Make one directory, level by level; nothing is followed, replaced or deleted.

        Parameters
        ----------
        marker
            What to put into it; None: it gets none.
        whose
            Asked before it is touched and when it has a marker; raises ConflictError. Where it gives None the
            directory may be marked, whatever lies in it.

        Raises
        ------
        PlaceError
        """
        ...

    def tally(self, place: Place, path: PurePosixPath, tally: Tally) -> None:
        """Count what lies in a directory, until it is done or the time is over.

        Raises
        ------
        PlaceError
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One directory that an experiment has at a place.

    Parameters
    ----------
    is_marked
        Whether it says itself whose it is.
    """

    path: PurePosixPath
    is_marked: bool = True


def wanted_at(place: Place, experiment: Experiment) -> tuple[Wanted, ...]:
    """The directory, its siblings and its subdirectories.

    Raises
    ------
    PlaceError
        The place's template gives no path below its top.
    """
    try:
        path = place.path_for(experiment)
        if "\0" in str(path):
            raise ValueError(f"{str(path)!r} holds a NUL")
    except ValueError as error:
        raise PlaceError(
            "BAD_NAME",
            f"{place.name}: no directory for {experiment.key}: {error}",
            advice=f"mend `path` of place {place.name} in the site file",
        ) from error
    siblings = (Wanted(path=path.with_name(path.name + suffix)) for suffix in place.siblings)
    below = (Wanted(path=path / name, is_marked=False) for name in place.subdirectories)
    return (Wanted(path=path), *siblings, *below)


def cannot_own(level: Level) -> PlaceError:
    """It was made, and does not become what its place wants."""
    place, me = level.place, level.me
    group = place.group or level.group
    found = f"{where(place, level.path)} has mode {level.mode:o}, owner {level.owner} and group {level.group}"
    return PlaceError(
        "DENIED",
        f"{found}; user {me} cannot give it mode {place.mode:o} and group {group}",
        advice=f"make {me} a member of group {group}, or let {level.owner} run "
        f"chgrp {group} and chmod {place.mode:o} on it; then press again",
    )


def mode_holds(place: Place, mode: int) -> bool:
    """Whether a mode is that of the place; with an access list the bits of the group are its mask."""
    meant = 0o7707 if place.acl else 0o7777
    return mode & meant == place.mode & meant


def acl_holds(place: Place, lines: Sequence[str]) -> bool:
    """Whether what getfacl writes has all entries of the place's list, for what is there and what comes."""
    return all(entry in lines and f"default:{entry}" in lines for entry in place.acl)


def all_entries(place: Place) -> str:
    """The place's access list as setfacl takes it, with its defaults for what is made later."""
    return ",".join((*place.acl, *(f"default:{entry}" for entry in place.acl)))


def below(place: Place, path: PurePosixPath) -> tuple[str, ...]:
    return path.relative_to(place.top).parts
