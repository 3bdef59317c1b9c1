"""The state database: the engine's rows, the current experiment, and the outbox, in one file."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from beamtime_ioc.errors import OutcomeUnknownError, StateError
from beamtime_ioc.model import Experiment, Json, Letter, Naming, from_json, to_json
from beamtime_ioc.ports import OutboxRow

FILE_NAME, LOCK_NAME = "state.sqlite", "lock"
FORMAT = 1
START_LOCK_S = 5

metadata = sa.MetaData()
about = sa.Table(
    "beamtime_about",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
identity = sa.Table(
    "beamtime_identity",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("experiment", sa.Text, nullable=True),
    sa.Column("changed_at", sa.Text, nullable=True),
    sa.Column("looked_up_at", sa.Text, nullable=True),
)
namings = sa.Table(
    "beamtime_namings",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("naming", sa.Text, nullable=False),
)
outbox = sa.Table(
    "beamtime_outbox",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)


class Store:
    """The state directory, held by one process.

    Parameters
    ----------
    directory
        On a local disk; made with mode 0700 if absent.
    prefix
        Of the site: a state of another site is refused.

    Raises
    ------
    StateError
        In use, unwritable, locked, corrupt, of another site or of a newer version.
    """

    def __init__(self, directory: Path, prefix: str) -> None:
        self.directory, self.path = directory, directory / FILE_NAME
        self._lock = self._take_lock()
        try:
            self.engine = self._open()
            self._prepare(prefix)
        except (sqlite3.DatabaseError, DBAPIError) as error:
            self.close()
            raise self._broken(error) from error
        except StateError:
            self.close()
            raise

    def _take_lock(self) -> int:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(
                f"the state directory {self.directory} cannot be used: {error.strerror}",
                advice="make it writable for this user, or change state: in the site file",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(lock, 100).decode(errors="replace").strip()
            os.close(lock)
            raise StateError(
                f"another IOC ({owner or 'unknown'}) works on {self.directory}",
                advice="end it, or give this one a state directory of its own",
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"pid {os.getpid()}\n".encode(), 0)
        return lock

    def _open(self) -> sa.Engine:
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.path.chmod(0o600)
        except OSError as error:
            raise StateError(
                f"{self.path} cannot be written: {error.strerror}", advice="make it writable for this user"
            ) from error
        return connect(self.path)

    def _prepare(self, prefix: str) -> None:
        with sqlite3.connect(self.path, timeout=START_LOCK_S, isolation_level=None) as probe:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
        probe.close()
        metadata.create_all(self.engine)
        with self.engine.begin() as db:
            found = {row.key: row.value for row in db.execute(sa.select(about))}
            if not found:
                db.execute(
                    about.insert(),
                    [{"key": "format", "value": str(FORMAT)}, {"key": "prefix", "value": prefix}],
                )
                db.execute(identity.insert().values(id=1))
                return
            # Whoever was `sending` is dead: this process holds the lock.
            db.execute(outbox.update().where(outbox.c.state == "sending").values(state="unsure"))
        if int(found["format"]) > FORMAT:
            raise StateError(
                f"{self.path} was written by a newer version: format {found['format']}, known is {FORMAT}",
                advice="install that version again",
            )
        if found["prefix"] != prefix:
            raise StateError(
                f"{self.path} belongs to {found['prefix']}, not to {prefix}",
                advice="give this site a state directory of its own",
            )

    def _broken(self, error: Exception) -> StateError:
        text = str(error.orig if isinstance(error, DBAPIError) else error)
        if "locked" in text:
            return StateError(f"{self.path} is locked by another program", advice="end it, then start again")
        if "readonly" in text or "read-only" in text or "unable to open" in text:
            return StateError(
                f"{self.path} cannot be written: {text}", advice="make it writable for this user"
            )
        return StateError(
            f"{self.path} is damaged: {text}",
            advice=f"move {self.directory} away and start again: it begins empty; nothing was repaired",
        )

    def close(self) -> None:
        if hasattr(self, "engine"):
            self.engine.dispose()
        os.close(self._lock)


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


def connect(path: Path) -> sa.Engine:
    """The database with the settings that survive a power cut: WAL and synchronous=FULL."""
    # A statement's parameters are addresses and experiments: they belong in no error and no log.
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = "IMMEDIATE"
        for setting in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {setting}")

    return engine


@contextmanager
def transaction(store: Store) -> Generator[sa.Connection, None, None]:
    """One transaction on the disk.

    Raises
    ------
    StateError
        Locked by another program for long, full, or broken; nothing was changed.
    """
    try:
        with store.engine.begin() as db:
            yield db
    except DBAPIError as error:
        raise StateError(
            f"the state database {store.path} cannot be used: {error.orig}",
            advice="look at its disk and for another program on it, then press again",
        ) from error


class StoredIdentity:
    """The current experiment (port `Identity`).

    Attributes
    ----------
    changed
        Called in the writer's thread after each change.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.changed: Callable[[], None] = lambda: None

    def _row(self) -> Any:
        with transaction(self.store) as db:
            return db.execute(sa.select(identity).where(identity.c.id == 1)).one()

    def current(self) -> Experiment | None:
        text = self._row().experiment
        return from_json(Experiment, cast(Json, json.loads(text))) if text else None

    def adopt(self, experiment: Experiment) -> None:
        text = json.dumps(to_json(experiment), ensure_ascii=False)
        naming = json.dumps(to_json(experiment.naming), ensure_ascii=False)
        with transaction(self.store) as db:
            db.execute(identity.update().values(experiment=text, changed_at=datetime.now(UTC).isoformat()))
            if not db.execute(sa.select(namings).where(namings.c.key == experiment.key)).all():
                db.execute(namings.insert().values(key=experiment.key, naming=naming))
        self.changed()

    def first_naming(self, key: str) -> Naming | None:
        with transaction(self.store) as db:
            text = db.execute(sa.select(namings.c.naming).where(namings.c.key == key)).scalar_one_or_none()
        return from_json(Naming, cast(Json, json.loads(text))) if text else None

    def looked_up(self) -> datetime | None:
        text = self._row().looked_up_at
        return datetime.fromisoformat(text) if text else None

    def note_look_up(self, at: datetime) -> None:
        with transaction(self.store) as db:
            db.execute(identity.update().values(looked_up_at=at.isoformat()))
        self.changed()


class StoredOutbox:
    """The letters of all times (port `Outbox`)."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def find(self, key: str) -> OutboxRow | None:
        with transaction(self.store) as db:
            row = db.execute(sa.select(outbox).where(outbox.c.key == key)).one_or_none()
        if row is None:
            return None
        at = datetime.fromisoformat(row.at)
        return OutboxRow(key=row.key, to=row.recipient, state=row.state, answer=row.answer, at=at)

    def claim(self, letter: Letter) -> None:
        values = {
            "recipient": letter.to,
            "state": "sending",
            "answer": "",
            "message_id": letter.message_id,
            "at": datetime.now(UTC).isoformat(),
        }
        with transaction(self.store) as db:
            row = db.execute(sa.select(outbox.c.state).where(outbox.c.key == letter.key)).one_or_none()
            if row is None:
                db.execute(outbox.insert().values(key=letter.key, **values))
            elif row.state in ("refused", "deferred"):
                db.execute(outbox.update().where(outbox.c.key == letter.key).values(**values))
            else:
                raise OutcomeUnknownError(
                    f"the letter to {letter.to} may have been sent", advice="ask whether it arrived"
                )

    def settle(self, key: str, state: str, answer: str) -> None:
        now = datetime.now(UTC).isoformat()
        with transaction(self.store) as db:
            db.execute(outbox.update().where(outbox.c.key == key).values(state=state, answer=answer, at=now))
