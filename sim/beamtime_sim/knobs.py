"""The fault knobs of the box: what they are called, what they may be, how they stand."""

import dataclasses
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from beamtime_sim.bodies import BODIES
from beamtime_sim.errors import KnobError

EVERYBODY = "*"
LONGEST_S = 600.0
MOST_GUESTS = 1_000_000
FASTEST_BYTES_PER_S = 1e12


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_S:
        raise ValueError
    return float(value)


def _status(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 400 <= value <= 599:
        raise ValueError
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def _number(value: object) -> int:
    number = _count(value)
    if not 1 <= number <= MOST_GUESTS:
        raise ValueError
    return number


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= FASTEST_BYTES_PER_S:
        raise ValueError
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # half a letter of UTF-16 could be sent to nobody
    return value


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _one_of(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return check


def _hang(value: object) -> str | None:
    if isinstance(value, bool):
        return "connect" if value else None
    return _one_of("connect", "data")(value)


def _addresses(value: object) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise TypeError
    addresses = tuple(_text(word).strip().lower() for word in cast("list[object]", words))
    if not all(address == EVERYBODY or "@" in address for address in addresses):
        raise ValueError
    return addresses


def _tries(value: object) -> dict[str, int]:
    if isinstance(value, Mapping):
        given = cast("Mapping[str, object]", value)
        return {one: _count(tries) for addresses, tries in given.items() for one in _addresses(addresses)}
    if isinstance(value, str) and value.rpartition("=")[2].isdecimal():
        addresses, _, tries = value.rpartition("=")
        return dict.fromkeys(_addresses(addresses), int(tries))
    return dict.fromkeys(_addresses(value), 1)


_LOSE = "how many more are done fully before the connection is closed without an answer"


def _knob(default: object, check: Callable[[object], object], allowed: str) -> Any:
    return field(default_factory=lambda: default, metadata={"check": check, "allowed": allowed})


@dataclass(frozen=True, kw_only=True)
class ScheduleFaults:
    """How the schedule server fails."""

    delay_s: float = _knob(0.0, _seconds, f"seconds before each answer, 0 to {LONGEST_S:g}")
    status: int | None = _knob(None, _status, "an HTTP status, 400 to 599, instead of each answer")
    fail_times: int | None = _knob(
        None, _count, "how many answers still fail (schedule.status, else 503) until they are good again"
    )
    body: str = _knob("normal", _one_of(*BODIES), f"one of {', '.join(BODIES)}")
    hang: bool = _knob(False, _yes_or_no, "true or false; true takes requests and never answers")
    pi_last_name: str | None = _knob(None, _text, "a text that stands for the last name of every PI")
    on_beam: int | None = _knob(
        None,
        _number,
        f"a number, 1 to {MOST_GUESTS}: that guest experiment, each with its own ids and people, is on beam",
    )
    lose_reply: int = _knob(0, _count, f"requests: {_LOSE}")


@dataclass(frozen=True, kw_only=True)
class MailFaults:
    """How the mail server fails."""

    refuse: tuple[str, ...] = _knob((), _addresses, 'a list of addresses, or "*" for all: answered with 550')
    grey: Mapping[str, int] = _knob(
        {}, _tries, 'addresses, or "*", and how many tries get 451: {"*": 2} or *=2; a plain list means 1'
    )
    hang: str | None = _knob(
        None, _hang, "connect (never greets; true means the same) or data (takes the text, never answers)"
    )
    drop: str | None = _knob(
        None,
        _one_of("before-data", "during-data", "after-data"),
        "one of before-data, during-data, after-data (the message is kept, the answer is lost)",
    )
    delay_s: float = _knob(
        0.0, _seconds, f"seconds between keeping a message and the answer, 0 to {LONGEST_S:g}"
    )
    only: tuple[str, ...] = _knob(
        (EVERYBODY,),
        _addresses,
        'whom drop, lose_reply, delay_s and hang=data touch: a list of addresses, or "*" for all',
    )
    lose_reply: int = _knob(0, _count, f"messages: {_LOSE}")


@dataclass(frozen=True, kw_only=True)
class ErrandsFaults:
    """How the errands service fails, and how fast it copies."""

    delay_s: float = _knob(
        0.0, _seconds, f"seconds between doing what was asked and the answer, 0 to {LONGEST_S:g}"
    )
    lose_reply: int = _knob(0, _count, f"requests: {_LOSE}")
    rate_bytes_per_s: float = _knob(
        10e6,
        _rate,
        f"bytes a second, 1 to {FASTEST_BYTES_PER_S:g}, of the copies that start from now on",
    )


_PARTS = {"schedule": ScheduleFaults, "mail": MailFaults, "errands": ErrandsFaults}


class Knobs:
    """All knobs of one box; safe to read and turn from any thread.

    Names are ``schedule.``, ``mail.`` or ``errands.`` and a field of the class above. A value of None
    takes a knob back to its default.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._grey_tries: Counter[str] = Counter()
        self.schedule = ScheduleFaults()
        self.mail = MailFaults()
        self.errands = ErrandsFaults()

    def set(self, name: str, value: object) -> None:
        """Turn one knob.

        Raises
        ------
        KnobError
            There is no such knob, or it may not have this value.
        """
        self.set_all({name: value})

    def set_all(self, values: Mapping[str, object]) -> None:
        """Turn several knobs at once: all of them, or none if one is refused."""
        checked = {name: _checked(name, value) for name, value in values.items()}
        with self._lock:
            for part in _PARTS:
                setattr(self, part, dataclasses.replace(getattr(self, part), **_part(part, checked)))
            if "mail.grey" in checked:
                self._grey_tries.clear()

    def reset(self) -> None:
        """Take every knob back to its default."""
        with self._lock:
            self.schedule, self.mail, self.errands = ScheduleFaults(), MailFaults(), ErrandsFaults()
            self._grey_tries.clear()

    def values(self) -> dict[str, Any]:
        """Return the value of every knob by its name."""
        with self._lock:
            faults = {part: getattr(self, part) for part in _PARTS}
        return {f"{part}.{spec.name}": getattr(faults[part], spec.name) for part, spec in _specs()}

    def take_failure(self) -> int | None:
        """Return the HTTP status that this answer must have, or None; counts ``schedule.fail_times`` down."""
        with self._lock:
            faults = self.schedule
            if faults.fail_times is None:
                return faults.status
            if faults.fail_times == 0:
                return None
            self.schedule = dataclasses.replace(faults, fail_times=faults.fail_times - 1)
            return faults.status or 503

    def take_lost_reply(self, part: str) -> bool:
        """Say whether this answer of a service is lost; counts its ``lose_reply`` down."""
        with self._lock:
            faults = getattr(self, part)
            if faults.lose_reply:
                setattr(self, part, dataclasses.replace(faults, lose_reply=faults.lose_reply - 1))
            return faults.lose_reply > 0

    def take_grey(self, address: str) -> bool:
        """Say whether this try for this address is answered with 451; counts the tries."""
        key = address.lower()
        with self._lock:
            tries = self.mail.grey.get(key, self.mail.grey.get(EVERYBODY, 0))
            self._grey_tries[key] += 1
            return self._grey_tries[key] <= tries


def listed(addresses: tuple[str, ...], address: str) -> bool:
    """Say whether a list of addresses names this one, in any case of letters."""
    return EVERYBODY in addresses or address.lower() in addresses


def allowed_values() -> dict[str, str]:
    """Return what each knob may be, in words, by its name."""
    return {f"{part}.{spec.name}": spec.metadata["allowed"] for part, spec in _specs()}


def _specs() -> list[tuple[str, dataclasses.Field[Any]]]:
    return [(part, spec) for part, faults in _PARTS.items() for spec in dataclasses.fields(faults)]


def _checked(name: str, value: object) -> object:
    specs = {f"{part}.{spec.name}": spec for part, spec in _specs()}
    if name not in specs:
        raise KnobError(f"there is no knob {name!r}; the knobs are {', '.join(specs)}")
    spec = specs[name]
    if value is None:
        return cast("Callable[[], object]", spec.default_factory)()
    try:
        return spec.metadata["check"](value)
    except (TypeError, ValueError) as error:
        shown = json.dumps(value, ensure_ascii=False, default=str)
        raise KnobError(f"{name} cannot be {shown}; allowed is {spec.metadata['allowed']}") from error


def _part(part: str, values: dict[str, Any]) -> dict[str, Any]:
    begin = f"{part}."
    return {name.removeprefix(begin): value for name, value in values.items() if name.startswith(begin)}
