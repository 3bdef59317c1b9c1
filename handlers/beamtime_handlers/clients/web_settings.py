"""How a service is asked over HTTP, as its section of the site file says."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from beamtime_handlers.clients.web import Credentials, Web


def _whole(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must be a whole address, such as https://schedule.example.org/api/")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment")
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_whole)]
"""An address below which paths lie, without its last slash."""


class WebSettings(BaseModel):
    """The keys that every such section has besides its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Url = Field(description="Address below which the paths of the API lie.")
    connect_timeout_s: float = Field(3, gt=0, le=600, description="Longest wait for a connection, in s.")
    read_timeout_s: float = Field(10, gt=0, le=600, description="Longest silence of the service, in s.")
    overall_timeout_s: float = Field(
        15, gt=0, le=600, description="Longest wait for one answer, with all repeats, in s."
    )

    def web(self, credentials: Callable[[], Credentials | None] = lambda: None) -> Web:
        """Whom to ask; nothing is asked yet."""
        return Web(
            self.url,
            credentials,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.read_timeout_s,
            overall_timeout_s=self.overall_timeout_s,
        )
