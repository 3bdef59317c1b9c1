"""Places on disks that this computer sees."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from typing import Literal

import pydantic

from beamtime_handlers.clients.hosts import marker
from beamtime_handlers.clients.hosts.bounds import Bounds
from beamtime_handlers.clients.hosts.directories import Directories
from beamtime_handlers.clients.hosts.disk import DiskLevel
from beamtime_handlers.clients.hosts.marker import Marker
from beamtime_handlers.clients.hosts.reach import Trail, Whose, below
from beamtime_handlers.clients.hosts.tally import Tally
from beamtime_handlers.clients.hosts.trouble import os_trouble
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Place
from beamtime_ioc.ports import Context


class Settings(Bounds):
    """Section `hosts` of the site file."""

    backend: Literal["local"] = pydantic.Field(default="local", description="Disks that this computer sees.")


def build(settings: Settings, context: Context) -> Directories:
    for place in context.site.places:
        if place.host:
            raise BeamtimeError(
                f"place {place.name} is on host {place.host}, and `hosts` of the site file is local",
                advice="write backend: ssh there, or leave out `host` of the place",
            )
    disks = LocalDisks()
    return Directories(context.site, settings, lambda _place: disks)


class LocalDisks:
    """Works in open directories level by level; follows no link below a top and deletes nothing."""

    @contextmanager
    def look(self, place: Place, paths: Sequence[PurePosixPath]) -> Generator[Sequence[Trail[DiskLevel]]]:
        with _at_work(place, paths[0]) as held:
            yield [self._trail(place, path, held) for path in paths]

    def _trail(self, place: Place, path: PurePosixPath, held: ExitStack) -> Trail[DiskLevel]:
        levels = [DiskLevel.top(place, held)]
        for name in below(place, path):
            deeper = levels[-1].below(name)
            if deeper is None:
                return Trail(levels, is_whole=False)
            levels.append(deeper)
        return Trail(levels, is_whole=True)

    def make(self, place: Place, path: PurePosixPath, marker: Marker | None, whose: Whose) -> None:
        with _at_work(place, path) as held:
            level = DiskLevel.top(place, held)
            *above, last = below(place, path)
            for name in above:
                level, made = level.make(name)
                if made or level.left_unfinished:
                    level.own()
            level, made = level.make(last)
            if marker is None:
                if made or level.left_unfinished:
                    level.own()
                return
            found = whose(level)
            level.own()
            if found is None:
                _mark(level, marker.on(level.files()), whose)

    def tally(self, place: Place, path: PurePosixPath, tally: Tally) -> None:
        with _at_work(place, path) as held:
            tally.count(self._trail(place, path, held).last.fd)


def _mark(level: DiskLevel, content: Marker, whose: Whose) -> None:
    try:
        marker.write(level.fd, content)
    except FileExistsError:
        whose(level)  # somebody was faster: well, if it is for the same experiment
    except OSError as error:
        raise os_trouble(level.place, level.path / marker.FILE_NAME, error) from error


@contextmanager
def _at_work(place: Place, path: PurePosixPath) -> Generator[ExitStack]:
    """Close what was opened, and put into words what fails in an open directory, such as a stale mount."""
    try:
        with ExitStack() as held:
            yield held
    except OSError as error:
        raise os_trouble(place, path, error) from error
