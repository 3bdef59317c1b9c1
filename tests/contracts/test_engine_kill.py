"""kill -9, and a start on the same state: the run goes on, and the world got each thing once."""

import random
import threading
from typing import Any

import pytest

from beamtime_ioc.model import RunState
from engine_nursery import HERE, Child
from engine_world import World

UNSURE_LETTER = "the program ended in the middle of it"


@pytest.mark.parametrize("gate", ["look a", "make a", "made a", "verify a"])
def test_killed_anywhere_in_an_effect_it_is_made_once(child: Child, world: World, gate: str) -> None:
    world.close(gate)
    child.start()
    run_id = child.errand(("step", "who"), ("effect", "a"), ("effect", "b"))
    world.until_reached(gate)

    child.kill()
    world.open(gate)
    outcome = child.start().end_of(run_id)

    assert outcome.state is RunState.DONE
    assert world.deeds() == ["read who", "made a", "made b"]


def test_killed_while_it_waits_in_the_queue_it_is_run(child: Child, world: World) -> None:
    world.close("make a")
    child.start()
    first = child.errand(("effect", "a"))
    second = child.errand(("effect", "b"))
    world.until_reached("make a")

    child.kill()
    world.open("make a")
    child.start()

    assert [child.end_of(run_id).state for run_id in (first, second)] == [RunState.DONE, RunState.DONE]
    assert world.deeds() == ["made a", "made b"]


@pytest.mark.parametrize(("gate", "written"), [("make letter", 0), ("made letter", 1)])
def test_killed_in_once_it_is_not_repeated_and_the_run_ends_unsure(
    child: Child, world: World, gate: str, written: int
) -> None:
    world.close(gate)
    child.start()
    run_id = child.errand(("once", "letter"), ("effect", "after"))
    world.until_reached(gate)

    child.kill()
    world.open(gate)
    outcome = child.start().end_of(run_id)
    after = child.errand(("effect", "next"))

    assert outcome.state is RunState.UNSURE
    assert "letter" in outcome.message
    assert UNSURE_LETTER in outcome.message
    assert (world.count("made letter"), world.count("made after")) == (written, 1)
    assert len(child.ask("doubts", run=run_id)) == 1
    assert child.end_of(after).state is RunState.DONE


def test_killed_after_once_has_its_result_it_is_remembered(child: Child, world: World) -> None:
    world.close("after")
    child.start()
    run_id = child.errand(("once", "letter"), ("gate", "after"), ("effect", "a"))
    world.until_reached("after")

    child.kill()
    world.open("after")
    outcome = child.start().end_of(run_id)

    assert (outcome.state, outcome.value) == (RunState.DONE, ["letter"])
    assert world.deeds() == ["made letter", "made a"]


def test_what_was_read_before_the_kill_is_what_the_run_goes_on_with(child: Child, world: World) -> None:
    world.close("after")
    child.start()
    run_id = child.errand(("step", "who"), ("gate", "after"), ("step", "when"))
    world.until_reached("after")

    child.kill()
    world.open("after")
    world.note("read who")  # another would be read now
    outcome = child.start().end_of(run_id)

    assert outcome.value == [1, 1]
    assert world.count("read who") == 2


def test_several_effects_are_remembered_as_one_step(child: Child, world: World) -> None:
    world.close("after")
    child.start()
    run_id = child.errand(("effects", "a", "b", "c", "d"), ("gate", "after"), ("effect", "e"))
    world.until_reached("after")

    child.kill()
    world.close("look a")  # whoever looks again hangs here
    world.open("after")
    outcome = child.start().end_of(run_id)

    assert outcome.state is RunState.DONE
    assert sorted(world.deeds()) == ["made a", "made b", "made c", "made d", "made e"]
    assert child.steps[run_id] == ["made a", "made b", "made c", "made d", "made e"]


def test_killed_among_several_effects_each_is_made_once(child: Child, world: World) -> None:
    names = [f"d{number}" for number in range(6)]
    world.close("made d1", "make d2")
    child.start()
    run_id = child.errand(("effects", *names))
    world.until_reached("made d1")
    world.until_reached("make d2")

    child.kill()
    world.open("made d1", "make d2")
    outcome = child.start().end_of(run_id)

    assert outcome.state is RunState.DONE
    assert sorted(world.deeds()) == [f"made {name}" for name in names]
    assert "stands already d1" in child.steps[run_id]


def test_killed_during_the_recovery_itself_it_goes_on_at_the_next_start(child: Child, world: World) -> None:
    world.close("made a", "made b")
    child.start()
    run_id = child.errand(("effect", "a"), ("effect", "b"), ("effect", "c"))
    world.until_reached("made a")
    child.kill()
    world.open("made a")
    child.start()
    world.until_reached("made b")

    child.kill()
    world.open("made b")
    outcome = child.start().end_of(run_id)

    assert outcome.state is RunState.DONE
    assert world.deeds() == ["made a", "made b", "made c"]


def test_killed_five_times_at_random_moments_nothing_is_lost_and_nothing_made_twice(
    child: Child, world: World
) -> None:
    chance = random.Random(20261120)
    names = [f"e{number}" for number in range(400)]
    child.start()
    run_id = child.errand(("effect", *names))
    other = child.errand(*(("step", name) for name in names[:50]), resource="other")

    for _ in range(5):
        threading.Event().wait(chance.uniform(0.0, 0.4))  # anywhere, on purpose
        child.again()

    assert child.written_end(run_id)[0] is RunState.DONE
    assert [world.count(f"made {name}") for name in names] == [1] * 400
    # A read is repeated only when the kill came between it and its row: one at most for each kill.
    reads = [world.count(f"read {name}") for name in names[:50]]
    assert sum(reads) <= 50 + 5
    _, remembered = child.written_end(other)
    assert isinstance(remembered, list)
    assert all(first in range(1, last + 1) for first, last in zip(remembered, reads, strict=True))


def test_an_abort_before_the_kill_holds_after_the_start(child: Child, world: World) -> None:
    world.close("made a")
    child.start()
    run_id = child.errand(("effect", "a"), ("effect", "b"))
    world.until_reached("made a")
    child.cancel(run_id)

    child.kill()
    world.open("made a")
    outcome = child.start().end_of(run_id)

    assert outcome.state is RunState.ABORTED
    assert world.deeds() == ["made a"]


def test_aborted_and_killed_inside_what_cannot_be_known_it_ends_unsure_and_names_it(
    child: Child, world: World
) -> None:
    world.close("made letter")
    child.start()
    run_id = child.errand(("once", "letter"), ("effect", "after"))
    world.until_reached("made letter")
    child.cancel(run_id)

    child.kill()
    world.open("made letter")
    outcome = child.start().end_of(run_id)

    assert outcome.state is RunState.UNSURE
    assert "letter" in outcome.message
    assert world.deeds() == ["made letter"]
    assert len(child.ask("doubts", run=run_id)) == 1


@pytest.mark.parametrize("word", ["doubt", "once"])
def test_a_doubt_is_written_once_however_often_the_run_is_repeated(
    child: Child, world: World, word: str
) -> None:
    gate = "made letter" if word == "once" else "after"
    world.close(gate)
    child.start()
    run_id = child.errand((word, "letter"), ("gate", "after"), ("gate", "later"), ("effect", "a"))
    world.until_reached(gate)
    world.close("later")
    child.kill()
    world.open(gate)
    child.start()
    world.until_reached("later")
    child.kill()
    world.open("later")

    outcome = child.start().end_of(run_id)
    doubts: list[Any] = child.ask("doubts", run=run_id)

    assert outcome.state is RunState.UNSURE
    assert len(doubts) == 1
    assert outcome.unknown == tuple(doubts)
    assert child.health().unsure == 1
    assert world.count("made letter") == 1


def test_a_run_that_has_ended_is_not_told_again_after_a_start(child: Child, world: World) -> None:
    child.start()
    run_id = child.errand(("effect", "a"))
    child.end_of(run_id)

    child.again()
    child.end_of(child.errand(("effect", "b")))

    assert run_id not in child.news.ends
    assert world.deeds() == ["made a", "made b"]


def test_the_text_of_a_handler_may_change_while_its_run_is_open(child: Child, world: World) -> None:
    text = (HERE / "engine_errands.py").read_text()
    child.errands = world.directory / "errands.py"
    child.errands.write_text(text)
    world.close("made first")
    child.start()
    run_id = child.submit("walk")
    world.until_reached("made first")

    child.kill()
    world.open("made first")
    child.errands.write_text(text.replace('do(run, "effect", ["third"])', 'do(run, "effect", ["last"])'))
    outcome = child.start().end_of(run_id)

    assert outcome.state is RunState.DONE
    assert world.deeds() == ["made first", "made second", "made last"]
