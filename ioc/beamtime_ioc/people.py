"""The people of a beamtime."""

from collections.abc import Iterable
from dataclasses import dataclass


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
