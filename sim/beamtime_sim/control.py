"""The control HTTP of the box: turn the knobs, read the counters and the mails."""

import json
from typing import Any, cast

from beamtime_sim.errands_server import ErrandsServer
from beamtime_sim.errors import SimError
from beamtime_sim.hosts_server import HostsServer
from beamtime_sim.knobs import Knobs, allowed_values
from beamtime_sim.mail_server import MailServer
from beamtime_sim.schedule_server import ScheduleServer
from beamtime_sim.server import Server
from beamtime_sim.web import Reply, Request, WebServer, json_reply

READ = "/, /state, /requests, /mails, /knobs"


class ControlServer(Server):
    """Answers in JSON on a loopback port.

    ``GET /`` all of it; ``GET /state`` the knobs, their defaults and the counts, for who asks every second;
    ``GET /requests``, ``GET /mails``, ``GET /knobs``; ``PUT`` or ``POST /knobs`` with an
    object of names and values; ``DELETE /knobs`` takes all back.
    """

    def __init__(
        self,
        knobs: Knobs,
        schedule: ScheduleServer,
        mail: MailServer,
        errands: ErrandsServer,
        hosts: HostsServer | None = None,
        port: int = 0,
    ) -> None:
        self._knobs, self._schedule, self._mail, self._errands = knobs, schedule, mail, errands
        self._hosts = hosts
        self._web = WebServer(self._answer, port)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._web.port

    def start(self) -> None:
        """Listen and answer."""
        self._web.start()

    def stop(self) -> None:
        """Close the port."""
        self._web.stop()

    def _answer(self, request: Request) -> Reply:
        match request.method, request.segments:
            case "GET", [""]:
                return json_reply(200, self._all())
            case "GET", ["state"]:
                return json_reply(200, self._state())
            case "GET", ["requests"]:
                return json_reply(200, [seen.as_json() for seen in self._schedule.requests])
            case "GET", ["mails"]:
                return json_reply(200, [mail.as_json() for mail in self._mail.mails])
            case "GET", ["knobs"]:
                return json_reply(200, self._knobs.values())
            case "PUT" | "POST", ["knobs"]:
                return self._turn(request.body)
            case "DELETE", ["knobs"]:
                self._knobs.reset()
                return json_reply(200, self._knobs.values())
            case _:
                return json_reply(
                    404,
                    {"error": f"here are GET {READ}; PUT or POST /knobs; DELETE /knobs"},
                )

    def _all(self) -> dict[str, Any]:
        return {
            "knobs": self._knobs.values(),
            "allowed": allowed_values(),
            "requests": self._schedule.request_count,
            "mail_counts": self._mail.counts,
            "mails": [mail.as_json() for mail in self._mail.mails],
            "errands": self._errands.errands.counts,
            "hosts": {} if self._hosts is None else self._hosts.counts,
        }

    def _state(self) -> dict[str, Any]:
        """As short however many mails there are."""
        return {
            "knobs": self._knobs.values(),
            "defaults": Knobs().values(),
            "requests": self._schedule.request_count,
            "mails": self._mail.counts["kept"],
        }

    def _turn(self, body: bytes) -> Reply:
        try:
            wanted = json.loads(body)
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict):
            return json_reply(400, {"error": 'send a JSON object of knobs, such as {"schedule.delay_s": 2}'})
        try:
            self._knobs.set_all(cast("dict[str, object]", wanted))
        except SimError as error:
            return json_reply(400, {"error": str(error)})
        return json_reply(200, self._knobs.values())
