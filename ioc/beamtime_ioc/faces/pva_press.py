"""One PV that presses any action: an RPC with its arguments, answered by the whole of what came of it."""
# pyright: basic

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from p4p import Type, Value
from p4p.server.asyncio import Handler, SharedPV

from beamtime_ioc.board import Board, Called
from beamtime_ioc.errors import BadValueError, BeamtimeError
from beamtime_ioc.faces.pva_types import LINE, line_values, sent
from beamtime_ioc.model import Who
from beamtime_ioc.records import CALL

log = logging.getLogger(__name__)

RUN = Type(
    id="beamtime:Run/1.0",
    spec=[
        ("action", "s"),
        ("state", "s"),
        ("message", "s"),
        ("advice", "s"),
        ("runId", "s"),
        ("plan", "s"),
        ("effects", ("aS", None, LINE)),
    ],
)


def query_of(sent_value: Any) -> Mapping[str, object]:
    """The query of a call; what is no structure with one raises BadValueError."""
    try:
        query = sent_value.todict().get("query")
    except UnicodeDecodeError:
        raise BadValueError("the call has a text that is no Unicode text", advice="send UTF-8") from None
    if not isinstance(query, Mapping):
        raise BadValueError(
            "the call has no query", advice="send NTURI with a query of action, arguments, wait, preview"
        )
    return query


def run_value(called: Called) -> Value:
    """What a call is answered."""
    view = called.view
    return Value(
        RUN,
        {
            "action": view.action,
            "state": view.state.value,
            "message": sent(view.message),
            "advice": sent(view.advice),
            "runId": view.run_id,
            "plan": sent(called.plan),
            "effects": line_values(view.steps),
        },
    )


class Clients(Protocol):
    """Who asks, and what is done for them: the server."""

    async def who_asks(self, op: Any) -> Who: ...

    def keep(self, work: Any) -> asyncio.Task[Any]: ...


class PressPv(Handler):
    """Takes NTURI, or any structure with a `query`, and answers `beamtime:Run/1.0`."""

    def __init__(self, board: Board, clients: Clients) -> None:
        self.name = board.records.prefix + CALL
        self._board, self._clients = board, clients
        self.pv = SharedPV(handler=self, initial=Value(RUN, {"state": "Idle", "message": "call it by RPC"}))

    def close(self) -> None:
        self.pv.close()

    def put(self, pv: SharedPV, op: Any) -> None:
        op.done(error=f"{self.name} takes no put; call it by RPC, or put 1 to a button")

    def rpc(self, pv: SharedPV, op: Any) -> None:
        """Called by p4p in the loop: a coroutine that raised there would never answer the client."""
        self._clients.keep(self._answer(op))

    async def _answer(self, op: Any) -> None:
        try:
            try:
                who = await self._clients.who_asks(op)
            except UnicodeDecodeError:
                raise BadValueError(
                    "the account is no Unicode text", advice="name yourself in UTF-8"
                ) from None
            call = self._board.call
            if call is None:
                raise BadValueError(f"{self.name} is not ready", advice="call again when the IOC has started")
            called = await call(query_of(op.value()), replace(who, via="rpc"))
        except BeamtimeError as error:
            op.done(error=str(error))
        except asyncio.CancelledError:
            op.done(error="the IOC ends; what was begun goes on at its next start")
            raise
        except Exception as problem:  # whatever it is, the client is told, and once
            log.exception("call of %s failed", self.name)
            op.done(error=f"{self.name}: {type(problem).__name__} in the IOC; see its log")
        else:
            op.done(run_value(called))
