"""A PostgreSQL for a bench: the one of the tests, with fsync."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
sys.path.append(str(Path(__file__).parent.parent / "tests"))

from tests.pg_house import Postgres, postgres_server, programs

MISSING = "PostgreSQL is not installed here, and nothing was measured on it: `apt-get install postgresql`."


@contextmanager
def postgres() -> Generator[Postgres | None, None, None]:
    """A server that survives a power cut, for as long as the block lasts; None if it is not installed."""
    try:
        programs()
    except FileNotFoundError:
        yield None
        return
    with postgres_server(safe=True) as server:
        yield server
