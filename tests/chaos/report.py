"""What is printed at the end, and whether it is good."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beamtime_ioc.model import RunState
from chaos.count import Accepted, Kind, Verdict
from chaos.lives import Kill

LEAST_KILLS = 20
SHOWN = 20
EMPTY_MB, MB_PER_1000 = 4.0, 10.0
"""Bounds of the state directory: of an empty one with its write-ahead log, and for each 1000 actions."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run of chaos.

    Parameters
    ----------
    lost_answers
        Presses whose answer was lost, and which were found written down.
    left
        Runs that were open at the end.
    trouble
        Why it ended before all actions were pressed, if it did.
    """

    actions: Sequence[Accepted]
    verdict: Verdict
    kills: Sequence[Kill]
    lost_answers: int
    left: Sequence[str]
    trouble: str
    state_bytes: int
    seconds: float

    @property
    def hits(self) -> int:
        """Kills that hit a running action."""
        return sum(kill.hit for kill in self.kills)

    @property
    def faults(self) -> list[str]:
        """Everything for which the exit code is 1."""
        bound_mb = EMPTY_MB + MB_PER_1000 * len(self.actions) / 1000
        checks = {
            f"only {len(self.kills)} kills, wanted {LEAST_KILLS}": len(self.kills) < LEAST_KILLS,
            f"only {self.hits} of {len(self.kills)} kills hit a running action": 2 * self.hits
            < len(self.kills),
            f"the state directory has {self.state_bytes / 1e6:.1f} MB, more than {bound_mb:.1f} MB": (
                self.state_bytes > bound_mb * 1e6
            ),
        }
        return [
            *filter(None, [self.trouble]),
            *(f"lost: {text}" for text in self.verdict.lost),
            *(f"doubled: {text}" for text in self.verdict.doubled),
            *(f"still open: {text}" for text in self.left),
            *(text for text, bad in checks.items() if bad),
        ]

    @property
    def good(self) -> bool:
        return not self.faults

    def show(self, seed: int, directory: Path | None) -> None:
        """Print the table; its last line says it all."""
        for line in self._table():
            print(line)
        print(
            f"seed {seed}, {self.seconds:.0f} s" + (f", everything lies in {directory}" if directory else "")
        )
        for fault in self.faults[:SHOWN]:
            print(f"chaos: {fault}")
        if len(self.faults) > SHOWN:
            print(f"chaos: and {len(self.faults) - SHOWN} more")
        print(self.last_line)

    @property
    def last_line(self) -> str:
        lost, doubled = len(self.verdict.lost), len(self.verdict.doubled)
        return (
            f"chaos: actions={len(self.actions)} kills={len(self.kills)} lost={lost} doubled={doubled} "
            f"unsure={self.verdict.unsure}"
        )

    def _table(self) -> list[str]:
        ends = Counter((action.kind, action.state) for action in self.actions)
        states = [state for state in RunState if any(end == state for _, end in ends)]
        lines = [f"{'action':<20}{'all':>8}" + "".join(f"{state:>10}" for state in states)]
        for kind in Kind:
            row = [ends[kind, state] for state in states]
            count = sum(action.kind is kind for action in self.actions)
            lines.append(f"{kind:<20}{count:>8}" + "".join(f"{number:>10}" for number in row))
        restarts = [kill.restart_s for kill in self.kills] or [0.0]
        median_s, longest_s = statistics.median(restarts), max(restarts)
        per_1000 = self.state_bytes / max(1, len(self.actions)) * 1000 / 1e6
        return [
            *lines,
            f"{'kills':<20}{len(self.kills):>8}   {self.hits} hit a running action",
            f"{'lost answers':<20}{self.lost_answers:>8}   presses that were found written down",
            f"{'restart':<20}{median_s:>8.2f} s (median)   {longest_s:.2f} s (longest)",
            f"{'state directory':<20}{self.state_bytes / 1e6:>8.1f} MB   {per_1000:.1f} MB per 1000 actions",
        ]
