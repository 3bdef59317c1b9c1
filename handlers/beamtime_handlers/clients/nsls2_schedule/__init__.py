"""Proposals of NSLS-II by their numbers, over its REST API.

The API knows proposals, cycles and beamlines, and not who is on beam when: an operator chooses. Paths and
field names are those of public code that uses the API; nothing here was tried against the live service yet.
"""

from typing import Literal

from pydantic import Field

from beamtime_handlers.clients.nsls2_schedule.client import Nsls2Schedule
from beamtime_handlers.clients.web_settings import Url, WebSettings
from beamtime_ioc.ports import Context

__all__ = ["Nsls2Schedule", "Settings", "build"]


class Settings(WebSettings):
    """Section `schedule` with `backend: nsls2`."""

    backend: Literal["nsls2"] = Field(
        description="Proposals of NSLS-II, by number only; not tried at the facility."
    )
    url: Url = Field(description="Address below which the paths of the API lie, up to `v1`.")
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


def build(settings: Settings, context: Context) -> Nsls2Schedule:
    """Make the client; nothing is asked yet."""
    return Nsls2Schedule(
        settings.web(),
        facility=settings.facility,
        instrument=settings.instrument or context.site.beamline,
        zone=context.site.zone,
        cycle=settings.cycle,
        days=settings.days,
    )
