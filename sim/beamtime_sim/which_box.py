"""Which box is meant when nobody says so: that of the site file, or the one demo that runs."""

import fcntl
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from beamtime_sim.errors import BoxError

LOCK = ".sim.lock"
KEPT = "sim.yaml"
_DEMOS = "beamtime-demo-*"


def box_meant(environment: Mapping[str, str]) -> Path:
    """Return the directory of a box.

    Parameters
    ----------
    environment
        `BEAMTIME_SITE` names a site file; it counts if a box lies in its directory.

    Raises
    ------
    BoxError
        There is none, or more than one.
    """
    site = environment.get("BEAMTIME_SITE")
    if site and (directory := Path(site).parent).joinpath(KEPT).exists():
        return directory
    demos = [
        path for path in sorted(Path(tempfile.gettempdir()).glob(_DEMOS)) if _is_ours(path) and runs_on(path)
    ]
    if len(demos) == 1:
        return demos[0]
    found = f"{', '.join(map(str, demos))} run" if demos else "no demo runs"
    raise BoxError(f"say which box by --dir DIR, or its site file by BEAMTIME_SITE: {found}")


def runs_on(directory: Path) -> bool:
    """Say whether a box runs on a directory at this moment."""
    try:
        lock = os.open(directory / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _is_ours(directory: Path) -> bool:
    return directory.stat().st_uid == os.getuid()
