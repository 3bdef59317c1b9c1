"""The disks of another host, as programs for its sh tell of them."""

import errno
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from beamtime_handlers.clients.hosts import trouble as say
from beamtime_handlers.clients.hosts.answer import Answer, Walk, read_answer
from beamtime_handlers.clients.hosts.connection import Connection, SshTroubleError
from beamtime_handlers.clients.hosts.marker import (
    FILE_NAME,
    LARGEST_BYTES,
    Marker,
    UnreadableMarkerError,
    is_ours,
)
from beamtime_handlers.clients.hosts.reach import (
    Trail,
    Whose,
    acl_holds,
    below,
    cannot_own,
    mode_holds,
)
from beamtime_handlers.clients.hosts.script import Job, count_job, look_job, make_job
from beamtime_handlers.clients.hosts.tally import UNREAD, Tally
from beamtime_ioc.errors import PlaceError
from beamtime_ioc.model import Place, one_line

LEAST_S = 0.1


@dataclass(frozen=True, kw_only=True)
class RemoteLevel:
    """One level of a place on another host, as it was when it was looked at.

    Parameters
    ----------
    fields
        Mode, number of the owner, number of the group, owner, group, and whether we may write.
    walk
        The way it lies on; what lies in a level is known of the last one.
    """

    place: Place
    path: PurePosixPath
    me: str
    fields: tuple[str, ...]
    walk: Walk

    @property
    def mode(self) -> int:
        return int(self.fields[0], 8)

    @property
    def owner(self) -> str:
        return self.fields[3]

    @property
    def group(self) -> str:
        return self.fields[4]

    @property
    def writable(self) -> bool:
        return self.fields[5] == "1"

    @property
    def free_bytes(self) -> int | None:
        return self.walk.free_bytes

    @property
    def is_owned_well(self) -> bool:
        group = self.place.group
        if not mode_holds(self.place, self.mode) or (group and group not in (self.fields[2], self.fields[4])):
            return False
        return acl_holds(self.place, self.walk.acl)

    @property
    def left_unfinished(self) -> bool:
        return self.owner == self.me and not self.is_owned_well and not self.walk.files

    def files(self) -> Sequence[str]:
        return [one_line(name) for name in self.walk.files if not is_ours(name)]

    def marker(self) -> Marker | None:
        kind, _, digits = self.walk.marker.partition(" ")
        if kind == "link":
            raise UnreadableMarkerError("it is a symbolic link")
        if kind == "other":
            raise UnreadableMarkerError("it is no file")
        if kind == "denied":
            raise say.said_trouble(self.place, self.path / FILE_NAME, "permission denied", self.me)
        if kind != "is":
            return None
        try:
            content = bytes.fromhex(digits)
        except ValueError:
            raise UnreadableMarkerError("it did not come whole") from None
        if len(content) > LARGEST_BYTES:
            raise UnreadableMarkerError(f"it has more than {LARGEST_BYTES} bytes")
        return Marker.parse(content)


class RemoteDisks:
    """Works level by level where PWD proves that no link was followed; deletes nothing.

    Parameters
    ----------
    asks_space
        Whether free space counts with each look.
    """

    def __init__(self, connection: Connection, *, asks_space: bool) -> None:
        self.connection, self.asks_space = connection, asks_space

    @contextmanager
    def look(self, place: Place, paths: Sequence[PurePosixPath]) -> Generator[Sequence[Trail[RemoteLevel]]]:
        space = self.asks_space or list(paths) == [place.top]
        ways = [below(place, path) for path in paths]
        answer = self._ask(place, look_job(place, ways, space=space, stuck=self._stuck(place)), ways)
        yield [self._trail(place, path, walk, answer) for path, walk in zip(paths, answer.walks, strict=True)]

    def make(self, place: Place, path: PurePosixPath, marker: Marker | None, whose: Whose) -> None:
        if marker is None:
            level = self._made(place, path, "bare")
            if level.left_unfinished:
                raise cannot_own(level)
            return
        level = self._made(place, path, "new", marker)
        found = whose(level)
        if found is None:
            level = self._made(place, path, "adopt", marker.on(level.files()))
            whose(level)
        elif not level.is_owned_well:
            level = self._made(place, path, "ours")
        if not level.is_owned_well:
            raise cannot_own(level)

    def tally(self, place: Place, path: PurePosixPath, tally: Tally) -> None:
        def hear(answer: Answer) -> None:
            count = answer.walks[0].count if answer.walks else None
            if count is not None:
                tally.files, tally.size_bytes = count.files, count.size_bytes
                if count.code:
                    tally.reason = "" if count.code == "0" else UNREAD

        way = below(place, path)
        job = count_job(place, way, stuck=self._stuck(place))
        answer = self._ask(place, job, [way], timeout_s=max(tally.left_s, LEAST_S), hear=hear)
        if not self._trail(place, path, answer.walks[0], answer).is_whole:
            raise say.vanished(place, path)

    def _made(self, place: Place, path: PurePosixPath, how: str, marker: Marker | None = None) -> RemoteLevel:
        way = below(place, path)
        answer = self._ask(place, make_job(place, way, how, marker, stuck=self._stuck(place)), [way])
        trail = self._trail(place, path, answer.walks[0], answer)
        if not trail.is_whole:
            raise say.vanished(place, path)
        return self._level(place, len(trail.levels) - 1, path, answer.walks[0], answer)

    def _stuck(self, place: Place) -> str:
        return self.connection.stuck.get(str(place.top), "")

    def _ask(
        self,
        place: Place,
        job: Job,
        ways: Sequence[Sequence[str]],
        *,
        timeout_s: float | None = None,
        hear: Callable[[Answer], None] = lambda answer: None,
    ) -> Answer:
        """Have it done; what was said is heard though its end did not come."""
        try:
            output = self.connection.run(
                job.text, lambda said: read_answer(job.token, said).is_whole, timeout_s
            )
        except SshTroubleError as error:
            said = read_answer(job.token, error.output)
            hear(said)
            if error.goes_on and said.processes:
                self.connection.stuck[str(place.top)] = said.processes
            raise PlaceError(
                error.state, f"{place.name}: host {place.host} {error.reason}", advice=error.advice
            ) from error
        answer = read_answer(job.token, output)
        if answer.is_stuck:
            raise PlaceError(
                "TIMEOUT",
                f"{say.where(place, place.top)} hangs since an earlier look, and is not touched "
                "before that ends",
                advice="see whether its disk hangs, then press again",
            )
        if len(answer.walks) != len(ways) or not all(map(_fits, answer.walks, ways)):
            raise PlaceError(
                "UNREACHABLE",
                f"{place.name}: host {place.host} answered what our program never says",
                advice="see who answers there in its place, then press again",
            )
        self.connection.stuck.pop(str(place.top), None)
        hear(answer)
        return answer

    def _trail(self, place: Place, path: PurePosixPath, walk: Walk, answer: Answer) -> Trail[RemoteLevel]:
        trouble = self._trouble(place, path, walk, answer)
        if trouble is not None:
            raise trouble
        levels = [self._level(place, depth, path, walk, answer) for depth in range(len(walk.levels))]
        return Trail(levels, is_whole=walk.end == "here")

    def _level(
        self, place: Place, depth: int, path: PurePosixPath, walk: Walk, answer: Answer
    ) -> RemoteLevel:
        at = place.top.joinpath(*below(place, path)[:depth])
        return RemoteLevel(place=place, path=at, me=answer.me, fields=walk.levels[depth], walk=walk)

    def _trouble(self, place: Place, path: PurePosixPath, walk: Walk, answer: Answer) -> PlaceError | None:
        """Why a way could not be gone; None if it could, or ends where nothing is yet."""
        depth = len(walk.levels)
        if depth and walk.end in ("here", "absent"):
            return None
        names = below(place, path)
        at = place.top.joinpath(*names[:depth]) if depth <= len(names) else path / FILE_NAME
        number = say.WORDS.get(walk.said.lower())
        if walk.end == "top" and number in (errno.ENOENT, errno.ENOTDIR):
            return say.no_top(place) if number == errno.ENOENT else say.top_is_no_directory(place)
        if walk.end == "mount":
            return say.no_mount_point(place)
        if walk.end == "mounted" and number == errno.ENOENT:
            return say.not_mounted(place)
        if walk.end in ("group", "tools"):
            return say.no_group(place) if walk.end == "group" else say.no_acl_tools(place)
        if walk.end in ("link", "file"):
            return say.in_the_way(place, at, "a symbolic link" if walk.end == "link" else "a file")
        if walk.end == "vanished":
            return say.vanished(place, at)
        if walk.end in ("acl", "owned"):
            level = self._level(place, depth - 1, path, walk, answer)
            return cannot_own(level) if walk.end == "owned" else say.acl_refused(place, level.path, walk.said)
        if walk.end == "mounted":
            at = place.top / place.marker
        return say.said_trouble(place, at, one_line(walk.said, 200), answer.me)


def _fits(walk: Walk, way: Sequence[str]) -> bool:
    """Whether so many levels were told of a way as it can have."""
    whole, told = len(way) + 1, len(walk.levels)
    if walk.end == "here":
        return told == whole
    return told <= whole and (walk.end != "absent" or 0 < told < whole)
