"""What binds a site to other IOCs: mirrors, interlocks and consumers on one Channel Access client."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from beamtime_ioc import consumers, interlocks, mirrors
from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.consumers import Consumers
from beamtime_ioc.filled_table import TableSource
from beamtime_ioc.frame import Frame
from beamtime_ioc.identity import FIELDS, LOOKED_UP, IdentityRecords
from beamtime_ioc.interlocks import Interlocks
from beamtime_ioc.links import Links
from beamtime_ioc.mirrored import MirrorState
from beamtime_ioc.mirrors import Mirrors
from beamtime_ioc.model import Experiment, Site
from beamtime_ioc.nudge import Nudge
from beamtime_ioc.runner import Runner
from beamtime_ioc.values import Value

SOURCES: Mapping[str, Collection[str]] = {
    "mirrors": mirrors.COLUMNS,
    "interlocks": interlocks.COLUMNS,
    "next-frame": consumers.COLUMNS,
}
"""The columns of the tables that are filled here."""

MIRROR_ALARMS = {
    MirrorState.WAITING: Severity.MINOR,
    MirrorState.CUT: Severity.MINOR,
    MirrorState.CHANGED: Severity.MINOR,
    MirrorState.FAILED: Severity.MAJOR,
}


class Linking:
    """Builds them and binds them to the board. Lives in the event loop."""

    def __init__(self, frame: Frame, site: Site, records: IdentityRecords, runner: Runner) -> None:
        self.board, self.site, self.records = runner.board, site, records
        self.links = Links()
        self._changes: list[Callable[[], None]] = []
        self.mirrors = Mirrors(frame.mirrors, self.links, Nudge(self._show_mirrors), self._now)
        self.interlocks = Interlocks(frame.interlocks, self.links, self.board, runner.audit, self._now)
        self.consumers = Consumers(frame.consumers, site.places, self.links, self.board, self._now)
        runner.guards.all.append(self.interlocks)
        records.followers.append(self._follow)
        self._show_mirrors()

    @property
    def sources(self) -> Mapping[str, TableSource]:
        return {
            "mirrors": MirrorRows(self.mirrors, self._changes),
            "interlocks": self.interlocks,
            "next-frame": self.consumers,
        }

    @property
    def trouble(self) -> str:
        """What is wrong with the client, in a sentence; empty while all is well."""
        return self.links.trouble

    def start(self) -> None:
        """Look for the other IOCs; without any, libca is not even loaded."""
        if self.links.channels:
            self.links.start()

    def stop(self) -> None:
        """Say no more to them; returns at once."""
        self.links.stop()

    def _now(self) -> datetime:
        return datetime.now(self.site.zone)

    def _follow(self) -> None:
        experiment, looked_up = self.records.experiment, self.records.looked_up
        self.consumers.follow(experiment)
        if experiment is not None:
            self.mirrors.follow(shown_texts(self.board, experiment, looked_up, self.site))

    def _show_mirrors(self) -> None:
        state, message, _ = self.mirrors.shown
        alarm = Alarm(MIRROR_ALARMS[state], Status.STATE, message) if state in MIRROR_ALARMS else QUIET
        self.board.report("mirror-state", list(MirrorState).index(state), alarm)
        self.board.report("mirror-message", message, alarm)
        for changed in self._changes:
            changed()


class MirrorRows:
    """Fills the table of the mirrors."""

    def __init__(self, all_mirrors: Mirrors, changes: list[Callable[[], None]]) -> None:
        self.mirrors, self._changes = all_mirrors, changes

    async def rows(self, limit: int) -> Sequence[Mapping[str, Value]]:
        return self.mirrors.shown[2][:limit]

    def tell_changes(self, changed: Callable[[], None]) -> None:
        self._changes.append(changed)


def shown_texts(
    board: Board, experiment: Experiment, looked_up: datetime | None, site: Site
) -> Mapping[str, str]:
    """What the identity records show, whole, by their names."""
    texts: dict[str, str] = {}
    for record in board.records.fields():
        if record.field == LOOKED_UP:
            # Empty, not what an earlier program left there: nobody has looked up this experiment.
            local = looked_up.astimezone(site.zone) if looked_up else None
            texts[record.suffix] = local.isoformat(timespec="seconds") if local else ""
        elif record.field in FIELDS:
            texts[record.suffix] = f"{FIELDS[record.field](experiment)}"
    return texts
