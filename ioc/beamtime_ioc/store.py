"""The state database: the engine's rows, the current experiment, and the outbox, in one place."""

import fcntl
import os
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from beamtime_ioc.database import (
    address_of,
    check_passfile,
    postgres_engine,
    postgres_trouble,
    refuse_cut,
    sqlite_engine,
)
from beamtime_ioc.errors import StateError
from beamtime_ioc.mounts import network_mount
from beamtime_ioc.tables import FORMAT, MIGRATIONS, about, doubts, identity, insert_once, metadata, outbox

if TYPE_CHECKING:
    from beamtime_ioc.executors import ExecutorLock

FILE_NAME, LOCK_NAME = "state.sqlite", "lock"
START_LOCK_S = 5
LEAST_FREE_BYTES = 2_000_000
"""On the disk of an SQLite state: less than what a first start writes is a full disk."""

FORMAT_LOCK = 0x6265616D74696D65  # "beamtime"; the keys of executors have 32 bits
LIMITS = sa.text(
    "SELECT set_config('statement_timeout', '20s', true), set_config('lock_timeout', '10s', true)"
)
"""For our own transactions on PostgreSQL: none hangs, whatever else is at work there."""


class Store:
    """The state directory, held by one process, and the database, held by one process per executor.

    Parameters
    ----------
    directory
        Made with mode 0700 if absent; on a local disk unless `database` is given.
    prefix
        Of the site: a state of another site is refused.
    database
        URL of PostgreSQL, as at `database:` of the site file; empty: SQLite in the directory.
    executor
        Whose runs are whose; only one process at a time has a name.
    has_directory
        False for a worker, which neither makes nor holds the directory of the IOC.

    Attributes
    ----------
    name
        For sentences: a path or `postgresql://host/database`.
    url
        For the engine. It holds no password.
    executor_lock
        On PostgreSQL. A worker that loses it stops at once; the IOC takes it again (`hold_again`).

    Raises
    ------
    StateError
        In use, unreachable, unwritable, full, locked, corrupt, of another site or of a newer version.
    """

    def __init__(
        self,
        directory: Path,
        prefix: str,
        *,
        database: str = "",
        executor: str = "ioc",
        has_directory: bool = True,
    ) -> None:
        self.directory, self.path, self.executor = directory, directory / FILE_NAME, executor
        self.is_postgresql = bool(database)
        self.executor_lock: ExecutorLock | None = None
        self._lock: int | None = None
        if self.is_postgresql:
            self._address = address_of(database)
            self.name, self.url = self._address.name, database
        else:
            _refuse_network(directory)
            self.name, self.url = str(self.path), f"sqlite:///{self.path}"
        with ExitStack() as undo:
            undo.callback(self.close)
            try:
                if has_directory:
                    self._lock = take_lock(directory)
                self.engine = self._open_postgresql() if self.is_postgresql else self._open_sqlite()
                self._prepare(prefix)
                self.disown(executor)
            except (sqlite3.DatabaseError, DBAPIError) as error:
                raise self.trouble(error) from error
            undo.pop_all()

    @classmethod
    def for_worker(cls, directory: Path, prefix: str, database: str, executor: str) -> "Store":
        """The database alone, for a process that works beside the IOC.

        Raises
        ------
        StateError
            As for a store; and if `database` is empty, since SQLite has one process.
        """
        if not database:
            raise StateError(
                "a worker needs PostgreSQL: the state of this site is an SQLite file, which one process has",
                advice="write database: into the site file, on all hosts",
            )
        return cls(directory, prefix, database=database, executor=executor, has_directory=False)

    def _open_sqlite(self) -> sa.Engine:
        if self._is_full():
            raise self._full()
        refuse_cut(self.path)
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.path.chmod(0o600)
        except OSError as error:
            raise StateError(
                f"{self.path} cannot be written: {error.strerror}", advice="make it writable for this user"
            ) from error
        with sqlite3.connect(self.path, timeout=START_LOCK_S, isolation_level=None) as probe:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
        probe.close()
        return sqlite_engine(self.path)

    def _open_postgresql(self) -> sa.Engine:
        check_passfile(self._address)
        self.hold_again()
        return postgres_engine(self._address, f"beamtime {self.executor}")

    def hold_again(self) -> "ExecutorLock":
        """The name, at the start, and anew after the connection that held it was lost.

        The latter is for the IOC, which nobody replaces.

        Raises
        ------
        StateError
            The server does not answer, or another process has the name.
        """
        from beamtime_ioc.executors import ExecutorLock  # and with it the driver, which SQLite does not need

        self.executor_lock = ExecutorLock(self._address, self.executor)
        return self.executor_lock

    def _prepare(self, prefix: str) -> None:
        """Make the tables, or bring them to today's format, in one transaction: all of it or nothing."""
        with self.engine.begin() as db:
            if self.is_postgresql:
                db.execute(LIMITS)
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(FORMAT_LOCK)))
            else:
                db.exec_driver_sql("BEGIN IMMEDIATE")  # the driver begins none for CREATE and ALTER
            found: Mapping[str, str] = {}
            if sa.inspect(db).has_table(about.name):
                found = {row.key: row.value for row in db.execute(sa.select(about))}
            if found:
                self._check(found, prefix)
                for number in range(int(found["format"]), FORMAT):
                    for statement in MIGRATIONS[number]:
                        db.exec_driver_sql(statement)
            metadata.create_all(db)
            for key, value in {"format": str(FORMAT), "prefix": prefix}.items():
                if not insert_once(db, about, {"key": key, "value": value}):
                    db.execute(about.update().where(about.c.key == key).values(value=value))
            insert_once(db, identity, {"id": 1})

    def _check(self, found: Mapping[str, str], prefix: str) -> None:
        written, owner = found.get("format", ""), found.get("prefix")
        if not written.isdecimal() or not int(written) or owner is None:
            raise StateError(f"{self.name} is damaged: it does not say what it is", advice=self._way_out())
        if int(written) > FORMAT:
            raise StateError(
                f"{self.name} was written by a newer version: format {written}, known is {FORMAT}",
                advice="install that version again",
            )
        if owner != prefix:
            place = "database" if self.is_postgresql else "state directory"
            raise StateError(
                f"{self.name} belongs to {owner}, not to {prefix}",
                advice=f"give this site a {place} of its own",
            )

    def disown(self, executor: str) -> int:
        """Leave in doubt what an executor was sending when it died; the caller knows that it is dead.

        Returns
        -------
        int
            How many letters are now in doubt.

        Raises
        ------
        StateError
            The database cannot be used.
        """
        holders = [executor] if self.is_postgresql else [executor, ""]
        begun = outbox.update().where(outbox.c.state == "sending", outbox.c.holder.in_(holders))
        with transaction(self) as db:
            rows = db.execute(begun.values(state="unsure").returning(*outbox.c)).all()
            for row in rows:
                if row.run_id:
                    at = datetime.fromisoformat(row.at)
                    doubt = {
                        "run_id": row.run_id,
                        "key": row.key,
                        "step": f"letter to {row.recipient}",
                        "text": f"the letter to {row.recipient} was begun at {at:%Y-%m-%d %H:%M %Z}, "
                        f"its end is not known; ask {row.recipient} whether it arrived, then answer with "
                        "Resolve: it is not sent again by itself",
                        "at": datetime.now(UTC).isoformat(),
                    }
                    insert_once(db, doubts, doubt)
        return len(rows)

    def trouble(self, error: BaseException) -> StateError:
        """What an error of the database means at the start, in words."""
        if self.is_postgresql:
            return postgres_trouble(self.name, error)
        text = str(error.orig if isinstance(error, DBAPIError) else error)
        if "full" in text or ("I/O" in text and self._is_full()):
            return self._full()
        if "locked" in text:
            return StateError(f"{self.path} is locked by another program", advice="end it, then start again")
        if "readonly" in text or "read-only" in text or "unable to open" in text:
            return StateError(
                f"{self.path} cannot be written: {text}", advice="make it writable for this user"
            )
        return StateError(f"{self.path} is damaged: {text}", advice=self._way_out())

    def _full(self) -> StateError:
        return StateError(
            f"the disk of {self.path} is full",
            advice=f"make {LEAST_FREE_BYTES // 1_000_000} MB of room, then start again; nothing is lost",
        )

    def _is_full(self) -> bool:
        disk = os.statvfs(self.directory)
        return disk.f_bavail * disk.f_frsize < LEAST_FREE_BYTES

    def _way_out(self) -> str:
        if self.is_postgresql:
            return "give it an empty database; nothing was repaired"
        return f"move {self.directory} away and start again: it begins empty; nothing was repaired"

    def close(self) -> None:
        """Let go of the database, of the name and of the directory, in this order."""
        if hasattr(self, "engine"):
            self.engine.dispose()
        if self.executor_lock is not None:
            self.executor_lock.release()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def take_lock(directory: Path) -> int:
    """Hold a state directory as long as the returned file descriptor is open.

    Raises
    ------
    StateError
        Another process has it, or it cannot be made or written.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(directory, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 100).decode(errors="replace").strip()
        os.close(lock)
        raise StateError(
            f"another IOC ({owner or 'unknown'}) works on {directory}",
            advice="end it, or give this one a state directory of its own",
        ) from None
    except OSError as error:
        os.close(lock)
        raise _unusable(directory, error) from error
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"pid {os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(lock)
        raise _unusable(directory, error) from error
    return lock


def _unusable(directory: Path, error: OSError) -> StateError:
    return StateError(
        f"the state directory {directory} cannot be used: {error.strerror}",
        advice="make it writable for this user, with room on its disk, or change state: in the site file",
    )


def _refuse_network(directory: Path) -> None:
    mount = network_mount(directory / FILE_NAME)
    if mount is not None:
        raise StateError(
            f"the state directory {directory} lies on a network file system ({mount.kind}, {mount.point}), "
            "where SQLite can lose what was written",
            advice="put state: on a local disk, or use PostgreSQL, at database: in the site file",
        )


def is_held(directory: Path) -> bool:
    """Whether an IOC works on a state directory now; looks only."""
    try:
        lock = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def transaction(store: Store) -> Generator[sa.Connection, None, None]:
    """One transaction, on the disk when the block has ended.

    Raises
    ------
    StateError
        The database is away, locked by another program for long, full, or broken; nothing was changed.
    """
    try:
        with store.engine.begin() as db:
            if store.is_postgresql:
                db.execute(LIMITS)
            yield db
    except (DBAPIError, PoolTimeoutError) as error:
        if store.is_postgresql:
            raise postgres_trouble(store.name, error) from error
        raise StateError(
            f"the state database {store.path} cannot be used: {getattr(error, 'orig', error)}",
            advice="look at its disk and for another program on it, then press again",
        ) from error
