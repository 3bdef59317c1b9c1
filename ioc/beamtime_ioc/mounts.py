"""Which file system a path lies on."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

# fmt: off
NETWORK = frozenset((
    "9p", "acfs", "afs", "beegfs", "ceph", "ceph-fuse", "cifs", "coda", "davfs", "dvs", "exofs", "gfs2",
    "glusterfs", "gpfs", "juicefs", "kafs", "lizardfs", "lustre", "mfs", "moosefs", "ncpfs", "nfs",
    "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "quobyte", "rclone", "s3fs", "smb2", "smb3", "smbfs",
    "sshfs", "vboxsf", "vmhgfs", "vmhgfs-fuse", "wekafs",
))
# fmt: on
"""Kinds that several hosts may have open at once; with `fuse.` before it, each is the same to us."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One line of /proc/self/mountinfo.

    Parameters
    ----------
    kind
        Of the file system, such as `ext4` or `fuse.sshfs`.
    source
        What is mounted, such as `filer:/home`.
    """

    point: Path
    kind: str
    source: str

    @property
    def is_network(self) -> bool:
        return self.kind.removeprefix("fuse.").removeprefix("fuseblk.") in NETWORK


def mounts_in(text: str) -> Iterator[Mount]:
    """The mounts, in the order in which they were made; fields as in proc(5)."""
    for line in text.split("\n"):
        before, dash, behind = line.partition(" - ")
        fields, kinds = before.split(" "), behind.split(" ")
        if dash and len(fields) > 4 and len(kinds) > 1:
            yield Mount(point=Path(_plain(fields[4])), kind=kinds[0], source=_plain(kinds[1]))


def _plain(text: str) -> str:
    """Blank, tab, newline and backslash stand as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def mount_of(path: Path, text: str) -> Mount | None:
    """The mount that a resolved path lies on: the longest mount point above it, the last one there."""
    found: Mount | None = None
    for mount in mounts_in(text):
        if path.is_relative_to(mount.point) and (
            found is None or len(mount.point.parts) >= len(found.point.parts)
        ):
            found = mount
    return found


def network_mount(path: Path) -> Mount | None:
    """The network file system that a path lies on or would lie on; None if it is a local one."""
    path = path.resolve()
    nearest = path
    while not os.path.isdir(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    with suppress(OSError):  # what is mounted on demand is mounted by being opened
        os.close(os.open(nearest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        # A mount point may have any bytes in its name.
        text = MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None  # no Linux: nothing can be said
    mount = mount_of(path, text)
    return mount if mount is not None and mount.is_network else None
