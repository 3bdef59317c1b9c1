"""Configuration, services, engine, board and faces: the only place where all meet."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import cast

from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.arming import Arming
from beamtime_ioc.audit import AuditLog
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board
from beamtime_ioc.calls import Calls
from beamtime_ioc.config import read_site_file
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.equipment import build_services, durable_engine, load_site_records
from beamtime_ioc.health import Health
from beamtime_ioc.identity import IdentityRecords
from beamtime_ioc.journal import Journal
from beamtime_ioc.life import Life
from beamtime_ioc.linking import Linking
from beamtime_ioc.model import RunState
from beamtime_ioc.ports import Schedule, Services
from beamtime_ioc.posting import Reading
from beamtime_ioc.progress import RunView
from beamtime_ioc.registry import load_actions
from beamtime_ioc.reloading import AccessReload
from beamtime_ioc.resolving import Resolving, reopen_unbegun
from beamtime_ioc.retention import Retention
from beamtime_ioc.runner import Runner
from beamtime_ioc.schedule_watch import ScheduleWatch
from beamtime_ioc.schedules import Schedules
from beamtime_ioc.signals import on_signal
from beamtime_ioc.sitegate import SiteGate
from beamtime_ioc.store import Store
from beamtime_ioc.stored_doubts import StoredDoubts
from beamtime_ioc.stored_identity import StoredIdentity
from beamtime_ioc.stored_outbox import StoredOutbox
from beamtime_ioc.switches import StoredSwitches
from beamtime_ioc.table_sources import TableSources
from beamtime_ioc.twin import Found

log = logging.getLogger(__name__)

GRACE_S, AUDIT_GRACE_S = 30.0, 2.0
LOOPBACK_SEARCH_S = 0.3


class Ioc:
    """One site at work."""

    def __init__(self, site_file: Path) -> None:
        # What it says of its files is read elsewhere: on a screen, in another terminal.
        self.file = read_site_file(site_file.absolute())
        self.actions = load_actions()
        self.records = load_site_records(self.file, self.actions)
        access = self.file.frame.access
        self.gate = SiteGate(self.file.resolve(access) if access else None)
        self.gate.check_groups(self.records.groups())

    async def start(self, end: asyncio.Event) -> bool:
        """Serve first, then let the engine work; returns when a press is taken.

        Parameters
        ----------
        end
            Set when the program shall end: while another IOC goes before this one, it ends at once.

        Returns
        -------
        bool
            False if it was to end before a press was ever taken: nothing is left running.

        Raises
        ------
        BeamtimeError
            A file, the state, a service's settings or a port: nothing is left running.
        """
        async with AsyncExitStack() as stack:
            frame = self.file.frame
            self.store = Store(self.file.resolve(frame.state), frame.prefix, database=frame.database)
            stack.callback(self.store.close)
            try:
                self._build()
            except SQLAlchemyError as error:
                raise self.store.trouble(error) from error
            stack.callback(self.audit.close)
            for task in self.tables.start():
                stack.callback(task.cancel)
            await self._serve(stack)
            self.life.begin(stack, ca=self.ca.counts, pva=self.pva.count_clients)
            alone = asyncio.create_task(self.life.be_alone(end), name="twin")
            self.engine = await in_thread("engine", durable_engine, self.workshop, self.store)
            gc.freeze()  # what was imported is looked through no more: it would stop every client for 80 ms
            gc.enable()
            if not await alone:
                return False
            self.linking.start()  # what another IOC of this prefix writes, two must not write
            stack.callback(self.linking.stop)
            await in_thread("start of the engine", self.engine.start, self.runner, list(self.runner.active))
            self._ends = stack.pop_all()
        self.runner.engine = self.engine
        self.health.show_state("Running")
        work = {
            "clock": self._tick(),
            "health": self.health.watch(self.engine),
            "retention": self._retain().watch(),
            "schedule watch": self.schedule_watch.watch(),
            "twin": self.life.twin.watch(),
        }
        self._tasks = [asyncio.create_task(each, name=name) for name, each in work.items()]
        self.schedules.start()
        return True

    def _look(self) -> Sequence[Found]:
        """Everybody who serves our `Instance` record; blocks."""
        from beamtime_ioc.faces.ca_question import find_instances, targets
        from beamtime_ioc.faces.listening import is_loopback

        asked, interfaces = self.file.frame.twin, self.ca.interfaces
        where = targets(interfaces, self.ca.port, asked.addresses)
        loopback = all(map(is_loopback, interfaces))
        wait_s = min(asked.search_s, LOOPBACK_SEARCH_S) if loopback else asked.search_s
        return find_instances(self.records.prefix + "Instance", where, wait_s)

    def _retain(self) -> Retention:
        return Retention(
            self.engine,
            Journal(self.store.engine),
            self.store.directory,
            keep=timedelta(days=self.file.frame.history.keep_days),
            zone=self.site.zone,
        )

    def _build(self) -> None:
        """Everything between the database and the wires, showing how things stood when it was last down."""
        identity = StoredIdentity(self.store)
        self.site, clients = build_services(self.file, StoredOutbox(self.store))
        services: Services = {**clients, "identity": identity}
        self.workshop = Workshop(actions=self.actions, services=services, site=self.site)
        self.board = Board(self.records, self.gate)
        audit_log = AuditLog(self.store.directory)
        self.audit = Auditor(audit_log)
        for cell in self.board.cells.values():
            cell.ledger = self.audit
        self.runner = Runner(self.board, self.workshop, identity, self.audit)
        self.identity = IdentityRecords(self.board, identity, self.site, self.runner)
        self._follow(identity, cast(Schedule | None, clients.get("schedule")))
        self.calls = Calls(self.runner)
        self.arming = Arming(self.runner)
        self.access = AccessReload(self.runner, self.gate, self.records.groups())
        self.gate.changed.append(self.board.tell_rights)
        journal = Journal(self.store.engine)
        self._restore_runs(journal)
        self.linking = Linking(self.file.frame, self.site, self.identity, self.runner)
        self.identity.show(identity.current(), identity.looked_up())
        self.board.report("version", version("beamtime-ioc"))
        self.board.report("actions", "\n".join(row.button.suffix for row in self.records.actions()))
        self._live()
        self.tables = TableSources(
            self.file,
            self.board,
            self.identity,
            clients,
            journal,
            (audit_log, self.audit),
            self.store,
            besides=self.linking.sources,
        )
        self.schedules = Schedules(self.file.frame.schedules, self.runner, StoredSwitches(self.store))

    def _follow(self, identity: StoredIdentity, schedule: Schedule | None) -> None:
        """The records follow the current experiment, and it is held against the schedule."""
        loop, every_s = asyncio.get_running_loop(), self.file.frame.watch.asks_s
        watched, actions = (self.board, self.site, schedule, identity), self.actions
        self.schedule_watch = ScheduleWatch(*watched, actions=actions, every_s=every_s)
        identity.changed = lambda: follow_identity(loop, self.identity, self.schedule_watch)
        for name in (name for name, action in actions.items() if action.schedule_steps):
            self.board.progress[name].watchers.append(self._tell_of_a_failure)

    def _tell_of_a_failure(self, run: Reading[RunView]) -> None:
        """What a press has heard of the schedule, its records say soon, and not only with the next look."""
        if run.value.state is RunState.FAILED:
            self.schedule_watch.tell(ask=True)

    def _restore_runs(self, journal: Journal) -> None:
        """Show the last run of each action, and those that go on."""
        doubts = StoredDoubts(self.store)
        reopen_unbegun(journal, doubts)
        last = {record.action: record for name in self.actions for record in journal.last(1, name)}
        self.resolving = Resolving(self.runner, journal, doubts)
        opened = journal.open()
        self.audit.catch_up({record.id for record in opened}, journal.run)
        self.runner.restore(opened, last)

    def _live(self) -> None:
        """The program's own life, and its health: what is wrong with any part is said there."""
        frame, saved = self.file.frame, self.file.frame.autosave.directory
        self.life = Life(
            self.board,
            self.site.zone,
            self.store,
            directory=self.file.resolve(saved) if saved else self.store.directory / "autosave",
            autosave=frame.autosave,
            twin=frame.twin,
            look=self._look,
        )
        self.runner.held = lambda: self.life.twin.held
        troubles = [lambda: self.audit.trouble, lambda: self.access.trouble]
        troubles += [lambda: self.linking.trouble, lambda: self.life.twin.trouble]
        self.health = Health(self.board, self.site.zone, troubles)
        self.health.answered.append(self.life.on_answer)
        self.life.twin.changed = self.health.say_again
        self.health.show_state("Starting")

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

    async def stop(self, hasten: asyncio.Event) -> bool:
        """End: presses are refused, runs in flight stay written down, clients are let go.

        Parameters
        ----------
        hasten
            Set when nobody wants to wait for handlers any more.

        Returns
        -------
        bool
            False if a handler still worked after the grace period: the process must be ended.
        """
        self.runner.engine, self.runner.why_not_ready = None, "the IOC ends"
        self.schedules.stop()
        for task in self._tasks:
            task.cancel()
        self.health.show_state("Stopping")
        self.life.ending()
        engine = asyncio.create_task(in_thread("end of the engine", self.engine.stop, GRACE_S))
        hastened = asyncio.create_task(hasten.wait())
        await asyncio.wait({engine, hastened}, return_when=asyncio.FIRST_COMPLETED)
        await self.life.end()
        await self.pva.stop()
        await self.ca.stop()
        await self.audit.flush(AUDIT_GRACE_S)
        await self.life.end()  # what was put while the clients were let go
        await self._ends.aclose()
        return engine.done() and engine.result()


def follow_identity(
    loop: asyncio.AbstractEventLoop, records: IdentityRecords, schedule_watch: ScheduleWatch
) -> None:
    """Let the records follow a row that was changed in another thread."""

    def check(done: Future[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("the identity records could not follow: %s", error)

    asyncio.run_coroutine_threadsafe(records.refresh(), loop).add_done_callback(check)
    loop.call_soon_threadsafe(schedule_watch.tell)


async def serve(site_file: Path, say: Callable[[str], None]) -> None:
    """Serve a site until SIGTERM or SIGINT; says READY when every PV answers and a press is taken.

    A second signal hastens the end: what still works is not waited for, and goes on at the next start.
    """
    end, hasten = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        on_signal(number, lambda: hasten.set() if end.is_set() else end.set())
    # Called in the loop, which comes to it only when the IOC is built.
    on_signal(signal.SIGHUP, lambda: ioc.access.on_signal())
    ioc = Ioc(site_file)
    if await ioc.start(end):
        count = len(ioc.board.cells)
        log.info("ready: %d records on prefix %s", count, ioc.site.prefix)
        gc.freeze()
        say(f"READY prefix={ioc.site.prefix} ca={ioc.ca.port} pva={ioc.pva.port}")
        ioc.life.supervisor.ready(f"serves {count} records on {ioc.site.prefix}")
        await end.wait()
        if not await ioc.stop(hasten):
            log.warning("a handler was not waited for any longer: its run goes on at the next start")
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # all is written and closed; a thread on a hanging disk must not keep the process
