"""Where would the next frame go? The paths of detectors and scan IOCs, against the experiment's directory."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath
from posixpath import normpath

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.links import Channel, Links
from beamtime_ioc.model import Experiment, Place, one_line
from beamtime_ioc.neighbours import ConsumerSettings
from beamtime_ioc.nudge import Nudge
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

COLUMNS = ("consumer", "path", "exists", "expected", "state", "since", "message")
SENTENCES = 4


class FrameState(StrEnum):
    """Where a next frame would go; the order is that of `NextFrameOk`, which shows the worst."""

    UNKNOWN = "Unknown"
    OK = "Ok"
    ELSEWHERE = "Elsewhere"
    MISSING = "Missing"
    UNREACHABLE = "Unreachable"
    NONE = "None configured"


WORST_FIRST = (FrameState.ELSEWHERE, FrameState.MISSING, FrameState.UNREACHABLE, FrameState.UNKNOWN)
ALARMS = {
    FrameState.UNKNOWN: Severity.INVALID,
    FrameState.ELSEWHERE: Severity.MAJOR,
    FrameState.MISSING: Severity.MAJOR,
    FrameState.UNREACHABLE: Severity.MAJOR,
}


def as_seen_here(path: str, mounts: Mapping[str, str]) -> str:
    """A path of another computer as this one names it; normal, without `..` and double slashes.

    Parameters
    ----------
    mounts
        Directories there, and here; the longest that fits counts.
    """
    there = normal(path)
    for top in sorted(map(normal, mounts), key=len, reverse=True):
        if lies_in(there, top):
            here = next(here for one, here in mounts.items() if normal(one) == top)
            rest = there[len(top) :].lstrip("/")
            return normal(f"{here}/{rest}")
    return there


def normal(path: str) -> str:
    r"""A path with `/` between its parts: `X:\data\..\raw\` is `X:/raw`. Nothing is asked of a disk."""
    text = path.strip()
    if re.match(r"[A-Za-z]:|\\\\", text):
        text = text.replace("\\", "/")
    found = normpath(text)
    return "/" + found.lstrip("/") if found.startswith("//") and not path.startswith("\\\\") else found


def lies_in(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies below it; `exp10` does not lie in `exp1`."""
    parts, top = PurePosixPath(path).parts, PurePosixPath(directory).parts
    return parts[: len(top)] == top


class Consumer:
    """One IOC that writes files."""

    def __init__(
        self,
        settings: ConsumerSettings,
        place: Place,
        links: Links,
        changed: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        self.settings, self.place, self.links, self._now = settings, place, links, now
        path, exists = settings.pvs
        self.name = settings.name or path
        self.path: Channel = links.channel(path, lambda _: changed())
        self.exists = links.channel(exists, lambda _: changed()) if exists else None
        self._told, self._since = FrameState.UNKNOWN, now()

    def look(self, experiment: Experiment | None) -> tuple[FrameState, str]:
        """Where its next frame would go, and a sentence unless that is right."""
        shown = self.path.shown
        if self.path.sought and not self.links.trouble:
            return FrameState.UNKNOWN, f"{self.name}: {self.path.name} has not answered yet"
        if self.links.trouble or self.path.shape is None:
            return FrameState.UNREACHABLE, f"{self.name}: {self.path.name} does not answer; start its IOC"
        if experiment is None:
            return FrameState.UNKNOWN, "no experiment is known yet; press UpdateUserInfo"
        if shown is None:
            return FrameState.UNKNOWN, f"{self.name}: {self.path.name} has not told its path yet"
        expected = str(self.place.path_for(experiment))
        told = one_line(shown.text)
        if not told:
            return FrameState.ELSEWHERE, f"{self.name} has no file path; set it to {expected}"
        here = as_seen_here(shown.text, self.settings.map)
        if not lies_in(here, expected):
            seen = "" if here == told.rstrip("/") else f", here {one_line(here)}"
            return FrameState.ELSEWHERE, (
                f"{self.name}: frame would go to {told}{seen}; the experiment's directory is {expected}"
            )
        if self._exists is False:
            return (
                FrameState.MISSING,
                f"{self.name}: {told} does not exist there; press CreateDirectories, or look at its mount",
            )
        return FrameState.OK, ""

    @property
    def _exists(self) -> bool | None:
        shown = self.exists.shown if self.exists is not None else None
        return None if shown is None or shown.number is None else shown.number != 0

    def row(self, experiment: Experiment | None) -> Mapping[str, Value]:
        """For the table."""
        state, sentence = self.look(experiment)
        if state is not self._told:
            self._told, self._since = state, self._now()
            log.info("next frame of %s: %s", self.name, sentence or state)
        return {
            "consumer": self.name,
            "path": one_line(self.path.shown.text) if self.path.shown else "",
            "exists": {True: "yes", False: "no", None: "unknown"}[self._exists],
            "expected": str(self.place.path_for(experiment)) if experiment else "",
            "state": state.value,
            "since": self._since.isoformat(timespec="seconds"),
            "message": sentence,
        }


class Consumers:
    """All of them. Lives in the event loop."""

    def __init__(
        self,
        settings: Sequence[ConsumerSettings],
        places: Sequence[Place],
        links: Links,
        board: Board,
        now: Callable[[], datetime],
    ) -> None:
        self.board = board
        self.experiment: Experiment | None = None
        self._changes: list[Callable[[], None]] = []
        nudge = Nudge(self.show)
        by_name = {place.name: place for place in places}
        self.all = [Consumer(one, by_name[one.place], links, nudge, now) for one in settings]
        if self.all:
            links.ticks.append(nudge)
        self.show()

    def follow(self, experiment: Experiment | None) -> None:
        """The current experiment is another one, or has changed."""
        if experiment != self.experiment:
            self.experiment = experiment
            self.show()

    def show(self) -> None:
        """Let the records and the table follow."""
        state, sentence = self._state()
        alarm = Alarm(ALARMS[state], Status.STATE, sentence) if state in ALARMS else QUIET
        self.board.report("next-frame-ok", list(FrameState).index(state), alarm)
        self.board.report("next-frame-message", sentence, alarm)
        for changed in self._changes:
            changed()

    def _state(self) -> tuple[FrameState, str]:
        if not self.all:
            return FrameState.NONE, (
                "none configured: nobody knows where a frame would go; "
                "name detectors at consumers: in the site file"
            )
        looks = [one.look(self.experiment) for one in self.all]
        for state in WORST_FIRST:
            if any(found is state for found, _ in looks):
                said = list(dict.fromkeys(s for bad in WORST_FIRST for found, s in looks if found is bad))
                more = (
                    [f"and {len(said) - SENTENCES} more: see the table NextFrame"]
                    if len(said) > SENTENCES
                    else []
                )
                return state, "\n".join([*said[:SENTENCES], *more])
        assert self.experiment is not None
        names = ", ".join(one.name for one in self.all)
        return FrameState.OK, f"the next frame of {names} goes to the directory of {self.experiment.name}"

    async def rows(self, limit: int) -> Sequence[Mapping[str, Value]]:
        return [one.row(self.experiment) for one in self.all[:limit]]

    def tell_changes(self, changed: Callable[[], None]) -> None:
        self._changes.append(changed)
