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
    steps, actions
        Of an engine, in one turn.
    looks
        How often something of a few ms is done.
    crowd, turns, turn_s
        Clients that watch many records, and how often and how long each server has them at work.
    """

    rounds: int = 11
    trips: int = 300
    gets: int = 500
    burst: int = 100
    clients: tuple[int, ...] = (1, 10, 100)
    steady_s: float = 4.0
    starts: int = 7
    presses: int = 15
    history: int = 1_000_000
    runs: int = 20
    steps: int = 300
    actions: int = 48
    kills: int = 15
    looks: int = 60
    crowd: int = 100
    turns: int = 6
    turn_s: float = 10.0


FULL = Effort()
QUICK = Effort(
    rounds=5,
    trips=150,
    clients=(1, 10),
    steady_s=1.0,
    starts=2,
    presses=4,
    history=100_000,
    runs=3,
    steps=100,
    kills=3,
    looks=20,
    crowd=20,
    turns=2,
    turn_s=3.0,
)
