"""The schedule of the Advanced Photon Source, over its REST API.

Paths and field names are those of captured replies; nothing here was tried against the live service yet.
"""

from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from beamtime_handlers.clients.aps_schedule.client import ApsSchedule
from beamtime_handlers.clients.aps_schedule.credentials import VARIABLE, read_credentials
from beamtime_handlers.clients.web import Web
from beamtime_ioc.ports import Context

__all__ = ["ApsSchedule", "Settings", "build"]


class Settings(BaseModel):
    """Section `schedule` with `backend: aps`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    backend: Literal["aps"] = Field(description="The scheduling REST API of the Advanced Photon Source.")
    url: str = Field(description="Address below which the paths of the API lie, up to `sched-api`.")
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
    connect_timeout_s: float = Field(3, gt=0, le=600, description="Longest wait for a connection, in s.")
    read_timeout_s: float = Field(10, gt=0, le=600, description="Longest silence of the service, in s.")
    overall_timeout_s: float = Field(
        15, gt=0, le=600, description="Longest wait for one answer, with all repeats, in s."
    )

    @pydantic.field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("must be a whole address, such as https://schedule.example.org/sched-api/")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must hold no user, password, query or fragment; name a file in credentials")
        return url.rstrip("/")


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
    web = Web(
        settings.url,
        credentials,
        connect_timeout_s=settings.connect_timeout_s,
        read_timeout_s=settings.read_timeout_s,
        overall_timeout_s=settings.overall_timeout_s,
    )
    return ApsSchedule(
        web, beamline=context.site.beamline, cycle=settings.cycle, early_min=settings.tolerance_min
    )
