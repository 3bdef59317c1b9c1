"""How the engine stands, on its records: also while its database hangs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from beamtime_ioc.alarm import Severity
from beamtime_ioc.board import Board
from beamtime_ioc.engine.engine import EngineHealth, Order
from beamtime_ioc.errors import StateError
from beamtime_ioc.health import ENGINE_STATES, Health
from beamtime_ioc.model import RunState, Who
from beamtime_ioc.progress import RunView
from beamtime_ioc.records import db_dir, load_records

CHICAGO = ZoneInfo("America/Chicago")
DEADLINE_S = 5


class OpenGate:
    def require(self, group: str, who: Who) -> None: ...


@dataclass
class AskedEngine:
    """An engine that is only asked how it stands."""

    answer: Callable[[], EngineHealth] = EngineHealth
    midnights: list[datetime] = field(default_factory=list[datetime])

    def health(self, midnight: datetime) -> EngineHealth:
        self.midnights.append(midnight)
        return self.answer()

    def start(self, listener: object, shown: object = ()) -> None: ...
    def stop(self, grace_s: float) -> bool:
        return True

    async def submit(self, order: Order) -> None: ...
    async def cancel(self, run_id: str) -> None: ...
    def retire(self, before: datetime, keep: object) -> int:
        return 0


@dataclass
class House:
    board: Board
    health: Health
    engine: AskedEngine

    def value(self, suffix: str) -> object:
        return self.board.cell(suffix).value

    def severity(self, suffix: str) -> Severity:
        return self.board.cell(suffix).reading.alarm.severity

    @property
    def state(self) -> str:
        return ENGINE_STATES[int(self.board.cell("EngineState").value)]

    async def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.005)

        await asyncio.wait_for(wait(), DEADLINE_S)


@asynccontextmanager
async def house(
    answer: Callable[[], EngineHealth],
    *,
    period_s: float = 0.05,
    slowest_s: float = DEADLINE_S,
    others: tuple[Callable[[], str], ...] = (),
) -> AsyncIterator[House]:
    board = Board(load_records([db_dir() / "beamtime.substitutions"], prefix="99bm:Beamtime:"), OpenGate())
    health = Health(board, CHICAGO, others)
    health.period_s, health.slowest_s = period_s, slowest_s
    engine = AskedEngine(answer)
    task = asyncio.create_task(health.watch(engine))
    yield House(board, health, engine)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))  # type: ignore[arg-type]


def test_what_the_engine_answers_stands_on_its_records() -> None:
    async def test() -> None:
        stands = EngineHealth(oldest_open_s=81.5, failed_today=3, unsure=2)
        async with house(lambda: stands) as h:
            await h.until(lambda: h.state == "Running")

            assert h.value("OldestPendingAge") == 81.5
            assert h.value("RunsFailedToday") == 3
            assert h.value("UnsureCount") == 2
            assert h.severity("UnsureCount") is Severity.MAJOR
            assert h.value("EngineMessage") == ""
            assert h.severity("EngineMessage") is Severity.NO_ALARM

            stands = replace(stands, unsure=0)
            await h.until(lambda: h.value("UnsureCount") == 0)

            assert h.severity("UnsureCount") is Severity.NO_ALARM

    run(test)


def test_today_begins_at_midnight_of_the_beamline() -> None:
    async def test() -> None:
        async with house(EngineHealth) as h:
            await h.until(lambda: h.engine.midnights)

            (midnight, *_) = h.engine.midnights
            since = datetime.now(CHICAGO) - midnight
            assert (midnight.tzinfo, midnight.hour, midnight.minute) == (CHICAGO, 0, 0)
            assert timedelta() <= since <= timedelta(hours=25)

    run(test)


def test_troubles_of_the_engine_and_of_others_are_an_alarm_until_they_end() -> None:
    async def test() -> None:
        troubles, audit = ("run 7 is stuck; look at it",), "the audit cannot be written; free its disk"
        async with house(lambda: EngineHealth(troubles=troubles), others=(lambda: audit,)) as h:
            await h.until(lambda: h.value("EngineMessage"))

            assert h.value("EngineMessage") == (
                "run 7 is stuck; look at it\nthe audit cannot be written; free its disk"
            )
            assert h.severity("EngineMessage") is Severity.MAJOR
            assert h.state == "Running"

            troubles, audit = (), ""
            await h.until(lambda: h.value("EngineMessage") == "")

            assert h.severity("EngineMessage") is Severity.NO_ALARM

    run(test)


def test_a_database_that_cannot_be_written_is_failed_with_a_sentence_and_what_was_known_stays() -> None:
    async def test() -> None:
        stands = EngineHealth(unsure=2, failed_today=1)
        async with house(lambda: stands) as h:
            await h.until(lambda: h.value("UnsureCount") == 2)
            stands = EngineHealth(works=False)

            await h.until(lambda: h.state == "Failed")

            assert (h.value("UnsureCount"), h.value("RunsFailedToday")) == (2, 1)
            assert h.severity("UnsureCount") is Severity.MAJOR
            assert h.severity("EngineState") is Severity.MAJOR
            assert "the state database cannot be written; look at its disk" in str(h.value("EngineMessage"))

    run(test)


def test_whatever_the_question_raises_is_shown_and_the_next_is_asked() -> None:
    async def test() -> None:
        errors: list[Exception] = [StateError("the file is damaged", advice="move it away"), OSError(5, "x")]

        def answer() -> EngineHealth:
            if errors:
                raise errors.pop(0)
            return EngineHealth()

        async with house(answer, period_s=0.2) as h:
            posts: list[object] = []
            h.board.cell("EngineMessage").watchers.append(lambda reading: posts.append(reading.value))

            await h.until(lambda: len(posts) == 3)

            assert posts[0] == "the file is damaged; move it away"
            assert str(posts[1]).startswith("the state database cannot be used (OSError); look at")
            assert posts[2] == ""
            assert h.state == "Running"

    run(test)


def test_a_database_that_hangs_is_failed_and_only_one_question_waits_for_it() -> None:
    async def test() -> None:
        go, said = threading.Event(), list[int]()

        def count() -> str:
            said.append(1)
            return ""

        def answer() -> EngineHealth:
            go.wait(2 * DEADLINE_S)
            return EngineHealth(failed_today=4)

        async with house(answer, slowest_s=0.05, others=(count,)) as h:
            await h.until(lambda: h.state == "Failed")
            message, began = str(h.value("EngineMessage")), asyncio.get_running_loop().time()
            await h.until(lambda: len(said) >= 5)  # it waits on, again and again
            lag = asyncio.get_running_loop().time() - began
            waiting = [thread for thread in threading.enumerate() if thread.name == "health"]
            questions = len(h.engine.midnights)
            go.set()
            await h.until(lambda: h.state == "Running")

            assert message.startswith("the state database does not answer within 0.05 s; look at its disk")
            assert (len(waiting), questions) == (1, 1)
            assert lag < 1
            assert h.value("RunsFailedToday") == 4
            assert h.value("EngineMessage") == ""

    run(test)


def test_the_end_of_a_run_is_asked_for_at_once() -> None:
    async def test() -> None:
        unsure = 0
        async with house(lambda: EngineHealth(unsure=unsure), period_s=60) as h:
            await h.until(lambda: h.state == "Running")
            unsure = 1

            h.board.progress["email-users"].set(RunView(action="email-users", state=RunState.UNSURE))
            await h.until(lambda: h.value("UnsureCount") == 1)

            assert len(h.engine.midnights) == 2

    run(test)
