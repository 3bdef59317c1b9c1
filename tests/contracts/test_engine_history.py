"""What the rows say of the runs of all times: who, what, when, how it ended; and how they are retired."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from beamtime_ioc.action import Run
from beamtime_ioc.errors import OutcomeUnknownError
from beamtime_ioc.journal import RunRecord
from beamtime_ioc.model import Answer, RunState, Who
from beamtime_ioc.stored_doubts import StoredDoubts
from engine_house import DEADLINE_S, Begin, quick
from engine_nursery import Child
from engine_world import World, until


def doubtful(run: Run) -> None:
    def send() -> None:
        raise OutcomeUnknownError("the letter may have been sent")

    run.once("letter", send)


def test_an_order_is_on_the_disk_when_submit_returns(durable: Begin) -> None:
    go = threading.Event()
    line = durable(quick("go", lambda run: go.wait(DEADLINE_S) and None))
    try:
        run_id = line.submit("go")
        records = line.journal.last(1)
    finally:
        go.set()
        line.end_of(run_id)

    assert [record.id for record in records] == [run_id]
    assert records[0].state in (RunState.QUEUED, RunState.RUNNING)


def test_the_history_names_who_pressed_what_and_how_it_ended(durable: Begin) -> None:
    line = durable(quick("go", lambda run: run.progress(1, "all stands")), quick("bad", lambda run: 1 / 0))
    before = time.time()

    ids = [line.submit("go"), line.submit("bad")]
    for run_id in ids:
        line.end_of(run_id)
    records = line.journal.last(10)
    only_bad = line.journal.last(10, "bad")

    assert [(record.id, record.state) for record in records] == [
        (ids[1], RunState.FAILED),
        (ids[0], RunState.DONE),
    ]
    assert records[1].message == "all stands"
    assert [record.id for record in only_bad] == [ids[1]]
    assert all(before <= record.pressed.timestamp() <= time.time() for record in records)
    assert all(0 <= record.seconds < DEADLINE_S for record in records)
    assert {str(record.who) for record in records} == {str(Who(via="local"))}


def test_a_clock_that_was_set_back_does_not_change_which_run_was_the_last(
    durable: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = durable(quick("go", lambda run: None), quick("bad", lambda run: 1 / 0))
    first = line.submit("go")
    line.end_of(first)
    hour_ago = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr("beamtime_ioc.engine.engine.time.time_ns", lambda: hour_ago)

    second = line.submit("bad")
    line.end_of(second)

    assert second < first
    assert [record.id for record in line.journal.last(2)] == [second, first]
    assert [record.id for record in line.journal.last(1, "bad")] == [second]


def test_a_run_that_was_aborted_in_the_queue_stays_in_the_history(durable: Begin) -> None:
    go = threading.Event()
    line = durable(quick("first", lambda run: go.wait(DEADLINE_S) and None), quick("second", lambda r: None))
    first, second = line.submit("first"), line.submit("second")
    line.news.wait(lambda: line.news.states)
    line.cancel(second)
    go.set()
    line.end_of(first)
    line.end_of(second)

    record = line.journal.last(1, "second")[0]

    assert (record.id, record.state) == (second, RunState.ABORTED)
    assert record.message == "aborted before it began; nothing was changed"
    assert record.ended is not None
    assert record.seconds < DEADLINE_S


def test_the_history_is_read_page_by_page_without_a_gap_or_a_repeat(durable: Begin) -> None:
    line = durable(quick("go", lambda run: None), quick("other", lambda run: None, "other"))
    ids = [line.submit("go") for _ in range(7)]
    for run_id in ids:
        line.end_of(run_id)

    first = line.journal.last(3)
    line.end_of(line.submit("other", "other"))  # a press between two pages moves none of them
    second = line.journal.last(3, before=first[-1].number)
    third = line.journal.last(3, before=second[-1].number)
    past = line.journal.last(3, before=third[-1].number)

    assert [record.id for page in (first, second, third) for record in page] == ids[::-1]
    assert past == []


def test_health_tells_what_waits_what_failed_today_and_what_is_unsure(bench: Begin) -> None:
    go = threading.Event()
    line = bench(
        quick("go", lambda run: go.wait(DEADLINE_S) and None),
        quick("bad", lambda run: 1 / 0, "other"),
        quick("doubt", doubtful, "other"),
    )
    quiet = line.health()
    began = time.monotonic()
    running, *waiting = [line.submit("go") for _ in range(3)]
    line.begun(running)
    for name in ("bad", "bad", "doubt"):
        line.end_of(line.submit(name, "other"))
    busy = line.health()
    age = time.monotonic() - began
    tomorrow = line.health(datetime.now(UTC) + timedelta(hours=1))
    go.set()
    for run_id in (running, *waiting):
        line.end_of(run_id)
    after = line.health()

    assert (quiet.works, quiet.queued, quiet.oldest_open_s, quiet.failed_today, quiet.unsure) == (
        True, 0, 0, 0, 0,
    )  # fmt: skip
    assert (busy.works, busy.queued, busy.failed_today, busy.unsure) == (True, 2, 2, 1)
    assert 0 < busy.oldest_open_s <= age + 0.1
    assert tomorrow.failed_today == 0
    assert (after.queued, after.oldest_open_s, after.failed_today, after.unsure) == (0, 0, 2, 1)
    assert after.troubles == ()


def test_retired_is_what_ended_before_and_leaves_no_doubt_and_it_is_kept_first(durable: Begin) -> None:
    hangs, kept, present = threading.Event(), list[RunRecord](), list[int]()
    line = durable(
        quick("go", lambda run: run.step("read", lambda: "value")),
        quick("doubt", doubtful),
        quick("hang", lambda run: hangs.wait(DEADLINE_S) and None),
    )
    old = [line.submit("go"), line.submit("doubt"), line.submit("go")]
    for run_id in old:
        line.end_of(run_id)
    opened = line.submit("hang")
    line.begun(opened)

    def keep(records: "list[RunRecord]") -> None:
        kept.extend(records)
        present.append(len(line.journal.last(10)))

    none = line.engine.retire(datetime.now(UTC) - timedelta(hours=1), keep)  # type: ignore[arg-type]
    count = line.engine.retire(datetime.now(UTC) + timedelta(hours=1), keep)  # type: ignore[arg-type]
    left = [record.id for record in line.journal.last(10)]
    for doubt in StoredDoubts(line.store).of_run(old[1]):
        StoredDoubts(line.store).answer(doubt, Answer.HAPPENED, Who(via="local"))
    answered = line.engine.retire(datetime.now(UTC) + timedelta(hours=1), keep)  # type: ignore[arg-type]
    hangs.set()

    assert (none, count, answered) == (0, 2, 1)
    assert present[0] == 4
    assert [record.id for record in kept] == [old[0], old[2], old[1]]
    assert left == [opened, old[1]]
    assert line.end_of(opened).state is RunState.DONE
    assert [record.id for record in line.journal.last(10)] == [opened]


def test_what_cannot_be_kept_is_not_retired(durable: Begin) -> None:
    def keep(records: object) -> None:
        raise OSError("no space left")

    line = durable(quick("go", lambda run: None))
    run_id = line.submit("go")
    line.end_of(run_id)

    with pytest.raises(OSError, match="no space left"):
        line.engine.retire(datetime.now(UTC) + timedelta(hours=1), keep)

    assert [record.id for record in line.journal.last(10)] == [run_id]


def test_killed_between_keeping_and_retiring_nothing_is_lost(child: Child, world: World) -> None:
    child.start()
    ids = [child.errand(("step", "a")) for _ in range(3)]
    for run_id in ids:
        child.end_of(run_id)
    world.close("kept")
    child.begin_to_ask("retire", before=time.time() + 3600)
    world.until_reached("kept")

    child.kill()
    world.open("kept")
    before = child.start().ask("history")
    count = child.ask("retire", before=time.time() + 3600)

    assert before == ids[::-1]
    assert count == 3
    assert {f"kept {run_id}" for run_id in ids} <= set(world.deeds())
    assert child.ask("history") == []
    assert until(lambda: child.end_of(child.errand(("effect", "b")))).state is RunState.DONE
