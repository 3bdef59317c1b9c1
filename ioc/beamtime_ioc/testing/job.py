"""A run to live through, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from beamtime_ioc.engine.engine import Order, Outcome
from beamtime_ioc.testing.edges import Edge
from beamtime_ioc.testing.losing import Loss
from beamtime_ioc.testing.world import Outside


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run to live through.

    Parameters
    ----------
    directory
        Holds the state directory, prepared, and whatever the lives leave behind.
    plain
        What is replaced in titles so that they are the same in each job.
    after
        Actions that are pressed before, each to its end, in the first life.
    deaths
        The edges at which the first life dies, the second, ...; one more life goes to the end.
    learns
        Note, too, which step made what outside.
    """

    number: int
    directory: Path
    order: Order
    outside: Outside
    plain: tuple[tuple[str, str], ...] = ()
    after: tuple[str, ...] = ()
    deaths: tuple[frozenset[str], ...] = ()
    loss: Loss | None = None
    http_ports: frozenset[int] = frozenset()
    learns: bool = False

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def same(self, words: str) -> str:
        for own, common in self.plain:
            words = words.replace(own, common)
        return words


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What the last life saw of the run.

    Parameters
    ----------
    unsure
        Titles of the checklist's lines that are Unsure.
    causes
        Which step made what outside, if it was to be learned.
    calls
        The HTTP calls in their order: port, method and path.
    """

    outcome: Outcome
    unsure: tuple[str, ...] = ()
    causes: Mapping[str, str] = field(default_factory=dict[str, str])
    calls: tuple[tuple[int, str], ...] = ()
    presses: int = 1


@dataclass(frozen=True, kw_only=True)
class Lived:
    """What came of a job.

    Parameters
    ----------
    passed
        The edges of each life.
    kills
        How many lives were ended at an edge.
    ended
        None: no life reached the end of the run; `fault` says why.
    made
        What the outside's own logs say, over all lives.
    tally
        How often each effect was begun to be made, as a wrapper around `make` counted.
    """

    number: int
    passed: tuple[tuple[Edge, ...], ...]
    kills: int
    ended: Ended | None
    fault: str
    made: Mapping[str, int]
    tally: Mapping[str, int]
    seconds: float
