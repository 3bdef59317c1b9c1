"""Orders become outcomes: the same promises for the inline engine and the durable one."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beamtime_ioc.action import Action, Run, action
from beamtime_ioc.engine.durable import DurableEngine
from beamtime_ioc.engine.engine import Engine, Order, Outcome, new_run_id
from beamtime_ioc.engine.inline import InlineEngine
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.journal import Journal, reading
from beamtime_ioc.model import Experiment, RunState, Who
from beamtime_ioc.progress import Progress
from beamtime_ioc.store import Store
from beamtime_ioc.testing.run import TEST_SITE

DEADLINE_S = 10


class News:
    """Keeps what an engine tells, and lets a test wait for it."""

    def __init__(self) -> None:
        self.states: list[tuple[str, RunState]] = []
        self.progress: list[tuple[str, Progress]] = []
        self.ends: dict[str, Outcome] = {}
        self.changed = threading.Condition()

    def on_state(self, run_id: str, state: RunState) -> None:
        with self.changed:
            self.states.append((run_id, state))
            self.changed.notify_all()

    def on_progress(self, run_id: str, progress: Progress) -> None:
        with self.changed:
            self.progress.append((run_id, progress))
            self.changed.notify_all()

    def on_end(self, run_id: str, outcome: Outcome) -> None:
        with self.changed:
            self.ends[run_id] = outcome
            self.changed.notify_all()

    def wait(self, condition: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE_S), f"not in {DEADLINE_S} s; ends: {self.ends}"


class Bench:
    """An engine at work on the actions of a test."""

    def __init__(self, engine: Engine, news: News) -> None:
        self.engine, self.news = engine, news

    def submit(self, name: str, resource: str = "r", experiment: Experiment | None = None) -> str:
        order = Order(
            id=new_run_id(), action=name, resource=resource, who=Who(via="local"), experiment=experiment
        )
        asyncio.run(self.engine.submit(order))
        return order.id

    def cancel(self, run_id: str) -> None:
        asyncio.run(self.engine.cancel(run_id))

    def end_of(self, run_id: str) -> Outcome:
        self.news.wait(lambda: run_id in self.news.ends)
        return self.news.ends[run_id]


@pytest.fixture(params=["inline", "durable"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    begun: list[Engine] = []
    stores: list[Store] = []

    def begin(*actions: Action) -> Bench:
        workshop = Workshop(actions={a.name: a for a in actions}, services={}, site=TEST_SITE)
        news = News()
        if request.param == "inline":
            engine: Engine = InlineEngine(workshop)
        else:
            stores.append(Store(tmp_path / "state", "x:"))
            engine = DurableEngine(workshop, stores[-1])
        engine.start(news)
        begun.append(engine)
        return Bench(engine, news)

    yield begin
    for engine in begun:
        engine.stop(5)
    for store in stores:
        store.close()


def quick(name: str, body: Callable[[Run], object], resource: str = "r") -> Action:
    def handler(run: Run, experiment: Experiment | None) -> object:
        return body(run)

    return action(name, resource=resource, needs_experiment=False)(handler)


def test_an_order_is_run_and_its_outcome_told(bench: Callable[..., Bench]) -> None:
    def body(run: Run) -> str:
        run.effect("thing", look=lambda: None, make=lambda: None, verify=lambda: 1)
        run.progress(1, "all stands")
        return "value"

    line = bench(quick("go", body))

    outcome = line.end_of(line.submit("go"))

    assert (outcome.state, outcome.message, outcome.value) == (RunState.DONE, "all stands", "value")
    assert [state for _, state in line.news.states] == [RunState.RUNNING]
    assert [step.state for step in line.news.progress[-1][1].steps] == ["made"]


def test_orders_of_one_resource_run_one_after_another_in_order(bench: Callable[..., Bench]) -> None:
    at_work: list[int] = []
    order: list[str] = []
    overlaps: list[int] = []

    def body(run: Run) -> None:
        at_work.append(1)
        overlaps.append(len(at_work))
        order.append(run.id)
        threading.Event().wait(0.005)
        at_work.pop()

    line = bench(quick("go", body))

    ids = [line.submit("go") for _ in range(30)]
    for run_id in ids:
        line.end_of(run_id)

    assert order == ids
    assert max(overlaps) == 1


def test_orders_of_different_resources_run_side_by_side(bench: Callable[..., Bench]) -> None:
    together = threading.Barrier(2, timeout=DEADLINE_S)
    line = bench(
        quick("one", lambda run: together.wait() and None, "a"),
        quick("two", lambda run: together.wait() and None, "b"),
    )

    ids = [line.submit("one", "a"), line.submit("two", "b")]

    assert [line.end_of(run_id).state for run_id in ids] == [RunState.DONE, RunState.DONE]


def test_a_cancelled_run_ends_at_its_next_step_and_the_next_begins_after_it(
    bench: Callable[..., Bench],
) -> None:
    working = threading.Event()
    trace: list[str] = []

    def slow(run: Run) -> None:
        trace.append("slow begins")
        working.set()
        try:
            run.sleep(60)
        finally:
            trace.append("slow ends")

    line = bench(quick("slow", slow), quick("next", lambda run: trace.append("next")))
    first, second = line.submit("slow"), line.submit("next")
    assert working.wait(DEADLINE_S)

    line.cancel(first)

    assert line.end_of(first).state is RunState.ABORTED
    assert line.end_of(second).state is RunState.DONE
    assert trace == ["slow begins", "slow ends", "next"]


def test_a_queued_run_that_is_cancelled_never_begins(bench: Callable[..., Bench]) -> None:
    go, begun = threading.Event(), []
    line = bench(
        quick("first", lambda run: go.wait(DEADLINE_S) and None), quick("second", lambda run: begun.append(1))
    )
    first, second = line.submit("first"), line.submit("second")
    line.news.wait(lambda: line.news.states)

    line.cancel(second)
    go.set()

    assert line.end_of(first).state is RunState.DONE
    assert line.end_of(second).state is RunState.ABORTED
    assert begun == []


def test_a_second_cancel_and_one_after_the_end_do_nothing(bench: Callable[..., Bench]) -> None:
    line = bench(quick("go", lambda run: None))
    run_id = line.submit("go")
    outcome = line.end_of(run_id)

    line.cancel(run_id)
    line.cancel(run_id)

    assert line.news.ends[run_id] is outcome
    assert outcome.state is RunState.DONE


def test_a_handler_that_fails_leaves_the_resource_free(bench: Callable[..., Bench]) -> None:
    line = bench(quick("bad", lambda run: 1 / 0), quick("good", lambda run: None))

    bad, good = line.submit("bad"), line.submit("good")

    assert line.end_of(bad).state is RunState.FAILED
    assert line.end_of(good).state is RunState.DONE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state", "x:")
    yield opened
    opened.close()


def durable(store: Store, *actions: Action) -> Bench:
    engine = DurableEngine(Workshop(actions={a.name: a for a in actions}, services={}, site=TEST_SITE), store)
    news = News()
    engine.start(news)
    return Bench(engine, news)


def test_an_order_is_on_the_disk_when_submit_returns(store: Store) -> None:
    go = threading.Event()
    line = durable(store, quick("go", lambda run: go.wait(DEADLINE_S) and None))
    try:
        run_id = line.submit("go")
        with reading(store.directory) as journal:
            records = journal.last(1)
    finally:
        go.set()
        line.end_of(run_id)
        line.engine.stop(5)

    assert [record.id for record in records] == [run_id]
    assert records[0].state in (RunState.QUEUED, RunState.RUNNING)


def test_a_run_that_is_stopped_goes_on_at_the_next_start_from_its_last_step(store: Store) -> None:
    made: list[int] = []
    stopping = threading.Event()

    def body(run: Run) -> None:
        for number in range(3):
            run.effect(
                f"e{number}", look=lambda: None, make=lambda n=number: made.append(n), verify=lambda: 1
            )
            if number == 1 and not stopping.is_set():
                stopping.set()
                run.sleep(60)

    first = durable(store, quick("go", body))
    run_id = first.submit("go")
    assert stopping.wait(DEADLINE_S)

    assert first.engine.stop(5)
    opened = Journal(store.engine).open()
    second = durable(store, quick("go", body))
    outcome = second.end_of(run_id)
    second.engine.stop(5)

    assert [record.id for record in opened] == [run_id]
    assert outcome.state is RunState.DONE
    assert made == [0, 1, 2]


def test_the_history_names_who_pressed_what_and_how_it_ended(store: Store) -> None:
    line = durable(
        store, quick("go", lambda run: run.progress(1, "all stands")), quick("bad", lambda run: 1 / 0)
    )
    before = time.time()

    ids = [line.submit("go"), line.submit("bad")]
    for run_id in ids:
        line.end_of(run_id)
    line.engine.stop(5)
    with reading(store.directory) as journal:
        records = journal.last(10)
        only_bad = journal.last(10, "bad")

    assert [(record.id, record.state) for record in records] == [
        (ids[1], RunState.FAILED),
        (ids[0], RunState.DONE),
    ]
    assert records[1].message == "all stands"
    assert [record.id for record in only_bad] == [ids[1]]
    assert all(before <= record.pressed.timestamp() <= time.time() for record in records)
    assert all(0 <= record.seconds < DEADLINE_S for record in records)


def test_a_clock_that_was_set_back_does_not_change_which_run_was_the_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = durable(store, quick("go", lambda run: None), quick("bad", lambda run: 1 / 0))
    first = line.submit("go")
    line.end_of(first)
    hour_ago = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr("beamtime_ioc.engine.engine.time.time_ns", lambda: hour_ago)

    second = line.submit("bad")
    line.end_of(second)
    line.engine.stop(5)

    assert second < first
    assert [record.id for record in Journal(store.engine).last(2)] == [second, first]
    assert [record.id for record in Journal(store.engine).last(1, "bad")] == [second]


def test_a_run_that_was_aborted_in_the_queue_stays_in_the_history(store: Store) -> None:
    go = threading.Event()
    line = durable(
        store, quick("first", lambda run: go.wait(DEADLINE_S) and None), quick("second", lambda r: None)
    )
    first, second = line.submit("first"), line.submit("second")
    line.news.wait(lambda: line.news.states)
    line.cancel(second)
    go.set()
    line.end_of(first)
    line.end_of(second)
    line.engine.stop(5)

    record = Journal(store.engine).last(1, "second")[0]

    assert (record.id, record.state) == (second, RunState.ABORTED)
    assert record.message == "aborted before it began; nothing was changed"
    assert record.ended is not None
    assert record.seconds < DEADLINE_S
