"""What the audit says of presses, refusals, aborts and ends; and what becomes of them without an audit."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit_house import DEADLINE_S, entries
from beamtime_ioc.action import Run, action
from beamtime_ioc.audit import AuditEntry, AuditLog, Deed
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board, Ending
from beamtime_ioc.engine.inline import InlineEngine
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import BusyError, NotAllowedError, RefusedError, RunEndedError
from beamtime_ioc.model import Experiment, Who
from beamtime_ioc.records import db_dir, load_records
from beamtime_ioc.runner import Runner
from beamtime_ioc.testing import MemoryIdentity
from beamtime_ioc.testing.run import TEST_SITE

OPERATOR = Who(via="ca", user="operator", peer="127.0.0.1", claim="console")
GUEST = Who(via="pva", user="guest", peer="192.0.2.7")
START = datetime(2026, 11, 20, 8, tzinfo=UTC)
EXPERIMENT = Experiment(
    key="aps:300011", name="2026-11-OBrien-9100001", start=START, end=START + timedelta(days=3)
)
NAMES = ("update-user-info", "create-directories", "email-users", "begin-beamtime")


class OperatorsGate:
    def require(self, group: str, who: Who) -> None:
        if who.user != "operator":
            raise NotAllowedError(f"{who} may not write here", advice="ask the staff")


class GatedLog(AuditLog):
    """An audit on a disk that hangs until it is let go."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.go, self.reached = threading.Event(), threading.Event()

    def write(self, *entries: AuditEntry) -> None:
        self.reached.set()
        assert self.go.wait(DEADLINE_S)
        super().write(*entries)


@dataclass
class House:
    board: Board
    runner: Runner
    state: Path

    async def put(self, suffix: str, who: Who = OPERATOR) -> Ending:
        end = await self.board.cell(suffix).put(1, who)
        assert end is not None
        return end

    async def lines(self) -> list[AuditEntry]:
        assert await self.runner.audit.flush(DEADLINE_S)
        return entries(self.state)


@asynccontextmanager
async def house(
    log: AuditLog, body: Callable[[Run], object] = lambda run: None, *, limit_s: float = DEADLINE_S
) -> AsyncIterator[House]:
    def handler(run: Run, experiment: Experiment | None) -> object:
        return body(run)

    board = Board(
        load_records([db_dir() / "beamtime.substitutions"], prefix="99bm:Beamtime:"), OperatorsGate()
    )
    actions = {name: action(name, resource="mail")(handler) for name in NAMES}
    workshop = Workshop(actions=actions, services={}, site=TEST_SITE)
    runner = Runner(board, workshop, MemoryIdentity(EXPERIMENT), Auditor(log, limit_s=limit_s))
    runner.engine = engine = InlineEngine(workshop)
    engine.start(runner)
    yield House(board, runner, log.directory.parent)
    engine.stop(DEADLINE_S)
    runner.audit.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


def test_a_run_has_a_line_of_its_press_and_one_of_its_end(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(AuditLog(tmp_path), lambda run: run.progress(1, "3 letters")) as h:
            await (await h.put("EmailUsers"))

            press, end = await h.lines()
            assert (press.what, end.what) == (Deed.PRESS, Deed.END)
            assert press.who == end.who == OPERATOR
            assert press.action == end.action == "email-users"
            assert press.run == end.run == h.board.cell("EmailUsersRunId").value
            assert press.experiment == end.experiment == "aps:300011"
            assert (press.text, end.text) == ("", "Done: 3 letters")
            assert press.at < end.at

    run(test)


def test_the_press_stands_on_the_disk_before_the_handler_begins(tmp_path: Path) -> None:
    async def test() -> None:
        seen: list[list[Deed]] = []
        async with house(
            AuditLog(tmp_path), lambda run: seen.append([found.what for found in entries(tmp_path)])
        ) as h:
            await (await h.put("EmailUsers"))

        assert seen == [[Deed.PRESS]]

    run(test)


def test_who_may_not_and_who_comes_second_are_told_apart(tmp_path: Path) -> None:
    async def test() -> None:
        go = threading.Event()
        async with house(AuditLog(tmp_path), lambda run: go.wait(DEADLINE_S)) as h:
            for button in ("EmailUsers", "EmailUsersAbort", "EmailUsersPreview"):
                with pytest.raises(NotAllowedError):
                    await h.put(button, GUEST)
            end = await h.put("EmailUsers")
            with pytest.raises(BusyError):
                await h.put("EmailUsers")
            go.set()
            await end

            lines = await h.lines()
            refused = [(line.who.user, line.run, line.text) for line in lines if line.what is Deed.REFUSED]
            denied = "guest from 192.0.2.7 by pva may not write here; ask the staff"
            assert refused[:3] == [
                ("guest", "", denied),
                ("guest", "", f"abort: {denied}"),
                ("guest", "", f"preview: {denied}"),
            ]
            assert [line[:2] for line in refused[3:]] == [("operator", "")]
            assert refused[3][2].startswith("EmailUsers runs since")
            assert [line.what for line in lines].count(Deed.PRESS) == 1

    run(test)


def test_a_preview_and_an_abort_have_lines(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(AuditLog(tmp_path), lambda run: None if run.preview else run.sleep(60)) as h:
            await (await h.put("EmailUsersPreview"))
            end = await h.put("EmailUsers")
            await h.board.cell("EmailUsersAbort").put(1, OPERATOR)
            with pytest.raises(RunEndedError, match="Aborted"):
                await end

            preview, press, abort, ended = await h.lines()
            assert (preview.what, preview.action, preview.run) == (Deed.PREVIEW, "email-users", "")
            assert (abort.what, abort.run, abort.experiment) == (Deed.ABORT, press.run, "aps:300011")
            assert (ended.run, ended.text.split(":")[0]) == (press.run, "Aborted")

    run(test)


def test_a_press_that_the_disk_kept_waiting_is_refused_and_not_begun_later(tmp_path: Path) -> None:
    async def test() -> None:
        begun: list[Run] = []
        log = GatedLog(tmp_path)
        async with house(log, begun.append, limit_s=0.3) as h:
            with pytest.raises(RefusedError, match=r"did not answer within 0\.3 s, so nothing was begun"):
                await h.put("EmailUsers")
            assert "so nothing was begun" in str(h.board.cell("EmailUsersMessage").value)
            assert h.board.cell("EmailUsers").value == 0
            log.go.set()

            press, refused = await h.lines()
            assert (press.what, refused.what) == (Deed.PRESS, Deed.REFUSED)
            assert press.run == refused.run
            await (await h.put("EmailUsers"))  # as soon as the disk answers again
            assert [one.id for one in begun] == [h.board.cell("EmailUsersRunId").value]
            assert press.run != begun[0].id

    run(test)


def test_on_a_full_disk_presses_are_refused_aborts_are_not_and_no_end_is_lost(tmp_path: Path) -> None:
    async def test() -> None:
        log, file = AuditLog(tmp_path), AuditLog(tmp_path).path_of(datetime.now(UTC))
        async with house(log, lambda run: run.sleep(60)) as h:
            end = await h.put("EmailUsers")
            file.rename(tmp_path / "moved")
            file.symlink_to("/dev/full")
            with pytest.raises(RefusedError, match="No space left on device, so nothing was begun"):
                await h.put("CreateDirectories")
            message = h.board.cell("CreateDirectoriesMessage").value
            await h.board.cell("EmailUsersAbort").put(1, OPERATOR)
            with pytest.raises(RunEndedError, match="Aborted"):
                await end
            trouble = h.runner.audit.trouble
            (tmp_path / "moved").replace(file)
            h.runner.tick()

            async def until_written() -> None:
                while h.runner.audit.trouble:
                    await asyncio.sleep(0.005)

            await asyncio.wait_for(until_written(), DEADLINE_S)
            whats = [line.what for line in await h.lines()]
            assert str(message).startswith("refused: the audit cannot be written: ")
            assert "No space left on device" in trouble
            assert whats == [Deed.PRESS, Deed.REFUSED, Deed.ABORT, Deed.END]

    run(test)
