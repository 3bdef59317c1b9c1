"""A directory of a place, held open: nobody can put a link in its stead while we work in it."""

import errno
import grp
import os
import shutil
import stat
import subprocess
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Self

from beamtime_handlers.clients.hosts import marker
from beamtime_handlers.clients.hosts.marker import Marker
from beamtime_handlers.clients.hosts.reach import acl_holds, all_entries, cannot_own, mode_holds
from beamtime_handlers.clients.hosts.trouble import (
    acl_refused,
    in_the_way,
    no_acl_tools,
    no_group,
    no_mount_point,
    no_top,
    not_mounted,
    os_trouble,
    top_is_no_directory,
    user_name,
    vanished,
)
from beamtime_ioc.errors import PlaceError
from beamtime_ioc.model import Place, one_line

TO_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
TOOL_S = 10.0
"""Longest wait for setfacl and getfacl."""


def group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


class DiskLevel:
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
            raise no_top(place) from error
        except NotADirectoryError as error:
            raise top_is_no_directory(place) from error
        except OSError as error:
            raise os_trouble(place, place.top, error) from error
        level._refuse_unmounted()
        level.wanted_group()
        if place.acl and not (shutil.which("setfacl") and shutil.which("getfacl")):
            raise no_acl_tools(place)
        return level

    def _refuse_unmounted(self) -> None:
        if self.place.mount and not self._is_mount_point():
            raise no_mount_point(self.place)
        if not self.place.marker:
            return
        try:
            os.stat(self.place.marker, dir_fd=self.fd)
        except FileNotFoundError as error:
            raise not_mounted(self.place) from error
        except OSError as error:
            raise os_trouble(self.place, self.path / self.place.marker, error) from error

    def _is_mount_point(self) -> bool:
        here, above = os.fstat(self.fd), os.stat("..", dir_fd=self.fd)
        return here.st_dev != above.st_dev or here.st_ino == above.st_ino  # nothing is above the root

    def below(self, name: str) -> "DiskLevel | None":
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
                is_link = stat.S_ISLNK(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode)
                raise in_the_way(self.place, path, "a symbolic link" if is_link else "a file") from error
            raise os_trouble(self.place, path, error) from error
        return DiskLevel(self.place, path, fd, self._held)

    def make(self, name: str) -> tuple["DiskLevel", bool]:
        """Make the next level unless it is there; True if it was made."""
        path, made = self.path / name, True
        try:
            os.mkdir(name, 0o700, dir_fd=self.fd)
            marker.sync(self.fd)
        except FileExistsError:
            made = False
        except OSError as error:
            raise os_trouble(self.place, path, error) from error
        level = self.below(name)
        if level is None:
            raise vanished(self.place, path)
        return level, made

    # -- what it is -------------------------------------------------------------------------

    @property
    def me(self) -> str:
        return user_name()

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
    def free_bytes(self) -> int:
        """Space for users other than root."""
        disk = os.fstatvfs(self.fd)
        return disk.f_bavail * disk.f_frsize

    @property
    def writable(self) -> bool:
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self.fd, effective_ids=True)

    def files(self) -> list[str]:
        """What lies in it besides the marker."""
        try:
            return sorted(name for name in os.listdir(self.fd) if not marker.is_ours(name))
        except OSError as error:
            raise os_trouble(self.place, self.path, error) from error

    def marker(self) -> Marker | None:
        try:
            return marker.read(self.fd)
        except OSError as error:
            raise os_trouble(self.place, self.path / marker.FILE_NAME, error) from error

    @property
    def left_unfinished(self) -> bool:
        """Whether a crash may have left it between its making and its mode."""
        status = os.fstat(self.fd)
        return status.st_uid == os.geteuid() and not self.is_owned_well and not os.listdir(self.fd)

    # -- whose it is ------------------------------------------------------------------------

    @property
    def is_owned_well(self) -> bool:
        """Whether it has the mode of its place, the group and the access list."""
        wanted = self.wanted_group()
        if not mode_holds(self.place, self.mode) or wanted not in (None, os.fstat(self.fd).st_gid):
            return False
        return not self.place.acl or acl_holds(self.place, self._acl())

    def wanted_group(self) -> int | None:
        """Number of the place's group; None where any will do."""
        if not self.place.group:
            return None
        try:
            return grp.getgrnam(self.place.group).gr_gid
        except KeyError as error:
            raise no_group(self.place) from error

    def own(self) -> None:
        """Give it the group, the mode and the access list of its place.

        Raises
        ------
        PlaceError
            The system does not let us, or does it by half.
        """
        wanted = self.wanted_group()
        try:
            if wanted is not None and os.fstat(self.fd).st_gid != wanted:
                os.fchown(self.fd, -1, wanted)
            if not mode_holds(self.place, self.mode):
                os.fchmod(self.fd, self.place.mode)
            if self.place.acl and not acl_holds(self.place, self._acl()):
                self._tool("setfacl", "-m", all_entries(self.place))
        except PermissionError as error:
            raise cannot_own(self) from error
        except OSError as error:
            raise os_trouble(self.place, self.path, error) from error
        if not self.is_owned_well:  # without membership in the group, Linux drops setgid and says nothing
            raise cannot_own(self)

    def _acl(self) -> list[str]:
        """The lines of getfacl, with names and with numbers."""
        return [*self._tool("getfacl", "-cp"), *self._tool("getfacl", "-cpn")]

    def _tool(self, program: str, *words: str) -> list[str]:
        try:
            done = subprocess.run(
                [program, *words, "--", f"/proc/self/fd/{self.fd}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                pass_fds=(self.fd,),
                timeout=TOOL_S,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError as error:
            raise no_acl_tools(self.place) from error
        except subprocess.TimeoutExpired as error:
            raise PlaceError(
                "TIMEOUT",
                f"{self.place.name}: {program} did not end within {TOOL_S:g} s on {self.path}",
                advice="see whether its disk hangs, then press again",
            ) from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().rpartition(": ")[2]
            raise acl_refused(self.place, self.path, one_line(said, 200) or f"{program} failed")
        return [line.strip() for line in done.stdout.decode(errors="replace").splitlines()]
