"""From a press to its end, on a board without wires."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from audit_house import temporary_auditor
from beamtime_ioc import activerun
from beamtime_ioc.action import Action, Run, action
from beamtime_ioc.alarm import Severity
from beamtime_ioc.board import Board
from beamtime_ioc.engine.engine import Order
from beamtime_ioc.engine.inline import InlineEngine
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import (
    BadValueError,
    BeamtimeError,
    BusyError,
    NotReadyError,
    RefusedError,
    RunEndedError,
)
from beamtime_ioc.identity import IdentityRecords
from beamtime_ioc.journal import RunRecord
from beamtime_ioc.model import Experiment, Person, RunState, Who
from beamtime_ioc.posting import Reading
from beamtime_ioc.records import db_dir, load_records
from beamtime_ioc.runner import Runner
from beamtime_ioc.testing import MemoryIdentity
from beamtime_ioc.testing.run import TEST_SITE
from beamtime_ioc.values import Value

OPERATOR = Who(via="ca", user="operator", peer="127.0.0.1", claim="console")
START = datetime(2026, 11, 20, 8, tzinfo=UTC)
EXPERIMENT = Experiment(
    key="aps:300011",
    name="2026-11-OBrien-9100001",
    start=START,
    end=START + timedelta(days=3),
    proposal="9100001",
    people=(Person(first_name="Ren", last_name="O'Brien", email="ren@example.org", is_pi=True),),
)
NAMES = ("update-user-info", "create-directories", "email-users", "begin-beamtime")
EXCLUSIVE = ("update-user-info", "begin-beamtime")
DEADLINE_S = 5


class OpenGate:
    def require(self, group: str, who: Who) -> None: ...


@dataclass
class House:
    board: Board
    runner: Runner
    identity: MemoryIdentity
    records: IdentityRecords

    def value(self, suffix: str) -> object:
        return self.board.cell(suffix).value

    async def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.005)

        await asyncio.wait_for(wait(), DEADLINE_S)


@asynccontextmanager
async def house(bodies: dict[str, Callable[[Run], object]], *, ready: bool = True) -> AsyncIterator[House]:
    def make(name: str) -> Action:
        def handler(run: Run, experiment: Experiment | None) -> object:
            return bodies.get(name, lambda _: None)(run)

        resource = {"create-directories": "places", "email-users": "mail"}.get(name, "identity")
        exclusive = name in EXCLUSIVE
        return action(name, resource=resource, exclusive=exclusive, needs_experiment=not exclusive)(handler)

    records = load_records([db_dir() / "beamtime.substitutions"], prefix="99bm:Beamtime:")
    board = Board(records, OpenGate())
    identity = MemoryIdentity(EXPERIMENT)
    workshop = Workshop(actions={name: make(name) for name in NAMES}, services={}, site=TEST_SITE)
    engine = InlineEngine(workshop)
    async with temporary_auditor() as auditor:
        runner = Runner(board, workshop, identity, auditor)
        shown = IdentityRecords(board, identity, TEST_SITE, runner)
        engine.start(runner)
        if ready:
            runner.engine = engine
        yield House(board, runner, identity, shown)
        engine.stop(DEADLINE_S)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))  # type: ignore[arg-type]


def test_a_press_is_busy_until_its_run_has_ended_and_then_says_how() -> None:
    async def test() -> None:
        go = threading.Event()

        def body(run: Run) -> None:
            run.progress(0.5, "half way")
            go.wait(DEADLINE_S)
            run.progress(1, "all stands")

        async with house({"create-directories": body}) as h:
            end = await h.board.cell("CreateDirectories").put(1, OPERATOR)
            assert end is not None
            await h.until(lambda: h.value("CreateDirectoriesMessage") == "half way")
            busy = [
                h.value("CreateDirectories"),
                h.value("CreateDirectoriesState"),
                h.value("CreateDirectoriesPercent"),
            ]
            severity = h.board.cell("CreateDirectories").reading.alarm.severity
            go.set()
            await end

            assert busy == [1, list(RunState).index(RunState.RUNNING), 50]
            assert severity is Severity.MINOR
            assert h.value("CreateDirectories") == 0
            assert h.value("CreateDirectoriesState") == list(RunState).index(RunState.DONE)
            assert h.value("CreateDirectoriesPercent") == 100
            assert h.value("CreateDirectoriesMessage") == "all stands"
            assert h.value("CreateDirectoriesStartedBy") == "operator from console (127.0.0.1) by ca"
            assert h.board.cell("CreateDirectories").reading.alarm.severity is Severity.NO_ALARM
            assert h.board.progress["create-directories"].value.state is RunState.DONE

    run(test)


def test_of_twenty_presses_at_once_one_runs_and_the_others_are_told_who_was_first() -> None:
    async def test() -> None:
        runs: list[int] = []
        go = threading.Event()

        def body(run: Run) -> None:
            runs.append(1)
            go.wait(DEADLINE_S)

        async with house({"email-users": body}) as h:
            puts = [h.board.cell("EmailUsers").put(1, OPERATOR) for _ in range(20)]
            results = await asyncio.gather(*puts, return_exceptions=True)
            refusals = [result for result in results if isinstance(result, BusyError)]
            message = h.board.cell("EmailUsersMessage").reading
            go.set()
            for result in results:
                if not isinstance(result, BaseException) and result is not None:
                    await result

            assert len(refusals) == 19
            assert runs == [1]
            assert "EmailUsers runs since" in str(refusals[0])
            assert "pressed by operator" in str(refusals[0])
            assert "refused" in str(message.value)
            assert message.alarm.severity is Severity.MINOR

    run(test)


def test_what_changes_the_identity_and_everything_else_exclude_each_other() -> None:
    async def test() -> None:
        go = threading.Event()
        bodies: dict[str, Callable[[Run], object]] = {
            "email-users": lambda run: go.wait(DEADLINE_S),
            "begin-beamtime": lambda run: go.wait(DEADLINE_S),
        }
        async with house(bodies) as h:
            mail = await h.board.cell("EmailUsers").put(1, OPERATOR)
            with pytest.raises(BusyError, match="EmailUsers runs since"):
                await h.board.cell("BeginBeamtime").put(1, OPERATOR)
            directories = await h.board.cell("CreateDirectories").put(
                1, OPERATOR
            )  # another resource: side by side
            go.set()
            assert mail is not None
            assert directories is not None
            await mail
            await directories
            go.clear()
            begin = await h.board.cell("BeginBeamtime").put(1, OPERATOR)
            with pytest.raises(BusyError, match="BeginBeamtime runs since"):
                await h.board.cell("CreateDirectories").put(1, OPERATOR)
            with pytest.raises(BusyError, match="not while BeginBeamtime runs"):
                await h.board.cell("UserEmail").put("new@example.org", OPERATOR)
            go.set()
            assert begin is not None
            await begin

            assert h.identity.current() == EXPERIMENT

    run(test)


def test_a_put_of_zero_does_nothing() -> None:
    async def test() -> None:
        runs: list[int] = []
        async with house({"create-directories": lambda run: runs.append(1)}) as h:
            for name in ("CreateDirectories", "CreateDirectoriesPreview", "CreateDirectoriesAbort"):
                assert await h.board.cell(name).put(0, OPERATOR) is None

            assert runs == []
            assert h.value("CreateDirectoriesState") == 0

    run(test)


def test_a_failed_run_is_an_alarm_on_button_and_message_until_a_press_succeeds() -> None:
    async def test() -> None:
        fails = [True]

        def body(run: Run) -> None:
            if fails.pop():
                raise RefusedError("ana1 does not answer", advice="start ana1, then press again")

        async with house({"create-directories": body}) as h:
            end = await h.board.cell("CreateDirectories").put(1, OPERATOR)
            assert end is not None
            with pytest.raises(RunEndedError, match="Failed: ana1 does not answer; start ana1"):
                await end
            failed = {
                name: h.board.cell(name).reading for name in ("CreateDirectories", "CreateDirectoriesMessage")
            }
            advice = h.value("CreateDirectoriesAdvice")
            fails.append(False)
            again = await h.board.cell("CreateDirectories").put(1, OPERATOR)
            assert again is not None
            await again

            assert [reading.alarm.severity for reading in failed.values()] == [Severity.MAJOR, Severity.MAJOR]
            assert advice == "start ana1, then press again"
            assert h.board.cell("CreateDirectories").reading.alarm.severity is Severity.NO_ALARM
            assert h.board.cell("CreateDirectoriesMessage").reading.alarm.severity is Severity.NO_ALARM
            assert h.value("CreateDirectoriesAdvice") == ""

    run(test)


def test_abort_ends_the_run_at_its_next_step() -> None:
    async def test() -> None:
        begun = threading.Event()

        def body(run: Run) -> None:
            begun.set()
            run.sleep(60)

        async with house({"email-users": body}) as h:
            end = await h.board.cell("EmailUsers").put(1, OPERATOR)
            assert end is not None
            assert await asyncio.to_thread(begun.wait, DEADLINE_S)
            await h.board.cell("EmailUsersAbort").put(1, OPERATOR)
            with pytest.raises(RunEndedError, match="Aborted"):
                await end

            assert h.value("EmailUsersState") == list(RunState).index(RunState.ABORTED)
            assert h.value("EmailUsersAbort") == 0

    run(test)


def test_an_abort_while_nothing_runs_says_so_and_how_the_last_run_ended() -> None:
    async def test() -> None:
        async with house({"email-users": lambda run: run.progress(1, "2 letters")}) as h:
            abort = h.board.cell("EmailUsersAbort")
            with pytest.raises(RefusedError, match=r"^EmailUsers does not run; there is nothing to abort$"):
                await abort.put(1, OPERATOR)
            first = h.board.cell("EmailUsersMessage").reading
            await abort.put(0, OPERATOR)  # a screen lets the button go
            end = await h.board.cell("EmailUsers").put(1, OPERATOR)
            assert end is not None
            await end
            with pytest.raises(RefusedError, match="its last run ended Done: 2 letters"):
                await abort.put(1, OPERATOR)

            assert first.value == "refused: EmailUsers does not run; there is nothing to abort"
            assert first.alarm.severity is Severity.MINOR
            assert h.value("EmailUsersState") == list(RunState).index(RunState.DONE)

    run(test)


def test_a_press_before_the_engine_is_ready_is_refused_in_words() -> None:
    async def test() -> None:
        async with house({}, ready=False) as h:
            with pytest.raises(NotReadyError, match="not now: the IOC starts"):
                await h.board.cell("CreateDirectories").put(1, OPERATOR)

            assert "refused: not now" in str(h.value("CreateDirectoriesMessage"))
            assert h.value("CreateDirectories") == 0

    run(test)


def test_an_action_on_an_experiment_is_refused_while_there_is_none() -> None:
    async def test() -> None:
        async with house({}) as h:
            h.identity.experiment = None
            with pytest.raises(RefusedError, match="no current experiment; press UpdateUserInfo first"):
                await h.board.cell("CreateDirectories").put(1, OPERATOR)
            end = await h.board.cell("UpdateUserInfo").put(1, OPERATOR)
            assert end is not None
            await end

    run(test)


def test_the_experiment_is_frozen_at_the_press() -> None:
    async def test() -> None:
        go, seen = threading.Event(), list[Experiment | None]()

        async with house({}) as h:

            def handler(run: Run, experiment: Experiment | None) -> None:
                go.wait(DEADLINE_S)
                seen.append(experiment)

            made = action("email-users", resource="mail")(handler)
            h.runner.workshop.actions["email-users"] = made  # type: ignore[index]
            end = await h.board.cell("EmailUsers").put(1, OPERATOR)
            h.identity.experiment = EXPERIMENT.edit("title", "another title")
            go.set()
            assert end is not None
            await end

        assert seen == [EXPERIMENT]

    run(test)


def test_a_preview_writes_the_plan_and_leaves_the_state_alone() -> None:
    async def test() -> None:
        def body(run: Run) -> None:
            run.effect("a thing", look=lambda: None, make=lambda: 1 / 0, verify=lambda: 1)

        async with house({"create-directories": body}) as h:
            end = await h.board.cell("CreateDirectoriesPreview").put(1, OPERATOR)
            assert end is not None
            await end
            await h.until(lambda: h.value("CreateDirectoriesPreview") == 0)

            assert h.value("CreateDirectoriesPlan") == "would make: a thing"
            assert h.value("CreateDirectoriesState") == 0

    run(test)


def test_a_refusal_gives_way_to_a_plan_and_what_the_last_run_said_comes_back() -> None:
    async def test() -> None:
        def body(run: Run) -> None:
            raise BeamtimeError("the disk is full", advice="make space")

        async with house({"create-directories": body}) as h:
            message = h.board.cell("CreateDirectoriesMessage")

            async def refused_then_planned() -> Reading[Value]:
                with pytest.raises(RefusedError):
                    await h.board.cell("CreateDirectoriesAbort").put(1, OPERATOR)
                assert str(message.value).startswith("refused: ")
                end = await h.board.cell("CreateDirectoriesPreview").put(1, OPERATOR)
                assert end is not None
                await end
                return message.reading

            before = await refused_then_planned()
            end = await h.board.cell("CreateDirectories").put(1, OPERATOR)
            assert end is not None
            with pytest.raises(RunEndedError):
                await end
            after = await refused_then_planned()

            assert (before.value, before.alarm.severity) == ("", Severity.NO_ALARM)
            assert after.value == "the disk is full; make space"
            assert after.alarm.severity is Severity.MAJOR

    run(test)


def test_a_refusal_that_comes_while_a_plan_is_made_stands() -> None:
    async def test() -> None:
        looking, go_on = threading.Event(), threading.Event()

        def look() -> None:
            looking.set()
            assert go_on.wait(10)

        def body(run: Run) -> None:
            run.effect("a thing", look=look, make=lambda: None, verify=lambda: 1)

        async with house({"create-directories": body}) as h:
            end = await h.board.cell("CreateDirectoriesPreview").put(1, OPERATOR)
            assert end is not None
            await h.until(looking.is_set)
            with pytest.raises(RefusedError):
                await h.board.cell("CreateDirectoriesAbort").put(1, OPERATOR)
            go_on.set()
            await end

            assert h.value("CreateDirectoriesPlan") == "would make: a thing"
            assert str(h.value("CreateDirectoriesMessage")).startswith(
                "refused: CreateDirectories does not run"
            )

    run(test)


def test_after_a_restart_open_runs_are_busy_and_ended_ones_say_how_they_ended() -> None:
    async def test() -> None:
        record = RunRecord(
            id="01795169016276911618-a92167",
            action="email-users",
            state=RunState.RUNNING,
            who=OPERATOR,
            experiment=EXPERIMENT,
            message="",
            advice="",
            pressed=START,
            ended=None,
        )
        failed = RunRecord(
            id="01795169016276911617-a92167",
            action="create-directories",
            state=RunState.FAILED,
            who=OPERATOR,
            experiment=EXPERIMENT,
            message="ana1 is off",
            advice="start it",
            pressed=START,
            ended=START + timedelta(seconds=5),
        )
        async with house({}) as h:
            h.runner.restore([record], {"create-directories": failed})

            assert (h.value("EmailUsers"), h.value("EmailUsersRunId")) == (1, record.id)
            assert h.value("EmailUsersState") == list(RunState).index(RunState.RUNNING)
            assert h.value("CreateDirectoriesMessage") == "ana1 is off"
            assert h.value("CreateDirectoriesElapsed") == 5
            assert h.board.cell("CreateDirectories").reading.alarm.severity is Severity.MAJOR
            with pytest.raises(BusyError):
                await h.board.cell("EmailUsers").put(1, OPERATOR)

    run(test)


def test_identity_records_are_unknown_until_there_is_an_experiment() -> None:
    async def test() -> None:
        async with house({}) as h:
            before = h.board.cell("UserName").reading.alarm.severity
            await h.records.refresh()

            assert before is Severity.INVALID
            assert h.value("UserName") == "Ren"
            assert h.value("UserLastName") == "O'Brien"
            assert h.value("ExperimentYearMonth") == "2026-11"
            assert h.value("ProposalNumber") == "9100001"
            assert h.board.cell("UserName").reading.alarm.severity is Severity.NO_ALARM

    run(test)


@pytest.mark.parametrize("text", ["me", "a@b@c", "a b@example.org", "a@example.org\nBcc: b@example.org", "@"])
def test_what_is_no_address_is_not_typed_in_as_one(text: str) -> None:
    async def test() -> None:
        async with house({}) as h:
            await h.records.refresh()
            before = h.value("UserEmail")
            with pytest.raises(BadValueError, match="is no e-mail address; write it as name"):
                await h.board.cell("UserEmail").put(text, OPERATOR)

            assert h.value("UserEmail") == before
            current = h.identity.current()
            assert current is not None
            assert current.edited == ()

    run(test)


def test_an_address_may_be_cleared() -> None:
    async def test() -> None:
        async with house({}) as h:
            await h.records.refresh()
            await h.board.cell("UserEmail").put("", OPERATOR)

            assert h.value("UserEmail") == ""

    run(test)


def test_a_typed_field_is_stored_as_an_edit_before_the_record_shows_it() -> None:
    async def test() -> None:
        async with house({}) as h:
            await h.records.refresh()
            await h.board.cell("UserEmail").put("new@example.org", OPERATOR)

            current = h.identity.current()
            assert current is not None
            assert (current.pi.email, current.source, current.edited) == (
                "new@example.org",
                "manual",
                ("pi.email",),
            )
            assert h.value("UserEmail") == "new@example.org"

    run(test)


@pytest.mark.parametrize("name", ["ProposalNumber", "ExperimentName", "ExperimentYearMonth", "ESAFNumber"])
def test_what_identifies_the_experiment_is_not_typed_in(name: str) -> None:
    async def test() -> None:
        async with house({}) as h:
            await h.records.refresh()
            before = h.board.cell(name).reading
            with pytest.raises(RefusedError, match=f"{name} is not typed in; press UpdateUserInfo"):
                await h.board.cell(name).put("123", OPERATOR)

            assert h.board.cell(name).reading == before
            assert h.identity.current() == EXPERIMENT

    run(test)


def test_a_text_that_is_longer_than_its_record_is_cut_with_an_alarm() -> None:
    async def test() -> None:
        async with house({}) as h:
            h.identity.experiment = EXPERIMENT.edit("title", "é" * 2000)
            await h.records.refresh()
            cell = h.board.cell("ProposalTitle")

            assert len(str(cell.value).encode()) <= cell.record.nelm
            assert str(cell.value).endswith(" ...")
            assert cell.reading.alarm.severity is Severity.MINOR

    run(test)


def test_progress_is_posted_at_most_five_times_a_second_and_the_last_always() -> None:
    async def test() -> None:
        posts: list[float] = []

        def body(run: Run) -> None:
            for number in range(400):
                run.progress(number / 400, f"file {number}")
                threading.Event().wait(0.001)
            run.progress(1, "400 files")

        async with house({"create-directories": body}) as h:
            cell = h.board.cell("CreateDirectoriesPercent")
            cell.watchers.append(lambda reading: posts.append(reading.stamp))
            end = await h.board.cell("CreateDirectories").put(1, OPERATOR)
            assert end is not None
            await end

            assert cell.value == 100
            gaps = [later - earlier for earlier, later in itertools.pairwise(posts[:-1])]
            assert len(posts) >= 2
            assert all(gap > 0.15 for gap in gaps)

    run(test)


def test_a_post_that_waited_never_overwrites_the_end() -> None:
    async def test() -> None:
        def body(run: Run) -> None:
            run.effect("a quick thing", look=lambda: None, make=lambda: None, verify=lambda: 1)

        async with house({"create-directories": body}) as h:
            end = await h.board.cell("CreateDirectories").put(1, OPERATOR)
            assert end is not None
            await end
            await h.until(lambda: all(cell.settled for cell in h.board.cells.values()))

            assert h.value("CreateDirectoriesStep") == ""
            assert h.value("CreateDirectoriesState") == list(RunState).index(RunState.DONE)

    run(test)


def test_an_abort_that_nobody_would_hear_is_refused() -> None:
    async def test() -> None:
        record = RunRecord(
            id="01795169016276911618-a92167",
            action="email-users",
            state=RunState.RUNNING,
            who=OPERATOR,
            experiment=EXPERIMENT,
            message="",
            advice="",
            pressed=START,
            ended=None,
        )
        async with house({}, ready=False) as h:
            h.runner.restore([record], {})
            with pytest.raises(NotReadyError, match="not now: the IOC starts"):
                await h.board.cell("EmailUsersAbort").put(1, OPERATOR)

            assert "refused: not now" in str(h.value("EmailUsersMessage"))

    run(test)


class SlowPen(InlineEngine):
    """Writes an order down when it is told to."""

    def __init__(self, engine: InlineEngine) -> None:
        super().__init__(engine.workshop)
        self.start(engine.listener)
        self.go, self.cancelled = asyncio.Event(), list[str]()

    async def submit(self, order: Order) -> None:
        await self.go.wait()
        await super().submit(order)

    async def cancel(self, run_id: str) -> None:
        self.cancelled.append(run_id)
        await super().cancel(run_id)


def test_before_it_is_written_down_a_press_is_not_shown_and_an_abort_of_it_is_kept() -> None:
    async def test() -> None:
        async with house({"email-users": lambda run: run.sleep(60)}) as h:
            assert isinstance(h.runner.engine, InlineEngine)
            h.runner.engine = pen = SlowPen(h.runner.engine)
            press = asyncio.create_task(h.board.cell("EmailUsers").put(1, OPERATOR))
            await h.until(lambda: h.runner.active)
            h.runner.tick()
            shown = h.value("EmailUsers"), h.value("EmailUsersState"), h.value("QueueLength")
            await h.board.cell("EmailUsersAbort").put(1, OPERATOR)
            pen.go.set()
            end = await press
            assert end is not None
            with pytest.raises(RunEndedError, match="Aborted"):
                await end

            assert shown == (0, 0, 0)
            assert len(pen.cancelled) == 1

    run(test)


def test_while_somebody_types_into_the_experiment_nobody_changes_it_to_another() -> None:
    async def test() -> None:
        go = threading.Event()

        class SlowIdentity(MemoryIdentity):
            def adopt(self, experiment: Experiment) -> None:
                go.wait(DEADLINE_S)
                super().adopt(experiment)

        async with house({}) as h:
            h.records.identity = SlowIdentity(EXPERIMENT)
            edit = asyncio.create_task(h.board.cell("UserEmail").put("new@example.org", OPERATOR))
            await h.until(lambda: h.runner.editing)
            with pytest.raises(BusyError, match="somebody corrects the current experiment; press again"):
                await h.board.cell("BeginBeamtime").put(1, OPERATOR)
            go.set()
            await edit
            end = await h.board.cell("BeginBeamtime").put(1, OPERATOR)
            assert end is not None
            await end

    run(test)


class DeafEngine(InlineEngine):
    """Hears of an abort when it is told to."""

    def __init__(self, engine: InlineEngine) -> None:
        super().__init__(engine.workshop)
        self.start(engine.listener)
        self.go, self.asked = asyncio.Event(), 0

    async def cancel(self, run_id: str) -> None:
        self.asked += 1
        await self.go.wait()
        await super().cancel(run_id)


def test_eight_aborts_while_the_database_is_locked_ask_the_engine_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        async with house({"email-users": lambda run: run.sleep(60)}) as h:
            assert isinstance(h.runner.engine, InlineEngine)
            h.runner.engine = deaf = DeafEngine(h.runner.engine)
            end = await h.board.cell("EmailUsers").put(1, OPERATOR)
            monkeypatch.setattr(activerun, "ANSWER_S", 0.2)

            puts = [h.board.cell("EmailUsersAbort").put(1, OPERATOR) for _ in range(8)]
            results = await asyncio.gather(*puts, return_exceptions=True)
            deaf.go.set()
            assert end is not None
            with pytest.raises(RunEndedError, match="Aborted"):
                await end

            assert deaf.asked == 1
            assert [type(result) for result in results] == [NotReadyError] * 8
            assert "the abort is heard when it does" in str(results[0])

    run(test)


def test_a_typed_field_that_is_not_written_in_time_is_refused_and_nobody_overtakes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        go = threading.Event()

        class SlowIdentity(MemoryIdentity):
            def adopt(self, experiment: Experiment) -> None:
                go.wait(DEADLINE_S)
                super().adopt(experiment)

        async with house({}) as h:
            h.records.identity = slow = SlowIdentity(EXPERIMENT)
            monkeypatch.setattr(activerun, "ANSWER_S", 0.2)
            email = h.board.cell("UserEmail")

            with pytest.raises(NotReadyError, match="does not answer; it may be written yet"):
                await email.put("new@example.org", OPERATOR)
            with pytest.raises(BusyError, match="somebody corrects the current experiment; type it again"):
                await email.put("newer@example.org", OPERATOR)
            with pytest.raises(BusyError, match="somebody corrects the current experiment; press again"):
                await h.board.cell("BeginBeamtime").put(1, OPERATOR)
            go.set()
            await h.until(lambda: email.value == "new@example.org")

            current = slow.current()
            assert current is not None
            assert current.pi.email == "new@example.org"
            assert h.runner.editing == 0

    run(test)


def test_whoever_waits_is_told_the_end_even_if_a_record_cannot_show_it() -> None:
    async def test() -> None:
        def break_down(reading: object) -> None:
            raise UnicodeEncodeError("utf-8", "x", 0, 1, "a watcher of a test")

        async with house({}) as h:
            h.board.cell("CreateDirectoriesAdvice").watchers.append(break_down)
            h.board.progress["create-directories"].watchers.append(break_down)
            with suppress(UnicodeEncodeError):
                end = await h.board.cell("CreateDirectories").put(1, OPERATOR)
                assert end is not None
                await end

            await h.until(lambda: not h.runner.active)

    asyncio.run(asyncio.wait_for(test(), 20))  # type: ignore[arg-type]
