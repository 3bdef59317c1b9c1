"""What handlers ask of the world: one protocol per service.

A service's section of the site file has the name of its protocol in small letters:
`run.service(Hosts)` is built from the section `hosts`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from beamtime_ioc.model import Beamtime, Cycle, Experiment, Json, Letter, Naming, Person, Place, Site


@dataclass(frozen=True, kw_only=True)
class Health:
    """What a look at a service found.

    Parameters
    ----------
    latency_s
        Time of one round trip, in s.
    """

    ok: bool
    sentence: str
    latency_s: float = 0.0


class Service(Protocol):
    """What every client can do besides its own words."""

    def check(self) -> Health:
        """Look whether the service answers and accepts our credentials; changes nothing."""
        ...


class Schedule(Service, Protocol):
    """Who is on the beamline when."""

    early_min: float
    """Minutes before its start in which a beamtime is taken when no other is active."""

    def cycles(self) -> Sequence[Cycle] | None:
        """All run cycles, or None where the schedule has no such thing."""
        ...

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        """Beamtimes that overlap `[start, end)`, sorted by start, then id.

        Raises
        ------
        ServiceUnavailableError, ServiceDeniedError, BadResponseError
        """
        ...

    def by_id(self, key: str) -> Beamtime | None: ...


class Hosts(Service, Protocol):
    """The computers where experiments have directories; each method takes one place."""

    def find_directory(self, place: Place, experiment: Experiment) -> Json:
        """What stands: its path, mode, owner and group; None if absent or half made.

        Raises
        ------
        ConflictError
            It belongs to another experiment, or is no directory of ours.
        PlaceError
            The top directory is missing, not mounted, not a directory.
        """
        ...

    def make_directory(self, place: Place, experiment: Experiment) -> None: ...

    def check_directory(self, place: Place, experiment: Experiment) -> Json:
        """Read it back; raises NotVerifiedError when path, marker or mode do not hold."""
        ...


@dataclass(frozen=True, kw_only=True)
class Mailing:
    """Who would get a letter, and who cannot, with the reason."""

    letters: tuple[Letter, ...]
    left_out: tuple[tuple[Person, str], ...] = ()
    mode: str = "dry-run"
    """`off`, `dry-run`, `test` or `live`."""


class Mail(Service, Protocol):
    """Letters to users; the outbox is the only claim."""

    def compose(self, experiment: Experiment, places: Sequence[Place], run_id: str) -> Mailing:
        """Render one letter for each person with a usable address."""
        ...

    def find(self, letter: Letter) -> Json:
        """Its row in the outbox if it was accepted; None if it may be sent.

        Raises
        ------
        OutcomeUnknownError
            A sending was begun and its end is not known.
        """
        ...

    def send(self, letter: Letter) -> None:
        """Claim the row, talk to the relay, write down its answer.

        Raises
        ------
        DefinitelyRefusedError, DeferredError, ServiceUnavailableError, OutcomeUnknownError
        """
        ...

    def sent(self, letter: Letter) -> Json:
        """Read the row back; raises NotVerifiedError unless it was accepted."""
        ...


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """One letter's fate.

    Parameters
    ----------
    state
        `sending`, `accepted`, `refused`, `deferred` or `unsure`.
    answer
        What the relay said, such as `250 2.0.0 Ok`.
    """

    key: str
    to: str
    state: str
    answer: str
    at: datetime


class Outbox(Protocol):
    """The letters of all times, in the state database."""

    def find(self, key: str) -> OutboxRow | None: ...

    def claim(self, letter: Letter) -> None:
        """Write `sending`, on the disk before it returns.

        Raises
        ------
        OutcomeUnknownError
            Somebody else has claimed it and not settled.
        """
        ...

    def settle(self, key: str, state: str, answer: str) -> None: ...


class Identity(Protocol):
    """The current experiment of the beamline, in the state database."""

    def current(self) -> Experiment | None: ...

    def adopt(self, experiment: Experiment) -> None:
        """Make it the current experiment; the records follow."""
        ...

    def first_naming(self, key: str) -> Naming | None:
        """How an experiment was named when it was first adopted; None if it never was."""
        ...

    def looked_up(self) -> datetime | None:
        """Time of the last look-up that gave an answer."""
        ...

    def note_look_up(self, at: datetime) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a client is built with besides its own settings.

    Parameters
    ----------
    directory
        Of the site file: relative paths in it start here.
    state
        The state directory, for files of the client's own.
    """

    site: Site
    directory: Path
    state: Path
    outbox: Outbox


class ServiceModule(Protocol):
    """A module named by an entry point of `beamtime.services`, such as `schedule.aps`."""

    Settings: type[Any]
    """A pydantic model of its section of the site file."""

    build: Callable[[Any, Context], Service]


Services = Mapping[str, object]
"""Clients by section name: `schedule`, `hosts`, `mail`, `identity`, ..."""
