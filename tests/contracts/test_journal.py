"""What the journal reads of the rows that the engine wrote: filters, pages, checklists, answered doubts."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from beamtime_ioc.action import Effect, Run
from beamtime_ioc.engine.engine import Order, new_run_id
from beamtime_ioc.errors import EffectError, OutcomeUnknownError, StateError
from beamtime_ioc.journal import RunRecord, reading
from beamtime_ioc.model import Answer, Json, RunState, Who
from beamtime_ioc.runjson import read_whole, whole_json
from beamtime_ioc.stored_doubts import StoredDoubts
from engine_house import Begin, LocalBench, State, quick

ANN = Who(via="ca", user="ann", peer="192.0.2.7", claim="console1")
BOB = Who(via="pva", user="bob_1", peer="192.0.2.8", roles=("staff",))
MANY = 10_000


def press(line: LocalBench, action: str, who: Who, again_of: str = "", **arguments: Json) -> str:
    order = Order(
        id=new_run_id(),
        action=action,
        resource="r",
        who=who,
        experiment=None,
        arguments=arguments,
        again_of=again_of,
    )
    line.order(order)
    line.end_of(order.id)
    return order.id


def doubt_once(run: Run) -> None:
    def write() -> None:
        raise OutcomeUnknownError("the letter may have been sent")

    run.once("letter", write)


def doubt_twice(run: Run) -> None:
    for title in ("left", "right"):

        def write(title: str = title) -> None:
            raise OutcomeUnknownError(f"{title} may stand")

        run.once(title, write)


def copy(line: LocalBench, model: str, times: int, names: Sequence[str]) -> list[str]:
    """The rows of a run again and again, a minute apart after it, pressed by turns; oldest first."""
    metadata = sa.MetaData(schema="dbos" if line.store.is_postgresql else None)
    ids = [f"{int(model[:20]) + place * 60_000_000_000:020d}-{place:06x}" for place in range(1, times + 1)]
    with line.store.engine.begin() as db:
        metadata.reflect(db)
        for table in metadata.sorted_tables:
            if "workflow_uuid" not in table.c:
                continue
            for row in db.execute(sa.select(table).where(table.c.workflow_uuid == model)).mappings().all():
                copies: list[dict[str, Any]] = []
                for place, run_id in enumerate(ids):
                    copied = {**row, "workflow_uuid": run_id}
                    if row.get("created_at"):
                        copied["created_at"] = int(run_id[:20]) // 1_000_000
                    if row.get("inputs"):
                        name = names[place % len(names)]
                        copied["inputs"] = str(row["inputs"]).replace('"ann"', f'"{name}"')
                    copies.append(copied)
                db.execute(table.insert(), copies)
    return ids


def all_pages(line: LocalBench, limit: int, **filters: Any) -> list[RunRecord]:
    found: list[RunRecord] = []
    while page := line.journal.last(limit, before=found[-1].number if found else None, **filters):
        found += page
    return found


@pytest.mark.timeout(200)
def test_ten_thousand_runs_are_read_page_by_page_also_those_of_one_person_only(durable: Begin) -> None:
    line = durable(quick("go", lambda run: run.step("read", lambda: 1)))
    model = press(line, "go", ANN)
    ids = copy(line, model, MANY, ["ann"] * 999 + ["BOB"])

    newest_first = [*reversed(ids), model]

    whole = all_pages(line, 3000)
    bobs = all_pages(line, 4, who="bob")
    ninth = whole[8]
    recent = line.journal.last(MANY, since=ninth.pressed)

    assert [record.id for record in whole] == newest_first
    assert [record.id for record in line.journal.last(50)] == newest_first[:50]
    assert [record.id for record in bobs] == ids[999::1000][::-1]
    assert [record.id for record in recent] == newest_first[:9]


def test_who_pressed_is_found_by_any_part_of_it_and_nothing_in_it_is_a_wildcard(durable: Begin) -> None:
    line = durable(quick("go", lambda run: None), quick("other", lambda run: None))
    ann, bob = press(line, "go", ANN), press(line, "go", BOB)
    other = press(line, "other", BOB)

    def found(who: str, action: str | None = None) -> list[str]:
        return [record.id for record in line.journal.last(10, action, who=who)]

    assert found("ANN") == found("by ca") == found("console1 (192.0.2.7)") == [ann]
    assert found("b_1") == [other, bob]
    assert found("y pva") == found("m 192.0.2.8 b") == [other, bob]
    assert found("by pva", "go") == [bob]
    assert found("n_n") == found("%") == found("staff") == []


@pytest.mark.parametrize("who", ["Weiß", "WEIß", "eiß", "Großes m"])
def test_who_pressed_is_found_whatever_its_letters_are(durable: Begin, who: str) -> None:
    line = durable(quick("go", lambda run: None))
    there = Who(via="ca", user="Weiß", claim="Großes m")
    run_id = press(line, "go", there)

    found = line.journal.last(10, who=who)

    assert [record.id for record in found] == [run_id]


def test_since_a_time_means_pressed_then_or_later(durable: Begin) -> None:
    line = durable(quick("go", lambda run: None))
    first, second = press(line, "go", ANN), press(line, "go", ANN)
    pressed = line.journal.last(1)[0].pressed

    later = line.journal.last(10, since=pressed)
    none = line.journal.last(10, since=datetime.now(UTC) + timedelta(seconds=1))
    both = line.journal.last(10, since=pressed - timedelta(hours=1))

    assert [record.id for record in later] == [second]
    assert none == []
    assert [record.id for record in both] == [second, first]


def test_a_record_has_all_that_was_ordered_and_all_that_came_of_it(durable: Begin) -> None:
    def body(run: Run) -> dict[str, int]:
        def fail() -> None:
            raise EffectError("no such place", advice="mount it")

        good = Effect("good", look=lambda: None, make=lambda: None, verify=lambda: 1)
        run.effects([good, Effect("bad", look=lambda: None, make=fail, verify=lambda: 1)], optional=True)
        return {"made": 1}

    line = durable(quick("go", body))
    first = press(line, "go", ANN)

    run_id = press(line, "go", BOB, again_of=first, scans=[1, 2], name="µ")
    record = line.journal.run(run_id)

    assert record is not None
    assert (record.state, record.who, record.again_of) == (RunState.PROBLEMS, BOB, first)
    assert record.arguments == {"scans": [1, 2], "name": "µ"}
    assert record.problems == ("bad: no such place; mount it",)
    assert (record.value, record.unknown, record.doubts) == ({"made": 1}, (), ())
    assert record.ended is not None
    assert record.pressed < record.ended


def test_the_checklist_tells_each_step_with_its_time_in_the_order_of_the_run(durable: Begin) -> None:
    def body(run: Run) -> None:
        def fail() -> None:
            raise EffectError("no such place", advice="mount it")

        def doubt() -> None:
            raise OutcomeUnknownError("it may have been sent")

        run.step("who is on beam", lambda: threading.Event().wait(0.03) or 1)
        run.effects(
            [
                Effect("new", look=lambda: None, make=lambda: None, verify=lambda: 1),
                Effect("old", look=lambda: 1, make=lambda: None, verify=lambda: 1),
                Effect("bad", look=lambda: None, make=fail, verify=lambda: 1),
            ],
            at_once=3,
            optional=True,
        )
        run.once("said", lambda: 1)
        run.hold("letter to nobody", "has no e-mail address")
        run.once("sent", doubt)

    line = durable(quick("go", body))
    before = datetime.now(UTC) - timedelta(milliseconds=1)

    run_id = press(line, "go", ANN)
    steps = line.journal.steps(run_id)

    assert [(step.name, step.state.value, step.reason) for step in steps] == [
        ("who is on beam", "read", ""),
        ("new", "made", ""),
        ("old", "stands already", ""),
        ("bad", "failed", "no such place; mount it"),
        ("said", "done", ""),
        ("letter to nobody", "held", "has no e-mail address"),
        ("sent", "unsure", "it may have been sent"),
    ]
    began = [step.began for step in steps if step.began is not None]
    assert len(began) == len(steps)
    assert began == sorted(began)
    assert before <= began[0]
    assert began[-1] <= datetime.now(UTC)
    assert 0.03 <= steps[0].seconds < 5
    assert line.journal.steps("no such run") == []


def test_an_unsure_run_is_done_when_all_of_it_happened(durable: Begin) -> None:
    line = durable(quick("go", doubt_once))
    run_id = press(line, "go", ANN)
    doubts = StoredDoubts(line.store)

    before = line.journal.last(1)[0]
    doubts.answer(doubts.of_run(run_id)[0], Answer.HAPPENED, BOB)
    after = line.journal.last(1)[0]

    assert (before.state, before.doubts[0].answer) == (RunState.UNSURE, "")
    assert after.state is RunState.DONE
    assert after.message == f"letter: it happened, said {BOB}"
    assert (after.advice, after.doubts[0].answered_by) == ("", str(BOB))
    assert line.journal.run(run_id) == after


@pytest.mark.parametrize("second", [Answer.AGAIN, Answer.GIVE_UP])
def test_an_unsure_run_has_problems_when_not_all_of_it_happened(durable: Begin, second: Answer) -> None:
    line = durable(quick("go", doubt_twice))
    run_id = press(line, "go", ANN)
    doubts = StoredDoubts(line.store)
    left, right = doubts.of_run(run_id)

    doubts.answer(left, Answer.HAPPENED, BOB)
    half = line.journal.last(1)[0]
    doubts.answer(right, second, ANN)
    all_of_it = line.journal.last(1)[0]

    assert half.state is RunState.UNSURE
    assert all_of_it.state is RunState.PROBLEMS
    assert all_of_it.message == f"left: it happened, said {BOB}; right: {second}, said {ANN}"


def test_a_run_is_found_by_the_end_of_its_number(durable: Begin) -> None:
    line = durable(quick("go", lambda run: None))
    run_id = press(line, "go", ANN)
    copies = copy(line, run_id, 3, ["ann"])

    assert [record.id for record in line.journal.find(run_id[-6:])] == [run_id]
    assert [record.id for record in line.journal.find(run_id)] == [run_id]
    assert [record.id for record in line.journal.find("000002")] == [copies[1]]
    assert len(line.journal.find("")) == 4
    assert line.journal.find("%") == line.journal.find("______") == line.journal.find("zzz") == []


def test_what_is_written_of_a_run_can_be_read_back(durable: Begin) -> None:
    line = durable(quick("go", doubt_twice))
    run_id = press(line, "go", BOB, place="det1")
    record, steps = line.journal.last(1)[0], line.journal.steps(run_id)

    again, steps_again = read_whole(whole_json(record, steps))

    assert again == record
    assert list(steps_again) == steps


def test_the_history_is_read_from_outside_while_the_engine_works_and_nothing_can_be_written(
    durable: Begin, state: State
) -> None:
    line = durable(quick("go", lambda run: None))
    run_id = press(line, "go", ANN)

    with reading(state.directory, state.database) as journal:
        records = journal.last(10)
        with pytest.raises(DBAPIError, match=r"read-?only"), journal.engine.begin() as db:
            db.execute(sa.text("DELETE FROM beamtime_about"))

    assert [record.id for record in records] == [run_id]


def test_a_state_of_before_doubts_and_checklists_is_read_as_far_as_it_goes(durable: Begin) -> None:
    line = durable(quick("go", doubt_once))
    run_id = press(line, "go", ANN)
    with line.store.engine.begin() as db:
        db.execute(sa.text("DROP VIEW beamtime_steps"))
        db.execute(sa.text("DROP TABLE beamtime_doubts"))

    record = line.journal.last(1)[0]

    assert (record.id, record.state, record.doubts) == (run_id, RunState.UNSURE, ())
    assert line.journal.steps(run_id) == []


def test_a_state_on_which_no_engine_has_run_has_no_history(state: State) -> None:
    store = state.store()
    try:
        with reading(state.directory, state.database) as journal:
            assert journal.last(10, who="ann") == journal.open() == journal.find("1") == []
            assert journal.run("1") is None
    finally:
        store.close()


def test_a_state_that_is_not_there_is_a_sentence(state: State) -> None:
    where = state.database.replace("beamtime_", "no_such_") if state.database else ""

    with pytest.raises(StateError, match=r"state database .*(no_such_|state\.sqlite)") as caught:  # noqa: SIM117
        with reading(state.directory / "none", where) as journal:
            journal.last(1)

    assert "passfile" not in str(caught.value)
