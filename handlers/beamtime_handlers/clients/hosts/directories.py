"""Directories of experiments: what stands, whose it is, and what is wrong, for every kind of place."""

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath

from beamtime_handlers.clients.hosts.bounds import Bounds
from beamtime_handlers.clients.hosts.counts import Counts
from beamtime_handlers.clients.hosts.marker import FILE_NAME, Marker, UnreadableMarkerError, some_of
from beamtime_handlers.clients.hosts.reach import Level, Reach, Trail, wanted_at
from beamtime_handlers.clients.hosts.tally import Tally
from beamtime_handlers.clients.hosts.trouble import user_name, where
from beamtime_ioc.advice import together
from beamtime_ioc.errors import BeamtimeError, ConflictError, NotVerifiedError, PlaceError
from beamtime_ioc.model import Content, Experiment, Json, Place, Room, Site, one_line
from beamtime_ioc.ports import Health

MOST_AT_ONCE = 32


class Directories:
    """The port `Hosts` over one way to act on each place; deletes nothing."""

    def __init__(self, site: Site, bounds: Bounds, reach: Callable[[Place], Reach]) -> None:
        self.site, self.bounds, self._reach = site, bounds, reach
        self._counts = Counts(bounds.count_timeout_s)

    # -- port Hosts -------------------------------------------------------------------------

    def find_directory(self, place: Place, experiment: Experiment) -> Json:
        wanted = wanted_at(place, experiment)
        with self._reach(place).look(place, [one.path for one in wanted]) as trails:
            stand = True
            for one, trail in zip(wanted, trails, strict=True):
                if not trail.is_whole:
                    self._refuse_to_go_on(trail.last)
                    stand = False
                elif one.is_marked:
                    is_ours = self._whose(experiment, trail.last) is not None
                    stand = stand and is_ours and trail.last.is_owned_well
                else:
                    stand = stand and not trail.last.left_unfinished
            return self._described(trails) if stand else None

    def make_directory(self, place: Place, experiment: Experiment) -> None:
        by, at = f"{user_name()}@{socket.gethostname()}", datetime.now(self.site.zone)
        whose = partial(self._whose, experiment)
        for one in wanted_at(place, experiment):
            marker = Marker.of(experiment, by, at) if one.is_marked else None
            self._reach(place).make(place, one.path, marker, whose)

    def check_directory(self, place: Place, experiment: Experiment) -> Json:
        wanted = wanted_at(place, experiment)
        with self._reach(place).look(place, [one.path for one in wanted]) as trails:
            for one, trail in zip(wanted, trails, strict=True):
                what = where(place, one.path)
                if not trail.is_whole:
                    raise NotVerifiedError(what, wanted="a directory", found="nothing")
                if one.is_marked and self._whose(experiment, trail.last) is None:
                    raise NotVerifiedError(what, wanted=f"{FILE_NAME} of {experiment.key}", found="none")
                if (one.is_marked and not trail.last.is_owned_well) or trail.last.left_unfinished:
                    raise _not_owned(what, trail.last)
            return self._described(trails)

    def check_place(self, place: Place) -> Health:
        began = time.monotonic()
        with self._reach(place).look(place, [place.top]) as (trail,):
            top = trail.last
            self._refuse_to_go_on(top)
            free = top.free_bytes
            known = "space unknown" if free is None else f"{free / 1e9:.4g} GB are free"
            sentence = self._warning(top) or f"{place.name}: {known} in {_shown(top)}"
        return Health(ok=True, sentence=sentence, latency_s=time.monotonic() - began)

    def room(self, place: Place) -> Room:
        with self._reach(place).look(place, [place.top]) as (trail,):
            return self.bounds.room(trail.last.free_bytes)

    def contents(self, place: Place, experiment: Experiment) -> Sequence[Content]:
        paths = [one.path for one in wanted_at(place, experiment) if one.is_marked]
        return self._counts.of(place, paths, partial(self._count, place, experiment))

    def check(self) -> Health:
        began, words, errors = time.monotonic(), list[str](), list[BeamtimeError]()
        places = self.site.places
        if places:  # one host that is away must not be waited for once for each other place
            with ThreadPoolExecutor(min(len(places), MOST_AT_ONCE), thread_name_prefix="places") as pool:
                asked = [pool.submit(self.check_place, place) for place in places]
            for answer in asked:
                try:
                    words.append(answer.result().sentence)
                except BeamtimeError as error:
                    errors.append(error)
                    words.append(error.sentence)
        sentence = ". ".join(words) or "the site file names no places"
        if advice := together(error.advice for error in errors):
            sentence += f"; {advice}"
        return Health(ok=not errors, sentence=sentence, latency_s=time.monotonic() - began)

    # -- its parts --------------------------------------------------------------------------

    def _count(self, place: Place, experiment: Experiment, path: PurePosixPath, tally: Tally) -> bool:
        """Count what lies in one directory; False if it is not there."""
        reach = self._reach(place)
        with reach.look(place, [path]) as (trail,):
            if not trail.is_whole:
                return False
            self._whose(experiment, trail.last)
        reach.tally(place, path, tally)
        return True

    def _whose(self, experiment: Experiment, level: Level) -> Marker | None:
        """The marker, if it is that of the experiment; None in a directory that nobody has used yet."""
        here = where(level.place, level.path)
        try:
            found = level.marker()
        except UnreadableMarkerError as error:
            raise ConflictError(
                f"{here}/{FILE_NAME} does not say whose directory this is: {error}",
                advice="look at it by hand: mend the file, or move the directory away; then press again",
            ) from error
        if found is None:
            files = level.files()
            if files and level.place.existing != "reuse":
                raise ConflictError(
                    f"{here} holds files ({some_of(files)}) but no {FILE_NAME}",
                    advice="look whose they are and move the directory away, then press again",
                )
        elif found.experiment != experiment.key:
            theirs, ours = one_line(found.experiment, 200), one_line(experiment.key, 200)
            raise ConflictError(
                f"{here} belongs to experiment {theirs} ({found.name or 'without a name'}, made "
                f"{found.at or 'some time'} by {found.created_by or 'somebody'}), not to {ours} "
                f"({experiment.name})",
                advice=f"choose the experiment it belongs to, or {_apart(level.place)}; then press again",
            )
        return found

    def _refuse_to_go_on(self, level: Level) -> None:
        """Raise PlaceError if nothing can be made in this level; reads only."""
        place = level.place
        if not level.writable:
            raise PlaceError(
                "DENIED",
                f"{place.name}: user {level.me} may not write in {_shown(level)}, or its disk is read-only",
                advice="let this user write there, then press again",
            )
        if not self.bounds.refuse_free_gb:
            return
        room = self.bounds.room(level.free_bytes)
        if room.state == "unknown":
            raise PlaceError(
                "NO_SPACE",
                f"{place.name}: nobody can tell how much space {_shown(level)} has",
                advice="see what `df -P .` says there, or leave out `refuse_free_gb`; then press again",
            )
        if room.state == "full":
            raise PlaceError(
                "NO_SPACE",
                f"{place.name}: {_shown(level)} has {room.free_gb:.3g} GB free, less than the "
                f"{self.bounds.refuse_free_gb:g} GB of `refuse_free_gb`",
                advice="make space, then press again",
            )

    def _warning(self, level: Level) -> str:
        """What a run says of the space, if it has to."""
        room = self.bounds.room(level.free_bytes)
        if not self.bounds.warn_free_gb or room.state == "ok":
            return ""
        if room.state == "unknown":
            return f"{level.place.name}: nobody can tell how much space {_shown(level)} has"
        return f"{level.place.name}: only {room.free_gb:.3g} GB are free in {_shown(level)}"

    def _described(self, trails: Sequence[Trail[Level]]) -> Json:
        level, *besides = (trail.last for trail in trails)
        place = level.place
        description: dict[str, Json] = {
            "place": place.name,
            "path": str(level.path),
            "mode": f"{level.mode:o}",
            "owner": level.owner,
            "group": level.group,
        }
        if place.host:
            description["host"] = place.host
        if besides:
            description["besides"] = [str(one.path) for one in besides]
        warnings = (*map(_adopted, (level, *besides)), self._warning(level))
        warning = "; ".join(filter(None, warnings))
        return {**description, "warning": warning} if warning else description


def _adopted(level: Level) -> str:
    """Of a directory that was not made for the experiment, what lay in it."""
    marker = level.marker()
    lay = marker.adopted if marker is not None else ""
    return f"{where(level.place, level.path)} stood before, with {lay}" if lay else ""


def _apart(place: Place) -> str:
    """What keeps the directories of two experiments apart."""
    if "{name}" not in place.path:
        return "give each its own directory there, with {name} in `path` of the site file"
    return (
        "let its .experiment.json name this one if it is its; for those to come, put {beamtime} into "
        "`experiment.name` of the site file"
    )


def _shown(level: Level) -> str:
    return f"{level.place.host}:{level.path}" if level.place.host else str(level.path)


def _not_owned(what: str, level: Level) -> NotVerifiedError:
    place = level.place
    wanted = f"mode {place.mode:o}" + (f" and group {place.group}" if place.group else "")
    wanted += f" and {', '.join(place.acl)}" if place.acl else ""
    return NotVerifiedError(what, wanted=wanted, found=f"mode {level.mode:o} and group {level.group}")
