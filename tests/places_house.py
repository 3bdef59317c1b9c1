"""Places on a disk of this computer and on a host over ssh, for promises that both must keep."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from beamtime_handlers.clients.hosts.directories import Directories
from beamtime_handlers.clients.hosts.ssh import SshHosts
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Experiment, Place
from disk_house import EXPERIMENT, NAME, bare
from disk_house import hosts_for as local_hosts
from ssh_house import SshHouse


@dataclass
class Ground:
    """One kind of place, with an empty top.

    Attributes
    ----------
    prefix
        What stands before a path in a sentence.
    """

    top: Path
    host: str
    prefix: str
    shared: SshHosts
    new: Callable[..., Directories]

    def place(self, **fields: Any) -> Place:
        return Place(**{"name": "det1", "host": self.host, "top": PurePosixPath(self.top), **fields})

    def hosts(self, **settings: Any) -> Directories:
        if not self.host:
            return local_hosts(**settings)
        return self.new(**settings) if settings else self.shared

    def made(self, experiment: Experiment = EXPERIMENT, **fields: Any) -> Path:
        place = self.place(**fields)
        hosts = self.hosts()
        hosts.make_directory(place, experiment)
        hosts.check_directory(place, experiment)
        return Path(place.path_for(experiment))

    def refusal(
        self, kind: type[BeamtimeError], experiment: Experiment = EXPERIMENT, **fields: Any
    ) -> BeamtimeError:
        """What look and make say; both must say it, and make must change nothing."""
        place, hosts, before = self.place(**fields), self.hosts(), list(os.walk(self.top))
        with pytest.raises(kind) as looked:
            hosts.find_directory(place, experiment)
        with pytest.raises(kind) as tried:
            hosts.make_directory(place, experiment)
        assert list(os.walk(self.top)) == before
        assert str(looked.value) == str(tried.value)
        assert looked.value.advice
        return looked.value


def ground_on(
    house: SshHouse, shared: SshHosts, new: Callable[..., Directories], top: Path, kind: str
) -> Ground:
    host = "" if kind == "local" else house.det1.name
    return Ground(top=top, host=host, prefix=f"det1: {host}:" if host else "det1: ", shared=shared, new=new)


def half_made(top: Path, *, month: int = 0o2770, mode: int | None = 0o2770, part: bool = False) -> None:
    """What a crash leaves: levels with their modes, and a marker that was begun."""
    bare(top / "2026-11", month)
    if mode is not None:
        directory = bare(top / "2026-11" / NAME, mode)
        if part:
            (directory / ".experiment.json.0f0f0f.part").write_text('{"exper')


def key_in(directory: Path) -> str:
    return json.loads((directory / ".experiment.json").read_text(encoding="utf-8"))["experiment"]
