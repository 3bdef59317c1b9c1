"""The services of a site: whether each answers, since when, and what is shown of that."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import IntEnum
from zoneinfo import ZoneInfo

from beamtime_ioc.alarm import QUIET, UNDEFINED, Alarm, Severity, Status
from beamtime_ioc.bindings import SERVICE_STATES
from beamtime_ioc.board import Board, Cell, Found
from beamtime_ioc.filled_table import Rows
from beamtime_ioc.lookout import Look, Lookout, clock
from beamtime_ioc.ports import Health, Service

log = logging.getLogger(__name__)


class Lamp(IntEnum):
    """The state of a service: the order is that of every `<Name>Service` record."""

    UNKNOWN = 0
    UP = 1
    DOWN = 2
    ABSENT = 3


@dataclass(frozen=True, kw_only=True)
class ServiceView:
    """How one service stands.

    Parameters
    ----------
    since
        When it began to be so, as far as it was seen.
    checked
        When it was looked at last.
    """

    section: str
    backend: str
    lamp: Lamp = Lamp.UNKNOWN
    since: datetime | None = None
    latency_s: float = 0.0
    sentence: str = "not looked at yet"
    checked: datetime | None = None


@dataclass
class _Watched:
    view: ServiceView
    lookout: Lookout[Health]
    cells: dict[str, Cell] = field(default_factory=dict[str, Cell])


class ServiceWatch:
    """Watches every service (source `services` of a table). Lives in the event loop.

    Parameters
    ----------
    services
        Clients by section, each with its backend.
    zone
        Of the beamline: times are shown in it.
    schedule_s
        The schedule is asked so often; it serves many beamlines.
    """

    columns = ("service", "backend", "reachable", "since", "latency_s", "sentence", "checked")

    def __init__(
        self,
        board: Board,
        services: Mapping[str, tuple[str, Service]],
        zone: ZoneInfo,
        *,
        every_s: float,
        schedule_s: float | None = None,
    ) -> None:
        self.board, self.zone, self.every_s = board, zone, every_s
        self._changed: list[Callable[[], None]] = []
        self._counts = dict(board.records.reports("services"))
        self.watched = {
            section: _Watched(
                view=ServiceView(section=section, backend=backend),
                lookout=Lookout(
                    section,
                    service.check,
                    lambda look, s=section: self._told(s, look),
                    every_s=schedule_s if schedule_s and section == "schedule" else every_s,
                ),
            )
            for section, (backend, service) in services.items()
        }
        self._bind()
        self._show_counts()

    def _bind(self) -> None:
        for word, record in self.board.records.reports("service"):
            section, _, what = word.partition(".")
            cell = self.board.cells[record.name]
            if section in self.watched:
                self.watched[section].cells[what] = cell
            elif what == "state":
                cell.show(int(Lamp.ABSENT))
            else:
                cell.show("not configured" if what == "message" else 0.0)
        for section, watched in self.watched.items():
            if not watched.cells:
                log.info("service %s has no lamp; one is a row of service.template", section)

    def start(self) -> Sequence[asyncio.Task[None]]:
        """Begin to look; the tasks, to be cancelled at the end."""
        return [
            asyncio.create_task(one.lookout.watch(), name=f"look at {section}")
            for section, one in self.watched.items()
        ]

    # -- what was seen ----------------------------------------------------------------------

    def _told(self, section: str, look: Look[Health]) -> None:
        watched = self.watched[section]
        before = watched.view
        lamp = Lamp.UP if look.seen is not None and look.seen.ok else Lamp.DOWN
        now = datetime.now(UTC)
        began = look.asked if lamp is Lamp.DOWN else now
        since = before.since if before.lamp is lamp and before.since else began
        view = replace(
            before,
            lamp=lamp,
            since=since,
            checked=now,
            latency_s=look.seen.latency_s if look.seen else (now - look.asked).total_seconds(),
            sentence=self._sentence(section, look, since, now),
        )
        watched.view = view
        # To look at the hosts is to connect to each; the place watch does the same.
        watched.lookout.away = section == "hosts" and lamp is Lamp.DOWN
        if before.lamp is not lamp:
            level = logging.WARNING if lamp is Lamp.DOWN else logging.INFO
            log.log(level, "service %s is %s: %s", section, lamp.name.lower(), view.sentence)
        self._show(watched)
        self._show_counts()
        for changed in self._changed:
            changed()

    def _sentence(self, section: str, look: Look[Health], since: datetime, now: datetime) -> str:
        when = clock(since.astimezone(self.zone), now)
        if look.late:
            return f"{section} does not answer since {when}; it is asked again until it does"
        if look.error is not None:
            return f"{look.error} (since {when})"
        assert look.seen is not None
        return look.seen.sentence if look.seen.ok else f"{look.seen.sentence} (since {when})"

    # -- what is shown ----------------------------------------------------------------------

    def _show(self, watched: _Watched) -> None:
        view = watched.view
        bad = Alarm(Severity.MAJOR, Status.COMM, view.sentence) if view.lamp is Lamp.DOWN else QUIET
        for what, cell in watched.cells.items():
            if what == "state":
                cell.show(int(view.lamp), Alarm(message=view.sentence))  # how bad, the record file says
            elif what == "message":
                cell.show(view.sentence, bad)
            else:
                cell.show(view.latency_s)

    def _show_counts(self) -> None:
        views = [one.view for one in self.watched.values()]
        down = [view for view in views if view.lamp is Lamp.DOWN]
        for word, record in self._counts.items():
            cell = self.board.cells[record.name]
            if word == "count":
                cell.show(len(views))
            elif all(view.lamp is not Lamp.UNKNOWN for view in views):
                cell.show(len(down), Alarm(message=_together(down)))

    # -- source of a table ------------------------------------------------------------------

    async def rows(self, limit: int) -> Rows:
        views = [one.view for one in self.watched.values()]
        down = [view for view in views if view.lamp is Lamp.DOWN]
        alarm = QUIET
        if down:
            alarm = Alarm(Severity.MAJOR, Status.COMM, _together(down))
        elif any(view.lamp is Lamp.UNKNOWN for view in views):
            alarm = UNDEFINED
        return Rows([self._row(view) for view in views[:limit]], alarm)

    def _row(self, view: ServiceView) -> Found:
        return {
            "service": view.section,
            "backend": view.backend,
            "reachable": SERVICE_STATES[view.lamp],
            "since": self._time(view.since),
            "latency_s": round(view.latency_s, 4),
            "sentence": view.sentence,
            "checked": self._time(view.checked),
        }

    def _time(self, moment: datetime | None) -> str:
        return moment.astimezone(self.zone).isoformat(timespec="seconds") if moment else ""

    def tell_changes(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)


def _together(down: Sequence[ServiceView]) -> str:
    return "; ".join(f"{view.section}: {view.sentence}" for view in down)
