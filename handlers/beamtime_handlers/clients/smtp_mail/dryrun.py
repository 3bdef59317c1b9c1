"""Letters as files, for who wants to see them before anybody is mailed."""

import os
from collections.abc import Callable
from datetime import datetime
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from pathlib import Path

from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Json, Letter


class DryRuns:
    """A file for each letter; it says what the letter says now.

    Parameters
    ----------
    message
        A letter as it goes over the wire at a time.
    """

    def __init__(self, directory: Path, message: Callable[[Letter, datetime], bytes]) -> None:
        self.directory, self._message = directory, message

    def find(self, letter: Letter) -> Json:
        """The file of a letter, if it says what the letter says now."""
        file = self._file(letter)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _no_dry_run(file, error) from error
        date = message_from_bytes(content)["Date"]
        if date is None or content != self._message(letter, parsedate_to_datetime(date)):
            return None
        return {"to": letter.to, "state": "written", "file": str(file)}

    def write(self, letter: Letter, content: bytes) -> None:
        file = self._file(letter)
        part = file.with_name(f"{file.name}.part")
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb"
            ) as half:
                half.write(content)
            part.replace(file)
        except OSError as error:
            raise _no_dry_run(file, error) from error

    def _file(self, letter: Letter) -> Path:
        return self.directory / f"{letter.message_id.strip('<>')}.eml"


def _no_dry_run(file: Path, error: OSError) -> BeamtimeError:
    reason = error.strerror or type(error).__name__
    return BeamtimeError(f"{file} cannot be used: {reason.lower()}", advice="mend that, then press again")
