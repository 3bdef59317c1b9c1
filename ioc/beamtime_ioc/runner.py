"""From a press to its end: exclusion, freeze, submit, progress, outcome."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from beamtime_ioc.action import Action
from beamtime_ioc.activerun import ActiveRun, RunEnd
from beamtime_ioc.board import Board, Cell, Ending
from beamtime_ioc.engine.engine import Engine, Order, Outcome, new_run_id
from beamtime_ioc.engine.plan import plan
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import (
    BeamtimeError,
    BusyError,
    NoExperimentError,
    NotReadyError,
    RefusedError,
)
from beamtime_ioc.journal import RunRecord
from beamtime_ioc.model import Experiment, Json, RunState, Who
from beamtime_ioc.panel import Panel, alarm_for, ended_view
from beamtime_ioc.ports import Identity
from beamtime_ioc.progress import Progress
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)


class Runner:
    """Binds the buttons to the engine, and the engine's news to the board. Lives in the event loop."""

    def __init__(self, board: Board, workshop: Workshop, identity: Identity) -> None:
        self.board, self.workshop, self.identity = board, workshop, identity
        self.panel = Panel(board)
        self.active: dict[str, ActiveRun] = {}
        self.engine: Engine | None = None
        self.why_not_ready = "the IOC starts"
        self.editing = 0
        """How many puts are changing the current experiment at this moment."""
        self._planning: set[str] = set()
        self._loop = asyncio.get_running_loop()
        for action, row in self.panel.rows.items():
            board.cells[row.button.name].hook = self._button(self.press, action)
            for part, do in (("preview", self.preview), ("abort", self.abort)):
                if part in row.parts:  # a site's own row may have fewer
                    board.cells[row.parts[part].name].hook = self._button(do, action)

    def _button(
        self, do: Callable[[str, Who], Awaitable[Ending | None]], action: str
    ) -> Callable[[Cell, Value, Who], Awaitable[Ending | None]]:
        async def hook(_cell: Cell, value: Value, who: Who) -> Ending | None:
            return await do(action, who) if value else None  # a screen writes 0 on release

        return hook

    # -- what clients ask -------------------------------------------------------------------

    async def press(self, name: str, who: Who, arguments: Mapping[str, Json] | None = None) -> Ending:
        """Write a run down and begin it.

        Raises
        ------
        RefusedError
            BusyError, NotReadyError, NoExperimentError, or it cannot be written down; the reason stands on
            the message record too.
        """
        action = self.workshop.actions[name]
        run = ActiveRun(id=new_run_id(), action=action, who=who, pressed=time.time())
        try:
            engine = self._ready_engine()
            self._require_free(action)
            self.active[run.id] = run  # from here on others are refused
            try:
                experiment = await self._freeze(action)
                order = Order(
                    id=run.id,
                    action=name,
                    resource=action.resource,
                    who=who,
                    experiment=experiment,
                    arguments=dict(arguments or {}),
                )
                await self._write_down(order, engine)
            except BaseException:
                del self.active[run.id]
                raise
        except RefusedError as error:
            self._refused(name, who, error)
            raise
        log.info("run %s %s: pressed by %s", run.id, name, who)
        run.written = True
        if run.id in self.active:  # it may have ended meanwhile
            self._show(run)
        if run.abort_asked:
            await engine.cancel(run.id)
        return run.end

    def _ready_engine(self) -> Engine:
        if self.engine is None:
            raise NotReadyError(
                f"not now: {self.why_not_ready}", advice="press again when EngineState is Running"
            )
        return self.engine

    def _require_free(self, action: Action) -> None:
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

    async def _freeze(self, action: Action) -> Experiment | None:
        experiment = await asyncio.to_thread(self.identity.current)
        if experiment is None and action.needs_experiment:
            raise NoExperimentError
        return experiment

    async def _write_down(self, order: Order, engine: Engine) -> None:
        try:
            await engine.submit(order)
        except Exception as error:  # whatever the engine's database says: nothing was begun
            log.exception("run %s %s: cannot be written down", order.id, order.action)
            raise RefusedError(
                f"the press cannot be written down ({type(error).__name__})",
                advice="see the log; check the disk",
            ) from error

    def _refused(self, name: str, who: Who, error: RefusedError) -> None:
        log.info("%s by %s refused: %s", name, who, error)
        self.panel.refuse(name, str(error))

    async def preview(self, name: str, who: Who) -> Ending:
        """Look what a press would do, and write it to the plan record."""
        row, end = self.panel.rows[name], RunEnd()
        button = self.board.cells[row.parts["preview"].name]
        try:
            if name in self._planning:
                raise BusyError(f"the preview of {row.button.suffix} runs", advice="wait for its end")
            self._ready_engine()
        except RefusedError as error:
            self._refused(name, who, error)
            raise
        self._planning.add(name)
        button.set(1)
        task = asyncio.create_task(self._plan(name, who, end), name=f"preview {name}")
        task.add_done_callback(lambda _: (self._planning.discard(name), button.set(0)))
        return end

    async def _plan(self, name: str, who: Who, end: RunEnd) -> None:
        action = self.workshop.actions[name]
        try:
            experiment = await self._freeze(action)
            order = Order(id="preview", action=name, resource=action.resource, who=who, experiment=experiment)
            text = await in_thread(f"plan of {name}", plan, order, self.workshop)
        except BeamtimeError as error:
            text = f"would be refused: {error}"
        self.panel.plan(name, text)
        end.set(Outcome(state=RunState.DONE))

    async def abort(self, name: str, who: Who) -> None:
        """Ask the action's run to end at its next step; does nothing if there is none.

        Raises
        ------
        NotReadyError
            The engine starts or stops: nobody would hear it.
        """
        run = next((run for run in self.active.values() if run.action.name == name), None)
        if run is None:
            return
        try:
            engine = self._ready_engine()
        except RefusedError as error:
            self._refused(name, who, error)
            raise
        log.info("run %s %s: abort asked by %s", run.id, name, who)
        run.abort_asked = True
        if not run.written:
            return  # the press itself asks, once there is a row to write it to
        if run.state is RunState.RUNNING:
            run.state = RunState.ABORTING
            self._show(run)
        await engine.cancel(run.id)

    # -- what the engine tells, from its threads --------------------------------------------

    def on_state(self, run_id: str, state: RunState) -> None:
        self._loop.call_soon_threadsafe(self._on_state, run_id, state)

    def on_progress(self, run_id: str, progress: Progress) -> None:
        self._loop.call_soon_threadsafe(self._on_progress, run_id, progress)

    def on_end(self, run_id: str, outcome: Outcome) -> None:
        self._loop.call_soon_threadsafe(self._on_end, run_id, outcome)

    def _on_state(self, run_id: str, state: RunState) -> None:
        run = self.active.get(run_id)
        if run is not None and run.state is not RunState.ABORTING:
            run.state = state
            self._show(run)

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
        try:
            self._show_end(run, outcome)
        finally:  # whoever waits is told, whatever happens to a record
            run.end.set(outcome)

    def _show_end(self, run: ActiveRun, outcome: Outcome) -> None:
        percent = 100.0 if outcome.state is RunState.DONE else 100 * run.progress.fraction
        self.panel.post(
            replace(
                run.view,
                state=outcome.state,
                percent=percent,
                step="",
                message=outcome.message,
                advice=outcome.advice,
                remaining_s=0.0,
            ),
            alarm_for(outcome.state, outcome.message),
            at_once=True,
        )
        self._count()

    # -- what is shown ----------------------------------------------------------------------

    def restore(self, opened: Sequence[RunRecord], last: Mapping[str, RunRecord]) -> None:
        """Show how things stood: open runs are busy again, the others show how they ended."""
        for record in last.values():
            if record.action in self.panel.rows and record.state.ended:
                self.panel.post(ended_view(record), alarm_for(record.state, record.message), at_once=True)
        for record in opened:
            if record.action in self.workshop.actions and record.action in self.panel.rows:
                run = ActiveRun(
                    id=record.id,
                    action=self.workshop.actions[record.action],
                    who=record.who,
                    pressed=record.pressed.timestamp(),
                    state=record.state,
                    written=True,
                )
                self.active[run.id] = run
                self._show(run)

    def tick(self) -> None:
        """Let the clocks of the active runs go on; called once a second."""
        for run in self.active.values():
            self._show(run)

    def _show(self, run: ActiveRun) -> None:
        if not run.written:
            return
        previous = self.board.progress[run.action.name].value
        changed = previous.run_id != run.id or previous.state is not run.state
        alarm = alarm_for(run.state, f"{run.state}, pressed by {run.who}")
        self.panel.post(run.view, alarm, at_once=changed)
        self._count()

    def _count(self) -> None:
        waiting = [run for run in self.active.values() if run.written and run.state is RunState.QUEUED]
        self.panel.queue(len(waiting))
