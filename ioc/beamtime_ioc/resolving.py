"""What an operator answers when something may or may not have happened. Lives in the event loop."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.activerun import Again, acquire, answered
from beamtime_ioc.answers import answer_entry, asked_of, chosen_doubt, parsed_answer, stands
from beamtime_ioc.board import Cell, Ending
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BeamtimeError, NotReadyError, RefusedError, StateError
from beamtime_ioc.journal import Journal
from beamtime_ioc.model import Answer, RunState, Who
from beamtime_ioc.progress import RunView
from beamtime_ioc.runner import Runner
from beamtime_ioc.runrecord import RunRecord
from beamtime_ioc.stored_doubts import Doubt, StoredDoubts
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

WHOLE_RUN = "run"
"""As a step: the run itself. It can only be given up."""

RUN_ID = re.compile(r"[0-9a-f-]{4,40}")
"""Of a run, or the end of it."""

LOOK_ADVICE = "look at its host and disk, then answer again"
GIVEN_UP_S = 2.0
"""A run that is stuck ends within this, in s, when it is given up."""

T = TypeVar("T")


def reopen_unbegun(journal: Journal, doubts: StoredDoubts) -> None:
    """Ask again what was answered with "do it again" when the program died before it began; at the start."""
    for answered_at_once in doubts.lately_again():
        if any(_was_begun(journal, doubt) for doubt in answered_at_once):
            continue  # several runs may doubt one letter, and one of them is done again for all
        for doubt in answered_at_once:
            log.warning("run %s: %s: the answer came to nothing, it is asked again", doubt.run_id, doubt.step)
            doubts.reopen(doubt)


def _was_begun(journal: Journal, doubt: Doubt) -> bool:
    if doubt.again_run:
        return journal.run(doubt.again_run) is not None
    return journal.is_done_again(doubt.run_id)  # written down before the new run's id was kept


class Resolving:
    """Binds the records `<Action>Resolve` and `Resolve`."""

    def __init__(self, runner: Runner, journal: Journal, doubts: StoredDoubts) -> None:
        self.runner, self.journal, self.doubts = runner, journal, doubts
        self._answering = asyncio.Lock()  # who comes second sees what the first has said
        self._seen_unsure: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        cells = runner.board.cells
        for action, row in runner.panel.rows.items():
            if "resolve" in row.parts:
                self._bind(cells[row.parts["resolve"].name], action)
        asked = runner.board.records.ask("resolve")
        if asked is not None:
            cells[asked.name].hook = self._on_text
            cells[asked.name].refused = lambda who, error: runner.audit.refused("", who, error, "resolve")
        for progress in runner.board.progress.values():
            progress.watchers.append(lambda reading: self._follow(reading.value))

    def _bind(self, cell: Cell, action: str) -> None:
        async def hook(cell: Cell, value: Value, who: Who) -> Ending | None:
            if not value:
                return None
            try:
                return await self.answer_all(action, list(Answer)[int(value) - 1], who)
            except BeamtimeError as error:
                self.runner.panel.refuse(action, str(error))
                raise
            finally:
                cell.set(0)

        cell.hook = hook
        cell.refused = lambda who, error: self.runner.audit.refused(action, who, error, "resolve")

    async def _on_text(self, cell: Cell, value: Value, who: Who) -> Ending | None:
        try:
            run, step, answer = parsed_answer(str(value))
        except RefusedError as error:
            self.runner.audit.refused("", who, error, "resolve")
            raise
        ending = await self.answer_one(run, step, answer, who)
        cell.set(str(value))
        return ending

    # -- the answers ------------------------------------------------------------------------

    async def answer_all(self, action: str, answer: Answer, who: Who) -> Ending | None:
        """Answer every open doubt of an action's last run.

        Returns
        -------
        Ending or None
            Of the new run, if it is done again.

        Raises
        ------
        RefusedError
            There is no doubt, or what is to be done again cannot be begun now.
        """
        with self._refusals_noted(who, action):
            await self._turn()
        try:
            with self._refusals_noted(who, action):
                found = await self._look(f"last run of {action}", self.journal.last, 1, action)
                again = await self._answer(*self._open(action, found), answer, who)
            return await self._begin(again, who)
        finally:
            self._answering.release()

    async def _turn(self) -> None:
        await acquire(self._answering, "somebody answers at this moment", advice="answer again")

    async def _begin(self, again: Again | None, who: Who) -> Ending | None:
        """The runner notes a refusal of this."""
        return await self.runner.press(again.asked.action, who, again=again) if again else None

    @contextmanager
    def _refusals_noted(self, who: Who, action: str) -> Generator[None]:
        try:
            yield
        except RefusedError as error:
            self.runner.audit.refused(action, who, error, "resolve")
            raise

    def _open(self, action: str, found: Sequence[RunRecord]) -> tuple[RunRecord, Sequence[Doubt]]:
        button = self.runner.panel.rows[action].button.suffix
        for record in found:
            still_open = [doubt for doubt in record.doubts if not doubt.answer]
            if still_open:
                return record, still_open
            if record.doubts:
                raise stands(record.doubts[-1])
        raise RefusedError(
            f"nothing of the last run of {button} is in doubt",
            advice="an older run is answered by beamtime resolve RUN STEP ANSWER",
        )

    async def answer_one(self, run: str, step: str, answer: Answer, who: Who) -> Ending | None:
        """Answer one doubt.

        Parameters
        ----------
        run
            Its id, or the end of it.
        step
            The doubt's step, or its number in `beamtime history show`; `run`: all of it, to give it up.

        Raises
        ------
        RefusedError
            There is no such run or no such doubt, or it has its answer, or what is to be done again cannot be
            begun now.
        """
        with self._refusals_noted(who, ""):
            record = await self._run(run)  # who mistypes does not wait for others
        with self._refusals_noted(who, record.action):
            await self._turn()
        try:
            with self._refusals_noted(who, record.action):
                record = await self._run(record.id)
                if step == WHOLE_RUN:
                    await self._give_up(record, answer, who)
                    return None
                again = await self._answer(record, [chosen_doubt(record, step)], answer, who)
            return await self._begin(again, who)
        finally:
            self._answering.release()

    async def _run(self, run: str) -> RunRecord:
        found = await self._look(f"run {run}", self.journal.find, run) if RUN_ID.fullmatch(run) else ()
        if not found:
            raise RefusedError(f"there is no run {run!r}", advice="beamtime history lists them")
        if len(found) > 1:
            raise RefusedError(
                f"{run} is the end of {len(found)} runs, such as {found[0].id}", advice="write more of it"
            )
        return found[0]

    async def _give_up(self, record: RunRecord, answer: Answer, who: Who) -> None:
        if answer is not Answer.GIVE_UP:
            raise RefusedError("a whole run can only be given up", advice="name a step to answer for it")
        if record.state.ended:
            raise RefusedError(f"run {record.id} has ended: {record.state}", advice="nothing is to be done")
        engine = self.runner.ready_engine()
        active = self.runner.active.get(record.id)
        if active is not None and active.state is not RunState.STUCK:
            button = self.runner.panel.rows[record.action].button.suffix
            raise RefusedError(f"run {record.id} is at work", advice=f"press {button}Abort to end it")
        cancelling = active.cancel(engine) if active else engine.cancel(record.id)
        try:
            await answered(cancelling, advice="it may be given up yet: look at State, then answer again")
        except StateError as error:
            raise RefusedError(
                f"run {record.id} cannot be given up: {error.sentence}", advice="answer again"
            ) from error
        if not await self._has_ended(record.id, was_active=active is not None):
            raise RefusedError(
                f"run {record.id} is not given up: it is not stuck here, or its worker is alive",
                advice="it ends at its next step; end its worker if it hangs, then answer again",
            )
        self.runner.audit.note(answer_entry(record, who, "the run is given up"))
        log.info("run %s %s: given up by %s", record.id, record.action, who)

    async def _has_ended(self, run_id: str, *, was_active: bool) -> bool:
        until = time.monotonic() + GIVEN_UP_S
        while True:
            if was_active and run_id not in self.runner.active:
                return True
            record = await self._look(f"run {run_id}", self.journal.run, run_id)
            if record is not None and record.state.ended:
                return True
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.1)

    async def _answer(
        self, record: RunRecord, still_open: Sequence[Doubt], answer: Answer, who: Who
    ) -> Again | None:
        """Write an answer down; or what is to be done again, whose answer is written at its press."""
        write = partial(self._write, record, still_open, answer, who)
        if answer is not Answer.AGAIN:
            await write()
            return None
        asked = asked_of(record, still_open[0])
        if any(asked_of(record, doubt) != asked for doubt in still_open):
            raise RefusedError(
                "the doubts belong to several actions",
                advice="answer one at a time: beamtime resolve RUN STEP 'do it again'",
            )
        if asked.action not in self.runner.panel.rows:
            raise RefusedError(
                f"there is no button for {asked.action}, so it cannot be done again by itself",
                advice="answer 'give up', and do by hand what is missing",
            )
        self.runner.require_free(asked.action)
        return Again(run_id=record.id, asked=asked, write_answer=write)

    async def _write(
        self, record: RunRecord, still_open: Sequence[Doubt], answer: Answer, who: Who, again_run: str = ""
    ) -> None:
        touched = {record.id}
        late = "nothing is begun" if answer is Answer.AGAIN else "the answer may be written yet"
        for doubt in still_open:
            writing = asyncio.ensure_future(
                in_thread(f"answer {record.id}", self.doubts.answer, doubt, answer, who, again_run)
            )
            try:
                said = await answered(
                    writing,
                    advice=f"{late}: look at UnsureCount and State, then answer again",
                )
            except NotReadyError:
                self._beside(self._written_late(writing, record, doubt, answer, who), f"answer {record.id}")
                raise
            except StateError as error:
                raise RefusedError(
                    f"the answer cannot be written down: {error.sentence}", advice=error.advice
                ) from error
            self._note(record, doubt, answer, who)
            touched |= set(said)
        for run_id in sorted(touched):
            await self._show_later(run_id)  # the answer stands, whether it can be shown or not

    def _note(self, record: RunRecord, doubt: Doubt, answer: Answer, who: Who) -> None:
        self.runner.audit.note(answer_entry(record, who, f"{doubt.step}: {answer}"))
        log.info("run %s %s: %s: %s, said %s", record.id, record.action, doubt.step, answer, who)

    async def _written_late(
        self, writing: Awaitable[Sequence[str]], record: RunRecord, doubt: Doubt, answer: Answer, who: Who
    ) -> None:
        """Nobody waits for it any more: "do it again" is taken back, since nothing was begun."""
        try:
            said = await writing
            if said and answer is Answer.AGAIN:
                await in_thread(f"reopen {record.id}", self.doubts.reopen, doubt)
        except StateError as error:
            log.warning("run %s: %s: %s is not written down: %s", record.id, doubt.step, answer, error)
            return
        if said and answer is not Answer.AGAIN:
            self._note(record, doubt, answer, who)
        for run_id in sorted({record.id, *said}):
            await self._show_later(run_id)

    # -- what is known now ------------------------------------------------------------------

    def _follow(self, view: RunView) -> None:
        """An answer may have come while the run was at work: its end does not know of it."""
        if view.state is not RunState.UNSURE or self._seen_unsure.get(view.action) == view.run_id:
            return
        self._seen_unsure[view.action] = view.run_id
        self._beside(self._show_later(view.run_id), f"doubts of {view.run_id}")

    def _beside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show_later(self, run_id: str) -> None:
        try:
            await self._show(run_id)
        except RefusedError as error:
            log.warning("run %s: it is not known whether its doubts are answered: %s", run_id, error)

    async def _show(self, run_id: str) -> None:
        """Let the records of the run's action say what is known now, if they show this run."""
        record = await self._look(f"run {run_id}", self.journal.run, run_id)
        if record is not None:
            steps = await self._look(f"steps of {run_id}", self.journal.steps, run_id)
            self.runner.panel.show_ended(record, steps)

    async def _look(self, what: str, look: Callable[..., T], *arguments: object) -> T:
        try:
            return await answered(in_thread(what, look, *arguments), advice=LOOK_ADVICE)
        except SQLAlchemyError as error:
            raise RefusedError("the state database does not answer", advice=LOOK_ADVICE) from error
