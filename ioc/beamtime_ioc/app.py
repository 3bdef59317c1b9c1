"""Configuration, services, engine, board and faces: the only place where all meet."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

from beamtime_ioc.access import load_gate
from beamtime_ioc.action import Action
from beamtime_ioc.board import Board
from beamtime_ioc.config import SiteFile, read_site_file
from beamtime_ioc.engine.engine import Engine
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.identity import FIELDS, LOOKED_UP, IdentityRecords
from beamtime_ioc.journal import Journal
from beamtime_ioc.model import Site
from beamtime_ioc.ports import Context, Outbox, Service, Services
from beamtime_ioc.records import RecordSet, db_dir, load_records
from beamtime_ioc.registry import load_actions, load_services
from beamtime_ioc.runner import Runner
from beamtime_ioc.store import Store, StoredIdentity, StoredOutbox
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

GRACE_S = 30.0
ENGINE_STATES = ("Starting", "Running", "Stopping", "Failed")


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
    context = Context(
        site=site, directory=file.directory, state=file.resolve(file.frame.state), outbox=outbox
    )
    return site, {section: module.build(settings[section], context) for section, module in modules.items()}


def load_site_records(file: SiteFile, actions: Mapping[str, Action]) -> RecordSet:
    """The records of the site, each button with its handler.

    Raises
    ------
    RecordFileError
        A file is wrong, or an action row has no handler.
    """
    files = [db_dir() / "beamtime.substitutions", *(file.resolve(path) for path in file.frame.records)]
    records = load_records(files, prefix=file.frame.prefix)
    records.check_actions(actions)
    records.check_fields([*FIELDS, LOOKED_UP])
    for name in sorted(set(actions) - {row.action for row in records.actions()}):
        log.info("action %s has no button", name)
    return records


class Ioc:
    """One site at work."""

    def __init__(self, site_file: Path, *, engine: Callable[[Workshop, Store], Engine] | None = None) -> None:
        self.file = read_site_file(site_file)
        self._make_engine = engine or _durable
        self.actions = load_actions()
        self.records = load_site_records(self.file, self.actions)
        self.gate = load_gate(self.file.resolve(self.file.frame.access) if self.file.frame.access else None)
        self.gate.check_groups(record.asg for record in self.records.records.values() if record.writable)

    async def start(self) -> None:
        """Serve first, then let the engine work; returns when a press is taken.

        Raises
        ------
        BeamtimeError
            A file, the state, a service's settings or a port: nothing is left running.
        """
        async with AsyncExitStack() as stack:
            self.store = Store(self.file.resolve(self.file.frame.state), self.file.frame.prefix)
            stack.callback(self.store.close)
            self._build()
            await self._serve(stack)
            self.engine = await asyncio.to_thread(self._make_engine, self.workshop, self.store)
            await asyncio.to_thread(self.engine.start, self.runner)
            self._ends = stack.pop_all()
        self.runner.engine = self.engine
        self._show_engine("Running")
        self._clock = asyncio.create_task(self._tick(), name="clock")

    def _build(self) -> None:
        """Everything between the database and the wires, showing how things stood when it was last down."""
        identity = StoredIdentity(self.store)
        self.site, clients = build_services(self.file, StoredOutbox(self.store))
        services: Services = {**clients, "identity": identity}
        self.workshop = Workshop(actions=self.actions, services=services, site=self.site)
        self.board = Board(self.records, self.gate)
        self.runner = Runner(self.board, self.workshop, identity)
        self.identity = IdentityRecords(self.board, identity, self.site, self.runner)
        loop = asyncio.get_running_loop()
        identity.changed = lambda: follow_identity(loop, self.identity)
        journal = Journal(self.store.engine)
        last = {record.action: record for name in self.actions for record in journal.last(1, name)}
        self.runner.restore(journal.open(), last)
        self.identity.show(identity.current(), identity.looked_up())
        self._report_engine({"version": version("beamtime-ioc"), "actions": self._buttons()})
        self._show_engine("Starting")

    async def _serve(self, stack: AsyncExitStack) -> None:
        from beamtime_ioc.faces.ca import CaServer
        from beamtime_ioc.faces.pva import PvaServer

        epics = self.file.frame.epics
        self.ca = CaServer(self.board, port=epics.ca_port, interfaces=epics.interfaces)
        self.pva = PvaServer(self.board, port=epics.pva_port, interfaces=epics.interfaces)
        for face in (self.ca, self.pva):
            await face.start()
            stack.push_async_callback(face.stop)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.runner.tick()

    def _buttons(self) -> str:
        return "\n".join(row.button.suffix for row in self.records.actions())

    def _show_engine(self, state: str) -> None:
        self._report_engine({"state": ENGINE_STATES.index(state)})

    def _report_engine(self, values: Mapping[str, Value]) -> None:
        for word, record in self.records.engine_reports().items():
            if word in values:
                self.board.cells[record.name].set(values[word])

    async def stop(self) -> bool:
        """End: presses are refused, runs in flight stay written down, clients are let go.

        Returns
        -------
        bool
            False if a handler still worked after the grace period: the process must be ended.
        """
        self.runner.engine, self.runner.why_not_ready = None, "the IOC ends"
        self._clock.cancel()
        self._show_engine("Stopping")
        finished = await asyncio.to_thread(self.engine.stop, GRACE_S)
        await self._ends.aclose()
        return finished


def _durable(workshop: Workshop, store: Store) -> Engine:
    # Half a second of imports: the faces serve meanwhile.
    for variable in [name for name in os.environ if name.startswith("DBOS")]:
        del os.environ[variable]  # read at import: they would change where and how runs are kept
    from beamtime_ioc.engine.durable import DurableEngine

    return DurableEngine(workshop, store)


def follow_identity(loop: asyncio.AbstractEventLoop, records: IdentityRecords) -> None:
    """Let the records follow a row that was changed in another thread."""

    def check(done: Future[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("the identity records could not follow: %s", error)

    asyncio.run_coroutine_threadsafe(records.refresh(), loop).add_done_callback(check)


async def serve(site_file: Path, say: Callable[[str], None]) -> None:
    """Serve a site until SIGTERM or SIGINT; says READY when every PV answers and a press is taken."""
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    ioc = Ioc(site_file)
    await ioc.start()
    count = len(ioc.board.cells)
    log.info("ready: %d records on prefix %s", count, ioc.site.prefix)
    gc.freeze()  # what was imported is looked through no more: a full look stops every client for 80 ms
    say(f"READY prefix={ioc.site.prefix} ca={ioc.ca.port} pva={ioc.pva.port}")
    await end.wait()
    if not await ioc.stop():
        log.warning("a handler did not end within %g s: its run goes on at the next start", GRACE_S)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # all is written and closed; a thread on a hanging disk must not keep the process
