"""Who we are to the schedule: a service account, from a file or the environment."""

import os
from pathlib import Path

from beamtime_handlers.clients.web import Credentials
from beamtime_ioc.errors import SiteFileError

VARIABLE = "BEAMTIME_SCHEDULE_CREDENTIALS"


def read_credentials(path: Path | None) -> Credentials | None:
    """Read `user|password`, or `user password`; None where a site gives neither file nor variable.

    Raises
    ------
    SiteFileError
        Names the file, or the variable, and never what is in it.
    """
    if variable := os.environ.get(VARIABLE):
        return _parse(variable, VARIABLE, f"the variable {VARIABLE}")
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & 0o077:
                raise SiteFileError(path, 0, f"others can open it (mode {mode:04o}); type: chmod 600 {path}")
            text = file.read(4096).decode("utf-8-sig", "replace")
    except OSError as error:
        raise SiteFileError(path, 0, f"the credentials cannot be read: {error.strerror}") from error
    return _parse(text, path, f"the credentials file {path}")


def _parse(text: str, where: Path | str, source: str) -> Credentials:
    lines = text.strip().splitlines()
    if not lines:
        raise SiteFileError(where, 0, "is empty; it needs one line user|password")
    words = [word.strip() for word in (lines[0].split("|", 1) if "|" in lines[0] else lines[0].split())]
    if len(lines) > 1 or len(words) != 2 or not all(words):
        raise SiteFileError(where, 0, "is not one line user|password")
    return Credentials(user=words[0], password=words[1], source=source)
