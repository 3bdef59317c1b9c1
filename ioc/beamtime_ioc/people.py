"""The people of a beamtime."""

from collections.abc import Iterable
from dataclasses import dataclass, replace


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

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip() or self.badge or "somebody without a name"


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
    known = [person for person in listed if person != Person(is_pi=person.is_pi)]
    marked = [index for index, person in enumerate(known) if person.is_pi]
    pi = marked[0] if marked else 0
    return sorted_people(
        replace(person, is_pi=index == pi, pi_inferred=index == pi and not marked)
        for index, person in enumerate(known)
    )
