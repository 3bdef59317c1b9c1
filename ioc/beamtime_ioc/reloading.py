"""The access file, read again without letting a client go. Lives in the event loop."""

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime

from beamtime_ioc.access import Gatekeeper
from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.audit import AuditEntry, Deed
from beamtime_ioc.board import Cell
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import AccessFileError, BusyError, RefusedError
from beamtime_ioc.model import Who
from beamtime_ioc.runner import Runner
from beamtime_ioc.sitegate import SiteGate
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

LONGEST_S = 10.0
"""Host names are looked up meanwhile, and a name service may hang."""
SIGNAL = Who(via="local", user="SIGHUP")


class AccessReload:
    """Binds `AccessReload` and `AccessMessage`.

    Parameters
    ----------
    groups
        Access groups of all records and tables.
    """

    def __init__(self, runner: Runner, gate: SiteGate, groups: Collection[str]) -> None:
        self.runner, self.gate, self.groups = runner, gate, groups
        self.trouble = ""
        """What is wrong with the file, and what to do; empty while its rules are in force."""
        self._reading: asyncio.Task[Gatekeeper] | None = None
        self._signalled = False
        self._following: asyncio.Task[None] | None = None
        asked = runner.board.records.ask("reload-access")
        if asked is not None:
            cell = runner.board.cells[asked.name]
            cell.hook, cell.refused = self._on_put, self._on_refused
        self._show(self._in_force())

    def _on_refused(self, who: Who, error: RefusedError) -> None:
        self.runner.audit.refused("", who, error, "reload of the access file")

    async def _on_put(self, cell: Cell, value: Value, who: Who) -> None:
        if not value:
            return
        cell.set(1)
        try:
            await self.reload(who)
        finally:
            cell.set(0)

    def on_signal(self) -> None:
        """SIGHUP has come: the file is read as it is now, if need be behind a reading that goes on."""
        self._signalled = True
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow_signals(), name="reload of the access file")

    async def _follow_signals(self) -> None:
        while self._signalled:
            if self._reading is not None and not self._reading.done():
                await asyncio.wait([self._reading])
            self._signalled = False
            try:
                await self.reload(SIGNAL)
            except RefusedError as error:
                log.info("SIGHUP: %s", error)

    async def reload(self, who: Who) -> None:
        """Read the file, and put its rules into force; the old ones stay if it is wrong.

        Raises
        ------
        RefusedError
            The file is wrong, or is being read; nothing has changed.
        """
        if self._reading is not None and not self._reading.done():
            raise BusyError("the access file is being read", advice="wait a little, then reload again")
        self._reading = asyncio.create_task(in_thread("access file", self.gate.read_again))
        self._reading.add_done_callback(lambda late: late.cancelled() or late.exception())
        done, _ = await asyncio.wait([self._reading], timeout=LONGEST_S)
        try:
            if not done:
                raise AccessFileError(
                    self.gate.path or "", 0, "is not read yet: its disk, or a name server, does not answer"
                )
            rules = self._reading.result()
        except AccessFileError as error:
            self._keep_old(who, error)
            raise RefusedError(self.trouble) from error
        missing = rules.check_groups(self.groups)
        self.gate.use(rules)
        self.trouble = ""
        text = self._in_force() + (f"; it lacks {', '.join(missing)}" if missing else "")
        self._show(text)
        self._note(who, text)

    def _keep_old(self, who: Who, error: AccessFileError) -> None:
        self.trouble = f"{error}; the rules before stay in force; mend the file, then reload it"
        self._show(self.trouble, Alarm(Severity.MAJOR, Status.STATE, self.trouble))
        self._note(who, self.trouble)

    def _in_force(self) -> str:
        if self.gate.path is None:
            return "no access file: everybody reads, nobody writes"
        now = datetime.now(self.runner.workshop.site.zone)
        return f"{self.gate.path.name}, as it was at {now:%Y-%m-%d %H:%M:%S}"

    def _show(self, text: str, alarm: Alarm = QUIET) -> None:
        self.runner.board.report("access-message", text, alarm)

    def _note(self, who: Who, text: str) -> None:
        log.info("access file, reloaded by %s: %s", who, text)
        self.runner.audit.note(AuditEntry(what=Deed.ACCESS, who=who, action="", text=text))
