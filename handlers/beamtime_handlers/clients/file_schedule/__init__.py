"""A schedule in a file that people keep: YAML, CSV or a calendar (ICS)."""

import re
from datetime import time
from pathlib import Path
from typing import Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from beamtime_handlers.clients.file_schedule.entries import SOURCE, Rules
from beamtime_handlers.clients.file_schedule.schedule import READERS, FileSchedule
from beamtime_ioc.ports import Context

__all__ = ["FileSchedule", "Settings", "build"]


class Settings(BaseModel):
    """Section `schedule` with `backend: file`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: Literal["file"] = Field(description="A file that somebody keeps by hand or by a script.")
    path: Path = Field(
        description="The file: .yaml, .csv or .ics. Read again when it changes; never written."
    )
    keys: str = Field(
        SOURCE,
        pattern=r"^[a-z][a-z0-9-]{0,19}$",
        description="What stands before the id in the key of an experiment. A file in the place of another "
        "schedule has that one's, such as aps, and its numbers: then they are the same experiments.",
    )
    tolerance_min: float = Field(
        0,
        ge=0,
        le=10_080,
        description="Minutes before its start in which a beamtime is taken when no other is active, in min.",
    )
    times: Literal["offset", "local"] = Field(
        "offset",
        description="offset: a time without an offset from UTC is a mistake. local: such a time is one of "
        "the clocks at the beamline, of the key timezone.",
    )
    day_begins: str | None = Field(
        None,
        description="When a whole-day entry of a calendar begins and ends, such as 08:00 in quotes; without "
        "it such an entry is a mistake.",
    )

    @pydantic.field_validator("path")
    @classmethod
    def _check_path(cls, path: Path) -> Path:
        if path.suffix.lower() not in READERS or "\0" in str(path):
            raise ValueError(f"must end in one of {', '.join(READERS)}")
        return path

    @pydantic.field_validator("day_begins", mode="before")
    @classmethod
    def _check_day(cls, text: object) -> object:
        # YAML takes 08:00 without quotes for a number.
        if text is not None and not (
            isinstance(text, str) and re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text)
        ):
            raise ValueError('must be a time of day in quotes, such as "08:00"')
        return text


def build(settings: Settings, context: Context) -> FileSchedule:
    """Make the client; nothing is read yet."""
    rules = Rules(
        beamline=context.site.beamline,
        source=settings.keys,
        zone=context.site.zone,
        local=settings.times == "local",
        day_begins=time.fromisoformat(settings.day_begins) if settings.day_begins else None,
    )
    path = context.directory / settings.path.expanduser()
    return FileSchedule(path, rules, early_min=settings.tolerance_min)
