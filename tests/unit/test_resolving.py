"""Answers to what may or may not have happened, on a board without wires."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from audit_house import DEADLINE_S, entries
from beamtime_ioc import activerun
from beamtime_ioc.action import Run, action
from beamtime_ioc.alarm import Severity
from beamtime_ioc.audit import AuditLog, Deed
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board
from beamtime_ioc.engine.inline import InlineEngine
from beamtime_ioc.engine.ordered import OrderedRun
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import (
    BadValueError,
    BusyError,
    NotAllowedError,
    NotReadyError,
    RefusedError,
    StateError,
)
from beamtime_ioc.journal import Journal, RunRecord
from beamtime_ioc.model import Answer, Experiment, Letter, RunState, Who
from beamtime_ioc.records import db_dir, load_records
from beamtime_ioc.resolving import Resolving
from beamtime_ioc.runner import Runner
from beamtime_ioc.store import Store
from beamtime_ioc.stored_doubts import Asked, Doubt, StoredDoubts
from beamtime_ioc.stored_outbox import StoredOutbox
from beamtime_ioc.testing import MemoryIdentity
from beamtime_ioc.testing.run import TEST_SITE

ANN = Who(via="ca", user="ann", peer="127.0.0.1", claim="console1")
BOB = Who(via="pva", user="bob", peer="192.0.2.7")
GUEST = Who(via="pva", user="guest", peer="192.0.2.9")
NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
OLD = Experiment(key="aps:300011", name="2026-11-OBrien", start=NOW, end=NOW + timedelta(days=3))
NEW = Experiment(key="aps:300012", name="2026-11-Orsted", start=NOW, end=NOW + timedelta(days=3))
NAMES = ("update-user-info", "create-directories", "email-users", "begin-beamtime")
RUN, OTHER = "01795170078872876074-770e3b", "01795170079872876074-770e3c"
TO_ZOE = Letter(key="k1", to="zoe@example.edu", name="Zoe", subject="s", text="t", html="h", message_id="m")


class NoGuests:
    def require(self, group: str, who: Who) -> None:
        if who.user == "guest":
            raise NotAllowedError(f"{who} may not write here", advice="ask the staff")


class WrittenRuns:
    """The history as the journal has it: doubts and answers are read from the database each time."""

    def __init__(self, doubts: StoredDoubts) -> None:
        self.doubts, self.records = doubts, list[RunRecord]()
        self.away = False

    def last(self, limit: int, action: str | None = None) -> Sequence[RunRecord]:
        if self.away:
            raise OperationalError("SELECT", {}, OSError("the server is away"))
        found = [record for record in reversed(self.records) if action in (None, record.action)]
        return [record.answered(self.doubts.of_run(record.id)) for record in found[:limit]]

    def find(self, part: str) -> Sequence[RunRecord]:
        return [record for record in self.last(99) if record.id.endswith(part)]

    def run(self, run_id: str) -> RunRecord | None:
        return next(iter(self.find(run_id)), None)

    def steps(self, run_id: str) -> Sequence[Any]:
        return ()


@dataclass
class House:
    """A board with a runner, and a history to write into."""

    board: Board
    runner: Runner
    doubts: StoredDoubts
    outbox: StoredOutbox
    journal: WrittenRuns
    identity: MemoryIdentity
    state: Path
    begun: list[tuple[str, Experiment | None, str]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)

    def unsure(
        self, action: str = "email-users", run_id: str = RUN, *, steps: Sequence[str] = ("letter",)
    ) -> RunRecord:
        """Write down a run that ended in doubt, and show it."""
        self.journal.records.append(
            RunRecord(
                id=run_id,
                action=action,
                state=RunState.UNSURE,
                who=ANN,
                experiment=OLD,
                at_press=OLD,
                message="the letter may have been sent",
                advice="ask",
                pressed=NOW,
                ended=NOW,
            )
        )
        for step in steps:
            self.doubts.note(run_id, step, f"{step} may have been sent")
        self.runner.panel.show_ended(self.journal.records[-1])
        return self.journal.records[-1]

    def letter_in_doubt(self, *run_ids: str) -> None:
        """A letter that all of these runs doubt."""
        asked = Asked(action="email-users", experiment=OLD, arguments={})
        self.outbox.claim(TO_ZOE)
        self.outbox.settle(TO_ZOE.key, "unsure", "no answer")
        for run_id in run_ids:
            self.doubts.note(run_id, "letter to zoe", "it may have been sent", TO_ZOE.key, asked)

    async def put(self, suffix: str, value: object, who: Who = BOB) -> object:
        return await self.board.cell(suffix).put(value, who)

    async def one(self, step: str, answer: str, run: str = RUN, who: Who = BOB) -> object:
        return await self.put("Resolve", json.dumps({"run": run, "step": step, "answer": answer}), who)

    def answers(self, run_id: str = RUN) -> list[str]:
        return [doubt.answer for doubt in self.doubts.of_run(run_id)]

    def state_of(self, action: str) -> RunState:
        return self.board.progress[action].value.state

    async def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.005)

        await asyncio.wait_for(wait(), DEADLINE_S)


@asynccontextmanager
async def house(
    state: Path,
    body: Callable[[Run], object] = lambda run: None,
    doubts_of: Callable[[Store], StoredDoubts] = StoredDoubts,
) -> AsyncIterator[House]:
    begun: list[tuple[str, Experiment | None, str]] = []

    def make(name: str):
        def handler(run: Run, experiment: Experiment | None, **_: object) -> object:
            begun.append((name, experiment, cast(OrderedRun, run).order.again_of))
            return body(run)

        exclusive = name in ("update-user-info", "begin-beamtime")
        return action(name, resource=name, exclusive=exclusive, needs_experiment=not exclusive)(handler)

    store = Store(state, "99bm:Beamtime:")
    board = Board(load_records([db_dir() / "beamtime.substitutions"], prefix="99bm:Beamtime:"), NoGuests())
    workshop = Workshop(actions={name: make(name) for name in NAMES}, services={}, site=TEST_SITE)
    identity, engine, auditor = MemoryIdentity(NEW), InlineEngine(workshop), Auditor(AuditLog(state))
    runner = Runner(board, workshop, identity, auditor)
    engine.start(runner)
    runner.engine = engine
    doubts = doubts_of(store)
    journal = WrittenRuns(doubts)
    Resolving(runner, cast(Journal, journal), doubts)
    try:
        yield House(board, runner, doubts, StoredOutbox(store), journal, identity, state, begun)
        assert await auditor.flush(DEADLINE_S)
    finally:
        engine.stop(DEADLINE_S)
        auditor.close()
        store.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "state", "severity"),
    [("it happened", RunState.DONE, Severity.NO_ALARM), ("give up", RunState.PROBLEMS, Severity.MINOR)],
)
def test_an_answer_ends_the_doubt_and_the_record_goes_back_to_nothing(
    tmp_path: Path, answer: str, state: RunState, severity: Severity
) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.unsure(steps=("left", "right"))

            await h.put("EmailUsersResolve", answer)

            assert h.answers() == [answer, answer]
            assert h.state_of("email-users") is state
            assert h.board.cell("EmailUsersState").reading.alarm.severity is severity
            assert h.board.cell("EmailUsersResolve").value == 0
            assert h.begun == []

    run(test)


def test_done_again_is_begun_for_the_experiment_of_the_old_run(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.unsure("begin-beamtime", steps=())
            h.letter_in_doubt(RUN)

            await h.put("BeginBeamtimeResolve", "do it again")
            await h.until(lambda: h.begun)

            assert h.begun == [("email-users", OLD, RUN)]
            assert h.identity.current() == NEW
            found = h.outbox.find(TO_ZOE.key)
            assert found is not None
            assert found.state == "deferred"
            assert h.state_of("begin-beamtime") is RunState.PROBLEMS
            await h.until(lambda: h.state_of("email-users") is RunState.DONE)

    run(test)


def test_of_two_who_answer_at_once_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.unsure()

            first, second = await asyncio.gather(
                h.put("EmailUsersResolve", "it happened", ANN),
                h.put("EmailUsersResolve", "do it again", BOB),
                return_exceptions=True,
            )

            assert first is None
            assert isinstance(second, RefusedError)
            assert f"letter has its answer: it happened, said {ANN}" in str(second)
            assert h.answers() == ["it happened"]
            assert h.begun == []

    run(test)


def test_of_twenty_who_want_it_done_again_one_begins_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.unsure("begin-beamtime", steps=())
            h.letter_in_doubt(RUN)

            puts = [h.one("1", "do it again") for _ in range(20)]
            results = await asyncio.gather(*puts, return_exceptions=True)
            await h.until(lambda: h.begun)

            refused = [result for result in results if isinstance(result, RefusedError)]
            assert len(refused) == 19
            assert all("has its answer: do it again" in str(error) for error in refused)
            assert h.begun == [("email-users", OLD, RUN)]

    run(test)


def test_a_letter_that_two_actions_doubt_is_answered_for_both_and_shown_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.unsure("begin-beamtime", RUN, steps=())
            h.unsure("email-users", OTHER, steps=())
            h.letter_in_doubt(RUN, OTHER)

            await h.put("EmailUsersResolve", "it happened")

            assert h.answers(RUN) == h.answers(OTHER) == ["it happened"]
            assert h.state_of("email-users") is h.state_of("begin-beamtime") is RunState.DONE
            assert h.board.cell("BeginBeamtimeState").reading.alarm.severity is Severity.NO_ALARM

    run(test)


def test_while_the_action_is_at_work_nothing_is_done_again_and_the_doubt_stays(tmp_path: Path) -> None:
    async def test() -> None:
        go = threading.Event()
        async with house(tmp_path, lambda _: go.wait(DEADLINE_S)) as h:
            h.unsure()
            await h.put("EmailUsers", 1)

            with pytest.raises(BusyError, match="EmailUsers runs since"):
                await h.put("EmailUsersResolve", "do it again")
            shown = h.board.cell("EmailUsersMessage").value
            go.set()

            assert h.answers() == [""]
            assert str(shown).startswith("refused: EmailUsers runs since")
            assert h.board.cell("EmailUsersResolve").value == 0
            await h.until(lambda: h.state_of("email-users") is RunState.DONE)
            assert len(h.begun) == 1

    run(test)


class SlowDoubts(StoredDoubts):
    """On a disk that hangs, or that is full."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.reached, self.go, self.full = threading.Event(), threading.Event(), False
        self.reopened = threading.Event()

    def answer(self, doubt: Doubt, answer: Answer, who: Who, again_run: str = "") -> Sequence[str]:
        self.reached.set()
        assert self.go.wait(DEADLINE_S)
        if self.full:
            raise StateError("the state database is full", advice="make room")
        return super().answer(doubt, answer, who, again_run)

    def reopen(self, doubt: Doubt) -> None:
        super().reopen(doubt)
        self.reopened.set()


def test_while_do_it_again_is_written_down_nobody_else_can_begin_the_action(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path, doubts_of=SlowDoubts) as h:
            doubts = cast(SlowDoubts, h.doubts)
            h.unsure()
            answering = asyncio.create_task(h.put("EmailUsersResolve", "do it again"))
            await h.until(doubts.reached.is_set)

            with pytest.raises(BusyError):
                await h.put("EmailUsers", 1, ANN)
            doubts.go.set()
            await answering
            await h.until(lambda: h.state_of("email-users") is RunState.DONE)

            assert h.begun == [("email-users", OLD, RUN)]

    run(test)


def test_an_answer_that_cannot_be_written_down_begins_nothing_and_can_be_given_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path, doubts_of=SlowDoubts) as h:
            doubts = cast(SlowDoubts, h.doubts)
            h.unsure()
            doubts.go.set()
            doubts.full = True

            for answer in ("it happened", "do it again"):
                with pytest.raises(RefusedError, match="the answer cannot be written down"):
                    await h.put("EmailUsersResolve", answer)
            assert (h.answers(), h.begun) == ([""], [])
            doubts.full = False
            await h.put("EmailUsersResolve", "do it again")
            await h.until(lambda: h.begun)

            assert h.answers() == ["do it again"]

    run(test)


def test_while_an_answer_is_written_to_a_slow_disk_the_next_waits_a_while_and_a_mistyped_one_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with house(tmp_path, doubts_of=SlowDoubts) as h:
            doubts = cast(SlowDoubts, h.doubts)
            h.unsure()
            answering = asyncio.create_task(h.put("EmailUsersResolve", "it happened"))
            await h.until(doubts.reached.is_set)

            with pytest.raises(RefusedError, match="there is no run '0000-0000'"):
                await asyncio.wait_for(h.one("1", "it happened", "0000-0000"), DEADLINE_S / 2)
            monkeypatch.setattr(activerun, "ANSWER_S", 0.2)
            for second in (h.one("1", "give up"), h.put("EmailUsersResolve", "give up")):
                with pytest.raises(BusyError, match="somebody answers at this moment; answer again"):
                    await asyncio.wait_for(second, DEADLINE_S / 2)
            doubts.go.set()
            await answering

            assert h.answers() == ["it happened"]

    run(test)


def test_an_answer_that_is_not_written_in_time_is_refused_and_shown_when_it_is_written_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with house(tmp_path, doubts_of=SlowDoubts) as h:
            doubts = cast(SlowDoubts, h.doubts)
            h.unsure()
            monkeypatch.setattr(activerun, "ANSWER_S", 0.5)

            with pytest.raises(NotReadyError, match="may be written yet: look at UnsureCount and State"):
                await asyncio.wait_for(h.put("EmailUsersResolve", "it happened"), DEADLINE_S / 2)
            before = h.state_of("email-users")
            monkeypatch.undo()
            doubts.go.set()
            await h.until(lambda: h.state_of("email-users") is RunState.DONE)

            assert before is RunState.UNSURE
            assert h.answers() == ["it happened"]
        assert [entry.what for entry in entries(h.state)] == [Deed.REFUSED, Deed.RESOLVE]

    run(test)


def test_do_it_again_that_is_written_too_late_begins_nothing_and_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with house(tmp_path, doubts_of=SlowDoubts) as h:
            doubts = cast(SlowDoubts, h.doubts)
            h.unsure()
            monkeypatch.setattr(activerun, "ANSWER_S", 0.5)

            with pytest.raises(NotReadyError, match="nothing is begun: look at UnsureCount"):
                await asyncio.wait_for(h.put("EmailUsersResolve", "do it again"), DEADLINE_S / 2)
            monkeypatch.undo()
            doubts.go.set()
            await h.until(doubts.reopened.is_set)

            assert (h.answers(), h.begun) == ([""], [])

    run(test)


def test_a_refusal_of_do_it_again_is_one_line_of_the_audit(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path, doubts_of=SlowDoubts) as h:
            doubts = cast(SlowDoubts, h.doubts)
            h.unsure()
            doubts.go.set()
            doubts.full = True

            for answering in (h.put("EmailUsersResolve", "do it again"), h.one("1", "do it again")):
                with pytest.raises(RefusedError, match="cannot be written down"):
                    await answering

        lines = [(entry.what, entry.text.split(":")[0]) for entry in entries(h.state)]
        assert lines == [(Deed.PRESS, f"{RUN} again"), (Deed.REFUSED, "resolve")] * 2

    run(test)


def test_an_answer_that_comes_before_the_end_of_the_run_counts_at_its_end(tmp_path: Path) -> None:
    async def test() -> None:
        go = threading.Event()

        def body(current: Run) -> None:
            cast(Any, current).recorder.doubt("letter", "it may have been sent", "", None)
            go.wait(DEADLINE_S)

        async with house(tmp_path, body) as h:
            await h.put("EmailUsers", 1)
            await h.until(lambda: h.begun)
            run_id = str(h.board.cell("EmailUsersRunId").value)
            unsure = replace(h.unsure("create-directories", steps=()), id=run_id, action="email-users")
            h.journal.records.append(replace(unsure, state=RunState.RUNNING, ended=None))
            h.doubts.note(run_id, "letter", "it may have been sent")

            await h.put("EmailUsersResolve", "it happened")
            at_work = h.state_of("email-users")
            h.journal.records[-1] = unsure
            go.set()
            await h.until(lambda: h.state_of("email-users") is RunState.DONE)

            assert at_work is RunState.RUNNING
            assert h.board.cell("EmailUsersMessage").value == f"letter: it happened, said {BOB}"

    run(test)


def test_doubts_of_several_actions_or_of_one_without_a_button_are_not_done_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.unsure("begin-beamtime", steps=("left",))
            h.letter_in_doubt(RUN)
            h.unsure("email-users", OTHER, steps=())
            asked = Asked(action="move-sample", experiment=OLD, arguments={})
            h.doubts.note(OTHER, "sample", "it may have moved", asked=asked)

            with pytest.raises(RefusedError, match="several actions; answer one at a time"):
                await h.put("BeginBeamtimeResolve", "do it again")
            with pytest.raises(RefusedError, match="there is no button for move-sample"):
                await h.put("EmailUsersResolve", "do it again")

            assert (h.answers(RUN), h.answers(OTHER), h.begun) == (["", ""], [""], [])

    run(test)


def test_the_run_itself_can_only_be_given_up_and_only_when_it_is_stuck(tmp_path: Path) -> None:
    async def test() -> None:
        go = threading.Event()

        def body(current: Run) -> None:
            go.wait(DEADLINE_S)
            current.sleep(DEADLINE_S)

        async with house(tmp_path, body) as h:
            ended = h.unsure()
            await h.put("EmailUsers", 1)
            await h.until(lambda: h.begun)
            run_id = str(h.board.cell("EmailUsersRunId").value)
            h.journal.records.append(replace(ended, id=run_id, state=RunState.RUNNING, ended=None))

            with pytest.raises(RefusedError, match="has ended: Unsure"):
                await h.one("run", "give up")
            with pytest.raises(RefusedError, match="can only be given up"):
                await h.one("run", "it happened", run_id)
            with pytest.raises(RefusedError, match="is at work; press EmailUsersAbort"):
                await h.one("run", "give up", run_id)
            h.runner.on_stuck(run_id, "nobody works on it")
            await h.until(lambda: h.state_of("email-users") is RunState.STUCK)
            with pytest.raises(RefusedError, match="not stuck here, or its worker is alive"):
                await h.one("run", "give up", run_id)  # it is in a call that hangs
            go.set()
            await h.until(lambda: h.state_of("email-users") is RunState.ABORTED)

        assert Deed.RESOLVE not in {entry.what for entry in entries(h.state)}

    run(test)


def test_that_a_run_is_given_up_is_written_down_when_it_has_happened(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path, lambda current: current.sleep(DEADLINE_S)) as h:
            await h.put("EmailUsers", 1)
            await h.until(lambda: h.begun)
            run_id = str(h.board.cell("EmailUsersRunId").value)
            ended = h.unsure("create-directories", steps=())
            record = replace(ended, id=run_id, action="email-users", state=RunState.RUNNING, ended=None)
            h.journal.records.append(record)
            h.runner.on_stuck(run_id, "nobody works on it")
            await h.until(lambda: h.state_of("email-users") is RunState.STUCK)

            await h.one("run", "give up", run_id)

            assert h.state_of("email-users") is RunState.ABORTED
        assert [entry.what for entry in entries(h.state)] == [Deed.PRESS, Deed.END, Deed.RESOLVE]

    run(test)


class DeafEngine(InlineEngine):
    """On a database that does not answer."""

    async def cancel(self, run_id: str) -> None:
        await asyncio.Event().wait()


def test_a_run_that_cannot_be_given_up_in_time_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.journal.records.append(replace(h.unsure(), id=OTHER, state=RunState.STUCK, ended=None))
            h.runner.engine = DeafEngine(h.runner.workshop)
            monkeypatch.setattr(activerun, "ANSWER_S", 0.5)

            with pytest.raises(NotReadyError, match="it may be given up yet: look at State, then answer"):
                await asyncio.wait_for(h.one("run", "give up", OTHER), DEADLINE_S / 2)

        assert [entry.what for entry in entries(h.state)] == [Deed.REFUSED]

    run(test)


def test_a_database_that_is_away_is_said_in_words(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.unsure()
            h.journal.away = True

            with pytest.raises(RefusedError, match="the state database does not answer"):
                await h.put("EmailUsersResolve", "it happened")
            with pytest.raises(RefusedError, match="the state database does not answer"):
                await h.one("1", "it happened")

            assert "the state database does not answer" in str(h.board.cell("EmailUsersMessage").value)

    run(test)


def test_the_audit_has_a_line_for_each_answer_and_for_each_refusal(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.unsure(steps=("left", "right"))

            with pytest.raises(NotAllowedError):
                await h.put("EmailUsersResolve", "give up", GUEST)
            await h.put("EmailUsersResolve", "it happened", ANN)
            for refused in (
                h.put("EmailUsersResolve", "give up"),
                h.one("1", "give up"),
                h.one("9", "give up"),
            ):
                with pytest.raises(RefusedError):
                    await refused

        told = [
            (entry.what, entry.who.user, entry.run, entry.text.split(":")[0]) for entry in entries(h.state)
        ]
        assert told == [
            (Deed.REFUSED, "guest", "", "resolve"),
            (Deed.RESOLVE, "ann", RUN, "left"),
            (Deed.RESOLVE, "ann", RUN, "right"),
            (Deed.REFUSED, "bob", "", "resolve"),
            (Deed.REFUSED, "bob", "", "resolve"),
            (Deed.REFUSED, "bob", "", "resolve"),
        ]

    run(test)


WORDS = st.one_of(
    st.text(max_size=60), st.none(), st.integers(), st.floats(), st.lists(st.text(), max_size=2)
)
ALMOST = st.fixed_dictionaries(
    {},
    optional={
        "run": st.one_of(WORDS, st.just(RUN)),
        "step": st.one_of(WORDS, st.just("run")),
        "answer": st.one_of(WORDS, st.sampled_from(list(Answer))),
    },
)
GARBAGE = st.one_of(st.text(max_size=200), st.builds(json.dumps, st.one_of(WORDS, ALMOST)))


def test_garbage_in_the_record_is_refused_in_words_and_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.unsure()
            loop = asyncio.get_running_loop()

            @settings(max_examples=300, deadline=None)
            @given(GARBAGE)
            @example("[" * 1000)
            @example('{"run": "\\ud800", "step": "\\ud800", "answer": "give up"}')
            @example(json.dumps({"run": RUN, "step": "\ud800", "answer": "give up"}))
            @example(json.dumps({"run": RUN, "step": "a\0b", "answer": "give up"}))
            @example('{"run": "%", "step": "1", "answer": "it happened"}')
            @example('{"run": "", "step": "1", "answer": "it happened"}')
            @example('{"run": 1e999, "step": NaN, "answer": {}}')
            def refuse(text: str) -> None:
                put = asyncio.run_coroutine_threadsafe(h.put("Resolve", text), loop)
                with pytest.raises((RefusedError, BadValueError)) as refused:
                    put.result(DEADLINE_S)
                str(refused.value).encode()

            await asyncio.to_thread(refuse)

            assert h.board.cell("Resolve").value == ""
            assert (h.answers(), h.begun) == ([""], [])

    run(test)
