"""The errands service of the box, as a site's own client: notes and copies."""

import time
from http import HTTPStatus
from typing import Any, Literal, Protocol

import requests
from pydantic import BaseModel, ConfigDict

from beamtime_ioc.errors import BadResponseError, OutcomeUnknownError, ServiceUnavailableError
from beamtime_ioc.model import Json
from beamtime_ioc.ports import Context, Health

NAME = "the errands service"


class Errands(Protocol):
    """What the handlers ask of it."""

    def post_note(self, text: str) -> Json: ...
    def find_copy(self, name: str) -> dict[str, Any] | None: ...
    def start_copy(self, name: str, size_bytes: int) -> None: ...


class Settings(BaseModel):
    """Section `errands` of the site file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: Literal["box"]
    url: str
    timeout_s: float = 20


def build(settings: Settings, _context: Context) -> "BoxErrands":
    return BoxErrands(settings.url, settings.timeout_s)


class BoxErrands:
    """Over HTTP."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url, self.timeout_s = url, timeout_s

    def check(self) -> Health:
        began = time.monotonic()
        try:
            self._ask("GET", "copies/any")
        except ServiceUnavailableError as error:
            return Health(ok=False, sentence=str(error))
        return Health(ok=True, sentence=f"{NAME} answers", latency_s=time.monotonic() - began)

    def post_note(self, text: str) -> Json:
        """Post a note: each post is a note, and no note can be looked up."""
        try:
            reply = self._ask("POST", "notes", {"text": text})
        except ServiceUnavailableError as error:
            raise OutcomeUnknownError(f"the note {text!r} may have been posted: {error.sentence}") from error
        return _expect(reply, HTTPStatus.CREATED)

    def find_copy(self, name: str) -> dict[str, Any] | None:
        reply = self._ask("GET", f"copies/{name}")
        return None if reply.status_code == HTTPStatus.NOT_FOUND else _expect(reply, HTTPStatus.OK)

    def start_copy(self, name: str, size_bytes: int) -> None:
        """Start a copy; once more changes nothing."""
        _expect(self._ask("PUT", f"copies/{name}", {"bytes": size_bytes}), HTTPStatus.OK, HTTPStatus.CREATED)

    def _ask(self, method: str, path: str, body: object = None) -> requests.Response:
        try:
            return requests.request(method, self.url + path, json=body, timeout=self.timeout_s)
        except requests.RequestException as error:
            raise ServiceUnavailableError(NAME, f"did not answer ({type(error).__name__})") from error


def _expect(reply: requests.Response, *good: HTTPStatus) -> dict[str, Any]:
    if reply.status_code not in good:
        raise BadResponseError(f"{NAME} answered {reply.status_code} to {reply.request.method} {reply.url}")
    return reply.json()
