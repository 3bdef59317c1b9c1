"""How much is measured: enough to be believed, or quickly."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Counts for one run of the bench.

    Parameters
    ----------
    rounds
        In each of them every server has its turn.
    trips
        Round trips, of which a round's median is taken.
    clients
        Sizes of the crowds that watch a number.
    """

    rounds: int = 11
    trips: int = 300
    gets: int = 500
    burst: int = 100
    clients: tuple[int, ...] = (1, 10, 100)
    steady_s: float = 4.0
    starts: int = 7
    presses: int = 15
    history: int = 100_000
    runs: int = 20


FULL = Effort()
QUICK = Effort(
    rounds=5, trips=150, clients=(1, 10), steady_s=1.0, starts=2, presses=4, history=10_000, runs=3
)
