"""What may go wrong with each service of the box: a knob each, with its default and what it may be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from beamtime_sim.bodies import BODIES
from beamtime_sim.clock_change import CHANGES

EVERYBODY, NEVER = "*", "never"
HOSTS = ("det1", "ana1")
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


def _hosts(value: object) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise TypeError
    names = tuple(_text(word).strip().lower() for word in cast("list[object]", words))
    if not all(name in (EVERYBODY, *HOSTS) for name in names):
        raise ValueError
    return names


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


def _knob(
    default: object, check: Callable[[object], object], allowed: str, *, words: Sequence[str] = ()
) -> Any:
    metadata = {"check": check, "allowed": allowed, "words": words}
    return field(default_factory=lambda: default, metadata=metadata)


def _choice(words: Sequence[str], allowed: str = "", *, on: str | None = None) -> Any:
    """A knob that is one of some words; the first is its default.

    Parameters
    ----------
    on
        The word that `true` means; `false` is then the default.
    """

    def check(value: object) -> str:
        if on is not None and isinstance(value, bool):
            return on if value else words[0]
        if value not in words:
            raise ValueError
        return str(value)

    return _knob(words[0], check, allowed or f"one of {', '.join(words)}", words=tuple(words))


@dataclass(frozen=True, kw_only=True)
class ScheduleFaults:
    """How the schedule server fails."""

    delay_s: float = _knob(0.0, _seconds, f"seconds before each answer, 0 to {LONGEST_S:g}")
    status: int | None = _knob(None, _status, "an HTTP status, 400 to 599, instead of each answer")
    fail_times: int | None = _knob(
        None, _count, "how many answers still fail (schedule.status, else 503) until they are good again"
    )
    body: str = _choice(BODIES)
    hang: bool = _knob(False, _yes_or_no, "true or false; true takes requests and never answers")
    pi_last_name: str | None = _knob(None, _text, "a text that stands for the last name of every PI")
    on_beam: int | None = _knob(
        None,
        _number,
        f"a number, 1 to {MOST_GUESTS}: that guest experiment, each with its own ids and people, is on beam",
    )
    late_colleague: bool = _knob(
        False, _yes_or_no, "true or false; true lets one more person join whoever is on beam"
    )
    clock_change: str = _choice(
        (NEVER, *CHANGES),
        "never, next or last: whoever is on beam is so over the next change of the clocks, or since before "
        "the last",
    )
    lose_reply: int = _knob(0, _count, f"requests: {_LOSE}")


@dataclass(frozen=True, kw_only=True)
class MailFaults:
    """How the mail server fails."""

    refuse: tuple[str, ...] = _knob((), _addresses, 'a list of addresses, or "*" for all: answered with 550')
    grey: Mapping[str, int] = _knob(
        {}, _tries, 'addresses, or "*", and how many tries get 451: {"*": 2} or *=2; a plain list means 1'
    )
    hang: str = _choice(
        (NEVER, "connect", "data"),
        "never, connect (never greets; true means the same) or data (takes the text, never answers)",
        on="connect",
    )
    drop: str = _choice(
        (NEVER, "before-data", "during-data", "after-data"),
        "one of never, before-data, during-data, after-data (the message is kept, the answer is lost)",
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
class HostsFaults:
    """How the hosts fail; `only` says which of them."""

    delay_s: float = _knob(0.0, _seconds, f"seconds before the work of each command, 0 to {LONGEST_S:g}")
    hang: str = _choice(
        (NEVER, "connect", "command"),
        "never, connect (takes connections and never speaks; true means the same) or command (never answers "
        "one)",
        on="connect",
    )
    refuse: str = _choice(
        (NEVER, "connect", "key"),
        "never, connect (the port is closed, as of a host that is off; true means the same) or key (lets "
        "nobody in)",
        on="connect",
    )
    full: bool = _knob(False, _yes_or_no, "true or false; true leaves no space on the disks")
    lose_reply: int = _knob(0, _count, f"commands that write something: {_LOSE}")
    only: tuple[str, ...] = _knob(
        (EVERYBODY,),
        _hosts,
        f'whom the other knobs of hosts touch: a list of {" and ".join(HOSTS)}, or "*" for both',
    )


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


PARTS = {"schedule": ScheduleFaults, "mail": MailFaults, "hosts": HostsFaults, "errands": ErrandsFaults}
