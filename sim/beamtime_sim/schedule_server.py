"""The schedule API over HTTP, with its knobs."""

import base64
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hmac import compare_digest
from http import HTTPStatus
from pathlib import Path
from typing import Any

from beamtime_sim import nsls2
from beamtime_sim.bodies import RAW, Edits, edited_reply, raw_body
from beamtime_sim.errors import BoxError
from beamtime_sim.json_lines import NAME, JsonLines
from beamtime_sim.knobs import Knobs
from beamtime_sim.schedule import Answer, Schedule
from beamtime_sim.server import Server
from beamtime_sim.web import HOST, Reply, Request, WebServer, json_reply
from beamtime_sim.wire import Json

BASE = ["beamline-scheduling", "sched-api"]


@dataclass(frozen=True, kw_only=True)
class SeenRequest:
    """One request that came in.

    ``path`` is below the base and decoded, ``target`` as it stood on the wire. ``status`` is None if it was
    never answered. ``on_beam`` is the knob of this name.
    """

    at: datetime
    method: str
    path: str
    target: str
    status: int | None
    on_beam: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the request's line in the log, with an ISO time."""
        return {**vars(self), "at": self.at.isoformat(timespec="milliseconds")}


class ScheduleServer(Server):
    """The schedule API on a loopback port.

    Below ``/v1/`` it answers in the manner of NSLS-II, without a password; the knobs count there too.

    Parameters
    ----------
    data
        A `Schedule`, or replies by path as the sample file has them.
    credentials
        User and password that HTTP Basic must bring; None lets everybody in.
    port
        0 takes a free one.
    clock
        The facility's clock, which decides what is active now.
    """

    def __init__(
        self,
        data: Schedule | Mapping[str, Json],
        *,
        credentials: tuple[str, str] | None = None,
        port: int = 0,
        knobs: Knobs | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.schedule = data if isinstance(data, Schedule) else Schedule(data)
        self.credentials = credentials
        self.knobs = knobs or Knobs()
        self._clock = clock
        self._web = WebServer(self._answer, port)
        self._lock = threading.Lock()
        self._total = 0
        self._seen: deque[SeenRequest] = deque(maxlen=1000)
        self._log: JsonLines | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._web.port

    @property
    def url(self) -> str:
        """The base of all paths, with a closing slash."""
        return f"http://{HOST}:{self.port}/{'/'.join(BASE)}/"

    @property
    def nsls2_url(self) -> str:
        """The base of the paths in the manner of NSLS-II, with a closing slash."""
        return f"http://{HOST}:{self.port}/{'/'.join(nsls2.BASE)}/"

    @property
    def requests(self) -> list[SeenRequest]:
        """The last 1000 requests, in the order in which they ended."""
        with self._lock:
            return list(self._seen)

    @property
    def request_count(self) -> int:
        """How many requests came in."""
        with self._lock:
            return self._total

    def forget_requests(self) -> None:
        """Count from zero again."""
        with self._lock:
            self._total = 0
            self._seen.clear()

    def log_to(self, directory: Path) -> None:
        """Write one line a request from now on, `SeenRequest.as_json`; the lines of earlier starts stay."""
        directory.mkdir(parents=True, exist_ok=True)
        log = JsonLines(directory / NAME, durable=False)
        try:
            log.mend()
        except ValueError as error:
            raise BoxError(f"{log.path} is damaged; remove it to begin a new one") from error
        with self._lock:
            self._log = log

    def start(self) -> None:
        """Listen and answer."""
        self._web.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self._web.stop()

    def _answer(self, request: Request) -> Reply | None:
        at = datetime.now(UTC)
        with self._lock:
            self._total += 1
        on_beam = self.knobs.schedule.on_beam
        reply = self._faulty(request, on_beam)
        if reply is not None and reply.status == HTTPStatus.OK and self.knobs.take_lost_reply("schedule"):
            reply = None
        segments = request.segments
        seen = SeenRequest(
            at=at,
            method=request.method,
            path="/".join(segments[len(BASE) :] if segments[: len(BASE)] == BASE else segments),
            target=request.target,
            status=None if reply is None else reply.status,
            on_beam=on_beam,
        )
        with self._lock:
            self._seen.append(seen)
            if self._log is not None:
                self._log.append(seen.as_json())
        return reply

    def _faulty(self, request: Request, on_beam: int | None) -> Reply | None:
        if self.knobs.schedule.hang:
            while self.knobs.schedule.hang and request.waits(0.05):
                pass
            return None
        if not request.pause(self.knobs.schedule.delay_s):
            return None
        if (status := self.knobs.take_failure()) is not None:
            return _refusal(status, "asked for by a knob")
        return self._good(request, on_beam)

    def _good(self, request: Request, on_beam: int | None) -> Reply:
        if request.segments[: len(nsls2.BASE)] == nsls2.BASE and request.method == "GET":
            return self._finished(
                nsls2.answer(self.schedule, request.segments[len(nsls2.BASE) :], self._clock()), on_beam
            )
        if not self._may_read(request.headers.get("authorization", "")):
            return _refusal(401, "user name and password, by HTTP Basic")
        if request.method != "GET":
            return _refusal(405, "the schedule is read-only")
        if request.segments[: len(BASE)] != BASE:
            return _refusal(404, f"the API is below /{'/'.join(BASE)}/")
        answer = self.schedule.answer(request.segments[len(BASE) :], self._clock())
        return self._finished(answer, on_beam)

    def _finished(self, answer: Answer, on_beam: int | None) -> Reply:
        faults = self.knobs.schedule
        if answer.status != HTTPStatus.OK:
            return json_reply(answer.status, answer.body)
        edits = Edits(
            kind=faults.body,
            pi_last_name=faults.pi_last_name,
            on_beam=on_beam,
            late_colleague=faults.late_colleague,
            clock_change=faults.clock_change,
        )
        body = edited_reply(edits, answer.body, self._clock())
        if faults.body in RAW:
            content, content_type = raw_body(faults.body, body)
            return Reply(status=200, body=content, content_type=content_type)
        return json_reply(200, body)

    def _may_read(self, header: str) -> bool:
        if self.credentials is None:
            return True
        wanted = base64.b64encode(":".join(self.credentials).encode()).decode()
        return compare_digest(header.encode(), f"Basic {wanted}".encode())


def _refusal(status: int, message: str) -> Reply:
    try:
        error = HTTPStatus(status).phrase
    except ValueError:
        error = "Unknown"
    headers = {"WWW_Authenticate": 'Basic realm="sched-api"'} if status == HTTPStatus.UNAUTHORIZED else {}
    body = {"status": status, "error": error, "message": message}
    return Reply(status=status, body=json.dumps(body).encode(), headers=headers)
