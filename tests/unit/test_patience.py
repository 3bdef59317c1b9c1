"""Connections to PostgreSQL made by threads that wait while the server is away."""

import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from beamtime_ioc.database import address_of, patience, postgres_engine
from pg_house import Postgres


@pytest.fixture
def engine(postgres: Postgres) -> Generator[sa.Engine]:
    database = postgres.database(engine_ready=False)
    engine = postgres_engine(address_of(database.url), "test")
    yield engine
    engine.dispose()
    postgres.drop(database)


def ask(engine: sa.Engine, until: threading.Event | None) -> int:
    patience.until = until
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT 7")).scalar_one()


def test_a_patient_thread_goes_on_soon_after_the_server_is_back(
    engine: sa.Engine, postgres: Postgres
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with postgres.gone():
            answer = pool.submit(ask, engine, threading.Event())
            with pytest.raises(TimeoutError):
                answer.result(2.5)
        assert answer.result(5) == 7


def test_it_waits_no_longer_when_the_program_ends(engine: sa.Engine, postgres: Postgres) -> None:
    ending = threading.Event()
    with ThreadPoolExecutor(1) as pool, postgres.gone():
        answer: Future[int] = pool.submit(ask, engine, ending)
        with pytest.raises(TimeoutError):
            answer.result(0.5)
        ending.set()
        with pytest.raises(OperationalError):
            answer.result(5)


def test_other_threads_are_told_at_once(engine: sa.Engine, postgres: Postgres) -> None:
    with ThreadPoolExecutor(1) as pool, postgres.gone(), pytest.raises(OperationalError):
        pool.submit(ask, engine, None).result(2)
