"""The seam: what the runner asks of an engine, and what an engine tells the runner."""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from beamtime_ioc.errors import NotJsonError
from beamtime_ioc.model import Experiment, Json, RunState, Who
from beamtime_ioc.progress import Progress


def new_run_id() -> str:
    """An id that sorts by time, also within one second: the ns since 1970, and six random digits."""
    return f"{time.time_ns():020d}-{secrets.token_hex(3)}"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was pressed, frozen at the press: written down before it is begun."""

    id: str
    action: str
    resource: str
    who: Who
    experiment: Experiment | None
    arguments: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    ended
        Seconds since 1970.
    """

    state: RunState
    message: str = ""
    advice: str = ""
    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    value: Json = None
    ended: float = field(default_factory=time.time)


class Listener(Protocol):
    """Whoever shows runs. Called from the engine's threads: must return at once and not raise."""

    def on_state(self, run_id: str, state: RunState) -> None: ...

    def on_progress(self, run_id: str, progress: Progress) -> None: ...

    def on_end(self, run_id: str, outcome: Outcome) -> None: ...


class Engine(Protocol):
    """Runs orders, one after another on each resource."""

    def start(self, listener: Listener) -> None:
        """Begin to work; the open orders of an earlier life go on by themselves."""
        ...

    def stop(self, grace_s: float) -> bool:
        """End: open runs go on at the next start. False if a handler still ran after `grace_s`."""
        ...

    async def submit(self, order: Order) -> None:
        """Return when the order is written down; it will be run."""
        ...

    async def cancel(self, run_id: str) -> None:
        """Ask a run to end at its next step; a queued one never begins."""
        ...


def checked_json(where: str, value: object) -> Json:
    """The value as JSON gives it back.

    Raises
    ------
    NotJsonError
        It is none.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise NotJsonError(where, value) from error
