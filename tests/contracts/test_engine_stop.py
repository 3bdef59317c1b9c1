"""A stop ends each run at its next word; the next start goes on from its last step."""

import threading
from typing import Any

import pytest

from beamtime_ioc.action import Run
from beamtime_ioc.engine.engine import Order, Outcome
from beamtime_ioc.engine.rows import Rows
from beamtime_ioc.engine.teller import Teller
from beamtime_ioc.engine.work import LiveRun
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import DeferredError
from beamtime_ioc.model import RunState
from engine_house import DEADLINE_S, Begin, quick
from engine_nursery import Child
from engine_world import World, until


def absent() -> None:
    return None


def test_a_run_that_is_stopped_goes_on_at_the_next_start_from_its_last_step(durable: Begin) -> None:
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

    first = durable(quick("go", body))
    run_id = first.submit("go")
    assert stopping.wait(DEADLINE_S)

    assert first.stop(5)
    second = durable(quick("go", body))
    opened = [record.id for record in second.journal.open()]
    outcome = second.end_of(run_id)

    assert opened in ([run_id], [])  # it may have ended already
    assert outcome.state is RunState.DONE
    assert made == [0, 1, 2]


def test_a_stopped_run_is_open_and_nothing_is_said_of_its_end(durable: Begin) -> None:
    line = durable(quick("go", lambda run: run.sleep(60)))
    first, second = line.submit("go"), line.submit("go")
    line.begun(first)

    finished = line.engine.stop(5)
    opened = [record.id for record in line.journal.open()]

    assert finished
    assert opened == [first, second]
    assert line.news.ends == {}


def test_what_waited_in_the_queue_is_run_in_order_after_the_next_start(durable: Begin) -> None:
    order: list[str] = []
    first = durable(quick("go", lambda run: run.sleep(60)))
    ids = [first.submit("go") for _ in range(5)]
    first.begun(ids[0])
    assert first.stop(5)

    second = durable(quick("go", lambda run: order.append(run.id)))
    for run_id in ids:
        second.end_of(run_id)

    assert order == ids


def test_a_run_that_comes_to_its_end_while_the_next_start_is_at_work_is_told(
    durable: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = durable(quick("go", lambda run: run.sleep(60)))
    run_id = first.submit("go")
    first.begun(run_id)
    assert first.stop(5)
    at_its_end = threading.Event()
    expect, prepare = Teller.expect, Rows.prepare

    def expected(self: Teller, run: str, outcome: Outcome) -> None:
        at_its_end.set()
        expect(self, run, outcome)

    def slowly(self: Rows) -> None:
        at_its_end.wait(5)
        prepare(self)

    monkeypatch.setattr(Teller, "expect", expected)
    monkeypatch.setattr(Rows, "prepare", slowly)

    second = durable(quick("go", lambda run: None))

    assert second.end_of(run_id).state is RunState.DONE


def test_a_stop_interrupts_the_wait_for_another_try_and_the_effect_is_tried_again_later(
    durable: Begin,
) -> None:
    tries, tried, open_again = list[int](), threading.Event(), threading.Event()

    def make() -> None:
        tries.append(1)
        tried.set()
        if not open_again.is_set():
            raise DeferredError("450 later")

    def body(run: Run) -> None:
        run.effect("letter", look=absent, make=make, verify=lambda: 1, retries=9)

    first = durable(quick("go", body))
    run_id = first.submit("go")
    assert tried.wait(DEADLINE_S)

    assert first.stop(5)
    open_again.set()
    before = len(tries)
    outcome = durable(quick("go", body)).end_of(run_id)

    assert outcome.state is RunState.DONE
    assert len(tries) == before + 1


def test_a_stop_ends_what_sleeps_well_within_its_grace(bench: Begin) -> None:
    line = bench(quick("go", lambda run: run.sleep(60)))
    run_id = line.submit("go")
    line.begun(run_id)

    assert line.stop(10)


def test_a_stop_between_the_claim_of_once_and_its_write_leaves_nothing_in_doubt(durable: Begin) -> None:
    written: list[str] = []

    def body(run: Run) -> None:
        run.once("letter", lambda: written.append("letter"))
        run.sleep(0.1 if stopped else 60)

    class StoppedAfterTheClaim(LiveRun):
        def __init__(self, order: Order, workshop: Workshop, recorder: Any, tell: Any) -> None:
            remember = recorder.remember

            def then_stop(title: str, claim: Any) -> Any:
                value = remember(title, claim)
                first.durable.at_work.stopping.set()
                return value

            recorder.remember = then_stop
            super().__init__(order, workshop, recorder, tell)

    stopped: list[bool] = []
    first = durable(quick("go", body))
    first.durable.make_run = StoppedAfterTheClaim
    run_id = first.submit("go")
    until(lambda: first.durable.at_work.stopping.is_set())
    assert first.stop(10)
    stopped.append(True)

    outcome = durable(quick("go", body)).end_of(run_id)

    assert (outcome.state, written) == (RunState.DONE, ["letter"])


@pytest.mark.parametrize(
    ("script", "gate", "made"),
    [
        ([["effect", "a"], ["effect", "b"]], "made a", {"made a": 1, "made b": 1}),
        ([["once", "a"], ["effect", "b"]], "make a", {"made a": 1, "made b": 1}),
        ([["step", "a"], ["effect", "b"]], "read a", {"read a": 1, "made b": 1}),
    ],
)
def test_stopped_inside_a_step_it_ends_the_step_and_the_next_process_goes_on_after_it(
    child: Child, world: World, script: list[Any], gate: str, made: dict[str, int]
) -> None:
    world.close(gate)
    child.start()
    run_id = child.errand(*script)
    world.until_reached(gate)

    asked = child.begin_to_ask("stop", grace_s=20)
    until(lambda: child.ask("stopping"), "the stop")
    world.open(gate)
    finished = child.answer(asked)
    before = dict(child.news.ends)
    outcome = child.again().end_of(run_id)

    assert (finished, before) == (True, {})
    assert outcome.state is RunState.DONE
    assert {deed: world.count(deed) for deed in made} == made


def test_a_handler_that_never_looks_up_is_left_after_the_grace_and_its_step_is_looked_at_again(
    child: Child, world: World
) -> None:
    world.close("made a")
    child.start()
    run_id = child.errand(("effect", "a"), ("effect", "b"))
    world.until_reached("made a")

    finished = child.ask("stop", grace_s=0.5, within_s=5)
    child.kill()
    world.open("made a")
    outcome = child.start().end_of(run_id)

    assert finished is False
    assert outcome.state is RunState.DONE
    assert child.steps[run_id] == ["stands already a", "made b"]
    assert world.deeds() == ["made a", "made b"]
