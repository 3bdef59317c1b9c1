"""The things a beamtime is made of: parsed once at the door, then trusted."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import TypeVar
from zoneinfo import ZoneInfo

import pydantic

from beamtime_ioc.addresses import Address, mailbox, typed_address
from beamtime_ioc.letters import (
    GIVEN_UP,
    HAS_ENDED,
    MAY_BE_SENT,
    NO_COPY,
    Letter,
    Mailing,
    OutboxRow,
    Waiting,
)
from beamtime_ioc.names import KEY, SafeName, counted, fill, one_line, safe_cycle
from beamtime_ioc.people import Person, SafetyForm, people_of, pi_of, sorted_people, with_form
from beamtime_ioc.places import DIRECTORY_LINE, Content, Naming, Place, Room
from beamtime_ioc.times import local_time, parse_time

__all__ = [
    "DIRECTORY_LINE",
    "GIVEN_UP",
    "HAS_ENDED",
    "KEY",
    "MANUAL",
    "MAY_BE_SENT",
    "NO_COPY",
    "Address",
    "Answer",
    "Beamtime",
    "Content",
    "Cycle",
    "Experiment",
    "Json",
    "Letter",
    "Mailing",
    "Naming",
    "OutboxRow",
    "Person",
    "Place",
    "Room",
    "RunState",
    "SafeName",
    "SafetyForm",
    "Site",
    "Waiting",
    "Who",
    "counted",
    "from_json",
    "local_time",
    "mailbox",
    "one_line",
    "parse_time",
    "people_of",
    "pi_of",
    "sorted_people",
    "to_json",
    "typed_address",
    "with_form",
]

Json = pydantic.JsonValue

MANUAL = "manual:"
"""Begins the key of an experiment that no schedule knows."""

T = TypeVar("T")


class RunState(StrEnum):
    """Where a run stands; the order is that of every `<Action>State` record."""

    IDLE = "Idle"
    QUEUED = "Queued"
    RUNNING = "Running"
    ABORTING = "Aborting"
    DONE = "Done"
    PROBLEMS = "Problems"
    UNSURE = "Unsure"
    FAILED = "Failed"
    ABORTED = "Aborted"
    STUCK = "Stuck"

    @property
    def ended(self) -> bool:
        return self not in (RunState.QUEUED, RunState.RUNNING, RunState.ABORTING, RunState.STUCK)

    @property
    def ended_well(self) -> bool:
        """Whether a client that waits hears of a success."""
        return self in (RunState.DONE, RunState.PROBLEMS)


class Answer(StrEnum):
    """What an operator says of a doubt; the order is that of `<Action>Resolve`, after `-`."""

    HAPPENED = "it happened"
    AGAIN = "do it again"
    GIVE_UP = "give up"


@cache
def type_adapter(kind: type[T]) -> pydantic.TypeAdapter[T]:
    return pydantic.TypeAdapter(kind)


def to_json(value: object) -> Json:
    """Write a frozen dataclass of this module as JSON."""
    return type_adapter(type(value)).dump_python(value, mode="json")


def from_json(kind: type[T], value: Json) -> T:
    """Read back what `to_json` wrote."""
    return type_adapter(kind).validate_python(value)


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """A run cycle of the facility, `[start, end)`."""

    name: str
    start: datetime
    end: datetime

    def contains(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


@dataclass(frozen=True, kw_only=True)
class Beamtime:
    """One entry of a schedule, `[start, end)` with zones."""

    source: str
    """Name of the schedule: `aps`."""
    id: str
    start: datetime
    end: datetime
    proposal: str = ""
    title: str = ""
    esaf: str = ""
    esaf_doi: str = ""
    cycle: str = ""
    beamline: str = ""
    people: tuple[Person, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.source}:{self.id}"

    @property
    def is_user(self) -> bool:
        """Machine studies and the like have neither a proposal nor people."""
        return bool(self.proposal or self.people)

    def contains(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Whose data are taken: the beamtime as this beamline works with it.

    Times carry the facility's offset, so that `year_month` is the local month of the start.
    """

    key: str
    """`<source>:<beamtime id>`, the identity; names are decoration."""
    name: str
    """Safe for paths: the same on every computer."""
    start: datetime
    end: datetime
    proposal: str = ""
    title: str = ""
    esaf: str = ""
    esaf_doi: str = ""
    cycle: str = ""
    beamline: str = ""
    people: tuple[Person, ...] = ()
    source: str = "schedule"
    edited: tuple[str, ...] = ()
    """Fields that a person changed by hand, such as `pi.email`."""
    open: bool = True
    first_naming: Naming | None = None
    """None: as its fields say now."""

    @property
    def naming(self) -> Naming:
        """What its paths are made of."""
        return self.first_naming or Naming(
            name=self.name,
            start=self.start,
            end=self.end,
            pi=self.pi.last_name,
            proposal=self.proposal,
            cycle=self.cycle,
        )

    @property
    def pi(self) -> Person:
        """The principal investigator; an empty person when nobody is on the proposal."""
        return pi_of(self.people) or Person()

    @property
    def year_month(self) -> str:
        return f"{self.start:%Y-%m}"

    def edit(self, path: str, text: str) -> "Experiment":
        """The same experiment with one field changed by hand.

        Parameters
        ----------
        path
            `pi.<field of Person>` or a text field of the experiment.
        """
        edited = tuple(dict.fromkeys([*self.edited, path]))
        head, _, last = path.partition(".")
        if not last:
            return replace(self, **{head: text}, source="manual", edited=edited)
        pi = replace(self.pi, **{last: text}, is_pi=True)
        people = tuple(pi if person.is_pi else person for person in self.people) or (pi,)
        return replace(self, people=people, source="manual", edited=edited)


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the site file says about the beamline."""

    prefix: str
    beamline: str
    zone: ZoneInfo
    places: tuple[Place, ...] = ()
    experiment_name: str = "{start:%Y-%m}-{pi}-{proposal}"
    names: str = "safe"
    """The rule by which texts are made safe: `safe` or `legacy`."""
    open_steps: frozenset[tuple[str, str]] = frozenset()
    """Steps, each behind the name of the pressed action, that may go on without the schedule."""

    def goes_on(self, action: str, step: str) -> bool:
        """Whether a step of a pressed action may go on when the schedule cannot be asked."""
        return (action, step) in self.open_steps

    def experiment(self, beamtime: Beamtime, first: Naming | None = None) -> Experiment:
        """The beamtime under this site's names and in its zone.

        Parameters
        ----------
        first
            How it was named when it was first seen: it keeps that.
        """
        start, end = beamtime.start.astimezone(self.zone), beamtime.end.astimezone(self.zone)
        pi = pi_of(beamtime.people) or Person()
        name = fill(
            self.experiment_name,
            self.names,
            start=start,
            end=end,
            pi=pi.last_name,
            pi_first=pi.first_name,
            proposal=beamtime.proposal or beamtime.id,
            beamtime=beamtime.id,
            cycle=safe_cycle(beamtime.cycle),
        )
        experiment = Experiment(
            key=beamtime.key,
            name=first.name if first else name,
            start=start,
            end=end,
            proposal=beamtime.proposal,
            title=beamtime.title,
            esaf=beamtime.esaf,
            esaf_doi=beamtime.esaf_doi,
            cycle=beamtime.cycle,
            beamline=beamtime.beamline or self.beamline,
            people=beamtime.people,
        )
        return replace(experiment, first_naming=first or experiment.naming)


@dataclass(frozen=True, kw_only=True)
class Who:
    """Who asks. Only `peer` is not claimed by the client itself.

    Parameters
    ----------
    via
        `ca`, `pva`, `rpc`, `schedule` or `local`.
    """

    via: str
    user: str = ""
    peer: str = ""
    claim: str = ""
    roles: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.via == "schedule":
            return "the schedule of the site file"
        host = self.peer if not self.claim or self.claim == self.peer else f"{self.claim} ({self.peer})"
        return f"{self.user or 'somebody'} from {host or 'here'} by {self.via}"
