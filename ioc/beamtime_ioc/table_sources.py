"""All that fills the tables and structures of a site, and keeps its lamps."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from beamtime_ioc.actions_table import ActionsSource
from beamtime_ioc.audit import AuditLog
from beamtime_ioc.audit_table import AuditSource
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board
from beamtime_ioc.boxcontrol import BoxControl
from beamtime_ioc.candidates import Candidates
from beamtime_ioc.checklist_table import ChecklistSource
from beamtime_ioc.config import SiteFile
from beamtime_ioc.experiment_table import ExperimentSource, UsersSource
from beamtime_ioc.filled_table import TableSource, fill_tables
from beamtime_ioc.history_table import HistorySource
from beamtime_ioc.identity import IdentityRecords
from beamtime_ioc.journal import Journal
from beamtime_ioc.outbox_table import OutboxSource
from beamtime_ioc.place_watch import PlaceWatch
from beamtime_ioc.ports import Hosts, Schedule, Service
from beamtime_ioc.service_watch import ServiceWatch
from beamtime_ioc.store import Store
from beamtime_ioc.training import Training

COLUMNS = {
    "experiment": ExperimentSource.columns,
    "users": UsersSource.columns,
    "actions": ActionsSource.columns,
    "checklist": ChecklistSource.columns,
    "history": HistorySource.columns,
    "audit": AuditSource.columns,
    "hosts": PlaceWatch.columns,
    "services": ServiceWatch.columns,
    "candidates": Candidates.columns,
    "outbox": OutboxSource.columns,
}
"""What each source knows, by the word for it in `tables.yaml`."""


class TableSources:
    """Looks at services, places and candidates; fills what shows them, the runs, the people and the audit.

    For training, a box is looked at too.

    Parameters
    ----------
    clients
        By section of the site file.
    besides
        What others fill, by its word in `tables.yaml`.
    """

    def __init__(
        self,
        file: SiteFile,
        board: Board,
        identity: IdentityRecords,
        clients: Mapping[str, Service],
        journal: Journal,
        audit: tuple[AuditLog, Auditor],
        store: Store,
        *,
        besides: Mapping[str, TableSource],
    ) -> None:
        zone, watch = identity.site.zone, file.frame.watch
        every_s = watch.every_s
        backends = {section: str(file.sections[section].get("backend", "")) for section in clients}
        services: dict[str, tuple[str, Service]] = {
            section: (backends[section], client) for section, client in clients.items()
        }
        sim = file.frame.sim
        self.training = Training(board, BoxControl(sim, file.directory)) if sim else None
        if self.training is not None:
            services["sim"] = ("box", self.training)
        hosts = cast(Hosts | None, clients.get("hosts"))
        self.services = ServiceWatch(board, services, zone, every_s=every_s, schedule_s=watch.asks_s)
        self.places = PlaceWatch(board, hosts, identity, every_s=every_s)
        schedule = cast(Schedule | None, clients.get("schedule"))
        self.candidates = Candidates(board, schedule, identity, every_s=every_s, schedule_s=watch.asks_s)
        sources: Mapping[str, TableSource] = {
            "experiment": ExperimentSource(identity),
            "users": UsersSource(identity),
            "actions": ActionsSource(board, zone),
            "checklist": ChecklistSource(board, journal),
            "history": HistorySource(journal, board, zone),
            "audit": AuditSource(*audit, zone),
            "hosts": self.places,
            "services": self.services,
            "candidates": self.candidates,
            "outbox": OutboxSource(store, board, zone),
            **besides,
        }
        self.tables = fill_tables(board, sources)

    def start(self) -> Sequence[asyncio.Task[None]]:
        """Begin to look and to fill; the tasks, to be cancelled at the end."""
        filling = [asyncio.create_task(table.follow(), name=table.cell.name) for table in self.tables]
        training = [asyncio.create_task(self.training.lookout.watch(), name="box")] if self.training else []
        return [*filling, *self.services.start(), *self.places.start(), *self.candidates.start(), *training]
