"""The board on PVAccess."""
# pyright: basic

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from p4p.server import Server, StaticProvider
from p4p.server.asyncio import Handler, SharedPV

from beamtime_ioc.board import Board, Cell, Row, StructureCell, TableCell
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BadValueError, BeamtimeError, PortTakenError, RefusedError
from beamtime_ioc.faces import backlog
from beamtime_ioc.faces.listening import (
    LOOPBACK,
    PortChoice,
    bind_tcp,
    bind_udp,
    choose_interfaces,
    choose_port,
    is_loopback,
)
from beamtime_ioc.faces.puts import accept, log_refusal, waits_for_end
from beamtime_ioc.faces.pva_log import LIBRARY_LOG
from beamtime_ioc.faces.pva_press import PressPv
from beamtime_ioc.faces.pva_types import (
    first_value,
    later_value,
    progress_value,
    structure_type,
    structure_value,
    table_type,
    table_value,
    type_of,
)
from beamtime_ioc.faces.turns import Turns
from beamtime_ioc.model import Who, one_line
from beamtime_ioc.posting import Posting, Reading
from beamtime_ioc.procfs import connections_to
from beamtime_ioc.records import Kind

log = logging.getLogger(__name__)

ROLES_KEPT_S = 60.0
DEFAULT_TCP_PORT, DEFAULT_SEARCH_PORT = 5075, 5076


class RecordPv(Handler):
    """One record as a PV."""

    def __init__(self, cell: Cell, server: "PvaServer") -> None:
        self._cell, self._server = cell, server
        self._waiting: set[asyncio.Task[Any]] = set()
        self._type, self._posted = type_of(cell.record), cell.reading
        self.pv = SharedPV(handler=self, initial=first_value(self._type, cell.record, cell.reading))
        cell.watchers.append(self._post)

    def close(self) -> None:
        self._cell.watchers.remove(self._post)
        self.pv.close()

    def _post(self, reading: Reading[Any]) -> None:
        try:
            self.pv.post(later_value(self._type, self._cell.record, reading, self._posted))
            self._posted = reading
        except Exception:  # whoever set the value must not suffer from it
            log.exception("%s cannot be shown over PVA", self._cell.name)

    def put(self, pv: SharedPV, op: Any) -> None:
        """Called by p4p in the loop: a coroutine that raised there would never answer the client."""
        self._server.turns.do(lambda: self._put(op))

    def _put(self, op: Any) -> None:
        try:
            who = self._server.known(op)
        except UnicodeDecodeError:
            error = RefusedError("the account is no Unicode text", advice="name yourself in UTF-8")
            log_refusal(self._cell.name, "", Who(via="pva", user="", peer=_host_of(op)), error)
            op.done(error=str(error))
            return
        answering = self._answer(op, who)
        if who is not None and self._cell.hook is None and not self._waiting:
            # Nothing in it waits, and nobody is before it: a task would cost more than all the rest.
            try:
                answering.send(None)
            except StopIteration:
                return
            raise RuntimeError("a put without a hook waits for something")
        task = self._server.keep(answering)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def rpc(self, pv: SharedPV, op: Any) -> None:
        op.done(error=f"{self._cell.name} takes no RPC; put to it")

    async def _answer(self, op: Any, who: Who | None) -> None:
        try:
            error = await self._ask(op, who)
        except asyncio.CancelledError:
            op.done(error="the IOC ends; what was begun goes on at its next start")
            raise
        except Exception as problem:  # whatever it is, the client is told, and once
            log.exception("put to %s over PVA: failed", self._cell.name)
            error = f"{self._cell.name}: {type(problem).__name__} in the IOC; see its log"
        op.done(error=error) if error else op.done()

    async def _ask(self, op: Any, who: Who | None) -> str:
        """Put, wait if the client wants it; what went wrong, or nothing."""
        who = who or await self._server.who_asks(op)
        try:
            ending = await accept(self._cell, self._value(op.value(), who), who)
            if ending is not None and waits_for_end(self._cell, client_waits=_blocks(op)):
                await ending
        except BeamtimeError as error:
            return str(error)
        return ""

    def _value(self, sent: Any, who: Who) -> Any:
        field = "value.index" if self._cell.record.kind is Kind.STATES else "value"
        try:
            if sent.changed(field):
                return sent[field]
            error = BadValueError(f"the put to {self._cell.name} has no value", advice="put its value only")
        except UnicodeDecodeError:
            error = BadValueError(f"{self._cell.name}: the text is no Unicode text", advice="send UTF-8")
        log_refusal(self._cell.name, "", who, error)
        self._cell.refuse("?", who, error)
        raise error


class ShownPv(Handler):
    """What the IOC writes and clients read: a run's progress, a table, a structure."""

    def __init__(self, posting: Posting[Any], value_of: Callable[[Reading[Any]], Any]) -> None:
        self.name = posting.name
        self._posting, self._value_of = posting, value_of
        self.pv = SharedPV(handler=self, initial=value_of(posting.reading))
        posting.watchers.append(self._post)

    def close(self) -> None:
        self._posting.watchers.remove(self._post)
        self.pv.close()

    def _post(self, reading: Reading[Any]) -> None:
        try:
            self.pv.post(self._value_of(reading))
        except Exception:
            log.exception("%s cannot be shown over PVA", self.name)

    def put(self, pv: SharedPV, op: Any) -> None:
        op.done(error=f"{self.name} is written by the IOC only; read it")

    def rpc(self, pv: SharedPV, op: Any) -> None:
        op.done(error=f"{self.name} takes no RPC; read it")


class PvaServer:
    """Serves every record and alias of a board, its tables and structures, and the progress of its actions.

    Parameters
    ----------
    port
        Of the site file, for TCP and for searches (UDP); None for EPICS' 5075 and 5076.
    interfaces
        Addresses to listen on; empty for all.

    Attributes
    ----------
    port
        Where searches are answered.
    tcp_port
        Where clients are served: another one only if nobody chose and 5075 was taken.
    turns
        When puts are done.
    settings
        What pvxs made of all settings, by the names of the variables.
    """

    def __init__(self, board: Board, *, port: int | None, interfaces: Sequence[str]) -> None:
        self._board, self._wanted_port, self._wanted_interfaces = board, port, interfaces
        self.port = self.tcp_port = 0
        self.settings: Mapping[str, str] = {}
        self._pvs: list[RecordPv | ShownPv | PressPv] = []
        self._server: Server | None = None
        self.turns = Turns()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._known: dict[tuple[str, str], tuple[float, Who]] = {}
        self._roles: dict[str, tuple[float, asyncio.Future[set[str]]]] = {}

    async def start(self) -> None:
        """Listen; returns when searches are answered.

        Raises
        ------
        PortTakenError
            The port was chosen by the environment or the site file, and is in use.
        BeamtimeError
            A variable, or an interface, is wrong.
        """
        tcp = self._choose("EPICS_PVAS_SERVER_PORT", "EPICS_PVA_SERVER_PORT", DEFAULT_TCP_PORT)
        search = self._choose("EPICS_PVAS_BROADCAST_PORT", "EPICS_PVA_BROADCAST_PORT", DEFAULT_SEARCH_PORT)
        interfaces = choose_interfaces("EPICS_PVAS_INTF_ADDR_LIST", self._wanted_interfaces)
        _require_free(tcp, search, interfaces)
        # pvxs would join the lists of the environment to ours: it is given all of them here, and asks nobody.
        conf = {name: word for name, word in os.environ.items() if name.startswith("EPICS_PVA") and word}
        if all(is_loopback(interface) for interface in interfaces):
            conf = {
                "EPICS_PVAS_BEACON_ADDR_LIST": LOOPBACK,
                "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
                **conf,
            }
        conf |= {
            "EPICS_PVAS_INTF_ADDR_LIST": " ".join(interfaces),
            "EPICS_PVAS_SERVER_PORT": str(tcp.port),
            "EPICS_PVAS_BROADCAST_PORT": str(search.port),
        }
        LIBRARY_LOG.take()
        provider = self._provide()
        try:
            self._server = Server(providers=[provider], conf=conf, useenv=False)
        except RuntimeError as error:
            await self.stop()
            raise BeamtimeError(
                f"PVA cannot listen: {error}", advice="check the ports and interfaces"
            ) from error
        self.settings = self._server.conf()
        self.tcp_port, self.port = (
            int(self.settings[f"EPICS_PVAS_{word}_PORT"]) for word in ("SERVER", "BROADCAST")
        )
        if tcp.setting and self.tcp_port != tcp.port:  # taken between the look and the start
            await self.stop()
            raise PortTakenError("PVA", tcp.port, tcp.setting)
        self._lengthen_backlog()

    def _lengthen_backlog(self) -> None:
        try:
            if backlog.lengthen(self.tcp_port):
                return
            reason = f"nothing here listens on port {self.tcp_port}"
        except OSError as error:
            reason = f"/proc cannot be read: {error.strerror}"
        log.warning("PVA clients that come many at once may have to wait for a minute: %s", reason)

    def _choose(self, first: str, second: str, default: int) -> PortChoice:
        return choose_port(
            (first, second), configured=self._wanted_port, key="epics.pva_port", default=default
        )

    def _provide(self) -> StaticProvider:
        provider = StaticProvider()
        for cell in self._board.cells.values():
            made = RecordPv(cell, self)
            self._pvs.append(made)
            for name in (cell.name, *cell.record.aliases):
                provider.add(name, made.pv)
        shown = [ShownPv(posting, progress_value) for posting in self._board.progress.values()]
        shown += [_table_pv(cell) for cell in self._board.tables.values()]
        shown += [_structure_pv(cell) for cell in self._board.structures.values()]
        for made in (*shown, PressPv(self._board, self)):
            self._pvs.append(made)
            provider.add(made.name, made.pv)
        return provider

    def count_clients(self) -> int:
        """How many are connected; blocks for a moment, so ask in a thread."""
        # pvxs could tell, but p4p holds the GIL while it waits for a lock that a put's own thread may have.
        return connections_to(self.tcp_port) if self._server is not None else 0

    def keep(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something that does not end with the client who asked for it."""
        task = asyncio.get_running_loop().create_task(work, name="PVA put")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def known(self, op: Any) -> Who | None:
        """Who asks, if this connection has asked lately."""
        until, who = self._known.get((op.account(), op.peer()), (0.0, None))
        return who if time.monotonic() < until else None

    async def who_asks(self, op: Any) -> Who:
        """Who asks, with the groups of the account; known as long as these are."""
        account, peer = op.account(), op.peer()
        user = one_line(account, 40)
        roles = await self.roles_of(user, op)
        who = Who(via="pva", user=user, peer=_host_of(op), roles=roles)
        if len(self._known) > 1000:
            self._known.clear()
        asked, _ = self._roles.get(user, (time.monotonic(), None))
        self._known[account, peer] = asked + ROLES_KEPT_S, who
        return who

    async def roles_of(self, user: str, op: Any) -> tuple[str, ...]:
        """Groups of an account on this computer: asked for in a thread, as they may come from far away."""
        now = time.monotonic()
        asked, found = self._roles.get(user, (-ROLES_KEPT_S, None))
        if found is None or now - asked > ROLES_KEPT_S:
            if len(self._roles) > 1000:  # somebody invents accounts
                self._roles.clear()
            found = asyncio.ensure_future(in_thread("groups of an account", op.roles))
            self._roles[user] = now, found
        return tuple(sorted(await asyncio.shield(found)))

    async def stop(self) -> None:
        """Let the clients go; a put that is still waited for is answered with an error."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            server, self._server = self._server, None
            await in_thread("end of PVA", server.stop)
        for made in self._pvs:
            made.close()
        self._pvs.clear()


def _table_pv(cell: TableCell) -> ShownPv:
    kind = table_type(cell.table)

    def value_of(reading: Reading[tuple[Row, ...]]) -> Any:
        return table_value(kind, cell.table, reading)

    return ShownPv(cell, value_of)


def _structure_pv(cell: StructureCell) -> ShownPv:
    kind = structure_type(cell.table)
    return ShownPv(cell, lambda reading: structure_value(kind, cell.table, reading))


def _require_free(tcp: PortChoice, search: PortChoice, interfaces: Sequence[str]) -> None:
    """pvxs takes another port in silence: look before it does."""
    if tcp.setting:
        for made in bind_tcp(interfaces, tcp, "PVA"):
            made.close()
    if search.setting:
        for interface in interfaces:
            bind_udp(interface, search.port, "PVA", search.setting).close()


def _host_of(op: Any) -> str:
    """Where the client is, without its port: the only thing that it does not claim."""
    return op.peer().rpartition(":")[0]


def _blocks(op: Any) -> bool:
    """Whether the client asked `record[block=true]`: its answer then stands for the end."""
    options = op.pvRequest().todict().get("record", {}).get("_options", {})
    return str(options.get("block", "")).lower() in ("true", "1", "yes")
