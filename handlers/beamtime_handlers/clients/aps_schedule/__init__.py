"""The schedule of the Advanced Photon Source, over its REST API.

Paths and field names are those of captured replies; nothing here was tried against the live service yet.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from beamtime_handlers.clients.aps_schedule.client import ApsSchedule
from beamtime_handlers.clients.aps_schedule.credentials import VARIABLE, read_credentials
from beamtime_handlers.clients.web_settings import Url, WebSettings
from beamtime_ioc.ports import Context

__all__ = ["ApsSchedule", "Settings", "build"]


class Settings(WebSettings):
    """Section `schedule` with `backend: aps`."""

    backend: Literal["aps"] = Field(description="The scheduling REST API of the Advanced Photon Source.")
    url: Url = Field(description="Address below which the paths of the API lie, up to `sched-api`.")
    credentials: Path | None = Field(
        None,
        description="File with one line `user|password` of the service account, readable by its owner only. "
        f"The environment variable `{VARIABLE}`, where set, counts instead.",
    )
    tolerance_min: float = Field(
        0,
        ge=0,
        le=10_080,
        description="Minutes before its start in which a beamtime is taken when no other is active, in min.",
    )
    cycle: str | None = Field(
        None,
        min_length=1,
        description="Run cycle to look in, whatever its dates; without it, every cycle around the moment.",
    )


def build(settings: Settings, context: Context) -> ApsSchedule:
    """Make the client.

    Raises
    ------
    SiteFileError
        The credentials cannot be used.
    """
    path = None if settings.credentials is None else context.directory / settings.credentials
    credentials = partial(read_credentials, path)
    credentials()  # a wrong file is better found at the start than at the first press
    return ApsSchedule(
        settings.web(credentials),
        beamline=context.site.beamline,
        cycle=settings.cycle,
        early_min=settings.tolerance_min,
    )
