"""What cannot be undone needs a second step: the experiment's name, typed by whoever presses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit_house import entries
from beamtime_ioc.action import Run, action
from beamtime_ioc.arming import Arming
from beamtime_ioc.audit import AuditEntry, AuditLog, Deed
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board
from beamtime_ioc.engine.inline import InlineEngine
from beamtime_ioc.engine.plan import plan
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import BeamtimeError, RecordFileError, RefusedError, SiteFileError
from beamtime_ioc.model import Experiment, Who
from beamtime_ioc.records import load_records
from beamtime_ioc.runner import Runner
from beamtime_ioc.testing import FakeRun, MemoryIdentity
from beamtime_ioc.testing.run import TEST_SITE

OPERATOR = Who(via="ca", user="operator", peer="127.0.0.1", claim="console")
OVER_PVA = replace(OPERATOR, via="pva", claim="")
SOMEBODY = replace(OPERATOR, peer="192.0.2.17")
START = datetime(2026, 11, 20, 8, tzinfo=UTC)
NAME = "2026-11-OBrien-9100001"
EXPERIMENT = Experiment(key="aps:300011", name=NAME, start=START, end=START + timedelta(days=3))
OTHER = replace(EXPERIMENT, key="aps:300012", name="2026-11-Wang-9100002")
ROWS = """
file action.template { pattern { ACTION, NAME, VERB, DESC } { "purge", "Purge", "Purge", "Away with it" } }
"""
ARM = 'file arm.template { pattern { ACTION, NAME } { "purge", "Purge" } }\n'
DEADLINE_S = 5


class OpenGate:
    def require(self, group: str, who: Who) -> None: ...


@dataclass
class House:
    board: Board
    identity: MemoryIdentity
    auditor: Auditor
    state: Path
    purged: list[str]

    async def put(self, suffix: str, value: object, who: Who = OPERATOR) -> None:
        end = await self.board.cell(suffix).put(value, who)
        if end is not None:
            await end

    async def refused(self, suffix: str, value: object, who: Who = OPERATOR) -> str:
        with pytest.raises(RefusedError) as caught:
            await self.put(suffix, value, who)
        return str(caught.value)

    @property
    def shown(self) -> tuple[object, object]:
        return self.board.cell("PurgeArm").value, self.board.cell("PurgeArmed").value

    async def audited(self) -> list[AuditEntry]:
        assert await self.auditor.flush(DEADLINE_S)
        return entries(self.state)


@asynccontextmanager
async def house(tmp_path: Path, *, armed_s: float = 60) -> AsyncIterator[House]:
    purged: list[str] = []

    @action("purge", resource="copies", irreversible=True)
    def purge(run: Run, experiment: Experiment) -> None:
        if not run.preview:
            purged.append(experiment.name)

    rows = tmp_path / "rows.substitutions"
    rows.write_text(ROWS + ARM)
    board = Board(load_records([rows], prefix="99bm:Beamtime:"), OpenGate())
    identity, auditor = MemoryIdentity(EXPERIMENT), Auditor(AuditLog(tmp_path))
    workshop = Workshop(actions={"purge": purge}, services={}, site=TEST_SITE)
    engine = InlineEngine(workshop)
    runner = Runner(board, workshop, identity, auditor)
    Arming(runner, armed_s=armed_s)
    engine.start(runner)
    runner.engine = engine
    yield House(board, identity, auditor, tmp_path, purged)
    engine.stop(DEADLINE_S)
    auditor.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))  # type: ignore[arg-type]


def test_an_arm_lets_one_press_through(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("PurgeArm", NAME)
            armed = h.shown
            await h.put("Purge", 1, OVER_PVA)  # the same person and computer, on the other protocol
            again = await h.refused("Purge", 1)

            assert armed == (NAME, 1)
            assert h.shown == ("", 0)
            assert h.purged == [NAME]
            assert again == (
                "Purge cannot be undone and is not armed; "
                f"type {NAME} into PurgeArm, then press again within 60 s"
            )
            assert [(e.what, e.experiment) for e in await h.audited()] == [
                (Deed.ARM, "aps:300011"),
                (Deed.PRESS, "aps:300011"),
                (Deed.END, "aps:300011"),
                (Deed.REFUSED, ""),
            ]

    run(test)


@pytest.mark.parametrize("text", ["2026-11-OBrien-910000", f"{NAME} ", NAME.lower(), OTHER.name, "1"])
def test_any_other_text_is_refused_and_disarms(tmp_path: Path, text: str) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("PurgeArm", NAME)
            words = await h.refused("PurgeArm", text)
            refused = await h.refused("Purge", 1)

            assert f"{text!r} is not the name of the current experiment" in words
            assert "is not armed" in refused
            assert h.shown == ("", 0)
            assert h.purged == []
            assert str(h.board.cell("PurgeMessage").value).startswith("refused: ")

    run(test)


def test_an_empty_text_disarms_in_silence(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("PurgeArm", NAME)
            await h.put("PurgeArm", "")

            assert h.shown == ("", 0)
            assert "is not armed" in await h.refused("Purge", 1)

    run(test)


def test_what_one_person_armed_another_cannot_press(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("PurgeArm", NAME)
            words = await h.refused("Purge", 1, SOMEBODY)
            left = h.shown
            await h.put("Purge", 1)

            assert "Purge was armed by operator from console (127.0.0.1) by ca, not by you" in words
            assert left == (NAME, 1)  # the refusal has used nothing up
            assert h.purged == [NAME]

    run(test)


def test_an_arm_is_void_for_another_experiment(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("PurgeArm", NAME)
            h.identity.adopt(OTHER)
            words = await h.refused("Purge", 1)
            h.identity.adopt(EXPERIMENT)

            assert f"Purge was armed for {NAME}; type {OTHER.name} into PurgeArm" in words
            assert "is not armed" in await h.refused("Purge", 1)
            assert h.purged == []

    run(test)


def test_an_arm_ends_by_itself(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path, armed_s=0.05) as h:
            await h.put("PurgeArm", NAME)
            ended = asyncio.Event()
            h.board.cell("PurgeArmed").watchers.append(lambda _: ended.set())
            await asyncio.wait_for(ended.wait(), DEADLINE_S)

            assert h.shown == ("", 0)
            assert "is not armed" in await h.refused("Purge", 1)
            assert "not pressed within" in (await h.audited())[1].text

    run(test)


def test_without_an_experiment_there_is_nothing_to_arm_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            h.identity.experiment = None

            assert "there is no current experiment" in await h.refused("PurgeArm", NAME)

    run(test)


def test_a_preview_needs_no_arm_and_uses_none(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as h:
            await h.put("PurgePreview", 1)
            await h.put("PurgeArm", NAME)
            await h.put("PurgePreview", 1)

            assert h.shown == (NAME, 1)
            assert "refused" not in str(h.board.cell("PurgePlan").value)

    run(test)


def test_an_action_that_cannot_be_undone_needs_its_arm_row(tmp_path: Path) -> None:
    rows = tmp_path / "rows.substitutions"
    rows.write_text(ROWS)

    with pytest.raises(RecordFileError, match=r'add a row { "purge", "Purge" } of arm\.template'):
        load_records([rows], prefix="99bm:Beamtime:").check_armed(["purge"])


@pytest.mark.parametrize("armed", [True, False])
def test_only_what_is_armed_itself_may_call_what_cannot_be_undone(*, armed: bool) -> None:
    purged: list[str] = []

    @action("purge", resource="copies", irreversible=True)
    def purge(run: Run, experiment: Experiment) -> None:
        run.once("purge", lambda: purged.append(experiment.name))

    @action("a-test", resource="copies", irreversible=armed)
    def calling(run: Run, experiment: Experiment) -> None:
        run.call("purge", experiment=experiment)

    run = FakeRun(actions=[purge, calling], experiment=EXPERIMENT)
    words = "purge cannot be undone, and a-test calls it without being armed"
    said = plan(run.order, run.workshop)
    if armed:
        calling(run, EXPERIMENT)
        assert purged == [NAME]
        assert "would do: purge" in said
    else:
        with pytest.raises(BeamtimeError, match=words):
            calling(run, EXPERIMENT)
        assert purged == []
        assert f"would end here: {words}" in said


def test_the_clock_presses_nothing_that_has_to_be_armed(tmp_path: Path) -> None:
    from beamtime_ioc.config import read_site_file

    site = tmp_path / "site.yaml"
    text = "prefix: 'x:'\nbeamline: x\ntimezone: UTC\n"
    text += "schedules:\n- {every_min: 10, action: purge, preview: %s}\n"
    site.write_text(text % "false")
    with pytest.raises(SiteFileError, match="has to be armed: a person presses it"):
        read_site_file(site).check_schedules(["purge"], ["purge"])

    site.write_text(text % "true")
    read_site_file(site).check_schedules(["purge"], ["purge"])
