"""Schedules in files, for the tests."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from beamtime_handlers.clients.file_schedule import FileSchedule, Settings, build
from beamtime_ioc.model import Beamtime, Site
from beamtime_ioc.ports import Context
from beamtime_ioc.testing import MemoryOutbox

SITE = Site(prefix="99bm:Beamtime:", beamline="99-BM-A,B", zone=ZoneInfo("America/Chicago"))
ALWAYS = datetime(1990, 1, 1, tzinfo=UTC), datetime(2900, 1, 1, tzinfo=UTC)


def context(directory: Path) -> Context:
    return Context(site=SITE, directory=directory, state=directory, outbox=MemoryOutbox())


def file_schedule(directory: Path, text: str | bytes, suffix: str = ".yaml", **settings: Any) -> FileSchedule:
    """A client of a file with this text."""
    path = directory / f"schedule{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    section = {"backend": "file", "path": path.name, **settings}
    return build(Settings.model_validate(section), context(directory))


def listed(schedule: FileSchedule) -> list[Beamtime]:
    return list(schedule.list_between(*ALWAYS))


def faults(schedule: FileSchedule) -> list[str]:
    """The words about each entry that was left out."""
    schedule.cycles()
    last = schedule._last
    assert last is not None
    return [str(error) for error in last[1].bad]
