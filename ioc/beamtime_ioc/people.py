"""The people of a beamtime, from its proposal and from its safety form."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import heappop, heappush


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody on a beamtime. A text that the schedule does not give is empty."""

    first_name: str = ""
    last_name: str = ""
    email: str = ""
    institution: str = ""
    badge: str = ""
    """Digits as text: a leading zero counts."""
    is_pi: bool = False
    pi_inferred: bool = False
    """Taken as PI since the schedule marks nobody."""
    form_only: bool = False
    """Stands on the safety form, and not on the proposal."""

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip() or self.badge or "somebody without a name"

    @property
    def is_known(self) -> bool:
        """Whether anything is known by which somebody can be found."""
        return bool(self.badge or self.first_name or self.last_name or self.email)

    def is_same(self, other: "Person") -> bool:
        """Whether both are one: by their badges, or by e-mail where one of them has no badge."""
        if self.badge and other.badge:
            return self.badge == other.badge
        return bool(self.email) and self.email.lower() == other.email.lower()

    def filled(self, other: "Person") -> "Person":
        """The same, with the other's texts where this one has none."""
        names = ("first_name", "last_name", "email", "institution", "badge")
        return replace(self, **{name: getattr(self, name) or getattr(other, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class SafetyForm:
    """What a facility knows of a safety form, such as an ESAF of the APS.

    Parameters
    ----------
    start, end
        When it is valid, in UTC; None where the form does not say.
    status
        As the facility calls it, such as `Approved`.
    """

    number: str
    people: tuple[Person, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    status: str = ""
    doi: str = ""


def pi_of(people: Iterable[Person]) -> Person | None:
    """The principal investigator; None when nobody is marked."""
    return next((person for person in people if person.is_pi), None)


def sorted_people(people: Iterable[Person]) -> tuple[Person, ...]:
    """Everybody once, the PI first, then by name: the order of a service's list is not stable."""
    unique: dict[str, Person] = {}
    for person in people:
        key = person.badge or f"{person.first_name} {person.last_name} {person.email}".lower()
        if key not in unique or person.is_pi:  # who is listed twice stays the PI
            unique[key] = person
    return tuple(
        sorted(
            unique.values(), key=lambda p: (not p.is_pi, p.last_name.lower(), p.first_name.lower(), p.badge)
        )
    )


def people_of(listed: Iterable[Person]) -> tuple[Person, ...]:
    """Everybody once with one PI: the first that is marked, else the first of all, taken as PI.

    Entries of which nothing is known are left out.
    """
    known = [person for person in listed if person.is_known]
    marked = [index for index, person in enumerate(known) if person.is_pi]
    pi = marked[0] if marked else 0
    return sorted_people(
        replace(person, is_pi=index == pi, pi_inferred=index == pi and not marked)
        for index, person in enumerate(known)
    )


def with_form(people: Iterable[Person], form: Iterable[Person]) -> tuple[Person, ...]:
    """The people of a proposal and those of its safety form, everybody once.

    Who stands on both is as the proposal says, and as the form where that says nothing. The form's PI counts
    where the proposal marks none.
    """
    listed, leader = list[Person](), -1
    where = _Where(listed)
    for person in people:
        where.put(len(listed), person)
    for other in sorted_people(person for person in form if person.is_known):
        place = where.first(other)
        known = listed[place] if place < len(listed) else replace(other, is_pi=False, form_only=True)
        where.put(place, known.filled(other))
        if other.is_pi and leader < 0:
            leader = place
    if leader >= 0 and not any(person.is_pi and not person.pi_inferred for person in listed):
        listed = [replace(one, is_pi=n == leader, pi_inferred=False) for n, one in enumerate(listed)]
    return sorted_people(listed) if any(person.is_pi for person in listed) else people_of(listed)


class _Where:
    """Where in a list each of its people stands, found without asking all: a list may be of any length."""

    def __init__(self, listed: list[Person]) -> None:
        self._listed = listed
        self._places: dict[tuple[str, str], list[int]] = {}
        """Heaps of places, by what somebody can be found by."""

    def put(self, place: int, person: Person) -> None:
        """Write somebody into the list, or behind its end."""
        self._listed[place : place + 1] = [person]
        for key in _keys(person):
            heappush(self._places.setdefault(key, []), place)

    def first(self, other: Person) -> int:
        """The first place of the same person; the list's length if there is none."""
        email = other.email.lower()
        keys = [("badge", other.badge), ("e-mail alone", email)] if other.badge else [("e-mail", email)]
        places = (self._places.get(key, []) for key in keys)
        return min((heap[0] for heap in places if self._holds(heap, other)), default=len(self._listed))

    def _holds(self, heap: list[int], other: Person) -> bool:
        # Who was known by e-mail alone may have got a badge since.
        while heap and not self._listed[heap[0]].is_same(other):
            heappop(heap)
        return bool(heap)


def _keys(person: Person) -> Iterator[tuple[str, str]]:
    if person.badge:
        yield "badge", person.badge
    if person.email:
        yield "e-mail", person.email.lower()
        if not person.badge:
            yield "e-mail alone", person.email.lower()
