"""Arguments in records, and closed experiments: what a press takes, and what it is refused."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit_house import entries
from beamtime_handlers.end_beamtime import end_beamtime
from beamtime_handlers.reopen_experiment import reopen_experiment
from beamtime_ioc.action import Run, action
from beamtime_ioc.activerun import Again
from beamtime_ioc.arguments import check_arguments
from beamtime_ioc.arming import Arming
from beamtime_ioc.audit import AuditLog, Deed
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board
from beamtime_ioc.engine.inline import InlineEngine
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import BeamtimeError, RecordFileError, RefusedError
from beamtime_ioc.identity import IdentityRecords
from beamtime_ioc.model import Experiment, Who
from beamtime_ioc.records import db_dir, load_records
from beamtime_ioc.runner import Runner
from beamtime_ioc.stored_doubts import Asked
from beamtime_ioc.testing import MemoryIdentity
from beamtime_ioc.testing.run import TEST_SITE
from watch_house import until

OPERATOR = Who(via="ca", user="operator", peer="127.0.0.1")
NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
A = Experiment(key="aps:1", name="2026-11-A-1", start=NOW, end=NOW + timedelta(days=1))
B = replace(A, key="aps:2", name="2026-11-B-2")
ROWS = """
file action.template {
    pattern { ACTION, NAME, VERB, DESC }
            { "walk",              "Walk",             "Walk",   "Walk somewhere" }
            { "end-beamtime",      "EndBeamtime",      "End",    "Close it" }
            { "reopen-experiment", "ReopenExperiment", "Reopen", "Open it" }
}
file arm.template { { ACTION="reopen-experiment", NAME=ReopenExperiment } }
"""
TYPED = """
record(waveform, "$(P)$(R)WalkTo") {
    field(DESC, "Where to") field(FTVL, "CHAR") field(NELM, "256") field(ASG, "identity")
    info(Q:form, "String") info(beamtime:argument, "walk.to")
}
record(longout, "$(P)$(R)WalkSteps") {
    field(DESC, "How far") field(ASG, "identity") info(beamtime:argument, "walk.steps")
}
"""


class OpenGate:
    def require(self, group: str, who: Who) -> None: ...


@dataclass
class House:
    board: Board
    identity: MemoryIdentity
    auditor: Auditor
    runner: Runner
    state: Path
    walks: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    async def put(self, suffix: str, value: object) -> None:
        end = await self.board.cell(suffix).put(value, OPERATOR)
        if end is not None:
            await end

    async def refused(self, suffix: str, value: object) -> str:
        with pytest.raises(RefusedError) as caught:
            await self.put(suffix, value)
        return str(caught.value)

    def value(self, suffix: str) -> object:
        return self.board.cell(suffix).value


@asynccontextmanager
async def house(tmp_path: Path, typed: str = TYPED) -> AsyncIterator[House]:
    @action("walk", resource="places")
    def walk(run: Run, experiment: Experiment, *, to: str = "home", steps: int = 0) -> None:
        if to == "the moon":
            raise BeamtimeError("that is too far", advice="walk home")

        def go() -> None:
            h.walks.append((to, steps))

        run.effect(f"walk to {to}", look=lambda: None, make=go, verify=lambda: to)

    (tmp_path / "rows.substitutions").write_text(ROWS)
    (tmp_path / "typed.db").write_text(typed)
    files = [tmp_path / "rows.substitutions", tmp_path / "typed.db", db_dir() / "identity.template"]
    actions = {one.name: one for one in (walk, end_beamtime, reopen_experiment)}
    board = Board(load_records(files, prefix=TEST_SITE.prefix), OpenGate())
    check_arguments(board.records, actions)
    identity, auditor = MemoryIdentity(A), Auditor(AuditLog(tmp_path))
    workshop = Workshop(actions=actions, services={"identity": identity}, site=TEST_SITE)
    engine = InlineEngine(workshop)
    runner = Runner(board, workshop, identity, auditor)
    IdentityRecords(board, identity, TEST_SITE, runner)
    Arming(runner)
    engine.start(runner)
    runner.engine = engine
    h = House(board, identity, auditor, runner, tmp_path)
    yield h
    engine.stop(5)
    auditor.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))  # type: ignore[arg-type]


# -- typed arguments --------------------------------------------------------------------------------------


def test_a_press_takes_what_is_typed_and_clears_it_when_it_has_ended_well(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("WalkTo", "the café")
            await h.put("WalkSteps", 3)
            await h.put("Walk", 1)
            await until(lambda: (h.value("WalkTo"), h.value("WalkSteps")) == ("", 0))
            await h.put("Walk", 1)

            assert h.walks == [("the café", 3), ("home", 0)]

    run(test)


def test_what_did_not_go_well_stays_to_be_mended(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("WalkTo", "the moon")
            with pytest.raises(BeamtimeError, match="too far"):
                await h.put("Walk", 1)

            assert h.value("WalkTo") == "the moon"

    run(test)


def test_a_preview_takes_what_is_typed_and_leaves_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("WalkTo", "the café")
            await h.put("WalkPreview", 1)

            assert h.value("WalkPlan") == "would make: walk to the café"
            assert (h.value("WalkTo"), h.walks) == ("the café", [])

    run(test)


def test_what_does_not_fit_is_refused_in_words_at_the_press(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path, TYPED.replace("longout", "stringout")) as h:
            await h.put("WalkSteps", "many")

            words = 'WalkSteps: "many" is not a whole number'
            assert await h.refused("Walk", 1) == words
            assert await h.refused("WalkPreview", 1) == words
            assert h.value("WalkMessage") == f"refused: {words}"
            assert await h.auditor.flush(5)
            assert [e.what for e in entries(h.state)].count(Deed.REFUSED) == 2

    run(test)


def test_a_press_by_a_call_takes_its_own_arguments(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("WalkTo", "the café")
            await (await h.runner.press("walk", OPERATOR, arguments={"to": "work"}))

            assert h.walks == [("work", 0)]
            assert h.value("WalkTo") == "the café"

    run(test)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("walk.to", "walk.whither", "walk takes no argument whither; these are: to, steps"),
        ("walk.to", "fly.to", "no button is bound to the action fly"),
        ("walk.to", "walk", "is no argument"),
        ("walk.to", "walk.To", "is no argument"),
        ("walk.to", "walk.steps", "the argument walk.steps belongs to"),
        ('field(ASG, "identity")', "", "needs an access group"),
        ("longout", "longin", "nobody can type into a longin"),
        ('info(Q:form, "String")', 'info(autosaveFields, "VAL")', "never saved by autosave"),
    ],
)
def test_a_record_of_an_argument_that_cannot_be_is_found_at_the_start(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    async def test() -> None:
        async with house(tmp_path, TYPED.replace(old, new, 1)):
            pass

    with pytest.raises(RecordFileError, match=sentence):
        run(test)


# -- closed experiments -----------------------------------------------------------------------------------


def test_a_closed_experiment_takes_no_press_no_preview_and_no_correction(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("EndBeamtime", 1)
            words = "2026-11-A-1 is closed: its beamtime was ended; press BeginBeamtime for the next one"

            press, edit = await h.refused("Walk", 1), await h.refused("UserEmail", "x@example.org")
            await h.put("WalkPreview", 1)

            assert press.startswith(words)
            assert edit.startswith(words)
            assert str(h.value("WalkMessage")).startswith(f"refused: {words}")
            assert str(h.value("WalkPlan")).startswith(f"would be refused: {words}")
            assert h.walks == []
            assert h.identity.current() == replace(A, open=False)

    run(test)


def test_another_experiment_is_not_closed_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("EndBeamtime", 1)
            h.identity.adopt(B)
            await h.put("Walk", 1)
            h.identity.adopt(A)

            assert "is closed" in await h.refused("Walk", 1)
            assert len(h.walks) == 1

    run(test)


def test_opening_it_again_needs_its_name_and_all_works_as_before(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("EndBeamtime", 1)
            unarmed = await h.refused("ReopenExperiment", 1)
            await h.put("ReopenExperimentArm", A.name)
            await h.put("ReopenExperiment", 1)
            await h.put("Walk", 1)

            assert unarmed == (
                f"ReopenExperiment is not armed; type {A.name} into ReopenExperimentArm, "
                "then press again within 60 s"
            )
            assert h.identity.current() == A
            assert len(h.walks) == 1

    run(test)


def test_nothing_is_done_again_for_an_experiment_that_was_ended_since(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            answers: list[str] = []

            async def answer(run_id: str) -> None:
                answers.append(run_id)

            again = Again(
                run_id="old", asked=Asked(action="walk", experiment=A, arguments={}), write_answer=answer
            )
            h.identity.adopt(B)
            h.identity.close(A.key, NOW, "run")
            with pytest.raises(RefusedError, match="2026-11-A-1 is closed"):
                await h.runner.press("walk", OPERATOR, again)
            h.identity.reopen(A.key)
            await (await h.runner.press("walk", OPERATOR, again))

            assert len(answers) == len(h.walks) == 1

    run(test)
