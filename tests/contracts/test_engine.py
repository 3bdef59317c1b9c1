"""Orders become outcomes: the same promises for the inline engine, and the durable one on each database."""

import threading
from collections import Counter
from datetime import UTC, datetime

import pytest

from beamtime_ioc.action import Run, action
from beamtime_ioc.engine.engine import new_run_id
from beamtime_ioc.errors import ServiceUnavailableError
from beamtime_ioc.model import Experiment, Person, RunState
from engine_house import DEADLINE_S, Begin, quick

START = datetime(2026, 11, 20, 8, tzinfo=UTC)
EXPERIMENT = Experiment(
    key="aps:300011",
    name="2026-11-Muller_Lukasik-9100001",
    start=START,
    end=START,
    people=(Person(first_name="Zoë", last_name="Müller-Łukasik", badge="0900101", is_pi=True),),
)


def test_an_order_is_run_and_its_outcome_told(bench: Begin) -> None:
    def body(run: Run) -> str:
        run.effect("thing", look=lambda: None, make=lambda: None, verify=lambda: 1)
        run.progress(1, "all stands")
        return "value"

    line = bench(quick("go", body))

    outcome = line.end_of(line.submit("go"))

    assert (outcome.state, outcome.message, outcome.value) == (RunState.DONE, "all stands", "value")
    assert [state for _, state in line.news.states] == [RunState.RUNNING]
    assert [step.state for step in line.news.progress[-1][1].steps] == ["made"]


def test_an_optional_read_that_fails_is_a_problem_and_the_run_goes_on(bench: Begin) -> None:
    def away() -> str:
        raise ServiceUnavailableError("the forms", "did not answer")

    def body(run: Run) -> list[object]:
        return [run.step("the form", away, optional=True), run.step("the rest", lambda: "read")]

    line = bench(quick("go", body))

    outcome = line.end_of(line.submit("go"))

    assert (outcome.state, outcome.value) == (RunState.PROBLEMS, [None, "read"])
    assert outcome.message.startswith("the form: the forms did not answer; press again when it is back")
    assert [step.state for step in line.news.progress[-1][1].steps] == ["failed", "read"]


def test_orders_of_one_resource_run_one_after_another_in_order(bench: Begin) -> None:
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


def test_orders_of_the_same_moment_run_in_the_order_of_their_ids(
    bench: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    go = threading.Event()

    def body(run: Run) -> None:
        go.wait(DEADLINE_S)
        order.append(run.id)

    line = bench(quick("go", body))
    first = line.submit("go")
    line.begun(first)
    now_ns = int(first[:20]) + 10**9
    monkeypatch.setattr("time.time_ns", lambda: now_ns)
    monkeypatch.setattr("time.time", lambda: now_ns / 1e9)

    ids = [line.submit("go", run_id=f"{now_ns:020d}-{number:06x}") for number in range(12)]
    monkeypatch.undo()
    go.set()
    for run_id in ids:
        line.end_of(run_id)

    assert order == [first, *ids]


def test_orders_of_different_resources_run_side_by_side(bench: Begin) -> None:
    together = threading.Barrier(2, timeout=DEADLINE_S)
    line = bench(
        quick("one", lambda run: together.wait() and None, "a"),
        quick("two", lambda run: together.wait() and None, "b"),
    )

    ids = [line.submit("one", "a"), line.submit("two", "b")]

    assert [line.end_of(run_id).state for run_id in ids] == [RunState.DONE, RunState.DONE]


def test_three_resources_with_five_actions_each_never_two_at_once_on_one(bench: Begin) -> None:
    resources = ("places", "mail", "dm")
    together = threading.Barrier(3, timeout=DEADLINE_S)
    at_work, most = Counter[str](), Counter[str]()
    lock = threading.Lock()

    def body(run: Run, resource: str) -> None:
        with lock:
            at_work[resource] += 1
            most[resource] = max(most[resource], at_work[resource])
        together.wait()  # only side by side do they go on
        with lock:
            at_work[resource] -= 1

    line = bench(*(quick(name, lambda run, name=name: body(run, name), name) for name in resources))

    ids = [line.submit(name, name) for _ in range(5) for name in resources]

    assert {line.end_of(run_id).state for run_id in ids} == {RunState.DONE}
    assert most == dict.fromkeys(resources, 1)


def test_a_hanging_effect_holds_neither_other_resources_nor_what_is_asked_of_the_engine(bench: Begin) -> None:
    hangs = threading.Event()

    def hang(run: Run) -> None:
        run.effect("hangs", look=lambda: None, make=lambda: hangs.wait(DEADLINE_S) and None, verify=lambda: 1)

    line = bench(quick("hang", hang, "mail"), quick("go", lambda run: "through", "places"))
    held = line.submit("hang", "mail")
    line.begun(held)

    waiting = line.submit("hang", "mail")
    through = line.end_of(line.submit("go", "places"))
    queued = line.health().queued
    line.cancel(waiting)
    given_up = line.end_of(waiting)
    was_held = held not in line.news.ends
    alone = line.health()
    hangs.set()

    assert (through.value, queued, given_up.state) == ("through", 1, RunState.ABORTED)
    assert (was_held, alone.queued) == (True, 0)
    assert line.end_of(held).state is RunState.DONE
    assert line.health().oldest_open_s == 0


def test_a_handler_that_fails_leaves_the_resource_free(bench: Begin) -> None:
    line = bench(quick("bad", lambda run: 1 / 0), quick("good", lambda run: None))

    bad, good = line.submit("bad"), line.submit("good")

    assert line.end_of(bad).state is RunState.FAILED
    assert line.end_of(good).state is RunState.DONE


def test_the_same_id_submitted_again_is_the_first_order_also_after_its_end(bench: Begin) -> None:
    go, bodies = threading.Event(), list[str]()

    def body(run: Run) -> None:
        bodies.append(run.id)
        go.wait(DEADLINE_S)

    line = bench(quick("go", body), quick("last", lambda run: None))
    run_id = line.submit("go")
    line.begun(run_id)

    line.submit("go", run_id=run_id)
    go.set()
    line.end_of(run_id)
    line.submit("go", run_id=run_id)
    line.end_of(line.submit("last"))  # of the same resource: whatever came before has ended

    assert bodies == [run_id]
    assert line.news.ended.count(run_id) == 1


def test_what_was_pressed_comes_to_the_handler_as_it_was(bench: Begin) -> None:
    seen: list[object] = []

    def handler(run: Run, experiment: Experiment | None, **arguments: object) -> None:
        seen.extend((run.id, experiment, arguments))

    line = bench(action("go", resource="r")(handler))
    arguments = {"people": ["Zoë", "O'Brien"], "hours": 1.5, "nested": {"": None, "ok": True}}

    run_id = line.submit("go", experiment=EXPERIMENT, **arguments)
    line.end_of(run_id)

    assert seen == [run_id, EXPERIMENT, arguments]


def test_ids_sort_by_the_time_of_the_press() -> None:
    ids = [new_run_id() for _ in range(1000)]

    assert ids == sorted(ids, key=lambda run_id: run_id[:20])
    assert len(set(ids)) == 1000
    assert {len(run_id) for run_id in ids} == {27}
