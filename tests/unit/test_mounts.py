"""Which file system a path lies on, out of the lines of /proc/self/mountinfo."""

import os
from pathlib import Path

import pytest

from beamtime_ioc.mounts import MOUNTINFO, mount_of, mounts_in

LINES = r"""21 26 0:19 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
26 1 253:0 / / rw,relatime shared:1 - xfs /dev/mapper/rhel-root rw,attr2,inode64,logbufs=8,noquota
40 26 0:38 / /home rw,relatime shared:20 - autofs /etc/auto.home rw,fd=18,pgrp=1,timeout=300,indirect
53 40 0:52 / /home/beams rw,relatime shared:33 - nfs4 filer.example.org:/beams rw,vers=4.2,hard,proto=tcp
54 53 253:3 / /home/beams/local rw,relatime shared:34 - xfs /dev/mapper/rhel-local rw
60 26 0:60 / /mnt/with\040blank\011and\134slash rw shared:40 - cifs //nas.example.org/data rw,vers=3.0
61 26 0:61 / /mnt/over rw,relatime shared:41 - nfs old.example.org:/a rw
62 61 253:4 / /mnt/over rw,relatime - ext4 /dev/sdb1 rw
63 26 0:63 / /mnt/sshfs rw,nosuid,nodev,relatime shared:43 - fuse.sshfs user@host.example.org: rw
64 26 0:64 / /gpfs/bl rw,relatime shared:44 master:3 propagate_from:2 - gpfs bl rw
65 26 0:65 / /mnt/bcache rw,relatime shared:45 - bcachefs /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "is_network"),
    [
        ("/var/lib/beamtime", "xfs", False),
        ("/home/beams/bm99/state", "nfs4", True),
        ("/home/beams/local/state", "xfs", False),
        ("/home/beamsline/state", "autofs", False),
        ("/mnt/with blank\tand\\slash/state", "cifs", True),
        ("/mnt/over/state", "ext4", False),
        ("/mnt/sshfs", "fuse.sshfs", True),
        ("/gpfs/bl/99bm/state", "gpfs", True),
        ("/mnt/bcache/state", "bcachefs", False),
    ],
)
def test_the_nearest_mount_above_a_path_decides(path: str, kind: str, is_network: bool) -> None:
    mount = mount_of(Path(path), LINES)

    assert mount is not None
    assert (mount.kind, mount.is_network) == (kind, is_network)


SHARED = """
nfs nfs4 cifs smb3 smbfs 9p fuse.sshfs lustre gpfs beegfs ceph fuse.ceph-fuse afs fuse.glusterfs
"""


@pytest.mark.parametrize("kind", SHARED.split())
def test_each_kind_that_several_hosts_share_is_known(kind: str) -> None:
    mount = mount_of(Path("/data"), f"30 1 0:40 / / rw - {kind} somewhere rw\n")

    assert mount is not None
    assert mount.is_network


@pytest.mark.parametrize("line", ["", "nonsense", "1 2 3 - x", "30 1 0:40 / /", "30 1 0:40 / / rw -"])
def test_a_line_that_is_no_mount_is_passed_over(line: str) -> None:
    assert list(mounts_in(f"{line}\n")) == []


def test_the_real_file_names_what_this_test_lies_on(tmp_path: Path) -> None:
    mount = mount_of(tmp_path.resolve(), MOUNTINFO.read_text())

    assert mount is not None
    assert os.stat(mount.point).st_dev == tmp_path.stat().st_dev
