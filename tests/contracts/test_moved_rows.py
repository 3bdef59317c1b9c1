"""What was read of a run a moment ago may be wrong by now: it was given up, or another process has it."""

import threading
from dataclasses import replace

import sqlalchemy as sa

from beamtime_ioc.engine.rows import OpenRow
from beamtime_ioc.model import RunState
from beamtime_ioc.tables import reports
from engine_house import DEADLINE_S, Begin, LocalBench, quick


def _row(line: LocalBench, run_id: str) -> OpenRow:
    return next(row for row in line.durable.rows.open() if row.run_id == run_id)


def test_a_run_that_was_given_up_since_it_was_read_is_not_begun_again(durable: Begin) -> None:
    go, begun = threading.Event(), list[int]()
    line = durable(
        quick("first", lambda run: go.wait(DEADLINE_S) and None), quick("second", lambda run: begun.append(1))
    )
    first, second = line.submit("first"), line.submit("second")
    line.begun(first)
    read = _row(line, second)
    line.cancel(second)

    line.durable.guard.resume(read)

    assert line.durable.rows.status(second) == "CANCELLED"
    go.set()
    assert line.end_of(first).state is RunState.DONE
    assert (line.end_of(second).state, begun) == (RunState.ABORTED, [])


def test_a_run_that_another_process_took_over_since_it_was_read_is_left_to_it(durable: Begin) -> None:
    go = threading.Event()
    line = durable(quick("first", lambda run: go.wait(DEADLINE_S) and None))
    run_id = line.submit("first")
    line.begun(run_id)

    line.durable.guard.resume(replace(_row(line, run_id), executor="dead:transfers"))

    assert line.durable.rows.status(run_id) == "PENDING"
    go.set()
    assert line.end_of(run_id).state is RunState.DONE


def test_what_a_worker_reported_of_a_run_is_forgotten_with_it(durable: Begin) -> None:
    line = durable()
    with line.store.engine.begin() as db:
        db.execute(reports.insert(), [{"run_id": name, "progress": "{}"} for name in ("old", "young")])

    line.durable.rows.forget(["old"])

    with line.store.engine.connect() as db:
        assert db.execute(sa.select(reports.c.run_id)).scalars().all() == ["young"]
