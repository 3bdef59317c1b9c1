"""An IOC that lost its name on the database to another process: no run goes on until it has it again."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from beamtime_ioc.action import Run, action
from beamtime_ioc.engine import durable
from beamtime_ioc.engine.durable import DurableEngine
from beamtime_ioc.engine.engine import Order, new_run_id
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import StateError
from beamtime_ioc.executors import key_of
from beamtime_ioc.model import Experiment, RunState, Who
from beamtime_ioc.store import Store
from beamtime_ioc.testing.run import TEST_SITE
from box_house import until
from engine_house import News
from pg_house import Database

WHO = Who(via="local")


class Other:
    """Another program that takes the name, after the connections of the first were cut."""

    def __init__(self, database: Database) -> None:
        self.connection = database.connect()

    def take_the_name(self) -> None:
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

        def won() -> bool:
            self.connection.execute(cut)
            for _ in range(20):
                row = self.connection.execute("SELECT pg_try_advisory_lock(%s)", (key_of("ioc"),)).fetchone()
                if row is not None and row[0]:
                    return True
            return False

        until(won, "the name")

    def give_it_back(self) -> None:
        self.connection.close()


@pytest.mark.timeout(150)
def test_while_another_has_the_name_no_run_goes_on_and_then_each_does(
    database: Database, tmp_path: Path
) -> None:
    go, made = threading.Event(), list[str]()

    @action("go", resource="r", needs_experiment=False)
    def handler(run: Run, experiment: Experiment | None) -> None:
        run.effect("a", look=lambda: None, make=lambda: made.append("a"), verify=lambda: 1)
        while not go.is_set():
            run.sleep(0.05)
        run.effect("b", look=lambda: None, make=lambda: made.append("b"), verify=lambda: 1)

    def order() -> Order:
        return Order(id=new_run_id(), action="go", resource="r", who=WHO, experiment=None)

    store, news, other = Store(tmp_path / "state", "x:", database=database.url), News(), Other(database)
    workshop = Workshop(actions={"go": handler}, services={}, site=TEST_SITE)
    engine = DurableEngine(workshop, store, patience_s=1, look_s=0.2)
    engine.start(news)
    try:
        first = order()
        asyncio.run(engine.submit(first))
        news.wait(lambda: made)
        other.take_the_name()
        until(lambda: not engine.at_work.working(), "the run to stop")
        go.set()
        with pytest.raises(StateError, match="another process works as 'ioc'"):
            asyncio.run(engine.submit(order()))
        made_meanwhile = list(made)

        other.give_it_back()
        news.wait(lambda: first.id in news.ends, 60)
    finally:
        engine.stop(5)
        store.close()

    assert made_meanwhile == ["a"]
    assert news.ends[first.id].state is RunState.DONE
    assert made == ["a", "b"]


@pytest.mark.timeout(150)
def test_when_it_does_not_come_back_the_program_ends(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals: list[int] = []
    monkeypatch.setattr(durable, "LOST_S", 1.0)
    monkeypatch.setattr(os, "kill", lambda _pid, number: signals.append(number))
    store, other = Store(tmp_path / "state", "x:", database=database.url), Other(database)
    engine = DurableEngine(Workshop(actions={}, services={}, site=TEST_SITE), store, look_s=0.2)
    engine.start(News())
    try:
        other.take_the_name()
        until(lambda: signals, "the end")
    finally:
        other.give_it_back()
        engine.stop(5)
        store.close()


def test_a_worker_s_run_that_ended_while_the_ioc_started_is_told_as_ended(
    database: Database, tmp_path: Path
) -> None:
    @action("go", resource="r", needs_experiment=False, queue="transfers")
    def handler(run: Run, experiment: Experiment | None) -> None:
        run.progress(1, "all is copied")

    workshop = Workshop(actions={"go": handler}, services={}, site=TEST_SITE)
    store, done, news = Store(tmp_path / "state", "x:", database=database.url), News(), News()
    order = Order(id=new_run_id(), action="go", resource="r", who=WHO, experiment=None, queue="transfers")
    both = DurableEngine(workshop, store, queues=["actions", "transfers"])
    both.start(done)
    asyncio.run(both.submit(order))
    done.wait(lambda: order.id in done.ends)
    both.stop(5)

    ioc = DurableEngine(workshop, store, look_s=0.1)
    ioc.start(news, [order.id])  # it was open when the records were restored
    try:
        news.wait(lambda: order.id in news.ends)
    finally:
        ioc.stop(5)
        store.close()

    assert (news.ends[order.id].state, news.ends[order.id].message) == (RunState.DONE, "all is copied")
