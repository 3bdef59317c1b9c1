"""A directory of a place, held open: nobody can put a link in its stead while we work in it."""

import errno
import grp
import os
import pwd
import stat
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Self

from beamtime_handlers.clients.local_hosts import marker
from beamtime_ioc.errors import PlaceError
from beamtime_ioc.model import Place

TO_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
STATES = {
    errno.EACCES: "DENIED",
    errno.EPERM: "DENIED",
    errno.EROFS: "DENIED",
    errno.ENOSPC: "NO_SPACE",
    errno.EDQUOT: "NO_SPACE",
    errno.ENAMETOOLONG: "BAD_NAME",
    errno.ENOTDIR: "NOT_A_DIRECTORY",
    errno.ELOOP: "NOT_A_DIRECTORY",
}


def user_name(number: int | None = None) -> str:
    """Name of a user, by default of this process."""
    number = os.geteuid() if number is None else number
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def trouble(place: Place, path: PurePosixPath, error: OSError) -> PlaceError:
    """What the operating system said, with the place, the path and what to do next."""
    state = STATES.get(error.errno or 0, "UNREACHABLE")
    reason = (error.strerror or type(error).__name__).lower()
    advice = {
        "DENIED": f"let user {user_name()} write there, then press again",
        "NO_SPACE": "make space, then press again",
        "BAD_NAME": f"make `path` of place {place.name} shorter in the site file, then press again",
        "NOT_A_DIRECTORY": "look what it is and move it away, then press again",
        "UNREACHABLE": "see whether the disk is there, then press again",
    }[state]
    return PlaceError(state, f"{place.name}: {path} cannot be used: {reason}", advice=advice)


class Level:
    """One level of a place, from its top down to the experiment's directory."""

    def __init__(self, place: Place, path: PurePosixPath, fd: int, held: ExitStack) -> None:
        self.place, self.path, self.fd, self._held = place, path, fd, held
        held.callback(os.close, fd)

    @classmethod
    def top(cls, place: Place, held: ExitStack) -> Self:
        """Open the top directory, which may be a symbolic link: the site file names it.

        Raises
        ------
        PlaceError
            It is missing, no directory, not mounted, or may not be entered; or the place's group is unknown.
        """
        try:
            level = cls(place, place.top, os.open(place.top, TO_ENTER), held)
        except FileNotFoundError as error:
            raise PlaceError(
                "NO_TOPDIR",
                f"{place.name}: the top directory {place.top} does not exist",
                advice=f"mount it, or mend `top` of place {place.name} in the site file; then press again",
            ) from error
        except NotADirectoryError as error:
            raise PlaceError(
                "NOT_A_DIRECTORY",
                f"{place.name}: the top directory {place.top} is no directory",
                advice=f"mend `top` of place {place.name} in the site file, then press again",
            ) from error
        except OSError as error:
            raise trouble(place, place.top, error) from error
        level._refuse_unmounted()
        level.wanted_group()
        return level

    def _refuse_unmounted(self) -> None:
        if not self.place.marker:
            return
        try:
            os.stat(self.place.marker, dir_fd=self.fd)
        except FileNotFoundError as error:
            raise PlaceError(
                "NOT_MOUNTED",
                f"{self.place.name}: {self.path / self.place.marker} is missing, so the disk is not mounted",
                advice="mount it, then press again",
            ) from error
        except OSError as error:
            raise trouble(self.place, self.path / self.place.marker, error) from error

    def below(self, name: str) -> "Level | None":
        """Open the next level; None if it is absent.

        Raises
        ------
        PlaceError
            Something else is in the way, such as a file or a symbolic link.
        """
        path = self.path / name
        try:
            fd = os.open(name, TO_ENTER | os.O_NOFOLLOW, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise self._in_the_way(name) from error
            raise trouble(self.place, path, error) from error
        return Level(self.place, path, fd, self._held)

    def _in_the_way(self, name: str) -> PlaceError:
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode)
        what = "a symbolic link" if is_link else "a file"
        return PlaceError(
            "NOT_A_DIRECTORY",
            f"{self.place.name}: {self.path / name} is {what}, not a directory",
            advice="look what it is and move it away, then press again",
        )

    def make(self, name: str) -> tuple["Level", bool]:
        """Make the next level unless it is there; True if it was made."""
        path, made = self.path / name, True
        try:
            os.mkdir(name, 0o700, dir_fd=self.fd)
            marker.sync(self.fd)
        except FileExistsError:
            made = False
        except OSError as error:
            raise trouble(self.place, path, error) from error
        level = self.below(name)
        if level is None:
            raise PlaceError(
                "UNREACHABLE",
                f"{self.place.name}: {path} vanished while it was made",
                advice="find out who removes it, then press again",
            )
        return level, made

    # -- what it is -------------------------------------------------------------------------

    @property
    def mode(self) -> int:
        return stat.S_IMODE(os.fstat(self.fd).st_mode)

    @property
    def owner(self) -> str:
        return user_name(os.fstat(self.fd).st_uid)

    @property
    def group(self) -> str:
        return group_name(os.fstat(self.fd).st_gid)

    @property
    def free_gb(self) -> float:
        """Space for users other than root, in 10^9 bytes."""
        disk = os.fstatvfs(self.fd)
        return disk.f_bavail * disk.f_frsize / 1e9

    @property
    def writable(self) -> bool:
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self.fd, effective_ids=True)

    def files(self) -> list[str]:
        """What lies in it besides the marker."""
        try:
            return sorted(name for name in os.listdir(self.fd) if not marker.is_ours(name))
        except OSError as error:
            raise trouble(self.place, self.path, error) from error

    @property
    def left_unfinished(self) -> bool:
        """Whether a crash may have left it between its making and its mode."""
        status = os.fstat(self.fd)
        return status.st_uid == os.geteuid() and not self.is_owned_well and not os.listdir(self.fd)

    # -- whose it is ------------------------------------------------------------------------

    @property
    def is_owned_well(self) -> bool:
        """Whether it has the mode of its place, and the group."""
        wanted = self.wanted_group()
        return self.mode == self.place.mode and wanted in (None, os.fstat(self.fd).st_gid)

    def wanted_group(self) -> int | None:
        """Number of the place's group; None where any will do."""
        if not self.place.group:
            return None
        try:
            return grp.getgrnam(self.place.group).gr_gid
        except KeyError as error:
            raise PlaceError(
                "DENIED",
                f"{self.place.name}: there is no group {self.place.group} on this computer",
                advice=f"make the group, or mend `group` of place {self.place.name} in the site file; "
                "then press again",
            ) from error

    def own(self) -> None:
        """Give it the group and the mode of its place.

        Raises
        ------
        PlaceError
            The system does not let us, or does it by half.
        """
        wanted = self.wanted_group()
        try:
            if wanted is not None and os.fstat(self.fd).st_gid != wanted:
                os.fchown(self.fd, -1, wanted)
            if self.mode != self.place.mode:
                os.fchmod(self.fd, self.place.mode)
        except PermissionError as error:
            raise self._cannot_own() from error
        except OSError as error:
            raise trouble(self.place, self.path, error) from error
        if not self.is_owned_well:  # without membership in the group, Linux drops setgid and says nothing
            raise self._cannot_own()

    def _cannot_own(self) -> PlaceError:
        place, me = self.place, user_name()
        group = place.group or self.group
        found = f"{self.path} has mode {self.mode:o}, owner {self.owner} and group {self.group}"
        return PlaceError(
            "DENIED",
            f"{place.name}: {found}; user {me} cannot give it mode {place.mode:o} and group {group}",
            advice=f"make {me} a member of group {group}, or let {self.owner} run "
            f"chgrp {group} and chmod {place.mode:o} on it; then press again",
        )
