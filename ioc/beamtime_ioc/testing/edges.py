"""The edges of a run: the moments between two things that it does, at each of which a process may die."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from beamtime_ioc.action import Effect
from beamtime_ioc.engine.engine import Order
from beamtime_ioc.engine.work import CLAIM, LiveRun, Recorder
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import BeamtimeError, OutcomeUnknownError, ServiceUnavailableError
from beamtime_ioc.model import Json, Letter, OutboxRow
from beamtime_ioc.ports import Outbox
from beamtime_ioc.progress import Progress

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One moment, the same in every repetition of a run.

    Parameters
    ----------
    when
        `before` or `after`.
    what
        `look`, `make`, `verify`, `read`, `write`; `claim` and `answer` (of a letter, in the outbox; of a
        `once`); `step`: the commit of what a step gave.
    turn
        1, or more where the same comes again, as a look after a make in doubt.
    """

    when: str
    what: str
    title: str
    turn: int = 1

    def __str__(self) -> str:
        again = f" ({self.turn})" if self.turn > 1 else ""
        return f"{self.when} {self.what}: {self.title}{again}"


class Edges:
    """Writes each edge down as it is passed, and ends the process where it shall die.

    Parameters
    ----------
    directory
        For `edges.LIFE` and `tally`; both outlive the process.
    plain
        Makes the words the same in every repetition.
    deadly
        At these edges the process kills itself: no handler, no `finally`, no `atexit` runs.
    watch
        Called at each edge that is passed.
    lose
        Title of the effect or `once` whose reply is lost, the first time, after the work was done.
    """

    def __init__(
        self,
        directory: Path,
        life: int,
        *,
        plain: Callable[[str], str] = str,
        deadly: frozenset[str] = frozenset(),
        watch: Callable[[Edge], None] = lambda _: None,
        lose: str = "",
    ) -> None:
        self.plain, self._deadly, self._watch, self.lose = plain, deadly, watch, lose
        self._turns: Counter[tuple[str, str, str]] = Counter()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._log = os.open(directory / f"edges.{life}", flags, 0o600)
        self._tally = os.open(directory / "tally", flags, 0o600)
        self.doing = ""
        """The title of the effect or step at work."""
        self.counts = False
        """False until the run begins: what prepares it passes no edges."""

    def around(self, what: str, title: str, do: Callable[[], T]) -> T:
        self.pass_by("before", what, title)
        try:
            return do()
        finally:
            self.pass_by("after", what, title)

    def pass_by(self, when: str, what: str, title: str) -> None:
        if not self.counts:
            return
        title = self.plain(title)
        self._turns[when, what, title] += 1
        edge = Edge(when=when, what=what, title=title, turn=self._turns[when, what, title])
        os.write(self._log, (json.dumps(vars(edge)) + "\n").encode())
        self._watch(edge)
        if str(edge) in self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def tally(self, title: str, count: int) -> None:
        """Note that something was begun to be made (1), or that it definitely was not (-1)."""
        os.write(self._tally, (json.dumps([self.plain(title), count]) + "\n").encode())


def read_edges(directory: Path, life: int) -> tuple[Edge, ...]:
    """What one life passed, in order."""
    path = directory / f"edges.{life}"
    lines = path.read_text().splitlines() if path.exists() else []
    return tuple(Edge(**json.loads(line)) for line in lines)


def read_tally(directory: Path) -> Counter[str]:
    """How often each effect and `once` was begun to be made, over all lives."""
    counts: Counter[str] = Counter()
    path = directory / "tally"
    for line in path.read_text().splitlines() if path.exists() else []:
        title, count = json.loads(line)
        counts[title] += count
    return counts


class MarkedRun(LiveRun):
    """A run that passes edges, and works on one effect at a time so that their order is always the same."""

    def __init__(
        self,
        order: Order,
        workshop: Workshop,
        recorder: Recorder,
        tell: Callable[[Progress], None],
        *,
        edges: Edges,
    ) -> None:
        super().__init__(order, workshop, mark_memory(recorder, edges), tell)
        self.edges = edges

    def effects(self, effects: Sequence[Effect], *, at_once: int = 1, optional: bool = False) -> list[Any]:
        return super().effects([self._marked(effect) for effect in effects], at_once=1, optional=optional)

    def _marked(self, effect: Effect) -> Effect:
        title = effect.title
        lost = ServiceUnavailableError(title, "did what was asked, but its reply was lost")
        return replace(
            effect,
            look=partial(self._around, "look", title, effect.look),
            make=partial(self._around, "make", title, partial(self._counted, title, effect.make, lost)),
            verify=partial(self._around, "verify", title, effect.verify),
        )

    def step(self, title: str, read: Callable[[], Json], *, retries: int = 0, optional: bool = False) -> Any:
        around = partial(self._around, "read", title, read)
        return super().step(title, around, retries=retries, optional=optional)

    def once(self, title: str, write: Callable[[], Json]) -> Any:
        lost = OutcomeUnknownError(f"{title}: it was asked for, but the reply was lost")
        counted = partial(self._counted, title, write, lost)
        return super().once(title, partial(self._around, "write", title, counted))

    def _around(self, what: str, title: str, do: Callable[[], T]) -> T:
        self.edges.doing = title
        return self.edges.around(what, title, do)

    def _counted(self, title: str, make: Callable[[], T], lost: BeamtimeError) -> T:
        self.edges.tally(title, 1)
        try:
            made = make()
        except (OutcomeUnknownError, ServiceUnavailableError):
            raise
        except BeamtimeError:
            self.edges.tally(title, -1)  # refused in words: it was not made
            raise
        if self.edges.lose and self.edges.lose == self.edges.plain(title):
            self.edges.lose = ""
            raise lost
        return made


def mark_memory(recorder: Recorder, edges: Edges) -> Recorder:
    """Put an edge before and after each thing that a run's memory writes down."""
    stored = recorder.remember

    def remember(title: str, body: Callable[[], Json]) -> Json:
        what = "claim" if title.endswith(CLAIM) else "step"
        return edges.around(what, title.removesuffix(CLAIM), lambda: stored(title, body))

    vars(recorder)["remember"] = remember  # of this one object: all its other words are its own
    return recorder


class MarkedOutbox:
    """The outbox, with an edge before and after each claim and each answer that it writes down."""

    def __init__(self, outbox: Outbox, edges: Edges) -> None:
        self._outbox, self._edges = outbox, edges

    def find(self, key: str) -> OutboxRow | None:
        return self._outbox.find(key)

    def find_all(self, keys: Collection[str]) -> Mapping[str, OutboxRow]:
        return self._outbox.find_all(keys)

    def claim(self, letter: Letter) -> None:
        self._edges.around("claim", self._edges.doing, partial(self._outbox.claim, letter))

    def settle(self, key: str, state: str, answer: str, *, due: datetime | None = None) -> None:
        settle = partial(self._outbox.settle, key, state, answer, due=due)
        self._edges.around("answer", self._edges.doing, settle)

    def give_up(self, key: str, answer: str, run_id: str) -> None:
        self._edges.around("answer", self._edges.doing, partial(self._outbox.give_up, key, answer, run_id))

    def waiting(self) -> Sequence[tuple[OutboxRow, Letter | None]]:
        return self._outbox.waiting()
