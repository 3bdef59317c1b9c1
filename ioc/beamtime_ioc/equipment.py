"""What a site works with: its records, its clients and its engine, out of the site file."""

import logging
import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from beamtime_ioc.action import Action
from beamtime_ioc.arguments import check_arguments
from beamtime_ioc.config import SiteFile
from beamtime_ioc.engine.guard import LOOK_S
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.identity import FIELDS, LOOKED_UP
from beamtime_ioc.kept_schedule import keep_answers
from beamtime_ioc.linking import SOURCES
from beamtime_ioc.model import Site
from beamtime_ioc.ports import Context, Outbox, Service
from beamtime_ioc.records import RecordSet, load_records, shipped
from beamtime_ioc.registry import load_services
from beamtime_ioc.store import Store
from beamtime_ioc.table_sources import COLUMNS

if TYPE_CHECKING:
    from beamtime_ioc.engine.durable import DurableEngine

log = logging.getLogger(__name__)


def build_services(file: SiteFile, outbox: Outbox) -> tuple[Site, Mapping[str, Service]]:
    """The site and its clients; nothing is contacted.

    Raises
    ------
    SiteFileError
        A section is wrong.
    BeamtimeError
        A client cannot be built, such as with a missing credentials file.
    """
    modules = dict(load_services(file))
    settings = {section: file.section(section, module.Settings) for section, module in modules.items()}
    site = file.site()
    state = file.resolve(file.frame.state)
    context = Context(site=site, directory=file.directory, state=state, outbox=outbox)
    clients = {section: module.build(settings[section], context) for section, module in modules.items()}
    return site, keep_answers(clients, state, [site.beamline, file.sections.get("schedule")])


def load_site_records(file: SiteFile, actions: Mapping[str, Action]) -> RecordSet:
    """The records of the site, each button with its handler.

    Raises
    ------
    RecordFileError
        A file is wrong, an action row has no handler, or a table nothing that fills it.
    SiteFileError
        A schedule presses a button that there is not.
    """
    training = file.frame.sim is not None
    files = [*shipped(training=training), *(file.resolve(path) for path in file.frame.records)]
    records = load_records(files, prefix=file.frame.prefix)
    records.check_actions(actions)
    records.check_knobs(training=training)
    records.check_fields([*FIELDS, LOOKED_UP])
    records.check_sources({**COLUMNS, **SOURCES})
    file.check_neighbours([record.suffix for record in records.fields()])
    file.check_without_schedule({action.name: action.schedule_steps for action in actions.values()})
    armed = [action.name for action in actions.values() if action.needs_arm]
    records.check_armed(armed)
    check_arguments(records, actions)
    file.check_schedules([row.action for row in records.actions()], armed)
    for name in sorted(set(actions) - {row.action for row in records.actions()}):
        log.info("action %s has no button", name)
    return records


def durable_engine(
    workshop: Workshop, store: Store, *, queues: Collection[str] | None = None, look_s: float = LOOK_S
) -> "DurableEngine":
    """The engine that survives kill -9; half a second of imports, while which the faces serve."""
    for variable in [name for name in os.environ if name.startswith("DBOS")]:
        del os.environ[variable]  # read at import: they would change where and how runs are kept
    from beamtime_ioc.engine.durable import DurableEngine

    return DurableEngine(workshop, store, queues=queues, look_s=look_s)
