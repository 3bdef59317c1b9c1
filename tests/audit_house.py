"""An audit on a directory of its own, its lines, and disks that are full."""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from beamtime_ioc.audit import AuditEntry, AuditLog
from beamtime_ioc.auditor import Auditor

DEADLINE_S = 10


@asynccontextmanager
async def temporary_auditor() -> AsyncIterator[Auditor]:
    """For a runner; whatever was noted must have been written at the end."""
    with tempfile.TemporaryDirectory() as state:
        auditor = Auditor(AuditLog(Path(state)))
        yield auditor
        assert await auditor.flush(DEADLINE_S)
        auditor.close()


def entries(state: Path) -> list[AuditEntry]:
    """All lines, none of which may be damaged."""
    found = list(AuditLog(state).read())
    assert all(isinstance(entry, AuditEntry) for entry in found), found
    return [entry for entry in found if isinstance(entry, AuditEntry)]


def on_small_disk(directory: Path, program: str) -> str:
    """Run a program with a file system of 64 kB of its own on a directory; what it prints."""
    mount = f'mount -t tmpfs -o size=64k,mode=700 none "$1" && exec "{sys.executable}" - "$1"'
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", str(directory)],
        input=program,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
