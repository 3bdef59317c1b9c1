"""The people of a beamtime, from its proposal and from its safety form."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime


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
    listed, leader = list(people), -1
    for other in sorted_people(person for person in form if person.is_known):
        place = next((n for n, person in enumerate(listed) if person.is_same(other)), len(listed))
        known = listed[place : place + 1] or [replace(other, is_pi=False, form_only=True)]
        listed[place : place + 1] = [known[0].filled(other)]
        if other.is_pi and leader < 0:
            leader = place
    if leader >= 0 and not any(person.is_pi and not person.pi_inferred for person in listed):
        listed = [replace(one, is_pi=n == leader, pi_inferred=False) for n, one in enumerate(listed)]
    return sorted_people(listed) if any(person.is_pi for person in listed) else people_of(listed)
