"""The control of a facility in a box: where a site file says it is, and what it is asked over HTTP."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from beamtime_ioc.errors import BadResponseError, BadValueError, ServiceError
from beamtime_ioc.model import Json, one_line
from beamtime_ioc.part import Part

ANSWER_S = 3.0
LONGEST_BYTES = 1 << 20
EXAMPLE = "such as http://127.0.0.1:8090/"


def _control(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = parts = None
    if parts is None or host is None or port is None or not text.isprintable() or " " in text:
        raise ValueError(f"the address of a box's control, with its port, {EXAMPLE}")
    if parts.scheme != "http":
        raise ValueError(f"http, and nothing else, {EXAMPLE}")
    if "@" in parts.netloc or parts.path not in ("", "/") or "?" in text or "#" in text:
        raise ValueError(f"only a host and a port, {EXAMPLE}")
    if not _is_this_computer(host):
        raise ValueError(
            f"{host} is not this computer; faults are for training only, on a box beside the IOC, {EXAMPLE}"
        )
    return f"http://{parts.netloc}/"


def _is_this_computer(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class BoxSettings(Part):
    """A facility in a box whose faults are served as records, for training without a beamline."""

    url: Annotated[str, AfterValidator(_control)] = Field(
        description="the box's control, on this computer: the port `control` of its sim.yaml, "
        "such as http://127.0.0.1:8090/"
    )


@dataclass(frozen=True, kw_only=True)
class BoxState:
    """How a box stands.

    Parameters
    ----------
    knobs, defaults
        By the names of the knobs.
    requests, mails
        What its schedule was asked, and what its mail server kept, since its start.
    """

    knobs: Mapping[str, Json]
    defaults: Mapping[str, Json]
    requests: int
    mails: int


class BoxControl:
    """Asks a box; each call blocks for seconds at most, in any thread.

    Parameters
    ----------
    directory
        Of the site file: where a box's own stands in it, advice names it.
    """

    def __init__(self, settings: BoxSettings, directory: Path) -> None:
        self.url = settings.url
        parts = urlsplit(settings.url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        box = directory if (directory / "sim.yaml").is_file() else "DIR"
        self._advice = f"start it with: beamtime sim --dir {box}"

    def silence(self) -> ServiceError:
        """What there is to say when it does not answer."""
        return ServiceError(f"the box at {self.url} does not answer", advice=self._advice)

    def state(self) -> BoxState:
        """Read everything.

        Raises
        ------
        ServiceError
            It does not answer; BadResponseError: what answers is no box.
        """
        answer = self._ask("GET", "/state")
        knobs, defaults = answer.get("knobs"), answer.get("defaults")
        requests, mails = answer.get("requests"), answer.get("mails")
        if not (
            isinstance(knobs, dict)
            and isinstance(defaults, dict)
            and isinstance(requests, int)
            and isinstance(mails, int)
        ):
            raise self._no_box()
        return BoxState(
            knobs=cast("Mapping[str, Json]", knobs),
            defaults=cast("Mapping[str, Json]", defaults),
            requests=requests,
            mails=mails,
        )

    def turn(self, knob: str, value: Json) -> Mapping[str, Json]:
        """Turn one knob; None takes it back. Gives the values of all as the box has them then.

        Raises
        ------
        BadValueError
            The box refuses the value, in its own words.
        ServiceError
            As of `state`; whether the knob was turned is not known.
        """
        return self._ask("PUT", "/knobs", {knob: value})

    def reset(self) -> Mapping[str, Json]:
        """Take every knob back; see `turn`."""
        return self._ask("DELETE", "/knobs")

    def _ask(self, method: str, path: str, body: Json = None) -> Mapping[str, Json]:
        content = None if body is None else json.dumps(body).encode()
        # Not urllib or requests: they would send it through the proxy that the environment names.
        with closing(HTTPConnection(self._host, self._port, timeout=ANSWER_S)) as connection:
            try:
                connection.request(method, path, body=content)
                reply = connection.getresponse()
                answer: Any = json.loads(reply.read(LONGEST_BYTES))
            except OSError as error:
                raise self.silence() from error
            except (HTTPException, ValueError, RecursionError) as error:
                raise self._no_box() from error
        if not isinstance(answer, dict):
            raise self._no_box()
        found = cast("Mapping[str, Json]", answer)
        if reply.status == HTTPStatus.BAD_REQUEST and isinstance(found.get("error"), str):
            raise BadValueError(one_line(str(found["error"]), 1000))
        if reply.status != HTTPStatus.OK:
            raise self._no_box()
        return found

    def _no_box(self) -> BadResponseError:
        return BadResponseError(
            f"what answers at {self.url} is no box, or one of another version",
            advice="correct sim.url in the site file by the box's sim.yaml, or start the box again",
        )
