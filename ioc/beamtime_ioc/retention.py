"""How long runs are kept: once a night the oldest are written to files and leave the database."""

import asyncio
import json
import logging
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.engine.engine import Engine
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.journal import Journal
from beamtime_ioc.runjson import read_whole, whole_json
from beamtime_ioc.runrecord import RecordedStep, RunRecord

log = logging.getLogger(__name__)

NIGHT = time(3, 15)
"""At the beamline, when few work. Where the clock jumps over it, it is an hour later on that day."""
LAST_NAME = "last"
RETRY_S, LONGEST_WAIT_S = 3600.0, 600.0


class KeptRuns:
    """The files that hold the runs which left the database: a JSON object a line, all of `history show`."""

    def __init__(self, directory: Path, journal: Journal) -> None:
        self.directory, self.journal = directory, journal

    def keep(self, records: Sequence[RunRecord]) -> None:
        """Write some runs to one file, and return when it is on the disk.

        The file is named by the first and the last of them. A file of an earlier night that holds only runs
        of this one is of no use then: its runs were not deleted, since the program died before.

        Raises
        ------
        OSError
            It cannot be written; nothing may be deleted.
        """
        if not records:
            return
        records = sorted(records, key=lambda record: record.id)
        steps = self.journal.steps_of([record.id for record in records])
        wholes = (whole_json(record, steps[record.id]) for record in records)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        path = self.directory / f"{records[0].id}_{records[-1].id}.jsonl"
        write_safely(path, "".join(json.dumps(whole, ensure_ascii=False) + "\n" for whole in wholes))
        written = {record.id for record in records}
        for old in self.directory.glob(f"{records[0].id}_*.jsonl"):
            if old != path and all(record.id in written for record, _ in read_kept(old)):
                old.unlink()


def read_kept(path: Path) -> Iterator[tuple[RunRecord, Sequence[RecordedStep]]]:
    """The runs of one file, with their checklists, oldest first."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield read_whole(json.loads(line))


def write_safely(path: Path, text: str) -> None:
    """Write a private file that is whole or absent, whatever happens, and is on the disk on return."""
    unfinished = path.with_name(path.name + ".tmp")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text.encode(errors="replace"))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def last_night(now: datetime, zone: ZoneInfo) -> datetime:
    """When it was last time to look for old runs, in UTC; once in each day of the beamline."""
    today = now.astimezone(zone).date()
    due = _night(today, zone)
    return due if due <= now else _night(today - timedelta(days=1), zone)


def next_night(now: datetime, zone: ZoneInfo) -> datetime:
    """When it will be time again, in UTC."""
    today = now.astimezone(zone).date()
    due = _night(today, zone)
    return due if due > now else _night(today + timedelta(days=1), zone)


def _night(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, NIGHT, zone).astimezone(UTC)


class Retention:
    """Retires old runs once a night, and soon after a start if that night was missed.

    Parameters
    ----------
    directory
        Of the state; files are written to `history/` in it.
    keep
        How long a run is kept after its end.
    """

    def __init__(
        self, engine: Engine, journal: Journal, directory: Path, *, keep: timedelta, zone: ZoneInfo
    ) -> None:
        self.engine, self.keep, self.zone = engine, keep, zone
        self.kept = KeptRuns(directory / "history", journal)

    async def watch(self) -> None:
        """Retire when it is time, until cancelled."""
        while True:
            now = datetime.now(UTC)
            # In short pieces: the clock may be set, and the computer may sleep.
            wait_s = min((next_night(now, self.zone) - now).total_seconds(), LONGEST_WAIT_S)
            try:
                await in_thread("retention", self._look, now)
            except (BeamtimeError, OSError, SQLAlchemyError) as error:
                log.error("old runs could not be put aside, they stay where they are: %s", error)
                wait_s = RETRY_S
            except (KeyError, TypeError, ValueError):  # a row or a file that is damaged
                log.exception("old runs could not be put aside, they stay where they are")
                wait_s = RETRY_S
            await asyncio.sleep(wait_s)

    def _look(self, now: datetime) -> None:
        if self.is_due(now):
            self.retire(now)

    def is_due(self, now: datetime) -> bool:
        """Whether no look was had since the last night; one in the future was of a wrong clock."""
        last = self.last()
        return last is None or last < last_night(now, self.zone) or last > now + timedelta(days=1)

    def last(self) -> datetime | None:
        """When it was done last; None also if the file says no moment with a zone."""
        try:
            found = datetime.fromisoformat((self.kept.directory / LAST_NAME).read_text().strip())
        except (FileNotFoundError, ValueError):
            return None
        return found if found.tzinfo else None

    def retire(self, now: datetime) -> int:
        """Put the runs aside that ended long ago; how many they were.

        Raises
        ------
        BeamtimeError, OSError, SQLAlchemyError
            Not all could be; what is not in a file is still in the database.
        """
        self.kept.directory.mkdir(mode=0o700, exist_ok=True)
        count = self.engine.retire(now - self.keep, self.kept.keep)
        if count:
            log.info("%d runs left the database for %s", count, self.kept.directory)
        write_safely(self.kept.directory / LAST_NAME, f"{now.isoformat()}\n")
        return count
