"""The code changed while a run was open: which one is said, the run is kept, and nothing is guessed."""

import pytest

from beamtime_ioc.model import RunState
from engine_nursery import HERE, Child, Refused
from engine_world import World

TEXT = (HERE / "engine_errands.py").read_text()
SECOND = 'do(run, "effect", ["second"])'


def killed_after_the_first(child: Child, world: World) -> str:
    """A walk whose first two effects are remembered, and whose process is dead."""
    child.errands = world.directory / "errands.py"
    child.errands.write_text(TEXT)
    world.close("made third")
    child.start()
    run_id = child.submit("walk")
    world.until_reached("made third")
    child.kill()
    world.open("made third")
    return run_id


def test_a_run_of_another_version_of_the_steps_is_kept_and_named(child: Child, world: World) -> None:
    run_id = killed_after_the_first(child, world)
    child.steps_version = "actions-99"

    child.start()
    sentence = child.stuck(run_id)
    health = child.health()
    opened = child.ask("open_runs")
    deeds = world.deeds()
    child.kill()
    child.steps_version = ""
    outcome = child.start().end_of(run_id)

    assert "actions-99" in sentence
    assert any(run_id in trouble for trouble in health.troubles), health
    assert (opened, deeds) == ([run_id], ["made first", "made second", "made third"])
    assert (outcome.state, world.deeds()) == (RunState.DONE, deeds)


def test_a_run_of_another_version_is_given_up_by_a_cancel_and_its_resource_is_free(
    child: Child, world: World
) -> None:
    run_id = killed_after_the_first(child, world)
    child.steps_version = "actions-99"
    child.start()
    child.stuck(run_id)

    child.cancel(run_id)
    given_up = child.end_of(run_id)
    after = child.end_of(child.errand(("effect", "next")))

    assert given_up.state is RunState.ABORTED
    assert after.state is RunState.DONE
    assert child.ask("open_runs") == []
    assert not any(run_id in trouble for trouble in child.health().troubles)


def test_a_queued_run_of_another_version_is_named_too(child: Child, world: World) -> None:
    first = killed_after_the_first(child, world)
    child.start()
    child.end_of(first)
    world.close("make a")
    holding, waiting = child.errand(("effect", "a")), child.submit("walk")
    world.until_reached("make a")
    child.kill()
    world.open("make a")
    child.steps_version = "actions-99"

    child.start()
    sentences = [child.stuck(run_id) for run_id in (holding, waiting)]
    troubles = " ".join(child.health().troubles)

    assert all("actions-99" in sentence for sentence in sentences)
    assert holding in troubles
    assert waiting in troubles
    assert "2 " in troubles


@pytest.mark.parametrize(
    ("was", "now", "names"),
    [
        (SECOND, 'do(run, "effect", ["another"])', ("second", "another")),
        (SECOND, f'do(run, "effect", ["zeroth"]); {SECOND}', ("second", "zeroth")),
        (f"    {SECOND}\n", "", ("second", "third")),
    ],
    ids=["title", "one more", "one less"],
)
def test_a_run_whose_steps_changed_is_kept_and_the_sentence_says_what_was_and_what_is(
    child: Child, world: World, was: str, now: str, names: tuple[str, str]
) -> None:
    run_id = killed_after_the_first(child, world)
    assert was in TEXT
    child.errands.write_text(TEXT.replace(was, now))

    child.start()
    sentence = child.stuck(run_id)
    opened, ends = child.ask("open_runs"), dict(child.news.ends)
    deeds = world.deeds()
    child.kill()
    child.errands.write_text(TEXT)
    outcome = child.start().end_of(run_id)

    assert all(name in sentence for name in names), sentence
    assert (opened, ends) == ([run_id], {})
    assert deeds == ["made first", "made second", "made third"]
    assert (outcome.state, world.deeds()) == (RunState.DONE, deeds)


def test_a_run_whose_handler_was_removed_is_kept_until_it_is_back(child: Child, world: World) -> None:
    run_id = killed_after_the_first(child, world)
    child.errands.write_text(TEXT.replace("ACTIONS = [errand, walk]", "ACTIONS = [errand]"))

    child.start()
    sentence = child.stuck(run_id)
    opened, ends = child.ask("open_runs"), dict(child.news.ends)
    child.kill()
    child.errands.write_text(TEXT)
    outcome = child.start().end_of(run_id)

    assert "walk" in sentence
    assert (opened, ends) == ([run_id], {})
    assert outcome.state is RunState.DONE
    assert world.deeds() == ["made first", "made second", "made third"]


def test_a_queued_run_whose_handler_was_removed_is_kept_too(child: Child, world: World) -> None:
    child.errands = world.directory / "errands.py"
    child.errands.write_text(TEXT)
    world.close("made a")
    child.start()
    holding, waiting = child.errand(("effect", "a")), child.submit("walk")
    world.until_reached("made a")
    child.kill()
    world.open("made a")
    child.errands.write_text(TEXT.replace("ACTIONS = [errand, walk]", "ACTIONS = [errand]"))

    child.start()
    held = child.end_of(holding)
    sentence = child.stuck(waiting)
    opened = child.ask("open_runs")
    child.kill()
    child.errands.write_text(TEXT)
    outcome = child.start().end_of(waiting)

    assert "walk" in sentence
    assert (held.state, opened) == (RunState.DONE, [waiting])
    assert outcome.state is RunState.DONE
    assert world.deeds() == ["made a", "made first", "made second", "made third"]


def test_a_run_whose_handler_was_removed_is_given_up_by_a_cancel(child: Child, world: World) -> None:
    run_id = killed_after_the_first(child, world)
    child.errands.write_text(TEXT.replace("ACTIONS = [errand, walk]", "ACTIONS = [errand]"))
    child.start()
    child.stuck(run_id)

    child.cancel(run_id)

    assert child.end_of(run_id).state is RunState.ABORTED
    assert child.end_of(child.errand(("effect", "next"))).state is RunState.DONE


def test_a_run_that_is_given_up_in_the_middle_of_once_is_unsure_about_it(child: Child, world: World) -> None:
    child.errands = world.directory / "errands.py"
    child.errands.write_text(TEXT)
    world.close("made letter")
    child.start()
    run_id = child.errand(("once", "letter"))
    world.until_reached("made letter")
    child.kill()
    world.open("made letter")
    child.steps_version = "actions-99"
    child.start()
    child.stuck(run_id)

    child.cancel(run_id)
    outcome = child.end_of(run_id)

    assert outcome.state is RunState.UNSURE
    assert outcome.message.startswith("given up while it was stuck; what was made stands; besides, unsure: ")
    assert len(outcome.unknown) == child.health().unsure == 1
    assert world.deeds() == ["made letter"]


def test_an_action_that_is_not_installed_cannot_be_ordered(child: Child, world: World) -> None:
    child.start()

    with pytest.raises(Refused, match="gone"):
        child.submit("gone")

    assert child.ask("open_runs") == []
    assert child.end_of(child.errand(("effect", "a"))).state is RunState.DONE
