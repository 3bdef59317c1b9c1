"""`.experiment.json`: the file in an experiment's directory that says whose it is."""

import errno
import json
import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self, cast

from beamtime_ioc.model import Experiment, one_line

FILE_NAME = ".experiment.json"
LARGEST_BYTES = 65_536
NO_LINKS_HERE = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class UnreadableMarkerError(Exception):
    """There is a marker, and it does not say whose directory it is; the text is the reason."""


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What the file says.

    Parameters
    ----------
    experiment
        Key of the experiment, the identity; all else is for people who look.
    created_by
        `user@host` of the process that made the directory.
    adopted
        Some of what lay in it when it was taken for the experiment; empty in one that was made for it.
    """

    experiment: str
    name: str = ""
    proposal: str = ""
    created_by: str = ""
    at: str = ""
    adopted: str = ""

    @classmethod
    def of(cls, experiment: Experiment, created_by: str, at: datetime) -> Self:
        return cls(
            experiment=experiment.key,
            name=experiment.name,
            proposal=one_line(experiment.proposal, 200),
            created_by=created_by,
            at=at.isoformat(timespec="seconds"),
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read what `text` wrote, also with more fields in it.

        Raises
        ------
        UnreadableMarkerError
        """
        try:
            value: Any = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UnreadableMarkerError("it is no JSON") from error
        fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        key = fields.get("experiment")
        if not isinstance(key, str):
            raise UnreadableMarkerError('it has no text "experiment"')
        known = ("name", "proposal", "created_by", "at", "adopted")
        # The key as it stands: two that begin alike must not become one.
        return cls(
            experiment=key, **{name: one_line(str(fields[name]), 200) for name in known if name in fields}
        )

    def on(self, files: Sequence[str]) -> "Marker":
        """The marker for a directory where these lie already."""
        return replace(self, adopted=one_line(some_of(files), 200))

    @property
    def text(self) -> str:
        fields = {name: value for name, value in vars(self).items() if value or name != "adopted"}
        return json.dumps(fields, ensure_ascii=False, indent=1) + "\n"


def some_of(files: Sequence[str]) -> str:
    """The first names, for a sentence."""
    return ", ".join(files[:3]) + (", ..." if files[3:] else "")


def is_ours(file_name: str) -> bool:
    """Whether a file is the marker, or what a crash left of writing it."""
    return file_name == FILE_NAME or (file_name.startswith(f"{FILE_NAME}.") and file_name.endswith(".part"))


def read(directory: int) -> Marker | None:
    """Read the marker of an open directory; None if there is none.

    Raises
    ------
    UnreadableMarkerError
    OSError
    """
    try:
        # Not blocking: a pipe of that name would wait for its writer for ever.
        file = os.open(
            FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnreadableMarkerError("it is a symbolic link") from error
        if error.errno == errno.ENXIO:
            raise UnreadableMarkerError("it is no file") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UnreadableMarkerError("it is no file")
        with os.fdopen(file, "rb", closefd=False) as open_file:
            content = open_file.read(LARGEST_BYTES + 1)
    finally:
        os.close(file)
    if len(content) > LARGEST_BYTES:
        raise UnreadableMarkerError(f"it has more than {LARGEST_BYTES} bytes")
    return Marker.parse(content)


def write(directory: int, marker: Marker) -> None:
    """Put the marker into an open directory: whole or not at all, and never in place of another.

    Raises
    ------
    FileExistsError
        Somebody else was faster.
    OSError
    """
    part = f"{FILE_NAME}.{secrets.token_hex(6)}.part"
    file = os.open(
        part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
    )
    try:
        with os.fdopen(file, "w", encoding="utf-8") as open_file:
            open_file.write(marker.text)
            open_file.flush()
            os.fchmod(file, 0o644)  # everybody may know whose it is, whatever the umask
            os.fsync(file)
        _publish(directory, part)
    finally:
        _forget(directory, part)
    sync(directory)


def _publish(directory: int, part: str) -> None:
    # A rename would replace the marker of another experiment that came in between; a link does not.
    try:
        os.link(part, FILE_NAME, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS_HERE:
            raise
        os.rename(part, FILE_NAME, src_dir_fd=directory, dst_dir_fd=directory)


def _forget(directory: int, part: str) -> None:
    with suppress(FileNotFoundError):  # it was renamed
        os.unlink(part, dir_fd=directory)


def sync(directory: int) -> None:
    """Bring the names in an open directory onto the disk, where its file system can do that."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
