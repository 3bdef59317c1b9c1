"""The end of a run is told also after the database had no connection left for a while."""

import threading

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from beamtime_ioc.engine.rows import Rows
from beamtime_ioc.model import RunState
from engine_house import DEADLINE_S, Begin, quick


@pytest.mark.parametrize("fault", [PoolTimeoutError("no connection"), KeyError("what nobody foresaw")])
def test_an_end_is_told_although_the_look_for_it_failed(
    durable: Begin, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    line, well = durable(quick("go", lambda run: None)), Rows.ended_of
    failed = threading.Event()

    def fails_once(rows: Rows, run_ids: list[str]) -> frozenset[str]:
        if not failed.is_set():
            failed.set()
            raise fault
        return well(rows, run_ids)

    monkeypatch.setattr(Rows, "ended_of", fails_once)

    first = line.end_of(line.submit("go"))
    second = line.end_of(line.submit("go"))

    assert failed.wait(DEADLINE_S)
    assert (first.state, second.state) == (RunState.DONE, RunState.DONE)


def test_a_fault_of_the_engine_lets_the_run_wait_and_go_on(
    durable: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, well = durable(quick("go", lambda run: None)), Rows.beginning
    failed = threading.Event()

    def fails_once(rows: Rows, run_id: str) -> tuple[bool, bool]:
        if not failed.is_set():
            failed.set()
            raise KeyError("what nobody foresaw")
        return well(rows, run_id)

    monkeypatch.setattr(Rows, "beginning", fails_once)
    run_id = line.submit("go")

    outcome = line.end_of(run_id)

    assert outcome.state is RunState.DONE
    assert "KeyError" in line.news.stuck[run_id][0]
