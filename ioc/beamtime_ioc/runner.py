"""From a press to its end: exclusion, freeze, submit, progress, outcome."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from beamtime_ioc.action import Action
from beamtime_ioc.activerun import ANSWER_S, ActiveRun, Again, Condition, ordered
from beamtime_ioc.audit import Deed
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board, Cell, Ending
from beamtime_ioc.engine.engine import Engine, Order, Outcome, new_run_id
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import (
    BeamtimeError,
    BusyError,
    NotReadyError,
    RefusedError,
)
from beamtime_ioc.guards import Guards
from beamtime_ioc.model import Experiment, Json, RunState, Who
from beamtime_ioc.panel import Panel, alarm_for
from beamtime_ioc.ports import Identity
from beamtime_ioc.previews import Previews
from beamtime_ioc.progress import Progress
from beamtime_ioc.runrecord import RunRecord
from beamtime_ioc.sent_again import SentAgain
from beamtime_ioc.typed import Typed
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

UNANSWERED = (
    "the state database does not answer; the press is written down when it does, or refused; look at its host"
)


class Runner:
    """Binds the buttons to the engine, and the engine's news to the board. Lives in the event loop."""

    def __init__(self, board: Board, workshop: Workshop, identity: Identity, audit: Auditor) -> None:
        self.board, self.workshop, self.identity, self.audit = board, workshop, identity, audit
        self.panel, self.guards = Panel(board), Guards()
        self.sent_again = SentAgain()
        self.active: dict[str, ActiveRun] = {}
        self.engine: Engine | None = None
        self.why_not_ready = "the IOC starts"
        self.held: Callable[[], str] = lambda: ""
        """Why no press is taken although the engine works; empty while presses are taken."""
        self.editing = 0
        """How many puts are changing the current experiment at this moment."""
        self.conditions: list[Condition] = []
        self._loop = asyncio.get_running_loop()
        self.previews, self.typed = Previews(self), Typed(self)
        for action, row in self.panel.rows.items():
            self._bind(board.cells[row.button.name], self.typed.press, action, "")
            for part, do in (("preview", self.typed.preview), ("abort", self.abort)):
                if part in row.parts:  # a site's own row may have fewer
                    self._bind(board.cells[row.parts[part].name], do, action, part)

    def _bind(
        self, cell: Cell, do: Callable[[str, Who], Awaitable[Ending | None]], action: str, part: str
    ) -> None:
        async def hook(_cell: Cell, value: Value, who: Who) -> Ending | None:
            return await do(action, who) if value else None  # a screen writes 0 on release

        cell.hook = hook
        cell.refused = lambda who, error: self.refuse(action, who, error, part)

    # -- what clients ask -------------------------------------------------------------------

    async def press(
        self,
        name: str,
        who: Who,
        again: Again | None = None,
        *,
        arguments: Mapping[str, Json] = MappingProxyType({}),
    ) -> Ending:
        """Write a run down and begin it.

        Parameters
        ----------
        again
            What of an earlier run is done again.
        arguments
            As `checked_arguments` gives them.

        Raises
        ------
        RefusedError
            BusyError, NotReadyError, NoExperimentError, or it cannot be written down; the reason stands on
            the message record too.
        """
        action = self.workshop.actions[name]
        run = ActiveRun(id=new_run_id(), action=action, who=who, pressed=time.time())
        try:
            self.ready_engine()
            self._require_free(action)
            if again is None:
                last = self.board.progress[name].value
                self.sent_again.require_new(name, who, arguments, last, self.workshop.site.zone)
            self.active[run.id] = run  # from here on others are refused
            try:
                order = await ordered(run, self.identity, again, arguments)
                run.experiment = order.experiment.key if order.experiment else ""
                self.require_conditions(action, who, order.experiment)
                run.audited = True
                await self.audit.press(run.entry(Deed.PRESS, who, f"{again.run_id} again" if again else ""))
                if again:
                    await again.write_answer(run.id)
                engine = self.ready_engine()  # it may have ended while the disk was waited for
                writing = asyncio.create_task(self._write_down(order, engine), name=f"write down {run.id}")
                in_time, _ = await asyncio.wait([writing], timeout=ANSWER_S)
                if in_time:
                    await writing
            except BaseException:
                del self.active[run.id]
                raise
        except RefusedError as error:
            self.refuse(name, who, error, "resolve" if again else "", run)
            raise
        log.info("run %s %s: pressed by %s", run.id, name, who)
        if action.exclusive:
            self.guards.passed(who, name, run.id)
        run.written = True
        for condition in self.conditions:
            condition.taken(action)
        if not in_time:  # it may be written down yet: it is neither refused nor taken
            self._on_stuck(run.id, UNANSWERED)
            writing.add_done_callback(lambda _: self._on_late_answer(run, writing, engine))
            return run.end
        if run.id in self.active:  # it may have ended meanwhile
            self._show(run)
        if run.abort_asked:
            await run.cancel(engine)
        return run.end

    def _on_late_answer(self, run: ActiveRun, writing: asyncio.Task[None], engine: Engine) -> None:
        error = writing.exception()
        if error is not None:
            self._on_end(run.id, Outcome(state=RunState.FAILED, message=str(error), advice="press again"))
            return
        if run.id in self.active and run.stuck == UNANSWERED:
            self._on_state(run.id, RunState.QUEUED)
        if run.abort_asked:
            self._aborting = asyncio.create_task(run.cancel(engine))

    def ready_engine(self) -> Engine:
        if self.engine is None:
            self._require_not_held()
            raise NotReadyError(
                f"not now: {self.why_not_ready}", advice="press again when EngineState is Running"
            )
        return self.engine

    def require_free(self, name: str) -> None:
        """See that an action can be begun now.

        Raises
        ------
        BusyError, NotReadyError
        """
        self.ready_engine()
        self._require_free(self.workshop.actions[name])

    def _require_not_held(self) -> None:
        if why := self.held():
            raise NotReadyError(
                f"not now: {why}", advice="press there, or end one of the two; this one goes on by itself"
            )

    def _require_free(self, action: Action) -> None:
        self._require_not_held()
        if action.exclusive and self.editing:
            raise BusyError("somebody corrects the current experiment", advice="press again")
        for run in self.active.values():
            same = run.action.name == action.name
            if same or action.exclusive or run.action.exclusive:
                button = self.panel.rows[run.action.name].button.suffix
                since = datetime.fromtimestamp(run.pressed, self.workshop.site.zone)
                raise BusyError(
                    f"{button} runs since {since:%H:%M:%S}, pressed by {run.who}",
                    advice="wait for its end" if same else f"wait for its end, or press {button}Abort",
                )
        if action.exclusive:
            self.guards.require()

    def require_conditions(
        self, action: Action, who: Who, experiment: Experiment | None, *, preview: bool = False
    ) -> None:
        """See that nothing forbids it; raises RefusedError."""
        for condition in self.conditions:
            condition.require(action, who, experiment, preview=preview)

    async def _write_down(self, order: Order, engine: Engine) -> None:
        try:
            await engine.submit(order)
        except BeamtimeError as error:
            log.warning("run %s %s: cannot be written down: %s", order.id, order.action, error)
            raise RefusedError(
                f"the press cannot be written down: {error.sentence}", advice=error.advice
            ) from error
        except Exception as error:  # whatever the engine's database says: nothing was begun
            log.exception("run %s %s: cannot be written down", order.id, order.action)
            raise RefusedError(
                f"the press cannot be written down ({type(error).__name__})",
                advice="see the log; check the disk",
            ) from error

    def refuse(
        self, name: str, who: Who, error: RefusedError, part: str = "", run: ActiveRun | None = None
    ) -> None:
        """Show and write down why something was refused."""
        if self.audit.refused(name, who, error, part, run.id if run and run.audited else ""):
            log.info("%s by %s refused: %s", name, who, error)
            self.panel.refuse(name, str(error))

    async def abort(self, name: str, who: Who) -> None:
        """Ask the action's run to end at its next step.

        Raises
        ------
        RefusedError
            There is none.
        NotReadyError
            The engine starts or stops, or its database does not answer: nobody hears it now.
        """
        run = next((run for run in self.active.values() if run.action.name == name), None)
        try:
            if run is None:
                raise self._nothing_runs(name)
            engine = self.ready_engine()
        except RefusedError as error:
            self.refuse(name, who, error, "abort")
            raise
        log.info("run %s %s: abort asked by %s", run.id, name, who)
        self.audit.note(run.entry(Deed.ABORT, who))
        run.abort_asked = True
        if not run.written:
            return  # the press itself asks, once there is a row to write it to
        if run.state is RunState.RUNNING:
            run.state = RunState.ABORTING
            self._show(run)
        await run.cancel(engine)

    def _nothing_runs(self, name: str) -> RefusedError:
        button, last = self.panel.rows[name].button.suffix, self.board.progress[name].value
        before = f"; its last run ended {last.state}: {last.message}" if last.run_id else ""
        return RefusedError(f"{button} does not run{before}", advice="there is nothing to abort")

    # -- what the engine tells, from its threads --------------------------------------------

    def on_state(self, run_id: str, state: RunState) -> None:
        self._loop.call_soon_threadsafe(self._on_state, run_id, state)

    def on_stuck(self, run_id: str, sentence: str) -> None:
        self._loop.call_soon_threadsafe(self._on_stuck, run_id, sentence)

    def on_progress(self, run_id: str, progress: Progress) -> None:
        self._loop.call_soon_threadsafe(self._on_progress, run_id, progress)

    def on_end(self, run_id: str, outcome: Outcome) -> None:
        self._loop.call_soon_threadsafe(self._on_end, run_id, outcome)

    def _on_state(self, run_id: str, state: RunState) -> None:
        run = self.active.get(run_id)
        if run is not None and run.state is not RunState.ABORTING:
            run.state, run.stuck = state, ""
            self._show(run)

    def _on_stuck(self, run_id: str, sentence: str) -> None:
        run = self.active.get(run_id)
        if run is None:
            return
        run.state, run.stuck = RunState.STUCK, sentence
        self._show(run)
        run.end.set(Outcome(state=RunState.STUCK, message=sentence))  # nobody can say how long it takes

    def _on_progress(self, run_id: str, progress: Progress) -> None:
        run = self.active.get(run_id)
        if run is not None:
            run.progress = progress
            self._show(run)

    def _on_end(self, run_id: str, outcome: Outcome) -> None:
        run = self.active.pop(run_id, None)
        if run is None:
            return
        seconds = time.time() - run.pressed
        log.info(
            "run %s %s: %s after %.1f s: %s", run_id, run.action.name, outcome.state, seconds, outcome.message
        )
        if outcome.experiment is not None:
            run.experiment = outcome.experiment.key
        self.audit.note(run.entry(Deed.END, run.who, f"{outcome.state}: {outcome.message}"))
        try:
            self._show_end(run, outcome)
        finally:  # whoever waits is told, whatever happens to a record
            run.end.set(outcome)

    def _show_end(self, run: ActiveRun, outcome: Outcome) -> None:
        self.panel.post(run.end_view(outcome), alarm_for(outcome.state, outcome.message), at_once=True)
        self._count()

    # -- what is shown ----------------------------------------------------------------------

    def restore(self, opened: Sequence[RunRecord], last: Mapping[str, RunRecord]) -> None:
        """Show how things stood: open runs are busy again, the others show how they ended."""
        for record in last.values():
            self.panel.show_ended(record)
        for record in opened:
            if record.action in self.workshop.actions and record.action in self.panel.rows:
                run = ActiveRun(
                    id=record.id,
                    action=self.workshop.actions[record.action],
                    who=record.who,
                    pressed=record.pressed.timestamp(),
                    experiment=record.experiment.key if record.experiment else "",
                    state=record.state,
                    written=True,
                )
                self.active[run.id] = run
                self.sent_again.remember(record)
                self._show(run)
        self._count()

    def tick(self) -> None:
        """Let the clocks of the active runs go on; called once a second."""
        self.audit.tick()
        for run in self.active.values():
            self._show(run)

    def _show(self, run: ActiveRun) -> None:
        if not run.written:
            return
        previous = self.board.progress[run.action.name].value
        changed = previous.run_id != run.id or previous.state is not run.state
        alarm = alarm_for(run.state, run.stuck or f"{run.state}, pressed by {run.who}")
        self.panel.post(run.view, alarm, at_once=changed)
        self._count()

    def _count(self) -> None:
        waiting = [run for run in self.active.values() if run.written and run.state is RunState.QUEUED]
        self.panel.queue(len(waiting))
