"""The schedule port over a directory: the file that lies there is the beamtime."""

import os
import re
import stat
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pydantic

from beamtime_handlers.clients.desy_schedule.metadata import SOURCE, Metadata
from beamtime_handlers.clients.replies import first_fault
from beamtime_ioc.errors import (
    BadResponseError,
    ServiceDeniedError,
    ServiceUnavailableError,
    SeveralOnBeamError,
)
from beamtime_ioc.model import Beamtime, Cycle
from beamtime_ioc.ports import Health

FILES = re.compile(r"(beamtime|commissioning)-metadata-[^/]+\.json")
LONGEST_BYTES = 4 << 20
YEAR_3000_S = 32_503_680_000
TEN_YEARS_MIN = 10 * 366 * 24 * 60.0


class DesySchedule:
    """Who is on one beamline now: whose file lies there, whatever its dates.

    Parameters
    ----------
    directories
        Each counts only while the ones before it hold no file.
    clock
        The time now, in UTC.
    """

    early_min = TEN_YEARS_MIN
    """A file that lies there before its start is the beamtime already."""

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        beamline: str,
        zone: ZoneInfo,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.directories, self.beamline, self.zone, self.clock = directories, beamline, zone, clock
        self.service = f"the beamtime file in {directories[0]}"

    def check(self) -> Health:
        """Read what lies there."""
        return Health.of(self._look)

    def _look(self) -> str:
        return f"{self.service} names {', '.join(beamtime.id for beamtime in self._found()) or 'nobody'}"

    def cycles(self) -> Sequence[Cycle] | None:
        """None: there is no such thing here."""
        return None

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        """The beamtime of the file, if it overlaps `[start, end)`.

        Raises
        ------
        SeveralOnBeamError
            Several files lie there.
        ServiceUnavailableError, ServiceDeniedError, BadResponseError
        """
        found = self._found()
        if len(found) > 1:
            names = " and ".join(beamtime.id for beamtime in found)
            raise SeveralOnBeamError(
                f"{self.service} is not one: there are those of {names}",
                advice="the earlier values stay; end the beamtime that is over, so that its file goes, "
                "then press again",
            )
        return [beamtime for beamtime in found if beamtime.start < end and start < beamtime.end]

    def by_id(self, key: str) -> Beamtime | None:
        """The beamtime with this number, if its file lies there."""
        wanted = key.removeprefix(f"{SOURCE}:")
        return next((beamtime for beamtime in self._found() if beamtime.id == wanted), None)

    def _found(self) -> list[Beamtime]:
        for directory in self.directories:
            try:
                names = sorted(name for name in os.listdir(directory) if FILES.fullmatch(name))
                if names:
                    return [self._read(directory / name) for name in names]
            except PermissionError as error:
                raise ServiceDeniedError(
                    f"{error.filename} may not be read by this user",
                    advice="let the user of the IOC read the directory and its files, then press again",
                ) from error
            except OSError as error:
                raise ServiceUnavailableError(
                    self.service, f"cannot be read: {error.filename}: {error.strerror}"
                ) from error
        return []

    def _read(self, path: Path) -> Beamtime:
        # A pipe would be waited for without end.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            raw = b""
            if stat.S_ISREG(status.st_mode):
                with open(handle, "rb", closefd=False) as file:
                    raw = file.read(LONGEST_BYTES + 1)
        finally:
            os.close(handle)
        advice = "look whether it is whole, or tell the maintainers of the beamtime files"
        if len(raw) > LONGEST_BYTES:
            raise BadResponseError(f"{path} has more than {LONGEST_BYTES >> 20} MB", advice=advice)
        try:
            metadata = Metadata.model_validate_json(raw)
        except pydantic.ValidationError as error:
            raise BadResponseError(f"{path}: {first_fault(error)}", advice=advice) from None
        if metadata.beamline and _plain(metadata.beamline) != _plain(self.beamline):
            raise BadResponseError(
                f"{path} is of the beamline {metadata.beamline}, this one is {self.beamline}",
                advice="look at the keys beamline and schedule.directory of the site file",
            )
        # What a disk gives for a time may be more than a datetime holds.
        seen = datetime.fromtimestamp(min(max(int(status.st_mtime), 0), YEAR_3000_S), UTC)
        try:
            return metadata.beamtime(self.zone, seen, self.clock())
        except ValueError as error:
            raise BadResponseError(f"{path}: a time {error}", advice=advice) from error


def _plain(beamline: str) -> str:
    return "".join(letter for letter in beamline.lower() if letter.isalnum())
