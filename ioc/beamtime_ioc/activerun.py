"""A run between its press and its end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from beamtime_ioc.action import Action
from beamtime_ioc.audit import AuditEntry, Deed
from beamtime_ioc.engine.engine import Engine, Order, Outcome
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BusyError, NoExperimentError, NotReadyError, RunEndedError
from beamtime_ioc.model import Experiment, Json, RunState, Who
from beamtime_ioc.ports import Identity
from beamtime_ioc.progress import Progress, RunView, StepState
from beamtime_ioc.stored_doubts import Asked

ANSWER_S = 10.0
"""How long the state database may take before whoever asked for something counts as unanswered."""

T = TypeVar("T")


class Condition(Protocol):
    """What must hold before an action is begun. Called in the event loop: returns at once."""

    def require(self, action: Action, who: Who, experiment: Experiment | None, *, preview: bool) -> None:
        """Let it pass.

        Raises
        ------
        RefusedError
        """
        ...

    def taken(self, action: Action) -> None:
        """The press is written down."""
        ...


async def answered(work: Awaitable[T], *, advice: str) -> T:
    """The result of work that asks the state database; it goes on when nobody waits for it any more.

    Raises
    ------
    NotReadyError
        There is none within `ANSWER_S`.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # it may come too late
    in_time, _ = await asyncio.wait([task], timeout=ANSWER_S)
    if not in_time:
        raise NotReadyError("the state database does not answer", advice=advice)
    return task.result()


async def acquire(lock: asyncio.Lock, busy: str, *, advice: str) -> None:
    """Wait for one's turn, but not behind a database that does not answer.

    Raises
    ------
    BusyError
        It has not come within `ANSWER_S`.
    """
    try:
        await asyncio.wait_for(lock.acquire(), ANSWER_S)
    except TimeoutError:
        raise BusyError(busy, advice=advice) from None


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


@dataclass(frozen=True, kw_only=True)
class Again:
    """What is done again, because an operator answered so.

    Parameters
    ----------
    run_id
        The run that left it in doubt.
    write_answer
        Called with the new run's id when nobody else can begin the action any more, and before that run is
        written down.
    """

    run_id: str
    asked: Asked
    write_answer: Callable[[str], Awaitable[None]]


@dataclass
class ActiveRun:
    """What is known of it while it goes on."""

    id: str
    action: Action
    who: Who
    pressed: float
    experiment: str = ""
    """Key of the experiment that was frozen at the press."""
    end: RunEnd = field(default_factory=RunEnd)
    state: RunState = RunState.QUEUED
    progress: Progress = field(default_factory=Progress)
    written: bool = False
    """Whether it is on the disk: before that it is not shown."""
    audited: bool = False
    """Whether a line of its press was asked for: it may stand in the audit."""
    abort_asked: bool = False
    stuck: str = ""
    """Why nobody works on it, and what to do next; shown while its state is Stuck."""
    cancelling: asyncio.Task[None] | None = None
    """The last that was asked of the engine: whoever asks while it is open joins it."""

    async def cancel(self, engine: Engine) -> None:
        """Ask the engine to end it at its next step.

        Raises
        ------
        NotReadyError
            The engine's database does not answer.
        """
        if self.cancelling is None or self.cancelling.done():
            self.cancelling = asyncio.create_task(engine.cancel(self.id), name=f"cancel {self.id}")
        await answered(self.cancelling, advice="the abort is heard when it does; look at its host")

    def entry(self, what: Deed, who: Who, text: str = "") -> AuditEntry:
        """A line of the audit about it."""
        return AuditEntry(
            what=what, who=who, action=self.action.name, run=self.id, experiment=self.experiment, text=text
        )

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
            message=self.stuck or self.progress.text or f"{self.state.lower()}, pressed by {self.who}",
            run_id=self.id,
            started_by=str(self.who),
            started=self.pressed,
            elapsed_s=elapsed,
            remaining_s=elapsed * (1 - fraction) / fraction if fraction else float("nan"),
            steps=self.progress.steps,
        )

    def end_view(self, outcome: Outcome) -> RunView:
        """What is shown of it when it has ended."""
        return replace(
            self.view,
            state=outcome.state,
            percent=100.0 if outcome.state is RunState.DONE else 100 * self.progress.fraction,
            step="",
            message=outcome.message,
            advice=outcome.advice,
            remaining_s=0.0,
        )


async def freeze(identity: Identity, action: Action) -> Experiment | None:
    """The current experiment, as the action gets it.

    Raises
    ------
    NotReadyError, NoExperimentError, ExperimentClosedError
        The database does not answer; or there is none, or a closed one, and the action needs one.
    """
    experiment = await answered(
        in_thread("current experiment", identity.current), advice="look at its host, then press again"
    )
    if experiment is None and action.needs_experiment:
        raise NoExperimentError
    action.require_open(experiment)
    return experiment


async def frozen_before(identity: Identity, action: Action, asked: Asked) -> Experiment | None:
    """The experiment of what is done again, open or closed as it is now; raises as `freeze` does."""
    if (old := asked.experiment) is None:
        return None
    closed = await answered(
        in_thread("end of the experiment", identity.closed, old.key),
        advice="look at its host, then answer again",
    )
    experiment = replace(old, open=closed is None)
    action.require_open(experiment)
    return experiment


async def ordered(
    run: ActiveRun, identity: Identity, again: Again | None, arguments: Mapping[str, Json]
) -> Order:
    """What is written down of a press, with the experiment as it is now; raises as `freeze` does."""
    action, old = run.action, again.asked if again else None
    return Order(
        id=run.id,
        action=action.name,
        resource=action.resource,
        who=run.who,
        experiment=await (frozen_before(identity, action, old) if old else freeze(identity, action)),
        arguments=dict(old.arguments if old else arguments),
        queue=action.queue,
        again_of=again.run_id if again else "",
    )
