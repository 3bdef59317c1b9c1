"""A section of the site file."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A section of the site file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
