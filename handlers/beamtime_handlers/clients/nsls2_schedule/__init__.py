"""Proposals of NSLS-II by their numbers, over its REST API.

The API knows proposals, cycles and beamlines, and not who is on beam when: an operator chooses. Paths and
field names are those of public code that uses the API; nothing here was tried against the live service yet.
"""

from typing import Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from beamtime_handlers.clients.nsls2_schedule.client import Nsls2Schedule
from beamtime_handlers.clients.web import Web
from beamtime_ioc.ports import Context

__all__ = ["Nsls2Schedule", "Settings", "build"]


class Settings(BaseModel):
    """Section `schedule` with `backend: nsls2`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    backend: Literal["nsls2"] = Field(
        description="Proposals of NSLS-II, by number only; not tried at the facility."
    )
    url: str = Field(description="Address below which the paths of the API lie, up to `v1`.")
    facility: str = Field(
        "nsls2", pattern=r"^[a-z0-9_-]{1,40}$", description="Name of the facility in the paths of the API."
    )
    instrument: str | None = Field(
        None,
        min_length=1,
        description="The beamline as proposals name it, such as SRX; without it as the key beamline says.",
    )
    cycle: str | None = Field(
        None, min_length=1, description="Run cycle that counts; without it the service's current one."
    )
    days: int = Field(
        7,
        ge=1,
        le=366,
        description="How long a chosen proposal is on beam, in days from midnight of the day it is chosen.",
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
            raise ValueError("must be a whole address, such as https://api.example.org/v1/")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must hold no user, password, query or fragment")
        return url.rstrip("/")


def build(settings: Settings, context: Context) -> Nsls2Schedule:
    """Make the client; nothing is asked yet."""
    web = Web(
        settings.url,
        lambda: None,
        connect_timeout_s=settings.connect_timeout_s,
        read_timeout_s=settings.read_timeout_s,
        overall_timeout_s=settings.overall_timeout_s,
    )
    return Nsls2Schedule(
        web,
        facility=settings.facility,
        instrument=settings.instrument or context.site.beamline,
        zone=context.site.zone,
        cycle=settings.cycle,
        days=settings.days,
    )
