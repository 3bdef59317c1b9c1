"""The seam: what the runner asks of an engine, and what an engine tells the runner."""

import json
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from beamtime_ioc.errors import NotJsonError
from beamtime_ioc.model import Experiment, Json, RunState, Who
from beamtime_ioc.progress import Progress
from beamtime_ioc.runrecord import RunRecord


def new_run_id() -> str:
    """An id that sorts by time, also within one second: the ns since 1970, and six random digits."""
    return f"{time.time_ns():020d}-{secrets.token_hex(3)}"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was pressed, frozen at the press: written down before it is begun.

    Parameters
    ----------
    again_of
        The run that is done again, as an operator answered its doubts.
    """

    id: str
    action: str
    resource: str
    who: Who
    experiment: Experiment | None
    arguments: Mapping[str, Json] = field(default_factory=dict[str, Json])
    queue: str = ""
    again_of: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    ended
        Seconds since 1970.
    experiment
        Whom it was for, where the run itself found that out; else it is the one of its order.
    """

    state: RunState
    message: str = ""
    advice: str = ""
    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    value: Json = None
    ended: float = field(default_factory=time.time)
    experiment: Experiment | None = None


@dataclass(frozen=True, kw_only=True)
class EngineHealth:
    """How the engine stands.

    Parameters
    ----------
    works
        False while its database cannot be written: nothing is begun, nothing ends.
    queued
        Runs that wait for their turn.
    oldest_open_s
        Age of the oldest run that has not ended, in s; 0 if there is none.
    failed_today
        Runs that ended Failed since midnight at the beamline.
    unsure
        Doubts that nobody has answered.
    troubles
        A sentence each, with what to do next.
    """

    works: bool = True
    queued: int = 0
    oldest_open_s: float = 0.0
    failed_today: int = 0
    unsure: int = 0
    troubles: tuple[str, ...] = ()


class Listener(Protocol):
    """Whoever shows runs. Called from the engine's threads: must return at once and not raise."""

    def on_state(self, run_id: str, state: RunState) -> None: ...

    def on_stuck(self, run_id: str, sentence: str) -> None:
        """It has not ended and nobody works on it; the sentence says why, and what to do next."""
        ...

    def on_progress(self, run_id: str, progress: Progress) -> None: ...

    def on_end(self, run_id: str, outcome: Outcome) -> None: ...


class Engine(Protocol):
    """Runs orders, one after another on each resource."""

    def start(self, listener: Listener, shown: Collection[str] = ()) -> None:
        """Begin to work; the open orders of an earlier life go on by themselves.

        Parameters
        ----------
        shown
            Runs of which the listener waits for the end.
        """
        ...

    def stop(self, grace_s: float) -> bool:
        """End: open runs go on at the next start. False if a handler still ran after `grace_s`."""
        ...

    async def submit(self, order: Order) -> None:
        """Return when the order is written down; it will be run."""
        ...

    async def cancel(self, run_id: str) -> None:
        """Ask a run to end at its next step; a queued one never begins, a stuck one is given up."""
        ...

    def health(self, midnight: datetime) -> EngineHealth:
        """How it stands; blocks as long as its database does.

        Parameters
        ----------
        midnight
            When today began at the beamline, with its zone.
        """
        ...

    def retire(self, before: datetime, keep: Callable[[Sequence[RunRecord]], None]) -> int:
        """Forget the runs that ended before a time and leave no doubt open; how many they were.

        Parameters
        ----------
        keep
            Called with each batch, oldest first, before its rows are deleted.
        """
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
