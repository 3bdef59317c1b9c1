"""How much room a place needs, and how long a count may take: the same settings for every kind of place."""

import pydantic

from beamtime_ioc.model import Room


class Bounds(pydantic.BaseModel):
    """What each backend's section `hosts` of the site file has."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    warn_free_gb: float = pydantic.Field(
        default=0, ge=0, description="With less free space (in 10^9 bytes) a run says so; 0: never."
    )
    refuse_free_gb: float = pydantic.Field(
        default=0, ge=0, description="With less free space (in 10^9 bytes) nothing new is made; 0: never."
    )
    count_timeout_s: float = pydantic.Field(
        default=20,
        gt=0,
        le=3600,
        description="How long the files of one place may be counted when a beamtime ends, in s.",
    )

    @property
    def ask_space(self) -> bool:
        """Whether the space counts with each look."""
        return bool(self.warn_free_gb or self.refuse_free_gb)

    def room(self, free_bytes: int | None) -> Room:
        if free_bytes is None:
            return Room()
        if free_bytes < self.refuse_free_gb * 1e9:
            return Room(free_bytes=free_bytes, state="full")
        low = free_bytes < self.warn_free_gb * 1e9
        return Room(free_bytes=free_bytes, state="low" if low else "ok")
