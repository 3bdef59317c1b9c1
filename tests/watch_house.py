"""Services and disks that answer, fail and hang as a test wants, and a board that shows what a watch sees."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

from beamtime_ioc.access import load_gate
from beamtime_ioc.board import Board
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Beamtime, Experiment, Json, Place, Site
from beamtime_ioc.places import Content, Room
from beamtime_ioc.ports import Health
from beamtime_ioc.records import load_records, shipped

PREFIX = "99bm:Beamtime:"
CHICAGO = ZoneInfo("America/Chicago")
DEADLINE_S = 10.0
WELL = Health(ok=True, sentence="it answers", latency_s=0.25)


def new_board(*more: Any) -> Board:
    return Board(load_records([*shipped(), *more], prefix=PREFIX), load_gate(None))


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.005)


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 3 * DEADLINE_S))


@dataclass
class Asked:
    """Something outside that is asked in threads.

    Attributes
    ----------
    at_once, most_at_once
        How many threads are in it, and were.
    open_
        Cleared: whoever asks hangs.
    """

    asked: int = 0
    at_once: int = 0
    most_at_once: int = 0
    raising: Exception | None = None
    open_: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.open_.set()

    def ask(self) -> None:
        with self.lock:
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.open_.wait()
            if self.raising is not None:
                raise self.raising
        finally:
            with self.lock:
                self.at_once -= 1


@dataclass
class AskedService(Asked):
    health: Health = WELL

    def check(self) -> Health:
        self.ask()
        return self.health


@dataclass
class AskedHosts:
    """Disks: each place with something that is asked, and what stands there."""

    disks: dict[str, Asked] = field(default_factory=dict[str, Asked])
    stands: dict[str, Json] = field(default_factory=dict[str, Json])
    experiments: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    rooms: dict[str, Room] = field(default_factory=dict[str, Room])
    asked_room: list[str] = field(default_factory=list[str])

    def disk(self, name: str) -> Asked:
        return self.disks.setdefault(name, Asked())

    def check(self) -> Health:
        return WELL

    def check_place(self, place: Place) -> Health:
        self.experiments.append((place.name, ""))
        self.disk(place.name).ask()
        return Health(ok=True, sentence=f"{place.name} has room")

    def find_directory(self, place: Place, experiment: Experiment) -> Json:
        self.experiments.append((place.name, experiment.key))
        self.disk(place.name).ask()
        return self.stands.get(place.name)

    def room(self, place: Place) -> Room:
        self.asked_room.append(place.name)
        return self.rooms.get(place.name, Room(free_bytes=10**12, state="ok"))

    def make_directory(self, place: Place, experiment: Experiment) -> None:
        raise BeamtimeError("a watch makes nothing")

    def check_directory(self, place: Place, experiment: Experiment) -> Json:
        raise BeamtimeError("a watch makes nothing")

    def contents(self, place: Place, experiment: Experiment) -> Sequence[Content]:
        raise BeamtimeError("a watch counts nothing")


def site(*places: str) -> Site:
    tops = tuple(Place(name=name, top=PurePosixPath(f"/data/{name}")) for name in places)
    return Site(prefix=PREFIX, beamline="99-BM", zone=CHICAGO, places=tops)


def experiment(of: Site, number: str = "1", **more: Any) -> Experiment:
    start = datetime(2026, 11, 26, 14, tzinfo=UTC)
    return of.experiment(
        Beamtime(source="aps", id=number, start=start, end=start, proposal=f"90{number}", **more)
    )
