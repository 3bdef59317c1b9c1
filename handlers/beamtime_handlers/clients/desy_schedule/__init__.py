"""The beamtime of a DESY beamline, as a file in its `current` directory says.

The format is that of public code and test data; nothing here was tried at the facility yet.
"""

from pathlib import Path
from typing import Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from beamtime_handlers.clients.desy_schedule.schedule import DesySchedule
from beamtime_ioc.ports import Context

__all__ = ["DesySchedule", "Settings", "build"]


class Settings(BaseModel):
    """Section `schedule` with `backend: desy-file`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: Literal["desy-file"] = Field(
        description="The file beamtime-metadata-ID.json of a DESY beamline; not tried at the facility."
    )
    directory: Path = Field(
        description="Where that file lies while the beamtime goes on, such as /gpfs/current."
    )
    commissioning: Path | None = Field(
        None,
        description="Where the file of a commissioning lies; it counts while there is none in `directory`.",
    )

    @pydantic.field_validator("directory", "commissioning")
    @classmethod
    def _check_path(cls, path: Path | None) -> Path | None:
        if path is not None and "\0" in str(path):
            raise ValueError("must be a path")
        return path


def build(settings: Settings, context: Context) -> DesySchedule:
    """Make the client; nothing is read yet."""
    given = [settings.directory, settings.commissioning]
    return DesySchedule(
        [context.directory / path.expanduser() for path in given if path is not None],
        beamline=context.site.beamline,
        zone=context.site.zone,
    )
