"""An answer "do it again" whose run was never begun, since the program died, is asked again at the start."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beamtime_ioc.action import Run, action
from beamtime_ioc.engine.durable import DurableEngine
from beamtime_ioc.engine.engine import Order, new_run_id
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.journal import Journal
from beamtime_ioc.model import Answer, Experiment, Letter, Who
from beamtime_ioc.resolving import reopen_unbegun
from beamtime_ioc.store import Store
from beamtime_ioc.stored_doubts import StoredDoubts
from beamtime_ioc.stored_outbox import StoredOutbox
from beamtime_ioc.testing.run import TEST_SITE
from engine_house import News

OPERATOR = Who(via="local", user="bm99")
LETTER = Letter(key="k1", to="zoe@example.edu", name="Zoe", subject="s", text="t")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state", "x:")
    yield opened
    opened.close()


def doubt_a_letter(store: Store) -> str:
    run_id, outbox = new_run_id(), StoredOutbox(store)
    outbox.claim(replace(LETTER, run_id=run_id))
    outbox.settle(LETTER.key, "unsure", "no answer")
    StoredDoubts(store).note(run_id, f"letter to {LETTER.to}", "it may have gone", LETTER.key)
    return run_id


def state_of_letter(store: Store) -> str:
    row = StoredOutbox(store).find(LETTER.key)
    assert row is not None
    return row.state


def test_an_answer_without_its_run_is_taken_back_and_the_letter_is_in_doubt_again(store: Store) -> None:
    run_id, doubts = doubt_a_letter(store), StoredDoubts(store)
    doubts.answer(doubts.of_run(run_id)[0], Answer.AGAIN, OPERATOR)
    assert (doubts.count_open(), state_of_letter(store)) == (0, "deferred")

    reopen_unbegun(Journal(store.engine), doubts)

    assert (doubts.count_open(), state_of_letter(store)) == (1, "unsure")


def test_a_letter_that_went_out_meanwhile_is_not_in_doubt_again(store: Store) -> None:
    run_id, doubts = doubt_a_letter(store), StoredDoubts(store)
    doubts.answer(doubts.of_run(run_id)[0], Answer.AGAIN, OPERATOR)
    StoredOutbox(store).claim(replace(LETTER, run_id=new_run_id()))
    StoredOutbox(store).settle(LETTER.key, "accepted", "250 ok")

    reopen_unbegun(Journal(store.engine), doubts)

    assert (doubts.count_open(), state_of_letter(store)) == (0, "accepted")


@pytest.mark.parametrize("answer", [Answer.HAPPENED, Answer.GIVE_UP])
def test_other_answers_stand(store: Store, answer: Answer) -> None:
    run_id, doubts = doubt_a_letter(store), StoredDoubts(store)
    doubts.answer(doubts.of_run(run_id)[0], answer, OPERATOR)

    reopen_unbegun(Journal(store.engine), doubts)

    assert doubts.of_run(run_id)[0].answer == answer


def do_again(store: Store, run_id: str, new_id: str = "") -> None:
    """Begin the run of an answer, and wait for its end."""

    @action("go", resource="r", needs_experiment=False)
    def go(run: Run, experiment: Experiment | None) -> None:
        run.progress(1, "done again")

    news = News()
    engine = DurableEngine(Workshop(actions={"go": go}, services={}, site=TEST_SITE), store)
    engine.start(news)
    order = Order(
        id=new_id or new_run_id(),
        action="go",
        resource="r",
        who=OPERATOR,
        experiment=None,
        again_of=run_id,
    )
    try:
        asyncio.run(engine.submit(order))
        news.wait(lambda: order.id in news.ends)
    finally:
        engine.stop(5)


def test_an_answer_whose_run_was_begun_stands(store: Store) -> None:
    run_id, doubts = doubt_a_letter(store), StoredDoubts(store)
    doubts.answer(doubts.of_run(run_id)[0], Answer.AGAIN, OPERATOR)
    do_again(store, run_id)

    reopen_unbegun(Journal(store.engine), doubts)

    assert doubts.of_run(run_id)[0].answer == Answer.AGAIN


def test_an_answer_that_was_begun_for_one_run_stands_for_every_run_that_doubts_the_letter(
    store: Store,
) -> None:
    first, second, doubts = doubt_a_letter(store), new_run_id(), StoredDoubts(store)
    doubts.note(second, f"letter to {LETTER.to}", "it may have gone", LETTER.key)
    doubts.answer(doubts.of_run(second)[0], Answer.AGAIN, OPERATOR)
    do_again(store, second)  # and the letter still waits, as when the program died before it came to it

    reopen_unbegun(Journal(store.engine), doubts)

    assert [doubts.of_run(run_id)[0].answer for run_id in (first, second)] == [Answer.AGAIN, Answer.AGAIN]
    assert (doubts.count_open(), state_of_letter(store)) == (0, "deferred")


def test_an_answer_for_one_run_is_none_for_a_step_of_the_same_name_in_another(store: Store) -> None:
    doubts, runs = StoredDoubts(store), (new_run_id(), new_run_id())
    for run_id in runs:
        doubts.note(run_id, "note", "it may stand there")
        doubts.answer(doubts.of_run(run_id)[0], Answer.AGAIN, OPERATOR)
    do_again(store, runs[0])

    reopen_unbegun(Journal(store.engine), doubts)

    assert [doubts.of_run(run_id)[0].answer for run_id in runs] == [Answer.AGAIN, ""]


def test_of_two_things_done_again_one_by_one_the_one_that_was_not_begun_is_asked_again(store: Store) -> None:
    run_id, begun, doubts = new_run_id(), new_run_id(), StoredDoubts(store)
    for step, again_run in (("call the guard", begun), ("call the fire brigade", new_run_id())):
        doubts.note(run_id, step, "nobody knows")
        (doubt,) = [one for one in doubts.of_run(run_id) if not one.answer]
        doubts.answer(doubt, Answer.AGAIN, OPERATOR, again_run)
    do_again(store, run_id, begun)  # and the program died before the second was written down

    reopen_unbegun(Journal(store.engine), doubts)

    assert {doubt.step: doubt.answer for doubt in doubts.of_run(run_id)} == {
        "call the guard": Answer.AGAIN,
        "call the fire brigade": "",
    }
