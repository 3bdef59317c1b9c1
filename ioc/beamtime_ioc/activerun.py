"""A run between its press and its end."""

import asyncio
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from beamtime_ioc.action import Action
from beamtime_ioc.engine.engine import Outcome
from beamtime_ioc.errors import RunEndedError
from beamtime_ioc.model import RunState, Who
from beamtime_ioc.progress import Progress, RunView, StepState


class RunEnd:
    """Awaited by whoever waits for a run: raises RunEndedError unless it ended well."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._outcome: Outcome | None = None

    def set(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._event.set()

    async def _wait(self) -> None:
        await self._event.wait()
        assert self._outcome is not None
        if not self._outcome.state.ended_well:
            raise RunEndedError(self._outcome.state, self._outcome.message)

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()


@dataclass
class ActiveRun:
    """What is known of it while it goes on."""

    id: str
    action: Action
    who: Who
    pressed: float
    end: RunEnd = field(default_factory=RunEnd)
    state: RunState = RunState.QUEUED
    progress: Progress = field(default_factory=Progress)
    written: bool = False
    """Whether it is on the disk: before that it is not shown."""
    abort_asked: bool = False

    @property
    def view(self) -> RunView:
        """What is shown of it now."""
        elapsed, fraction = time.time() - self.pressed, self.progress.fraction
        running = (line.name for line in reversed(self.progress.steps) if line.state is StepState.RUNNING)
        return RunView(
            action=self.action.name,
            state=self.state,
            percent=100 * fraction,
            step=next(running, ""),
            message=self.progress.text or f"{self.state.lower()}, pressed by {self.who}",
            run_id=self.id,
            started_by=str(self.who),
            started=self.pressed,
            elapsed_s=elapsed,
            remaining_s=elapsed * (1 - fraction) / fraction if fraction else float("nan"),
            steps=self.progress.steps,
        )
