"""A table that follows its source: coalesced, never stale, honest when it cannot be read."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc import filled_table
from beamtime_ioc.access import load_gate
from beamtime_ioc.alarm import UNDEFINED, Alarm, Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.errors import StateError
from beamtime_ioc.filled_table import Rows, fill_tables
from beamtime_ioc.posting import POST_RATE_HZ, Reading
from beamtime_ioc.records import db_dir, load_records
from beamtime_ioc.values import Value

DATA = Path(__file__).parents[1] / "data"
DEADLINE_S = 10.0


class Cats:
    """Counts; a source that may fail."""

    def __init__(self) -> None:
        self.count, self.reads = 0, 0
        self.failing, self.known = "", True
        self.alarm: Alarm | None = None
        self.hanging = asyncio.Event()
        self.hanging.set()
        self.changed: Callable[[], None] = lambda: None

    async def rows(self, limit: int) -> Rows | Sequence[Mapping[str, Value]] | None:
        self.reads += 1
        await self.hanging.wait()
        if self.failing:
            raise StateError(self.failing)
        cat = {"name": "Tom", "asleep": 0, "legs": 4, "hairs": 1, "weight": 4.5, "colour": "red"}
        rows = [{**cat, "hairs": number} for number in range(self.count)][:limit]
        return (Rows(rows, self.alarm) if self.alarm else rows) if self.known else None

    def tell_changes(self, changed: Callable[[], None]) -> None:
        self.changed = changed

    def add(self, cats: int) -> None:
        self.count += cats
        self.changed()


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.005)


def run_with(
    body: Callable[[Cats, Any, list[Reading[Any]]], Coroutine[Any, Any, None]], slowest_s: float = DEADLINE_S
) -> None:
    """A filled table at work for as long as the body lasts; it gets the source, the cell and all posts."""

    async def main() -> None:
        files = [db_dir() / "beamtime.substitutions", DATA / "wire_tables.yaml"]
        board = Board(load_records(files, prefix="9:B:"), load_gate(None))
        source, posts = Cats(), list[Reading[Any]]()
        del board.structures["9:B:Cattery"]
        (table,) = fill_tables(board, {"cats": source})
        table.slowest_s = slowest_s
        table.cell.watchers.append(posts.append)
        task = asyncio.create_task(table.follow())
        try:
            await body(source, table.cell, posts)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_it_is_undefined_until_it_was_filled() -> None:
    async def body(source: Cats, cell: Any, posts: list[Reading[Any]]) -> None:
        before = cell.reading.alarm
        await until(lambda: posts)

        assert before.severity.name == "INVALID"
        assert cell.reading.alarm.severity.name == "NO_ALARM"

    run_with(body)


def test_each_row_has_the_columns_of_the_table_in_their_order() -> None:
    async def body(source: Cats, cell: Any, posts: list[Reading[Any]]) -> None:
        source.add(2)

        await until(lambda: cell.value)

        assert cell.value == (("Tom", 0, 4, 0, 4.5), ("Tom", 0, 4, 1, 4.5))

    run_with(body)


def test_many_changes_are_few_posts_and_the_last_is_always_shown() -> None:
    async def body(source: Cats, cell: Any, posts: list[Reading[Any]]) -> None:
        await until(lambda: posts)
        began = time.monotonic()
        for _ in range(3):
            source.add(1)
            await asyncio.sleep(0.1)

        await until(lambda: len(cell.value) == 3)

        allowed = 1 + (time.monotonic() - began) * POST_RATE_HZ
        assert len(posts) - 1 <= allowed
        assert source.reads <= 2 + allowed

    run_with(body)


def test_what_has_not_changed_is_not_posted() -> None:
    async def body(source: Cats, cell: Any, posts: list[Reading[Any]]) -> None:
        await until(lambda: posts)
        source.changed()
        await until(lambda: source.reads == 2)
        source.add(1)
        await until(lambda: cell.value)

        assert [len(post.value) for post in posts] == [0, 1]

    run_with(body)


def test_a_source_that_cannot_be_read_is_an_alarm_and_the_rows_stay_until_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filled_table, "RETRY_S", 0.05)

    async def body(source: Cats, cell: Any, posts: list[Reading[Any]]) -> None:
        source.add(1)
        await until(lambda: cell.value)
        source.failing = "the disk is away"
        source.add(1)
        await until(lambda: cell.reading.alarm.severity.name == "INVALID")
        kept, sentence = cell.value, cell.reading.alarm.message
        source.failing = ""

        await until(lambda: len(cell.value) == 2)

        assert (len(kept), sentence) == (1, "the disk is away")
        assert cell.reading.alarm.severity.name == "NO_ALARM"

    run_with(body)


def test_a_source_that_hangs_is_a_timeout_and_is_not_read_a_second_time() -> None:
    async def body(source: Cats, cell: Any, posts: list[Reading[Any]]) -> None:
        await until(lambda: posts)
        source.hanging.clear()
        source.add(1)
        await until(lambda: cell.reading.alarm.status.name == "TIMEOUT")
        reads, sentence = source.reads, cell.reading.alarm.message
        source.add(1)
        await asyncio.sleep(0.3)
        held = source.reads
        source.hanging.set()

        await until(lambda: len(cell.value) == 2)

        assert held == reads
        assert sentence == "not up to date: it could not be read within 0.1 s; look at its disk"
        assert cell.reading.alarm.severity.name == "NO_ALARM"

    run_with(body, slowest_s=0.1)


def test_a_source_may_say_how_bad_its_rows_are_and_that_it_knows_nothing() -> None:
    async def body(source: Cats, cell: Any, posts: list[Reading[Any]]) -> None:
        source.count, source.alarm = 1, Alarm(Severity.MINOR, Status.STATE, "cut")
        source.changed()
        await until(lambda: cell.reading.alarm == source.alarm)
        source.known = False
        source.changed()

        await until(lambda: cell.reading.alarm == UNDEFINED)

        assert cell.value == ()

    run_with(body)
