"""A client of a running IOC: presses, watches and reads over PVAccess."""
# pyright: basic

import json
import os
import queue
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from p4p.client.thread import Context, Disconnected, RemoteError
from p4p.nt import NTURI

from beamtime_ioc.errors import BeamtimeError, NoAnswerError
from beamtime_ioc.model import RunState
from beamtime_ioc.progress import RunView, StepLine, StepState

PUT_S = 60.0
"""For an answer to a put: longer than the IOC waits for its own database and audit before it refuses."""
LOOK_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an IOC is.

    Parameters
    ----------
    port
        PVAccess search port; None: as the environment says.
    """

    prefix: str
    port: int | None = None
    interfaces: tuple[str, ...] = ()


class Client:
    """Speaks to one IOC; a context manager.

    Parameters
    ----------
    timeout_s
        For names that do not answer.
    """

    def __init__(self, address: Address, timeout_s: float = 5.0) -> None:
        self.prefix, self.timeout_s = address.prefix, timeout_s
        self._context = Context("pva", conf=_configuration(address), useenv=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def read(self, suffix: str) -> Any:
        """The value of a record."""
        found = self._get(self.prefix + suffix)["value"]
        return found["choices"][found["index"]] if hasattr(found, "getID") else found

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table, each by its columns."""
        columns = self._get(self.prefix + table)["value"].todict()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def view(self, button: str) -> RunView:
        """How an action stands now."""
        return _view(self._get(f"{self.prefix}{button}Progress"))

    def buttons(self) -> list[str]:
        """The actions, by the names of their buttons."""
        return str(self.read("ActionNames")).split()

    def press(self, button: str, *, wait: bool = False, timeout_s: float = 86400.0) -> None:
        """Put 1; with `wait`, return when what it began has ended.

        Raises
        ------
        BeamtimeError
            The IOC refused the press, or the run did not end well; its sentence.
        """
        name = self.prefix + button
        self._get(name)  # a name that does not answer is told soon, however long the run may take
        self._put(name, 1, "record[block=true]" if wait else None, timeout_s if wait else PUT_S)

    def call(self, button: str, arguments: Mapping[str, object], *, preview: bool = False) -> str:
        """Press with arguments, and return when that is written down; with `preview`, return the plan.

        Raises
        ------
        BeamtimeError
            The IOC refused it; its sentence.
        """
        name = f"{self.prefix}Press"
        query = {
            "action": button,
            "arguments": json.dumps(dict(arguments)),
            "wait": "false",
            "preview": "true" if preview else "false",
        }
        request = NTURI([(word, "s") for word in query]).wrap(name, kws=query, scheme="pva")
        self.buttons()  # as of a press
        try:
            found: Any = self._context.rpc(name, request, timeout=PUT_S)
        except RemoteError as error:
            raise BeamtimeError(str(error)) from error
        except TimeoutError as error:
            raise NoAnswerError(name, PUT_S) from error
        return str(found.plan)

    def _put(
        self, name: str, value: str | int | float | dict[str, Any], request: str | None, timeout_s: float
    ) -> None:
        try:
            self._context.put(name, value, request=request, timeout=timeout_s)
        except RemoteError as error:
            raise BeamtimeError(str(error)) from error
        except TimeoutError as error:
            raise NoAnswerError(name, timeout_s) from error

    def write(self, suffix: str, value: str | int | float) -> None:
        """Put a text, a number or a state.

        Raises
        ------
        BeamtimeError
            The IOC refused it; its sentence.
        """
        name = self.prefix + suffix
        self._get(name)  # as of a press
        # In a mapping: p4p reads a bare text that begins with { as JSON.
        self._put(name, {"value": value}, None, PUT_S)

    def watch(
        self, button: str, repeat_s: float | None = None, silent: Callable[[], object] = lambda: None
    ) -> Iterator[RunView]:
        """Each post of an action's progress, the present one first; without end.

        Without a post it is read now and then: p4p loses one that comes before its subscription is made up
        ("Lost Subscription update"), and is then told of no other.

        Parameters
        ----------
        repeat_s
            The last one is given again after so many seconds without a new one.
        silent
            Called once when the IOC does not answer any more, and again the next time.
        """
        posts: queue.Queue[Any] = queue.Queue()
        name = f"{self.prefix}{button}Progress"
        subscription = self._context.monitor(name, posts.put, notify_disconnect=True)
        last: RunView | None = None
        answers = True
        try:
            while True:
                try:
                    post = posts.get(timeout=repeat_s or LOOK_S)
                except queue.Empty:
                    found = self._seen(button)
                    if found is None and answers:
                        silent()
                    answers = found is not None
                    seen = found or last
                    if seen is not None and (repeat_s or seen != last):
                        last = seen
                        yield seen
                    continue
                if isinstance(post, Disconnected):
                    continue
                if isinstance(post, Exception):
                    raise BeamtimeError(f"{name}: {post}") from post
                last = _view(post)
                yield last
        finally:
            subscription.close()

    def _seen(self, button: str) -> RunView | None:
        try:
            return self.view(button)
        except NoAnswerError:
            return None

    def _get(self, name: str) -> Any:
        try:
            found = self._context.get(name, timeout=self.timeout_s)
            return getattr(found, "raw", found)
        except TimeoutError as error:
            raise NoAnswerError(name, self.timeout_s) from error


def _configuration(address: Address) -> dict[str, str]:
    """What the environment says, and where it is silent, what the site file says.

    Each address gets its port: pvxs gives the ones from the environment the default port before it
    reads the port from here.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith("EPICS_PVA")}
    port = variables.get("EPICS_PVA_BROADCAST_PORT") or (str(address.port) if address.port else "5076")
    hosts = variables.get("EPICS_PVA_ADDR_LIST", "").split() or list(address.interfaces)
    if address.interfaces and "EPICS_PVA_ADDR_LIST" not in variables:
        variables["EPICS_PVA_AUTO_ADDR_LIST"] = "NO"
    listed = [host if ":" in host else f"{host}:{port}" for host in hosts]
    return {**variables, "EPICS_PVA_BROADCAST_PORT": port, "EPICS_PVA_ADDR_LIST": " ".join(listed)}


def _view(value: Any) -> RunView:
    return RunView(
        action=value["action"],
        state=RunState(value["state"]),
        percent=value["percent"],
        step=value["step"],
        message=value["message"],
        advice=value["advice"],
        run_id=value["runId"],
        started_by=value["startedBy"],
        started=value["started"]["secondsPastEpoch"]
        if hasattr(value["started"], "getID")
        else value["started"],
        elapsed_s=value["elapsed"],
        remaining_s=value["remaining"],
        steps=tuple(
            StepLine(
                name=step["name"],
                state=StepState(step["state"]),
                reason=step["reason"],
                seconds=step["seconds"],
            )
            for step in value["steps"]
        ),
    )
