"""Who is on beam: one look-up, beside the bare question over HTTP that it needs."""

from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection
from statistics import median
from typing import Any, cast
from urllib.parse import urlsplit

import psutil
import requests
from effort import Effort
from servers import House
from table import Group, Line, ratio_of
from timing import timed

from beamtime_handlers.clients.aps_schedule import ApsSchedule
from beamtime_handlers.clients.web import Web
from beamtime_ioc.config import read_site_file
from beamtime_ioc.equipment import build_services
from beamtime_ioc.kept_schedule import KeptSchedule, look_up
from beamtime_ioc.model import Site
from beamtime_ioc.testing import MemoryOutbox

REMARK = (
    "A look-up asks, reads the answer, finds who is on beam and keeps the answer on the disk. Its peers ask "
    "for the same on a connection that is kept and read the bytes: by http.client, and by requests, as ours."
)


def looks_up(house: House, effort: Effort) -> Group:
    """Look-ups at the box's schedule, in turns with bare questions for the same."""
    site, clients = build_services(read_site_file(house.site("state-looked")), MemoryOutbox())
    schedule = cast(KeptSchedule, clients["schedule"])
    schedule.path.parent.mkdir(exist_ok=True)
    web = cast(ApsSchedule, schedule.schedule).web
    ours = partial(_look_up, schedule, site)
    ours()  # the first asks for the run cycles too
    before, connections = _count(house), set[int]()
    for _ in range(effort.looks):
        ours()
        connections |= _connections(web)
    each = (_count(house) - before) / effort.looks
    lines = [
        Line(what="requests of a look-up after the first", ours=f"{each:g}", goal="<= 1", measured=each),
        Line(
            what=f"connections of {effort.looks} look-ups",
            ours=str(len(connections)),
            goal="<= 1",
            measured=len(connections),
        ),
    ]
    target = requests.get(house.schedule_requests, timeout=10).json()[-1]["target"]
    lines += _beside(ours, web, target, effort)
    return Group(name="Who is on beam", lines=lines, remark=REMARK)


def _look_up(schedule: KeptSchedule, site: Site) -> None:
    look_up(schedule, datetime.now(UTC).astimezone(site.zone))


def _count(house: House) -> int:
    """How many requests have come to the box's schedule."""
    whole: Any = requests.get(house.schedule_requests.rpartition("/")[0], timeout=10).json()
    return whole["requests"]


def _connections(web: Web) -> set[int]:
    """Our ends of the connections to the schedule."""
    there = urlsplit(web.url).port
    found = psutil.Process().net_connections("tcp")
    return {one.laddr.port for one in found if one.raddr and one.raddr.port == there}


def _beside(ours: Callable[[], None], web: Web, target: str, effort: Effort) -> list[Line]:
    address, credentials = urlsplit(web.url), web.credentials()
    assert credentials is not None
    user = (credentials.user, credentials.password)
    header = {"Authorization": f"Basic {b64encode(':'.join(user).encode()).decode()}"}
    url = f"{address.scheme}://{address.netloc}{target}"
    with closing(HTTPConnection(str(address.hostname), address.port)) as bare, requests.Session() as session:
        session.trust_env = False
        peers = {
            "http.client": partial(_get, bare, target, header),
            "requests": partial(_get_by_requests, session, url, user),
        }
        times: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
        for _ in range(effort.rounds):
            for name, act in {"ours": ours, **peers}.items():
                times[name].append(median([timed(act) for _ in range(effort.looks)]))
    return [
        Line(
            what="a look-up",
            ours=f"{1e3 * median(times['ours']):.2f} ms",
            peer=f"{peer} {1e3 * median(times[peer]):.2f} ms",
            ratio=ratio_of(times["ours"], times[peer]),
        )
        for peer in peers
    ]


def _get(connection: HTTPConnection, target: str, header: dict[str, str]) -> None:
    connection.request("GET", target, headers=header)
    reply = connection.getresponse()
    reply.read()
    assert reply.status == 200, reply.status


def _get_by_requests(session: requests.Session, url: str, user: tuple[str, str]) -> None:
    session.get(url, auth=user, timeout=10).raise_for_status()
