"""What handlers ask of the world: one protocol per service.

A service's section of the site file has the name of its protocol in small letters:
`run.service(Hosts)` is built from the section `hosts`.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self

from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import (
    Beamtime,
    Content,
    Cycle,
    Experiment,
    Json,
    Letter,
    Mailing,
    Naming,
    OutboxRow,
    Place,
    Room,
    SafetyForm,
    Site,
    Waiting,
)


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

    @classmethod
    def of(cls, look: Callable[[], str]) -> Self:
        """What a look gives: well with its sentence, or not with that of its error, and how long it took."""
        began, ok = time.monotonic(), True
        try:
            sentence = look()
        except BeamtimeError as error:
            ok, sentence = False, str(error)
        return cls(ok=ok, sentence=sentence, latency_s=time.monotonic() - began)


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


class Esaf(Service, Protocol):
    """Safety forms, with people who may stand on no proposal; a site may do without it."""

    def find(self, number: str) -> SafetyForm | None:
        """The form with this number; None if there is none.

        Raises
        ------
        ServiceUnavailableError, ServiceDeniedError, BadResponseError
        """
        ...


class Hosts(Service, Protocol):
    """The computers where experiments have directories; each method takes one place."""

    def check_place(self, place: Place) -> Health:
        """Look whether experiments could have directories there; changes nothing.

        Raises
        ------
        PlaceError
            The top directory is missing, not mounted, may not be written, or has too little space.
        """
        ...

    def room(self, place: Place) -> Room:
        """How much space there is.

        Raises
        ------
        PlaceError
            The top directory cannot be looked at.
        """
        ...

    def contents(self, place: Place, experiment: Experiment) -> Sequence[Content]:
        """What lies in the experiment's directory, then in each sibling; counted until a limit.

        What cannot be counted says why.

        Raises
        ------
        PlaceError
            The place's template gives no path.
        """
        ...

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


class Mail(Service, Protocol):
    """Letters to users; the outbox is the only claim."""

    def compose(
        self,
        experiment: Experiment,
        places: Sequence[Place],
        run_id: str,
        *,
        only: Sequence[str] = (),
        again: str = "",
    ) -> Mailing:
        """Render one letter for each person with a usable address.

        Parameters
        ----------
        only
            Addresses: who has none of them is left out. Empty: nobody is.
        again
            A word. Not empty: the letters are for those who have had theirs, once more for each word.
        """
        ...

    def find(self, letter: Letter) -> Json:
        """Its row in the outbox if it was accepted; None if it may be sent.

        Raises
        ------
        OutcomeUnknownError
            A sending was begun and its end is not known.
        """
        ...

    def finder(self, letters: Sequence[Letter]) -> Callable[[Letter], Json]:
        """`find` for these letters, as they stand now: however many with one look."""
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

    def waiting(self, *, at_once: bool = False) -> Waiting:
        """What was put off and may be tried again.

        Parameters
        ----------
        at_once
            Also those whose time has not come.
        """
        ...

    def put_off(self) -> Sequence[OutboxRow]:
        """Every letter that was put off, the oldest first, whether it may be tried again or not."""
        ...

    def give_up(self, row: OutboxRow, run_id: str) -> None:
        """Let nobody send a letter any more that was put off; what has become another stays as it is."""
        ...

    def given_up(self, row: OutboxRow) -> Json:
        """Its row in the outbox if a person has given it up; None if not."""
        ...


class Outbox(Protocol):
    """The letters of all times, in the state database."""

    def find(self, key: str) -> OutboxRow | None: ...

    def find_all(self, keys: Collection[str]) -> Mapping[str, OutboxRow]:
        """The rows of those that are there, by key, however many with one look."""
        ...

    def claim(self, letter: Letter) -> None:
        """Write `sending`, on the disk before it returns.

        Raises
        ------
        OutcomeUnknownError
            Somebody else has claimed it and not settled.
        """
        ...

    def settle(self, key: str, state: str, answer: str, *, due: datetime | None = None) -> None:
        """Write down what became of a letter that was claimed.

        Parameters
        ----------
        due
            When it may be tried again, if it is `deferred`.
        """
        ...

    def waiting(self) -> Sequence[tuple[OutboxRow, Letter | None]]:
        """Every deferred letter, the oldest first; None where its text was not kept."""
        ...

    def give_up(self, key: str, answer: str, run_id: str) -> None:
        """Make a deferred letter `given up`, by that run; in any other state it stays as it is."""
        ...


class Identity(Protocol):
    """The current experiment of the beamline, in the state database.

    `Experiment.open` of what is read tells whether it was closed; of what is adopted it says nothing.
    """

    def current(self) -> Experiment | None: ...

    def adopt(self, experiment: Experiment) -> None:
        """Make it the current experiment; the records follow."""
        ...

    def first_naming(self, key: str) -> Naming | None:
        """How an experiment was named when it was first adopted; None if it never was."""
        ...

    def named(self, name: str) -> Sequence[str]:
        """The keys of all experiments that were first named so, small letters or not."""
        ...

    def closed(self, key: str) -> datetime | None:
        """When the beamtime of an experiment was ended; None while it is open."""
        ...

    def close(self, key: str, at: datetime, run_id: str) -> None:
        """Let an experiment be closed from now on; what is closed already stays as it is."""
        ...

    def reopen(self, key: str) -> None: ...

    def manual(self, key: str) -> Experiment | None:
        """An experiment that no schedule knows, as it was last; None if there was none of this key."""
        ...

    def manuals(self) -> Sequence[Experiment]:
        """All of these, sorted by key."""
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
