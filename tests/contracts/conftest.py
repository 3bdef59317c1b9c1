"""The three engines of the contract."""

import shutil
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg import sql

from beamtime_ioc.action import Action
from beamtime_ioc.engine.watchdog import PATIENCE_S
from engine_house import Begin, LocalBench, State, quick
from engine_nursery import Child, Nursery
from engine_world import World
from pg_house import USER, Database, Postgres

DURABLE = ("sqlite", "postgresql")


def _used_before(state: State) -> None:
    """An engine's very first action waits a second for its queue; that is not what these tests are about."""
    line = LocalBench(state, [quick("first", lambda run: None)], {})
    line.end_of(line.submit("first"))
    line.durable.retire(datetime.now(UTC) + timedelta(hours=1), lambda records: None)
    line.stop()


@pytest.fixture(scope="session")
def used_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("used") / "state"
    _used_before(State(kind="sqlite", directory=directory))
    return directory


@pytest.fixture(scope="session")
def used_database(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Database:
    made = postgres.database()
    directory = tmp_path_factory.mktemp("used") / "state"
    _used_before(State(kind="postgresql", directory=directory, database=made.url))
    return made


@pytest.fixture
def copied_database(postgres: Postgres, used_database: Database) -> Generator[Database, None, None]:
    made = replace(used_database, name=f"{used_database.name}_copy")
    names = sql.Identifier(made.name), sql.Identifier(used_database.name), sql.Identifier(USER)
    postgres.drop(made)  # a server that is too busy makes it after its client has given up
    postgres.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names))
    yield made
    postgres.drop(made)


def _state(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> State:
    directory, url = tmp_path / "state", ""
    if kind == "postgresql":
        url = request.getfixturevalue("copied_database").url
    elif kind == "sqlite":
        shutil.copytree(request.getfixturevalue("used_directory"), directory)
    return State(kind=kind, directory=directory, database=url)


@pytest.fixture(params=["inline", *DURABLE])
def any_state(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    """Where an engine of each kind finds its rows, none yet."""
    return _state(request.param, request, tmp_path)


@pytest.fixture(params=DURABLE)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    """Of an engine that survives its process."""
    return _state(request.param, request, tmp_path)


def _benches(state: State) -> Generator[Begin, None, None]:
    begun: list[LocalBench] = []

    def begin(*actions: Action, patience_s: float = PATIENCE_S, **services: object) -> LocalBench:
        begun.append(LocalBench(state, actions, services, patience_s=patience_s))
        return begun[-1]

    yield begin
    for bench in begun:
        bench.stop()


@pytest.fixture
def bench(any_state: State) -> Generator[Begin, None, None]:
    """Begins an engine of each kind in this process."""
    yield from _benches(any_state)


@pytest.fixture
def durable(state: State) -> Generator[Begin, None, None]:
    """Begins an engine that survives its process, in this one; begun again, it goes on."""
    yield from _benches(state)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Generator[Nursery, None, None]:
    made = Nursery(tmp_path_factory.mktemp("nursery"))
    yield made
    made.close()


@pytest.fixture
def child(nursery: Nursery, state: State, world: World) -> Generator[Child, None, None]:
    """An engine in a process of its own, not yet started."""
    made = Child(nursery, state, world)
    yield made
    made.kill()
