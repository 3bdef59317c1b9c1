"""The places of a site: whether each can take the current experiment, and what stands there."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from beamtime_ioc.advice import together
from beamtime_ioc.alarm import QUIET, UNDEFINED, Alarm, Severity, Status
from beamtime_ioc.board import Board, Found
from beamtime_ioc.errors import BeamtimeError, ConflictError, PlaceError
from beamtime_ioc.filled_table import Rows
from beamtime_ioc.identity import IdentityRecords
from beamtime_ioc.lookout import Look, Lookout, clock
from beamtime_ioc.model import DIRECTORY_LINE, Experiment, Place, Room, one_line
from beamtime_ioc.ports import Hosts
from beamtime_ioc.progress import RunView, StepState

log = logging.getLogger(__name__)

CREATED, EXISTS = "CREATED", "EXISTS"
"""The directory is there: made by the last run that asked for it, or before."""

ABSENT, READY, UNKNOWN = "absent", "ready", "unknown"
"""The directory is not there, and could be made; there is no experiment, and the top is there."""

CONFLICT, TIMEOUT, UNREACHABLE = "CONFLICT", "TIMEOUT", "UNREACHABLE"
"""What is wrong: these, and the states of a PlaceError."""

NO_ROOM = Room()
SHORT = ("low", "full")
"""States of the room of a place that has little."""

AWAY = (UNREACHABLE, TIMEOUT, "DENIED")
"""States of a host that is looked at more and more seldom."""

MOST_REMEMBERED = 1000


@dataclass(frozen=True, kw_only=True)
class PlaceView:
    """How one place stands.

    Parameters
    ----------
    path
        The current experiment's directory; empty if there is none.
    sentence
        What is so; `advice` is what to do about it.
    """

    place: Place
    path: str = ""
    state: str = UNKNOWN
    sentence: str = ""
    advice: str = ""
    since: datetime | None = None
    checked: datetime | None = None
    room: Room = NO_ROOM

    @property
    def is_well(self) -> bool:
        return self.state in (CREATED, EXISTS, ABSENT, READY)

    @property
    def text(self) -> str:
        return f"{self.sentence}; {self.advice}" if self.advice else self.sentence


@dataclass(frozen=True, kw_only=True)
class _Seen:
    experiment: str
    path: str
    state: str
    sentence: str
    advice: str = ""
    room: Room = NO_ROOM


class PlaceWatch:
    """Watches every place (source `hosts` of a table). Lives in the event loop.

    Each place is looked at in a thread of its own: periodically, when the experiment changes, and after each
    run that has ended. A host that is away is looked at more and more seldom; a press tries it at once.

    Parameters
    ----------
    hosts
        None where the site has no such service: then no place is looked at.
    """

    columns = ("name", "host", "top", "path", "state", "free_gb", "space", "sentence", "checked")

    def __init__(
        self,
        board: Board,
        hosts: Hosts | None,
        identity: IdentityRecords,
        *,
        every_s: float,
    ) -> None:
        self.board, self.identity, self.zone = board, identity, identity.site.zone
        places = identity.site.places
        self.host = socket.gethostname()
        self._changed: list[Callable[[], None]] = []
        self._counts = dict(board.records.reports("hosts"))
        nothing = "not looked at yet" if hosts is not None else "no section hosts: in the site file"
        self.views = {place.name: PlaceView(place=place, sentence=nothing) for place in places}
        self.lookouts: dict[str, Lookout[_Seen]] = {}
        if hosts is not None:
            for place in places:
                self.lookouts[place.name] = self._lookout(place, hosts, every_s)
        identity.followers.append(self._follow_identity)
        self._made: dict[str, bool] = {}
        for progress in board.progress.values():
            self._note_made(progress.reading.value)
            progress.watchers.append(lambda reading: self._follow_run(reading.value))
        self._ended: set[str] = set()
        self._key = self._current_key()
        self._show_counts()

    def _lookout(self, place: Place, hosts: Hosts, every_s: float) -> Lookout[_Seen]:
        return Lookout(
            place.name,
            lambda: look_at(hosts, place, self.identity.experiment),
            lambda look: self._told(place.name, look),
            every_s=every_s,
        )

    def start(self) -> Sequence[asyncio.Task[None]]:
        """Begin to look; the tasks, to be cancelled at the end."""
        return [
            asyncio.create_task(lookout.watch(), name=f"look at {name}")
            for name, lookout in self.lookouts.items()
        ]

    def soon(self) -> None:
        """Look at every place again."""
        for lookout in self.lookouts.values():
            lookout.soon()

    def _follow_identity(self) -> None:
        key = self._current_key()
        if key != self._key:
            self._key = key
            self.soon()

    def _current_key(self) -> str:
        return self.identity.experiment.key if self.identity.experiment else ""

    def _follow_run(self, view: RunView) -> None:
        self._note_made(view)
        if view.run_id and view.state.ended and view.run_id not in self._ended:
            self._ended = {view.run_id, *list(self._ended)[:99]}
            self.soon()

    def _note_made(self, view: RunView) -> None:
        """Which directories a run has made, and which it has found."""
        for line in view.steps:
            if line.name.startswith(DIRECTORY_LINE) and line.state in (StepState.MADE, StepState.STANDS):
                self._made[line.name] = line.state is StepState.MADE
        self._made = dict(list(self._made.items())[-MOST_REMEMBERED:])

    # -- what was seen ----------------------------------------------------------------------

    def _told(self, name: str, look: Look[_Seen]) -> None:
        before, now = self.views[name], datetime.now(UTC)
        seen = look.seen
        if seen is not None and seen.experiment != self._current_key():
            self.lookouts[name].soon()  # it was that of another experiment
            return
        if seen is not None:
            made = seen.state == EXISTS and self._made.get(
                one_line(f"{DIRECTORY_LINE}{name}:{seen.path}"), False
            )
            state = CREATED if made else seen.state
            view = replace(
                before,
                path=seen.path,
                state=state,
                sentence=seen.sentence,
                advice=seen.advice,
                room=seen.room,
            )
        elif look.error is None:
            view = replace(before, state=TIMEOUT, room=NO_ROOM)
        else:
            error = look.error
            view = replace(
                before, state=UNREACHABLE, sentence=error.sentence, advice=error.advice, room=NO_ROOM
            )
        since = before.since if before.state == view.state and before.since else look.asked
        if look.late:
            top = f"{before.place.host}:" if before.place.host else ""
            when = clock(since.astimezone(self.zone), now)
            silent = f"{name}: {top}{before.place.top} does not answer since {when}"
            view = replace(view, sentence=silent, advice="look whether its disk hangs")
        self.views[name] = view = replace(view, since=since, checked=now)
        # Each look at a host that is off costs a connection that fails, and some count those.
        self.lookouts[name].away = bool(before.place.host) and view.state in AWAY
        if before.state != view.state and not (before.state == UNKNOWN and view.is_well):
            level = logging.INFO if view.is_well else logging.WARNING
            log.log(level, "place %s: %s: %s", name, view.state, view.text)
        self._show_counts()
        for changed in self._changed:
            changed()

    # -- what is shown ----------------------------------------------------------------------

    def _alarm(self) -> Alarm:
        """How bad it is: undefined while a place has not been looked at, or nobody can look."""
        wrong = [view for view in self.views.values() if view.state != UNKNOWN and not view.is_well]
        if wrong:
            sentences, advice = "; ".join(view.sentence for view in wrong), together(v.advice for v in wrong)
            return Alarm(Severity.MAJOR, Status.COMM, f"{sentences}; {advice}" if advice else sentences)
        return UNDEFINED if any(view.state == UNKNOWN for view in self.views.values()) else QUIET

    def _show_counts(self) -> None:
        views, alarm = self.views.values(), self._alarm()
        known = [view.room.free_gb for view in views if view.room.free_bytes is not None]
        for word, record in self._counts.items():
            cell = self.board.cells[record.name]
            if word == "count":
                cell.show(len(views))
            elif word == "least-free":
                cell.show(min(known) if known else cell.value, QUIET if known else UNDEFINED)
            elif alarm == UNDEFINED:
                continue  # not all was looked at yet
            elif word == "low":
                cell.show(sum(view.room.state in SHORT for view in views))
            else:
                cell.show(sum(view.is_well for view in views), alarm)

    # -- source of a table ------------------------------------------------------------------

    async def rows(self, limit: int) -> Rows:
        return Rows([self._row(view) for view in list(self.views.values())[:limit]], self._alarm())

    def _row(self, view: PlaceView) -> Found:
        checked = view.checked.astimezone(self.zone).isoformat(timespec="seconds") if view.checked else ""
        return {
            "name": view.place.name,
            "host": view.place.host or self.host,
            "top": str(view.place.top),
            "path": view.path,
            "state": view.state,
            "free_gb": view.room.free_gb,
            "space": "" if view.room == NO_ROOM else view.room.state,
            "sentence": view.text,
            "checked": checked,
        }

    def tell_changes(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)


def look_at(hosts: Hosts, place: Place, experiment: Experiment | None) -> _Seen:
    """Look at one place; blocks as its disk does.

    Raises
    ------
    BeamtimeError
        It cannot be looked at.
    """
    key = experiment.key if experiment else ""
    path = _path(place, experiment) if experiment else ""
    advice = ""
    try:
        state, sentence = _standing(hosts, place, experiment, path)
        room = hosts.room(place)
    except (ConflictError, PlaceError) as error:
        state, room = _trouble(error), _room_in(hosts, place, error)
        sentence, advice = error.sentence, error.advice
    except BeamtimeError as error:
        state, sentence, advice, room = UNREACHABLE, error.sentence, error.advice, NO_ROOM
    return _Seen(experiment=key, path=path, state=state, sentence=sentence, advice=advice, room=room)


def _standing(hosts: Hosts, place: Place, experiment: Experiment | None, path: str) -> tuple[str, str]:
    """State and sentence of a place that can be used."""
    if experiment is None:
        return READY, hosts.check_place(place).sentence
    found = hosts.find_directory(place, experiment)
    if found is None:
        taken = ", or holds files and will be taken with them" if place.existing == "reuse" else ""
        return ABSENT, f"{place.name}: {path} stands not yet{taken}"
    warning = found.get("warning", "") if isinstance(found, dict) else ""
    return EXISTS, str(warning) or f"{place.name}: {path} stands"


def _trouble(error: ConflictError | PlaceError) -> str:
    return error.state if isinstance(error, PlaceError) else CONFLICT


def _room_in(hosts: Hosts, place: Place, error: ConflictError | PlaceError) -> Room:
    """The room of a place where something is wrong; one that does not answer is not asked a second time."""
    if _trouble(error) in (UNREACHABLE, TIMEOUT):
        return NO_ROOM
    try:
        return hosts.room(place)
    except BeamtimeError:
        return NO_ROOM


def _path(place: Place, experiment: Experiment) -> str:
    try:
        return str(place.path_for(experiment))
    except ValueError:
        return ""  # the client says what is wrong with it
