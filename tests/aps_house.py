"""Servers for the tests of the APS schedule: the facility in a box, and servers that misbehave."""

import copy
import json
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from beamtime_handlers.clients.aps_schedule import ApsSchedule, Settings, build
from beamtime_ioc.model import Site
from beamtime_ioc.ports import Context
from beamtime_ioc.testing import MemoryOutbox
from beamtime_sim.schedule import Schedule
from beamtime_sim.schedule_server import ScheduleServer

SITE = Site(prefix="99bm:Beamtime:", beamline="99-BM-A,B", zone=ZoneInfo("America/Chicago"))
USER, PASSWORD = "svc-99bm", "a horse|and a ;battery"
SCHEDULE = "schedule/findByRunNameAndScheduleName/2026-3/99-BM-A,B"
SAMPLE: dict[str, Any] = json.loads(
    Path(__file__).with_name("data").joinpath("aps_schedule.json").read_text(encoding="utf-8")
)
AUTUMN = datetime(2026, 9, 30, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
"""A window with all that the sample has."""


def make_client(directory: Path, url: str, **settings: Any) -> ApsSchedule:
    """A client that does not wait long."""
    times = {"connect_timeout_s": 1, "read_timeout_s": 0.3, "overall_timeout_s": 2}
    context = Context(site=SITE, directory=directory, state=directory, outbox=MemoryOutbox())
    return build(Settings.model_validate({"backend": "aps", "url": url, **times, **settings}), context)


class House:
    """A schedule server, and clients for it."""

    def __init__(self, directory: Path, server: ScheduleServer) -> None:
        self.directory, self.server = directory, server
        self.credentials = directory / "credentials.txt"
        self.write_credentials(f"{USER}|{PASSWORD}\n")

    def write_credentials(self, text: str, mode: int = 0o600) -> None:
        self.credentials.write_text(text, encoding="utf-8")
        self.credentials.chmod(mode)

    def client(self, url: str = "", **settings: Any) -> ApsSchedule:
        wanted = {"read_timeout_s": 1, "credentials": self.credentials.name, **settings}
        return make_client(self.directory, url or self.server.url, **wanted)

    def serve(self, data: dict[str, Any]) -> None:
        self.server.schedule = Schedule(data)


@contextmanager
def schedule_house(directory: Path) -> Generator[House]:
    with ScheduleServer(SAMPLE, credentials=(USER, PASSWORD)) as server:
        yield House(directory, server)


def changed(change: Callable[[list[dict[str, Any]]], object]) -> dict[str, Any]:
    """The sample with its activities changed."""
    data = copy.deepcopy(SAMPLE)
    change(data[SCHEDULE][0]["activities"])
    return data


class Talks:
    """What came in at a server of our own.

    Attributes
    ----------
    ended
        Set when the server ends.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.ended = threading.Event()

    def request(self, connection: socket.socket) -> bytes:
        """Read one request; empty when the client is gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (chunk := connection.recv(4096)):
                return b""
            data += chunk
        self.requests.append(data)
        return data


Talk = Callable[[socket.socket, Talks], None]


@contextmanager
def talking(talk: Talk) -> Generator[tuple[str, Talks]]:
    """A server that talks as it is told; gives its address, and what came in."""
    talks, listener = Talks(), socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                talk(connection, talks)
            except OSError:
                return  # the client is gone

    def accept() -> None:
        while not talks.ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            talks.connections += 1
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/sched-api/", talks
    finally:
        talks.ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def http(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A reply; headers with underscores."""
    given = {"Content_Type": "application/json", "Content_Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def always(reply: bytes) -> Talk:
    """Give every request the same reply."""

    def talk(connection: socket.socket, talks: Talks) -> None:
        while talks.request(connection):
            connection.sendall(reply)

    return talk
