"""Who works on a shared state database: one process for each executor's name, and who of them is dead."""

import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Event
from time import monotonic

import psycopg

from beamtime_ioc.database import postgres_parameters, postgres_trouble
from beamtime_ioc.databaseurl import DatabaseUrl
from beamtime_ioc.errors import NameTakenError, StateError

PATIENCE_S = 0.5
"""A process that was killed a moment ago still holds its name until the server has read the end of it."""

ANSWER_MS = 5000

HOLDER = """
SELECT a.application_name, a.client_addr::text, a.backend_start
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = 0 AND l.objid = %s
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def key_of(executor: str) -> int:
    """The number of an executor's advisory lock."""
    return zlib.crc32(f"beamtime-executor:{executor}".encode())


class ExecutorLock:
    """The name of one executor, held as long as a connection of its own lives.

    Parameters
    ----------
    executor
        `ioc`, or the name of a worker.

    Raises
    ------
    NameTakenError
        Another process works under this name.
    StateError
        The server does not answer.
    """

    def __init__(self, url: DatabaseUrl, executor: str) -> None:
        self.url, self.executor = url, executor
        parameters = postgres_parameters(url, f"beamtime {executor} lock")
        parameters["options"] += f" -c statement_timeout={ANSWER_MS}"
        trouble: StateError | None = None
        try:
            self._connection = psycopg.connect(**parameters, autocommit=True)
        except psycopg.Error as error:
            trouble = postgres_trouble(url.name, error)
        if trouble is not None:
            raise trouble  # not chained: the driver's error remembers the password that it tried
        try:
            self._hold()
        except psycopg.Error as error:
            self.release()
            raise postgres_trouble(url.name, error) from error
        except StateError:
            self.release()
            raise

    def _hold(self) -> None:
        deadline = monotonic() + PATIENCE_S
        while not self._take(self.executor):
            if monotonic() > deadline:
                raise self._taken()
            Event().wait(0.05)

    def _taken(self) -> NameTakenError:
        found = self._connection.execute(HOLDER, (key_of(self.executor),)).fetchone()
        where = ""
        if found is not None:
            _, address, since = found
            began = f"{since:%Y-%m-%d %H:%M}" if isinstance(since, datetime) else "some time"
            where = f" (from {address or 'its own host'}, since {began})"
        return NameTakenError(
            f"another process works as {self.executor!r} on {self.url.name}{where}",
            advice="end it, or give this one another name; if its host died, try again in half a minute",
        )

    def _take(self, executor: str) -> bool:
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (key_of(executor),)).fetchone()
        return row is not None and row[0] is True

    def alive(self) -> bool:
        """Whether the name is still ours; if not, it never is again: stop at once.

        Asks the server, which takes a tenth of a millisecond, or 10 s if the way to it is cut.
        """
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            self.release()
        return not self._connection.closed

    @contextmanager
    def try_other(self, executor: str) -> Generator[bool, None, None]:
        """Whether another executor is dead; within the block nobody else can take its name.

        Raises
        ------
        StateError
            The server does not answer.
        """
        if executor == self.executor:
            yield False
            return
        try:
            dead = self._take(executor)
        except psycopg.Error as error:
            raise postgres_trouble(self.url.name, error) from error
        try:
            yield dead
        finally:
            if dead:
                # Without an answer the connection is gone, and the lock with it.
                with suppress(psycopg.Error):
                    self._connection.execute("SELECT pg_advisory_unlock(%s)", (key_of(executor),))

    def release(self) -> None:
        """Give the name back; the second time does nothing."""
        with suppress(psycopg.Error):
            self._connection.close()
