"""The fault knobs of one box: how they stand, and who turns them."""

import dataclasses
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

from beamtime_sim.errors import KnobError
from beamtime_sim.faults import EVERYBODY, PARTS, ErrandsFaults, HostsFaults, MailFaults, ScheduleFaults


class Knobs:
    """All knobs of one box; safe to read and turn from any thread.

    Names are ``schedule.``, ``mail.``, ``hosts.`` or ``errands.`` and a field of those faults. A value of
    None takes a knob back to its default.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._grey_tries: Counter[str] = Counter()
        self._told: list[Callable[[], None]] = []
        self.schedule = ScheduleFaults()
        self.mail = MailFaults()
        self.hosts = HostsFaults()
        self.errands = ErrandsFaults()

    def tell(self, turned: Callable[[], None]) -> None:
        """Call this each time that knobs were turned; whoever turned them waits for it."""
        self._told.append(turned)

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
            for part in PARTS:
                setattr(self, part, dataclasses.replace(getattr(self, part), **_part(part, checked)))
            if "mail.grey" in checked:
                self._grey_tries.clear()
        self._say_turned()

    def reset(self) -> None:
        """Take every knob back to its default."""
        with self._lock:
            for part, faults in PARTS.items():
                setattr(self, part, faults())
            self._grey_tries.clear()
        self._say_turned()

    def values(self) -> dict[str, Any]:
        """Return the value of every knob by its name."""
        with self._lock:
            faults = {part: getattr(self, part) for part in PARTS}
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

    def _say_turned(self) -> None:
        for turned in self._told:
            turned()


def listed(names: tuple[str, ...], name: str) -> bool:
    """Say whether a list of addresses or hosts names this one, in any case of letters."""
    return EVERYBODY in names or name.lower() in names


def allowed_values() -> dict[str, str]:
    """Return what each knob may be, in words, by its name."""
    return {f"{part}.{spec.name}": spec.metadata["allowed"] for part, spec in _specs()}


def choices() -> dict[str, tuple[str, ...]]:
    """Return the words of each knob that is one of some words, by its name."""
    words = {f"{part}.{spec.name}": spec.metadata["words"] for part, spec in _specs()}
    return {name: allowed for name, allowed in words.items() if allowed}


def _specs() -> list[tuple[str, dataclasses.Field[Any]]]:
    return [(part, spec) for part, faults in PARTS.items() for spec in dataclasses.fields(faults)]


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
