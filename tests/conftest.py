"""What holds for every test: none is skipped, none speaks to a real facility or writes into the checkout."""

import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from pg_house import Database, Postgres
    from ssh_house import SshHouse

# Before any test loads an EPICS library, which reads these once: whoever runs the tests at a beamline must
# not press its buttons. A test that needs other settings gives them to the process it starts.
for name in [name for name in os.environ if name.startswith(("EPICS_", "BEAMTIME_"))]:
    del os.environ[name]
for protocol in ("CA", "PVA"):
    os.environ[f"EPICS_{protocol}_AUTO_ADDR_LIST"] = "NO"
    os.environ[f"EPICS_{protocol}_ADDR_LIST"] = "127.0.0.1"

own_directory = Path(tempfile.gettempdir(), f"hypothesis-{os.getuid()}")
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(own_directory))
# The machine may be busy, and the checkout is read-only. In CI the same commit gives the same answer twice.
hypothesis.settings.register_profile(
    "house", deadline=None, database=None, derandomize="CI" in os.environ, print_blob=True
)
hypothesis.settings.load_profile("house")


SLOW_FIRST = ("whole", "docs", "contracts", "faces", "unit")
"""Whole programs wait for clocks and timeouts: begun first, nobody waits for the last of them at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deal the files to the workers, slow ones first: xdist gives each an equal stretch of the list."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    # The sort is stable, so that each worker deals alike.
    ranked = sorted(files.values(), key=lambda tests: SLOW_FIRST.index(tests[0].path.parent.name))
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = [item for worker in range(workers) for tests in ranked[worker::workers] for item in tests]


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip, and a failure that was expected, come or not, into a failure."""
    if report.skipped or hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: no test is skipped here, nor expected to fail ({reason})"
        vars(report).pop("wasxfail", None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture(scope="session")
def postgres() -> "Generator[Postgres, None, None]":
    """A PostgreSQL server of this worker; who stops it starts it again."""
    from pg_house import postgres_server

    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def ssh_servers() -> "Generator[SshHouse, None, None]":
    """Two hosts of this worker that are reached over ssh."""
    from ssh_house import ssh_house

    with ssh_house() as house:
        yield house


@pytest.fixture
def database(postgres: "Postgres") -> "Generator[Database, None, None]":
    """A fresh database, which holds the engine's tables already."""
    made = postgres.database()
    yield made
    postgres.drop(made)
