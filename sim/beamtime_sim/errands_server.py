"""The errands service over HTTP, with its knobs: notes that nobody can look up, and slow copies."""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from beamtime_sim.errands import Errands
from beamtime_sim.knobs import Knobs
from beamtime_sim.server import Server
from beamtime_sim.web import HOST, Reply, Request, WebServer, json_reply

LARGEST_BYTES = 10**15
_HELP = "here are POST /notes, PUT /copies/ID and GET /copies/ID"


class ErrandsServer(Server):
    """On a loopback port.

    ``POST /notes`` with ``{"text": ...}`` is accepted each time, and no request tells what was accepted: as
    with a site's log book. ``PUT /copies/ID`` with ``{"bytes": ...}`` starts a copy once, whatever is sent
    again; ``GET /copies/ID`` says how far it is.

    Parameters
    ----------
    directory
        Where the log is kept.
    port
        0 takes a free one.
    """

    def __init__(self, directory: Path, *, port: int = 0, knobs: Knobs | None = None) -> None:
        self.errands = Errands(directory)
        self.knobs = knobs or Knobs()
        self._web = WebServer(self._answer, port)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._web.port

    @property
    def url(self) -> str:
        """The base of all paths, with a closing slash."""
        return f"http://{HOST}:{self.port}/"

    def start(self) -> None:
        """Listen and answer."""
        self._web.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self._web.stop()

    def _answer(self, request: Request) -> Reply | None:
        reply = self._reply(request)
        if reply.status < HTTPStatus.BAD_REQUEST and self.knobs.take_lost_reply("errands"):
            return None
        # The work is done: who is killed while it waits does not know it.
        return reply if request.pause(self.knobs.errands.delay_s) else None

    def _reply(self, request: Request) -> Reply:
        match request.method, request.segments:
            case "POST", ["notes"]:
                return self._take_note(_object(request.body).get("text"))
            case "PUT", ["copies", name] if name:
                return self._start_copy(name, _object(request.body).get("bytes"))
            case "GET", ["copies", name] if name:
                found = self.errands.copy(name)
                return json_reply(200, found) if found else _refusal(404, f"there is no copy {name}")
            case _:
                return _refusal(404, _HELP)

    def _take_note(self, text: object) -> Reply:
        if not isinstance(text, str) or not text:
            return _refusal(400, 'send a JSON object with a text, such as {"text": "hutch searched"}')
        return json_reply(201, self.errands.note(text))

    def _start_copy(self, name: str, size: object) -> Reply:
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= LARGEST_BYTES:
            return _refusal(400, 'send a JSON object with a size, such as {"bytes": 1000000}')
        try:
            started = self.errands.start_copy(name, size, self.knobs.errands.rate_bytes_per_s)
        except ValueError as error:
            return _refusal(409, str(error))
        return json_reply(201 if started else 200, self.errands.copy(name))


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _refusal(status: int, sentence: str) -> Reply:
    return json_reply(status, {"error": sentence})
