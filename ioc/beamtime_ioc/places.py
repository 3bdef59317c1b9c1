"""Places where experiments have directories, and what is seen of them."""

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Protocol

from beamtime_ioc.names import Safe, fill, safe_cycle

DIRECTORY_LINE = "directory "
"""How a line of the checklist begins that makes a directory: place and path follow, with a colon between."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What an experiment was called when it was first seen, and of what its paths are made.

    Kept for good: a schedule that corrects a name must not give the same experiment a second directory.
    """

    name: str
    start: datetime
    end: datetime
    pi: str = ""
    proposal: str = ""
    cycle: str = ""


class Named(Protocol):
    """What has a directory: an experiment."""

    @property
    def naming(self) -> Naming: ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """A directory tree on a computer where experiments get a directory.

    Parameters
    ----------
    top
        Must exist; it is never made.
    path
        Template of the directory below `top`; levels are made one by one.
    marker
        File below `top` that says that the right disk is mounted.
    host
        Where it is, as ssh names it; empty: what this computer sees. `user` and `port` are those of ssh.
    siblings
        Endings such as `_rec`: beside the directory stands one with each.
    subdirectories
        Paths of what stands inside the directory.
    acl
        Entries of an access list, such as `group:bm99:rwx`.
    mount
        Whether `top` must be a mount point.
    existing
        What becomes of a directory that stands already, holds files, and does not say whose it is: `fail`, or
        `reuse` to take it for the experiment.
    """

    name: str
    top: PurePosixPath
    path: str = "{start:%Y-%m}/{name}"
    mode: int = 0o2770
    group: str = ""
    marker: str = ""
    names: str = "safe"
    """The rule by which texts are made safe."""
    host: str = ""
    user: str = ""
    port: int | None = None
    siblings: tuple[str, ...] = ()
    subdirectories: tuple[str, ...] = ()
    acl: tuple[str, ...] = ()
    mount: bool = False
    existing: str = "fail"

    def path_for(self, experiment: Named) -> PurePosixPath:
        """The experiment's directory below `top`, as a full path."""
        naming = experiment.naming
        filled = fill(
            self.path,
            self.names,
            name=Safe(naming.name),
            start=naming.start,
            end=naming.end,
            pi=naming.pi,
            proposal=naming.proposal,
            cycle=safe_cycle(naming.cycle),
        )
        parts = PurePosixPath(filled).parts
        if not parts or filled.startswith("/") or any(part in (".", "..") for part in parts):
            raise ValueError(f"{filled!r} does not lie below the top directory")
        return self.top.joinpath(*parts)


@dataclass(frozen=True, kw_only=True)
class Room:
    """The space of a place.

    Parameters
    ----------
    free_bytes
        For users other than root; None where it cannot be told.
    state
        `ok`; `low`, of which a run warns; `full`: nothing new is made; or `unknown`.
    """

    free_bytes: int | None = None
    state: str = "unknown"

    @property
    def free_gb(self) -> float:
        """In 10^9 bytes; not a number where it cannot be told."""
        return math.nan if self.free_bytes is None else self.free_bytes / 1e9


@dataclass(frozen=True, kw_only=True)
class Content:
    """What lies in a directory: its regular files, at any depth.

    Parameters
    ----------
    state
        `OK`: there are files. `EMPTY`: there are none. `MISSING`: the directory is not there. `NO_TOPDIR`:
        nor is the top of its place. `CONFLICT`: it is not that of the experiment. `UNKNOWN`: not all was
        counted.
    files, size_bytes
        Of `UNKNOWN` those that were.
    reason
        Why it is `NO_TOPDIR`, `CONFLICT` or `UNKNOWN`.
    """

    path: PurePosixPath
    state: str
    files: int = 0
    size_bytes: int = 0
    reason: str = ""

    def __str__(self) -> str:
        counted = f"{self.files:,} file{'s' * (self.files != 1)}, {shown_size(self.size_bytes)}"
        said = {"OK": counted, "EMPTY": "empty", "MISSING": "no directory"}.get(self.state)
        if said is None:
            at_least = f"at least {counted}; not counted to the end" if self.files else "not checked"
            return f"{at_least}: {self.reason}"
        return said


def shown_size(size_bytes: int) -> str:
    """A size for people, such as 1.2 GB; in powers of 1000."""
    size, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}" if size < 999.5 else f"{size:.0f} {unit}"
