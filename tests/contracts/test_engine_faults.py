"""A full disk, a second process, a damaged file, a database that is away, a clock that was set back."""

import sqlite3
import sys
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from beamtime_ioc.action import Run
from beamtime_ioc.errors import StateError
from beamtime_ioc.model import RunState
from beamtime_ioc.store import FILE_NAME
from engine_house import Begin, State, quick
from engine_nursery import Child, Nursery, Refused
from engine_world import World, until
from pg_house import Database, Postgres


@pytest.fixture
def on_sqlite(nursery: Nursery, tmp_path: Path, world: World) -> Generator[Child, None, None]:
    made = Child(nursery, State(kind="sqlite", directory=tmp_path / "state"), world)
    yield made
    made.kill()


def test_on_a_full_disk_a_run_is_stuck_presses_are_refused_and_it_goes_on_when_there_is_space(
    on_sqlite: Child, world: World
) -> None:
    child = on_sqlite
    child.disk_mb = 24
    world.close("between")
    try:
        child.start()
        run_id = child.errand(("effect", "a"), ("gate", "between"), ("effect", "b"), ("effect", "c"))
        world.until_reached("between")
        child.ask("fill")
        world.open("between")

        sentence = child.stuck(run_id)
        with pytest.raises(Refused, match=r"StateError: .*full.* make room"):
            child.errand(("effect", "refused"))
        health = child.health()
        ended = dict(child.news.ends)
        child.ask("free")
        outcome = child.end_of(run_id, 20)
        after = child.end_of(child.errand(("effect", "after")))
        recovered = child.health()
    finally:
        child.kill()

    assert "disk" in sentence or "full" in sentence, sentence
    assert not health.works or health.troubles
    assert ended == {}
    assert (outcome.state, after.state) == (RunState.DONE, RunState.DONE)
    assert world.deeds() == ["made a", "made b", "made c", "made after"]
    assert recovered.works


@pytest.mark.parametrize("put_instead", [False, True])
def test_a_database_that_was_removed_while_the_program_works_is_said_and_nothing_new_is_begun(
    on_sqlite: Child, world: World, put_instead: bool
) -> None:
    child, database = on_sqlite, on_sqlite.state.directory / FILE_NAME
    child.start()
    child.end_of(child.errand(("effect", "a")))
    for path in database.parent.glob(f"{FILE_NAME}*"):
        path.rename(path.with_name(f"away-{path.name}"))
    if put_instead:
        database.write_bytes((database.parent / f"away-{FILE_NAME}").read_bytes())

    with pytest.raises(
        Refused, match=r"StateError: .* was removed or replaced .*: end it, put the file back"
    ):
        child.errand(("effect", "lost"))
    health = child.health()

    assert not health.works
    assert "removed or replaced" in health.troubles[0]
    assert world.deeds() == ["made a"]


def test_a_second_process_on_the_same_state_is_refused_within_a_second(child: Child, world: World) -> None:
    world.close("made a")
    child.start()
    run_id = child.errand(("effect", "a"))
    world.until_reached("made a")

    # PostgreSQL knows it too when the other has a state directory of its own.
    elsewhere = child.state.directory.parent / "elsewhere"
    other = replace(child.state, directory=elsewhere) if child.state.database else child.state

    began = time.monotonic()
    with pytest.raises(StateError, match=r"another (IOC|process)") as caught:
        other.store()
    waited = time.monotonic() - began
    world.open("made a")

    assert waited < 1
    assert caught.value.advice
    assert child.end_of(run_id).state is RunState.DONE
    assert world.deeds() == ["made a"]


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_damaged_state_is_refused_in_words_and_left_as_it_is(on_sqlite: Child, content: bytes) -> None:
    on_sqlite.state.directory.mkdir(mode=0o700)
    path = on_sqlite.state.directory / FILE_NAME
    path.write_bytes(content)

    with pytest.raises(Refused, match=r"move .* away and start again"):
        on_sqlite.start()

    assert path.read_bytes() == content


def test_a_state_with_damaged_pages_is_refused_in_words(on_sqlite: Child, world: World) -> None:
    world.close("made a")
    on_sqlite.start()
    run_id = on_sqlite.errand(("effect", "a"))
    world.until_reached("made a")
    on_sqlite.kill()
    world.open("made a")
    path = on_sqlite.state.directory / FILE_NAME
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\x5a" * (len(whole) - 4096))

    with pytest.raises(Refused, match=r"move .* away and start again"):
        on_sqlite.start()

    assert run_id


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seconds", [0, 60])
def test_postgresql_away_for_some_time_costs_no_run_and_no_press_hangs(
    postgres: Postgres, database: Database, nursery: Nursery, tmp_path: Path, world: World, seconds: int
) -> None:
    state = State(kind="postgresql", directory=tmp_path / "state", database=database.url)
    child = Child(nursery, state, world)
    world.close("between")
    world.close("made c")
    try:
        child.start()
        run_id = child.errand(("effect", "a"), ("gate", "between"), ("effect", "b"), ("once", "letter"))
        in_an_effect = child.errand(("effect", "c"), ("once", "letter of c"), resource="other")
        world.until_reached("between")
        world.until_reached("made c")
        with postgres.gone():
            world.open("between")
            world.open("made c")
            began = time.monotonic()
            with pytest.raises(Refused, match=r"StateError: .*cannot be used"):
                child.errand(("effect", "refused"))
            waited = time.monotonic() - began
            health = child.health(within_s=10)
            until(lambda: time.monotonic() - began > seconds, "the end of its absence", seconds + 10)
        # A minute later, DBOS by itself would ask again after another one.
        outcomes = [child.end_of(each, 15) for each in (run_id, in_an_effect)]
        until(lambda: child.health().works, "a look at the database that is back", 15)
        after = child.end_of(child.errand(("effect", "after")))
        recovered = child.health()
    finally:
        child.kill()

    assert waited < 10
    assert not health.works or health.troubles
    assert [outcome.state for outcome in outcomes] == [RunState.DONE] * 2
    assert sorted(world.deeds()) == sorted(
        f"made {deed}" for deed in ("a", "b", "c", "letter", "letter of c", "after")
    )
    assert after.state is RunState.DONE
    assert recovered.works


def test_a_clock_set_back_by_an_hour_while_a_run_is_at_work_changes_no_order(
    child: Child, world: World
) -> None:
    world.close("made a")
    child.start()
    child.errand(("effect", "a"))
    world.until_reached("made a")
    second = child.errand(("effect", "b"))

    child.ask("set_clock", by_s=-3600)
    third, fourth = child.errand(("effect", "c")), child.errand(("effect", "d"), resource="other")
    other = child.end_of(fourth)
    world.open("made a")
    ends = [child.end_of(run_id).state for run_id in (second, third)]

    assert [other.state, *ends] == [RunState.DONE] * 3
    assert world.deeds() == ["made a", "made d", "made b", "made c"]


def test_a_clock_set_back_by_an_hour_between_two_lives_changes_no_order(child: Child, world: World) -> None:
    world.close("made a")
    child.start()
    ids = [child.errand(("effect", "a")), child.errand(("effect", "b"))]
    world.until_reached("made a")
    child.kill()
    world.open("made a")

    child.start()
    child.ask("set_clock", by_s=-3600)
    ids.append(child.errand(("effect", "c")))

    assert [child.end_of(run_id).state for run_id in ids] == [RunState.DONE] * 3
    assert world.deeds() == ["made a", "made b", "made c"]
    assert child.ask("history") == ids[::-1]


def test_on_sqlite_no_byte_goes_to_the_network(on_sqlite: Child, world: World) -> None:
    try:
        on_sqlite.start()
        outcome = on_sqlite.end_of(on_sqlite.errand(("effect", "a"), ("once", "b"), ("effects", "c", "d")))
        until_idle = time.monotonic() + 3
        until(lambda: time.monotonic() > until_idle)
        calls = on_sqlite.ask("network_calls")
    finally:
        on_sqlite.kill()

    assert outcome.state is RunState.DONE
    assert calls == []


def test_a_run_whose_thread_is_gone_is_resumed_and_it_is_said(durable: Begin) -> None:
    lives: list[int] = []

    def body(run: Run) -> None:
        lives.append(run.step("life", lambda: 1))
        if len(lives) == 1:
            sys.exit("as a library may do")

    line = durable(quick("go", body), patience_s=0.2)
    run_id = line.submit("go")

    sentence = line.stuck(run_id)
    outcome = line.end_of(run_id)

    assert "nobody worked on it" in sentence
    assert (outcome.state, lives) == (RunState.DONE, [1, 1])


def test_a_run_that_is_lost_again_and_again_waits_for_the_operator(durable: Begin) -> None:
    lives: list[int] = []

    def body(run: Run) -> None:
        lives.append(1)
        sys.exit("as a library may do")

    line = durable(quick("go", body), quick("next", lambda run: None), patience_s=0.2)
    run_id = line.submit("go")

    line.news.wait(lambda: "3 times" in line.news.stuck.get(run_id, [""])[-1])
    health = line.health()
    line.cancel(run_id)

    assert len(lives) == 4
    assert any(run_id in trouble for trouble in health.troubles)
    assert line.end_of(run_id).state is RunState.ABORTED
    assert line.end_of(line.submit("next")).state is RunState.DONE
