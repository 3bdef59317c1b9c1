"""What was lost and what was doubled: each accepted action against what the world got.

The world is the box's own logs and disks, and which experiments are closed. Of the IOC's history only this
counts: which actions it accepted, how they ended, and what it named unsure.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from beamtime_ioc.model import RunState
from beamtime_sim.guests import guest_addresses, guest_beamtime_id

MARKER = ".experiment.json"
GOOD = (RunState.DONE, RunState.PROBLEMS, RunState.UNSURE)


class Kind(StrEnum):
    """The buttons that are pressed."""

    BEGIN = "BeginBeamtime"
    HANDOVER = "Handover"
    UPDATE = "UpdateUserInfo"
    DIRECTORIES = "CreateDirectories"
    LETTERS = "EmailUsers"
    NOTE = "PostNote"
    COPY = "CopyData"
    END = "EndBeamtime"

    @property
    def action(self) -> str:
        return re.sub(r"(?<!^)(?=[A-Z])", "-", self).lower()


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A press that the IOC accepted.

    Parameters
    ----------
    number
        Of the guest experiment that was on beam.
    ends
        The number of the one that a handover ended.
    run_id
        Empty if the IOC said yes and nothing is written down.
    state
        None if it never ended.
    """

    kind: Kind
    number: int
    run_id: str
    state: RunState | None
    ends: int | None = None
    message: str = ""

    def __str__(self) -> str:
        return f"{self.kind} of {key(self.number)} (run {self.run_id or 'unknown'})"


Effect = tuple[str, ...]
"""What stands outside: ("letter", address), ("directory", place, key), ("note", text), ("copy", key),
("look-up", key) or ("end", key)."""


def key(number: int) -> str:
    """The experiment's key, as the IOC has it from the schedule."""
    return f"aps:{guest_beamtime_id(number)}"


def expected(action: Accepted, places: Sequence[str]) -> list[Effect]:
    """What the world must have got by an action that ended well."""
    experiment = key(action.number)
    look_up = [("look-up", experiment)]
    directories = [("directory", place, experiment) for place in places]
    letters = [("letter", address) for address in guest_addresses(action.number)]
    begun = [*look_up, *directories, *letters]
    return {
        Kind.BEGIN: begun,
        Kind.HANDOVER: [*begun, *([("end", key(action.ends))] if action.ends else [])],
        Kind.UPDATE: look_up,
        Kind.DIRECTORIES: directories,
        Kind.LETTERS: letters,
        Kind.NOTE: [("note", f"set up: {experiment}")],
        Kind.COPY: [("copy", experiment)],
        Kind.END: [("end", experiment)],
    }[action.kind]


@dataclass(kw_only=True)
class Verdict:
    """How it went: one sentence for each thing that was lost or doubled."""

    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    unsure: int = 0

    @property
    def good(self) -> bool:
        return not self.lost and not self.doubled


def read_world(box: Path, closed: Iterable[str]) -> Counter[Effect]:
    """Count what reached the box, over all of its life, and the experiments that are closed."""
    world: Counter[Effect] = Counter(("end", experiment) for experiment in closed)
    world.update(("letter", mail["to"]) for mail in _log(box / "mail"))
    for errand in _log(box / "errands"):
        if errand["what"] == "note":
            world["note", errand["text"]] += 1
        else:
            world["copy", errand["id"].rpartition("-")[0]] += 1
    for request in _log(box / "schedule"):
        if request["on_beam"] is not None and request["status"] == 200:
            world["look-up", key(request["on_beam"])] += 1
    for place in (box / "data").iterdir():
        for directory in place.glob("*/*"):
            marker = directory / MARKER
            whose = (
                json.loads(marker.read_text())["experiment"] if marker.exists() else f"nobody: {directory}"
            )
            world["directory", place.name, whose] += 1
    return world


def _log(directory: Path) -> Iterator[dict[str, Any]]:
    log = directory / "log.jsonl"
    if log.exists():
        yield from map(json.loads, log.read_text(encoding="utf-8").splitlines())


def judge(actions: Sequence[Accepted], world: Counter[Effect], places: Sequence[str]) -> Verdict:
    """Hold every accepted action against the world, and the world against all actions."""
    verdict = Verdict(unsure=sum(action.state is RunState.UNSURE for action in actions))
    foreseen: set[Effect] = set()
    for action in actions:
        effects = expected(action, places)
        foreseen.update(effects)
        if action.state not in GOOD or not action.run_id:
            verdict.lost.append(f"{action} ended {action.state or 'never'}: {action.message}")
        else:
            missing = [effect for effect in effects if not world[effect] and not _is_doubted(action, effect)]
            verdict.lost += [f"{action} ended {action.state} without its {' '.join(e)}" for e in missing]
        if action.state is RunState.UNSURE and not any(_is_doubted(action, effect) for effect in effects):
            verdict.lost.append(f"{action} ended Unsure and names nothing: {action.message}")
    for effect, count in world.items():
        if effect not in foreseen:
            verdict.doubled.append(f"{' '.join(effect)}: nobody asked for it")
        elif count > 1 and effect[0] != "look-up":  # to look again is no harm
            verdict.doubled.append(f"{' '.join(effect)}: {count} times")
    return verdict


def _is_doubted(action: Accepted, effect: Effect) -> bool:
    """Whether the IOC itself said that it does not know whether this happened."""
    named = {"letter": effect[-1], "note": f"note of {key(action.number)}"}.get(effect[0])
    return action.state is RunState.UNSURE and named is not None and named in action.message
