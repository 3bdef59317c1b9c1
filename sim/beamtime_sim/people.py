"""The invented people and beamtimes of ``people.yaml``."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import yaml


@dataclass(frozen=True, kw_only=True)
class Person:
    """One invented person, as the user office knows them."""

    badge: str
    first: str
    last: str
    institution: str
    email: str | None


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One beamtime of the cycle.

    ``start`` and ``end`` are days from the anchor, both at the change-over hour.
    """

    start: int
    end: int
    gup: int
    title: str
    people: tuple[Person, ...]
    pi: Person | None
    type: str = "general"
    esaf: bool = True
    first_choice: str | None = None
    proprietary: bool = False
    mail_in: bool = False


@dataclass(frozen=True, kw_only=True)
class Facility:
    """All that is invented: who comes, when, in which order, to which beamline."""

    timezone: ZoneInfo
    change_hour: int
    beamline: str
    station: dict[str, Any]
    runs: dict[int, tuple[int, int]]
    cycle_days: int
    visits: tuple[Visit, ...]


def load_facility() -> Facility:
    """Read the facility that the package ships."""
    text = files("beamtime_sim").joinpath("people.yaml").read_text(encoding="utf-8")
    raw: dict[str, Any] = yaml.safe_load(text)
    people = {key: Person(**person) for key, person in raw["people"].items()}
    return Facility(
        timezone=ZoneInfo(raw["timezone"]),
        change_hour=raw["change_hour"],
        beamline=raw["beamline"],
        station=raw["station"],
        runs={int(number): _month_and_day(day) for number, day in raw["runs"].items()},
        cycle_days=raw["cycle_days"],
        visits=tuple(_visit(visit, people) for visit in raw["beamtimes"]),
    )


def _visit(raw: dict[str, Any], people: dict[str, Person]) -> Visit:
    pi: str | None = raw["pi"]
    known: dict[str, Any] = {
        "people": tuple(people[name] for name in raw["people"]),
        "pi": None if pi is None else people[pi],
    }
    return Visit(**{**raw, **known})


def _month_and_day(text: str) -> tuple[int, int]:
    month, day = text.split("-")
    return int(month), int(day)
