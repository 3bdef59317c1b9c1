"""The local disks as a service: find, make and check one experiment's directory."""

import socket
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import PurePosixPath
from typing import Literal

import pydantic

from beamtime_handlers.clients.local_hosts import marker
from beamtime_handlers.clients.local_hosts.level import Level, trouble, user_name
from beamtime_handlers.clients.local_hosts.marker import Marker, UnreadableMarkerError
from beamtime_ioc.errors import BeamtimeError, ConflictError, NotVerifiedError, PlaceError
from beamtime_ioc.model import Experiment, Json, Place, Site
from beamtime_ioc.ports import Context, Health


class Settings(pydantic.BaseModel):
    """Section `hosts` of the site file."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    backend: Literal["local"] = pydantic.Field(default="local", description="Disks that this computer sees.")
    warn_free_gb: float = pydantic.Field(
        default=0, ge=0, description="With less free space (in 10^9 bytes) a run says so; 0: never."
    )
    refuse_free_gb: float = pydantic.Field(
        default=0, ge=0, description="With less free space (in 10^9 bytes) nothing new is made; 0: never."
    )


def build(settings: Settings, context: Context) -> "LocalHosts":
    return LocalHosts(settings, context.site)


class LocalHosts:
    """Makes directories level by level below a place's top; follows no link there and deletes nothing."""

    def __init__(self, settings: Settings, site: Site) -> None:
        self.settings, self.site = settings, site

    # -- port Hosts -------------------------------------------------------------------------

    def find_directory(self, place: Place, experiment: Experiment) -> Json:
        path = _path(place, experiment)
        with _at_work(place, path) as held:
            level = Level.top(place, held)
            for name in _below(place, path):
                deeper = level.below(name)
                if deeper is None:
                    self._refuse_to_go_on(level)
                    return None
                level = deeper
            if self._whose(level, experiment) is None or not level.is_owned_well:
                return None
            return self._described(level)

    def make_directory(self, place: Place, experiment: Experiment) -> None:
        path = _path(place, experiment)
        with _at_work(place, path) as held:
            level = Level.top(place, held)
            *above, last = _below(place, path)
            for name in above:
                level, made = level.make(name)
                if made or level.left_unfinished:
                    level.own()
            level, _ = level.make(last)
            found = self._whose(level, experiment)
            level.own()
            if found is None:
                self._mark(level, experiment)

    def check_directory(self, place: Place, experiment: Experiment) -> Json:
        path = _path(place, experiment)
        what = f"{place.name}: {path}"
        with _at_work(place, path) as held:
            level: Level | None = Level.top(place, held)
            for name in _below(place, path):
                level = level and level.below(name)
            if level is None:
                raise NotVerifiedError(what, wanted="a directory", found="nothing")
            if self._whose(level, experiment) is None:
                raise NotVerifiedError(what, wanted=f"{marker.FILE_NAME} of {experiment.key}", found="none")
            if not level.is_owned_well:
                wanted = f"mode {place.mode:o}" + (f" and group {place.group}" if place.group else "")
                found = f"mode {level.mode:o} and group {level.group}"
                raise NotVerifiedError(what, wanted=wanted, found=found)
            return self._described(level)

    def check(self) -> Health:
        began, ok, words = time.monotonic(), True, list[str]()
        for place in self.site.places:
            try:
                with _at_work(place, place.top) as held:
                    top = Level.top(place, held)
                    self._refuse_to_go_on(top)
                    free = f"{place.name}: {top.free_gb:.4g} GB are free in {top.path}"
                    words.append(self._warning(top) or free)
            except BeamtimeError as error:
                ok = False
                words.append(str(error))
        sentence = ". ".join(words) or "the site file names no places"
        return Health(ok=ok, sentence=sentence, latency_s=time.monotonic() - began)

    # -- its parts --------------------------------------------------------------------------

    def _whose(self, level: Level, experiment: Experiment) -> Marker | None:
        """The marker, if it is that of the experiment; None in a directory that nobody has used yet."""
        where = f"{level.place.name}: {level.path}"
        try:
            found = marker.read(level.fd)
        except UnreadableMarkerError as error:
            raise ConflictError(
                f"{where}/{marker.FILE_NAME} does not say whose directory this is: {error}",
                advice="look at it by hand: mend the file, or move the directory away; then press again",
            ) from error
        except OSError as error:
            raise trouble(level.place, level.path / marker.FILE_NAME, error) from error
        if found is None:
            files = level.files()
            if files:
                raise ConflictError(
                    f"{where} holds files ({', '.join(files[:3])}{', ...' if files[3:] else ''}) "
                    f"but no {marker.FILE_NAME}",
                    advice="look whose they are and move the directory away, then press again",
                )
        elif found.experiment != experiment.key:
            raise ConflictError(
                f"{where} belongs to experiment {found.experiment} ({found.name or 'without a name'}, made "
                f"{found.at or 'some time'} by {found.created_by or 'somebody'}), not to {experiment.key} "
                f"({experiment.name})",
                advice="choose the experiment it belongs to, or give each beamtime its own name, such as "
                "with {beamtime} in `experiment.name` of the site file; then press again",
            )
        return found

    def _mark(self, level: Level, experiment: Experiment) -> None:
        by, at = f"{user_name()}@{socket.gethostname()}", datetime.now(self.site.zone)
        try:
            marker.write(level.fd, Marker.of(experiment, by, at))
        except FileExistsError:
            self._whose(level, experiment)  # somebody was faster: well, if it is for the same experiment
        except OSError as error:
            raise trouble(level.place, level.path / marker.FILE_NAME, error) from error

    def _refuse_to_go_on(self, level: Level) -> None:
        """Raise PlaceError if nothing can be made in this level; reads only."""
        place, least = level.place, self.settings.refuse_free_gb
        if not level.writable:
            raise PlaceError(
                "DENIED",
                f"{place.name}: user {user_name()} may not write in {level.path}, or its disk is read-only",
                advice="let this user write there, then press again",
            )
        if least and level.free_gb < least:
            raise PlaceError(
                "NO_SPACE",
                f"{place.name}: {level.path} has {level.free_gb:.3g} GB free, less than the {least:g} GB "
                "of `refuse_free_gb`",
                advice="make space, then press again",
            )

    def _warning(self, level: Level) -> str:
        least = self.settings.warn_free_gb
        if not least or level.free_gb >= least:
            return ""
        return f"{level.place.name}: only {level.free_gb:.3g} GB are free in {level.path}"

    def _described(self, level: Level) -> Json:
        description: dict[str, Json] = {
            "place": level.place.name,
            "path": str(level.path),
            "mode": f"{level.mode:o}",
            "owner": level.owner,
            "group": level.group,
        }
        warning = self._warning(level)
        return {**description, "warning": warning} if warning else description


@contextmanager
def _at_work(place: Place, path: PurePosixPath) -> Generator[ExitStack]:
    """Close what was opened, and put into words what fails in an open directory, such as a stale mount."""
    try:
        with ExitStack() as held:
            yield held
    except OSError as error:
        raise trouble(place, path, error) from error


def _path(place: Place, experiment: Experiment) -> PurePosixPath:
    try:
        path = place.path_for(experiment)
        if "\0" in str(path):
            raise ValueError(f"{str(path)!r} holds a NUL")
    except ValueError as error:
        raise PlaceError(
            "BAD_NAME",
            f"{place.name}: no directory for {experiment.key}: {error}",
            advice=f"mend `path` of place {place.name} in the site file",
        ) from error
    return path


def _below(place: Place, path: PurePosixPath) -> tuple[str, ...]:
    return path.relative_to(place.top).parts
