"""One measured line, and the table of them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

MET = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was measured.

    Parameters
    ----------
    ours, peer
        As shown, with their units.
    ratio
        The cost of ours over the peer's, or the gain where `goal` begins with `>=`; None without a peer.
    goal
        Such as `<= 1.1`, held against the ratio; or `<= 15 ms`, held against `measured`.
    measured
        What a goal with a unit is held against.
    """

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    goal: str = ""
    measured: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; None where there is none."""
        if not self.goal:
            return None
        relation, limit, *_ = self.goal.split()
        value = self.ratio if self.measured is None else self.measured
        assert value is not None, self.what
        # As it is printed: 1.104 is shown as 1.10, and meets 1.1.
        value = round(value, 2)
        return value <= float(limit) if relation == "<=" else value >= float(limit)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The lines of one group, and a remark on how they were measured."""

    name: str
    lines: Sequence[Line]
    remark: str = ""


def ratio_of(ours: Sequence[float], peer: Sequence[float]) -> float:
    """The median of the rounds' ratios: two numbers of one round share whatever else the machine did."""
    return median(mine / other for mine, other in zip(ours, peer, strict=True))


def markdown(group: Group) -> str:
    """The group as a table of GitHub's markdown."""
    rows = [
        (line.what, line.ours, line.peer, _number(line.ratio), _signs(line.goal), MET[line.met])
        for line in group.lines
    ]
    head = ("What", "ours", "peer", "ratio", "goal", "met")
    cells = [head, ("---", "--:", "--:", "--:", "--:", "---"), *rows]
    lines = [f"### {group.name}", "", *(f"| {' | '.join(row)} |" for row in cells)]
    return "\n".join([*lines, *(["", group.remark] if group.remark else [])]) + "\n"


def _signs(goal: str) -> str:
    return goal.replace("<=", "≤").replace(">=", "≥")


def _number(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def write_json(groups: Iterable[Group], path: Path) -> None:
    """All groups, for programs."""
    content = {group.name: [{**asdict(line), "met": line.met} for line in group.lines] for group in groups}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
