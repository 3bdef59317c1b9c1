"""What a run shows of itself: its state, how far it is, and its checklist."""

from dataclasses import dataclass
from enum import StrEnum

from beamtime_ioc.model import RunState


class StepState(StrEnum):
    """How a line of the checklist stands."""

    WAITING = "waiting"
    RUNNING = "running"
    READ = "read"
    MADE = "made"
    STANDS = "stands already"
    DONE = "done"
    """Written at most once, neither looked up nor read back."""
    FAILED = "failed"
    UNSURE = "unsure"
    HELD = "held"
    """Not done now; the reason says why."""

    @property
    def ended(self) -> bool:
        return self not in (StepState.WAITING, StepState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class StepLine:
    """One line of the checklist.

    Parameters
    ----------
    seconds
        How long it took, in s.
    """

    name: str
    state: StepState
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a run shows of itself.

    Parameters
    ----------
    fraction
        0 to 1.
    """

    fraction: float = 0.0
    text: str = ""
    steps: tuple[StepLine, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What `<Action>Progress` shows; times in s, `started` since 1970.

    Parameters
    ----------
    remaining_s
        NaN while it cannot be told.
    """

    action: str
    state: RunState = RunState.IDLE
    percent: float = 0.0
    step: str = ""
    message: str = ""
    advice: str = ""
    run_id: str = ""
    started_by: str = ""
    started: float = 0.0
    elapsed_s: float = 0.0
    remaining_s: float = float("nan")
    steps: tuple[StepLine, ...] = ()
