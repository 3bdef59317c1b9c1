"""What came of a run that died at every edge, or lost every reply: a table, and what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

from beamtime_ioc.model import RunState
from beamtime_ioc.testing.job import Lived

WELL = (RunState.DONE, RunState.UNSURE)
OWN_COUNT = "calls of its make"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One edge after which something was lost, done twice or not said."""

    edge: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.edge}: {self.sentence}"


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Something that a run makes, as the run without any kill has shown it.

    Parameters
    ----------
    name
        Of the outside's log, or the title of the effect if no log outside knows it.
    title
        Of the step that made it.
    may_be_unsure
        Letters and `once`: what is claimed before it is done.
    """

    name: str
    title: str
    counted_by: str
    may_be_unsure: bool


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A run that was killed at one edge, and gone on with."""

    edge: str
    lived: Lived

    @property
    def state(self) -> RunState | None:
        return self.lived.ended.outcome.state if self.lived.ended else None

    @property
    def unsure(self) -> tuple[str, ...]:
        return self.lived.ended.unsure if self.lived.ended else ()

    def count(self, thing: Thing) -> int:
        counts = self.lived.tally if thing.counted_by == OWN_COUNT else self.lived.made
        return counts.get(thing.name, 0)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One line an edge.

    Parameters
    ----------
    things
        What the run makes, in the order in which it makes them.
    seconds
        All of it took, in s, with `at_once` edges at a time.
    """

    action: str
    things: Sequence[Thing]
    endings: Sequence[Ending]
    failures: Sequence[Failure]
    seconds: float

    @property
    def ms_per_edge(self) -> float:
        """In ms; two processes an edge, and the copy of a state directory."""
        return 1000 * self.seconds / max(1, len(self.endings))

    def unsure_edges(self, title: str) -> list[str]:
        """Where a kill leaves a doubt about this step."""
        return [ending.edge for ending in self.endings if title in ending.unsure]

    def table(self) -> str:
        """A line for each thing: at how many edges, and how often it was made over all lives."""
        rows: list[tuple[str, ...]] = [("effect", "edges", "once", "never", "more", "unsure", "counted by")]
        for thing in self.things:
            counts = [ending.count(thing) for ending in self.endings]
            numbers = (
                len(counts),
                counts.count(1),
                counts.count(0),
                sum(count > 1 for count in counts),
                len(self.unsure_edges(thing.title)),
            )
            rows.append((thing.title, *map(str, numbers), thing.counted_by))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines: list[str] = []
        for title, *numbers, by in rows:
            cells = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
            lines.append("  ".join([title.ljust(widths[0]), *cells, by]))
        return "\n".join(lines)


def judge(things: Sequence[Thing], ending: Ending) -> list[Failure]:
    """What is wrong with one ending: nothing, if each thing was made once, or is in doubt and says so."""
    lived = ending.lived
    if lived.ended is None:
        return [Failure(edge=ending.edge, sentence=lived.fault)]
    wrong: list[str] = []
    outcome, unsure = lived.ended.outcome, ending.unsure
    if outcome.state not in WELL:
        wrong.append(f"the run ended {outcome.state}: {outcome.message}")
    if (outcome.state is RunState.UNSURE) != bool(unsure):
        wrong.append(f"the run ended {outcome.state}, and unsure are {', '.join(unsure) or 'no steps'}")
    for thing in things:
        count = ending.count(thing)
        if count > 1:
            wrong.append(f"{thing.name} was made {count} times")
        if count == 0 and thing.title not in unsure:
            wrong.append(f"{thing.name} was never made, and nobody says so")
    doubtful = {thing.title for thing in things if thing.may_be_unsure}
    wrong += [f"{title} can be looked up, and is unsure" for title in unsure if title not in doubtful]
    known = {thing.name for thing in things}
    wrong += [f"{name} was made, which is made only after a kill" for name in lived.made if name not in known]
    return [Failure(edge=ending.edge, sentence=sentence) for sentence in wrong]
