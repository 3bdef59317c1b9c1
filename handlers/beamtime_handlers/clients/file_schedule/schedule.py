"""The schedule port over a file: read when it changes, never written."""

import logging
import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from beamtime_handlers.clients.file_schedule.csv_file import read_csv
from beamtime_handlers.clients.file_schedule.entries import Contents, FileError, Rules
from beamtime_handlers.clients.file_schedule.ics_file import read_ics
from beamtime_handlers.clients.file_schedule.yaml_file import read_yaml
from beamtime_ioc.errors import BadResponseError, ServiceDeniedError, ServiceUnavailableError
from beamtime_ioc.model import Beamtime, Cycle, counted
from beamtime_ioc.ports import Health

log = logging.getLogger(__name__)

LONGEST_BYTES = 2 << 20
MOST_SAID = 20
"""Wrong entries that the log names; a file of another kind may have a million."""

READERS: Mapping[str, Callable[[str, Rules], Contents]] = {
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".csv": read_csv,
    ".ics": read_ics,
}

_MEND = "mend that line; the file is read again when it changes"
Seen = tuple[int, int, int, int]


class FileSchedule:
    """Who is on one beamline when, as a file has it.

    Parameters
    ----------
    path
        Its suffix says how it is read, see `READERS`.
    """

    def __init__(self, path: Path, rules: Rules, *, early_min: float = 0) -> None:
        self.path, self.rules, self.early_min = path, rules, early_min
        self.service = f"the schedule file {path}"
        self._lock = threading.Lock()
        self._last: tuple[Seen, Contents] | None = None

    def check(self) -> Health:
        """Read it; entries that cannot be used are a fault, though the others are."""
        return Health.of(self._look)

    def _look(self) -> str:
        contents, now = self._contents(), datetime.now(UTC)
        count = len(contents.beamtimes)
        coming = sum(now < beamtime.end for beamtime in contents.beamtimes)
        sentence = f"{self.service} has {counted(count, 'beamtime')}, {coming} of them not over"
        if contents.bad:
            raise BadResponseError(f"{sentence}; {_faults(contents)}", advice=_MEND)
        return sentence

    def cycles(self) -> Sequence[Cycle] | None:
        """The file's own, or None where it has none."""
        return self._contents().cycles

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        found = [b for b in self._contents().beamtimes if b.start < end and start < b.end]
        return sorted(found, key=lambda b: (b.start, b.id))

    def by_id(self, key: str) -> Beamtime | None:
        """The beamtime with this id, its last part where it has several."""
        wanted = key.removeprefix(f"{self.rules.source}:")
        found = [beamtime for beamtime in self._contents().beamtimes if beamtime.id == wanted]
        return max(found, key=lambda b: b.start, default=None)

    def _contents(self) -> Contents:
        with self._lock:
            try:
                seen, text = self._read()
            except PermissionError as error:
                raise ServiceDeniedError(
                    f"{self.service} may not be read by this user",
                    advice=f"let the user of the IOC read {self.path}, then press again",
                ) from error
            except OSError as error:
                raise ServiceUnavailableError(self.service, f"cannot be read: {error.strerror}") from error
            if text is None:
                assert self._last is not None
                return self._last[1]
            contents = self._parse(text)
            self._last = (seen, contents)
            return contents

    def _read(self) -> tuple[Seen, bytes | None]:
        """What tells this state of the file from others, and its bytes unless they are known."""
        # A pipe would be waited for without end.
        handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise BadResponseError(
                    f"{self.service} is no file", advice="look at schedule.path of the site file"
                )
            seen = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns)
            if self._last is not None and self._last[0] == seen:
                return seen, None
            with open(handle, "rb", closefd=False) as file:
                return seen, file.read(LONGEST_BYTES + 1)
        finally:
            os.close(handle)

    def _parse(self, raw: bytes) -> Contents:
        if len(raw) > LONGEST_BYTES:
            raise BadResponseError(
                f"{self.service} has more than {LONGEST_BYTES >> 20} MB", advice="leave out what is long over"
            )
        try:
            contents = READERS[self.path.suffix.lower()](raw.decode("utf-8-sig"), self.rules)
        except UnicodeDecodeError as error:
            raise BadResponseError(f"{self.service} is no UTF-8 text", advice="save it as UTF-8") from error
        except FileError as error:
            raise BadResponseError(f"{self.service}: {error}", advice=_MEND) from error
        contents.bad.sort(key=lambda error: error.line)
        if contents.bad and not contents.beamtimes:
            raise BadResponseError(f"{self.service}: {_faults(contents)}", advice=_MEND)
        for error in contents.bad[:MOST_SAID]:
            log.warning("%s: %s; this entry is left out", self.service, error)
        if more := len(contents.bad[MOST_SAID:]):
            log.warning("%s: %d more are wrong, and left out", self.service, more)
        return contents


def _faults(contents: Contents) -> str:
    more = len(contents.bad) - 1
    return f"{contents.bad[0]}" + (f" (and {more} more)" if more else "")
