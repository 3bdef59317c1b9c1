"""Places on a real disk, and the experiment whose data go there."""

import grp
import json
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from beamtime_handlers.clients.hosts import local
from beamtime_handlers.clients.hosts.directories import Directories
from beamtime_handlers.clients.hosts.local import Settings
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Experiment, Person, Place, Site
from beamtime_ioc.ports import Context
from beamtime_ioc.testing import MemoryOutbox

ZONE = ZoneInfo("America/Chicago")
NAME = "2026-11-Lastname-9100001"
EXPERIMENT = Experiment(
    key="aps:300011",
    name=NAME,
    start=datetime(2026, 11, 20, 8, tzinfo=ZONE),
    end=datetime(2026, 11, 23, 8, tzinfo=ZONE),
    proposal="9100001",
    people=(Person(last_name="Lastname", is_pi=True),),
)
OTHER = replace(EXPERIMENT, key="aps:300012")
OUR_GROUP = grp.getgrgid(os.getegid()).gr_name


def place_at(top: Path, **fields: Any) -> Place:
    return Place(**{"name": "det1", "top": PurePosixPath(top), **fields})


def hosts_for(*places: Place, **settings: Any) -> Directories:
    site = Site(prefix="99bm:Beamtime:", beamline="99-BM-A,B", zone=ZONE, places=places)
    context = Context(site=site, directory=Path("/"), state=Path("/"), outbox=MemoryOutbox())
    return local.build(Settings(**settings), context)


def mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def made(top: Path, experiment: Experiment = EXPERIMENT, **fields: Any) -> Path:
    place = place_at(top, **fields)
    hosts_for(place).make_directory(place, experiment)
    return Path(place.path_for(experiment))


def marker_of(directory: Path) -> dict[str, str]:
    return json.loads((directory / ".experiment.json").read_text(encoding="utf-8"))


def bare(directory: Path, mode: int = 0o700) -> Path:
    directory.mkdir(parents=True)
    directory.chmod(mode)
    return directory


@contextmanager
def umask(mask: int) -> Generator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def refusal(kind: type[BeamtimeError], place: Place, experiment: Experiment = EXPERIMENT) -> BeamtimeError:
    """What look and make say; both must say it, and make must change nothing."""
    hosts = hosts_for(place)
    before = list(os.walk(place.top))
    with pytest.raises(kind) as looked:
        hosts.find_directory(place, experiment)
    with pytest.raises(kind) as tried:
        hosts.make_directory(place, experiment)
    assert list(os.walk(place.top)) == before
    assert str(looked.value) == str(tried.value)
    assert looked.value.advice
    return looked.value
