"""An abort ends a run at its next word, undoes nothing, and holds the resource until the handler ends."""

import sqlite3
import threading
import time
from typing import Any

import psycopg
import pytest

from beamtime_ioc.action import Effect, Run
from beamtime_ioc.errors import DeferredError, OutcomeUnknownError
from beamtime_ioc.model import RunState
from beamtime_ioc.store import FILE_NAME
from engine_errands import ACTIONS
from engine_house import DEADLINE_S, Begin, State, quick
from engine_world import World, until


def absent() -> None:
    return None


def test_a_cancelled_run_ends_at_its_next_step_and_the_next_begins_after_it(bench: Begin) -> None:
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


def test_a_queued_run_that_is_cancelled_never_begins(bench: Begin) -> None:
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


def test_a_second_cancel_and_one_after_the_end_do_nothing(bench: Begin) -> None:
    line = bench(quick("go", lambda run: None))
    run_id = line.submit("go")
    outcome = line.end_of(run_id)

    line.cancel(run_id)
    line.cancel(run_id)

    assert line.news.ends[run_id] is outcome
    assert outcome.state is RunState.DONE


def test_cancelled_twice_while_it_runs_it_ends_once(bench: Begin) -> None:
    line = bench(quick("go", lambda run: run.sleep(60)), quick("next", lambda run: None))
    run_id = line.submit("go")
    line.begun(run_id)

    line.cancel(run_id)
    line.cancel(run_id)
    outcome = line.end_of(run_id)
    line.end_of(line.submit("next"))

    assert outcome.state is RunState.ABORTED
    assert line.news.ended.count(run_id) == 1


def test_a_cancel_of_a_run_that_nobody_knows_does_nothing(bench: Begin) -> None:
    line = bench(quick("go", lambda run: None))

    line.cancel("01795169016276911618-a92167")

    assert line.end_of(line.submit("go")).state is RunState.DONE


def test_cancelled_in_a_long_effect_the_next_waits_for_its_end_and_what_was_made_stands(
    bench: Begin,
) -> None:
    inside, trace = threading.Event(), list[str]()

    def make() -> None:
        trace.append("begins")
        inside.set()
        threading.Event().wait(1.5)
        trace.append("made")

    def slow(run: Run) -> None:
        run.effect("first", look=absent, make=make, verify=lambda: 1)
        run.effect("second", look=absent, make=lambda: trace.append("second"), verify=lambda: 1)

    line = bench(quick("slow", slow), quick("next", lambda run: trace.append("next")))
    first, second = line.submit("slow"), line.submit("next")
    assert inside.wait(DEADLINE_S)
    asked = time.monotonic()

    line.cancel(first)
    answered = time.monotonic() - asked

    assert answered < 1
    assert line.end_of(first).state is RunState.ABORTED
    assert line.end_of(second).state is RunState.DONE
    assert trace == ["begins", "made", "next"]


def test_cancelled_among_several_effects_those_that_have_not_begun_are_not_made(bench: Begin) -> None:
    inside, go, made = threading.Event(), threading.Event(), list[int]()

    def effect(number: int) -> Effect:
        def make() -> None:
            made.append(number)
            inside.set()
            go.wait(DEADLINE_S)

        return Effect(f"directory {number}", look=absent, make=make, verify=lambda: number)

    line = bench(quick("go", lambda run: run.effects([effect(n) for n in range(9)], at_once=2)))
    run_id = line.submit("go")
    until(lambda: len(made) == 2)

    line.cancel(run_id)
    go.set()

    assert line.end_of(run_id).state is RunState.ABORTED
    assert sorted(made) == [0, 1]


def test_a_cancel_interrupts_the_wait_for_another_try_at_once(bench: Begin) -> None:
    tries, tried = list[int](), threading.Event()

    def make() -> None:
        tries.append(1)
        if len(tries) == 2:  # the next wait is of 2 s
            tried.set()
        raise DeferredError("450 later")

    def body(run: Run) -> None:
        run.effect("letter", look=absent, make=make, verify=lambda: 1, retries=9)

    line = bench(quick("go", body))
    run_id = line.submit("go")
    assert tried.wait(DEADLINE_S)
    asked = time.monotonic()

    line.cancel(run_id)
    outcome = line.end_of(run_id)

    assert (outcome.state, len(tries)) == (RunState.ABORTED, 2)
    assert time.monotonic() - asked < 1


def test_a_cancel_is_heard_by_progress_between_two_files(bench: Begin) -> None:
    files: list[int] = []

    def body(run: Run) -> None:
        for number in range(100_000):
            files.append(number)
            run.progress(0.5, f"file {number}")
            threading.Event().wait(0.001)

    line = bench(quick("go", body))
    run_id = line.submit("go")
    until(lambda: len(files) > 3)

    line.cancel(run_id)

    assert line.end_of(run_id).state is RunState.ABORTED
    assert len(files) < 50_000


def test_a_long_program_goes_down_with_its_run(bench: Begin, world: World) -> None:
    line = bench(*ACTIONS, world=world)
    run_id = line.errand(("shell", "rsync"), ("effect", "after"))
    deed = until(lambda: [deed for deed in world.deeds() if deed.startswith("began rsync")])[0]

    line.cancel(run_id)
    outcome = line.end_of(run_id)

    assert outcome.state is RunState.ABORTED
    assert not _lives(int(deed.split()[-1]))
    assert world.count("made after") == 0


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_cancelled_just_before_once_it_is_not_written(bench: Begin, world: World) -> None:
    world.close("before")
    line = bench(*ACTIONS, world=world)
    run_id = line.errand(("gate", "before"), ("once", "letter"))
    world.until_reached("before")

    line.cancel(run_id)
    world.open("before")

    assert line.end_of(run_id).state is RunState.ABORTED
    assert world.count("made letter") == 0


def test_cancelled_inside_once_it_is_written_once_and_the_run_ends_aborted(
    bench: Begin, world: World
) -> None:
    world.close("make letter")
    line = bench(*ACTIONS, world=world)
    run_id = line.errand(("once", "letter"), ("effect", "after"))
    world.until_reached("make letter")

    line.cancel(run_id)
    world.open("make letter")

    assert line.end_of(run_id).state is RunState.ABORTED
    assert (world.count("made letter"), world.count("made after")) == (1, 0)


def test_aborted_where_something_cannot_be_known_it_ends_unsure_and_names_it(bench: Begin) -> None:
    inside, go = threading.Event(), threading.Event()

    def send() -> None:
        inside.set()
        go.wait(DEADLINE_S)
        raise OutcomeUnknownError("the letter to zoe@example.edu may have been sent")

    def body(run: Run) -> None:
        run.effect("letter", look=absent, make=send, verify=absent)
        run.sleep(60)

    line = bench(quick("go", body))
    run_id = line.submit("go")
    assert inside.wait(DEADLINE_S)

    line.cancel(run_id)
    go.set()
    outcome = line.end_of(run_id)

    assert outcome.state is RunState.UNSURE
    assert "zoe@example.edu" in outcome.message
    assert "aborted" in outcome.message
    assert outcome.unknown == ("the letter to zoe@example.edu may have been sent",)


@pytest.mark.parametrize("where", ["queue", "sleep"])
def test_a_cancel_while_another_program_locks_the_state_for_three_seconds_is_heard(
    durable: Begin, where: str
) -> None:
    line = durable(quick("go", lambda run: run.sleep(60)))
    first, second = line.submit("go"), line.submit("go")
    line.begun(first)
    wanted = first if where == "sleep" else second
    locked = threading.Event()
    holder = threading.Thread(target=lambda: _lock(line.state, locked))
    holder.start()
    assert locked.wait(DEADLINE_S)

    line.cancel(wanted)
    outcome = line.end_of(wanted)
    holder.join()
    if where == "queue":
        line.cancel(first)

    assert outcome.state is RunState.ABORTED
    assert line.end_of(first).state is RunState.ABORTED


def _lock(state: State, locked: threading.Event) -> None:
    """Hold every writer off for 3 s, as another program."""
    if state.kind == "sqlite":
        db: Any = sqlite3.connect(state.directory / FILE_NAME, isolation_level=None)
        db.execute("BEGIN EXCLUSIVE")
    else:
        db = psycopg.connect(state.database)
        db.execute("LOCK TABLE dbos.workflow_status IN EXCLUSIVE MODE")
    locked.set()
    threading.Event().wait(3)
    db.rollback()
    db.close()
