"""Connections to the state database, SQLite or PostgreSQL, and what its errors mean."""

import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from beamtime_ioc.audit import DIRECTORY_NAME
from beamtime_ioc.databaseurl import DatabaseUrl
from beamtime_ioc.errors import StateError

POOL_SIZE, POOL_WAIT_S = 20, 10
CONNECT_S = 5
AGAIN_S = 1.0
LEAST_FILE_BYTES = 512
"""An SQLite file that holds anything has one page of so many bytes at least."""

# A host that is cut off must know it before the server lets go of what it holds: this side gives up after
# 10 s without an answer to what it sent, the server after 10 + 3 x 5 s of silence.
CLIENT_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
SERVER_SETTINGS = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    # A process that is held in the middle of a transaction gives its locks back.
    "idle_in_transaction_session_timeout": 60_000,
}

ADVICE: Mapping[str, str] = {
    "password authentication failed": "mend the password in the passfile that database: names",
    "no password supplied": "name a file with the password in database: (?passfile=/FILE), or use ~/.pgpass",
    "no pg_hba.conf entry": "let this host in: a line in the server's pg_hba.conf",
    r'(role|database) "[^"]*" does not exist': "make it: createuser USER, createdb --owner USER DATABASE",
    "permission denied": "make the role of database: the owner of that database",
    "read-only transaction": "name the server that takes writes in database:, not its copy",
    "too many connections": "raise max_connections of the server, or end what else uses it",
    "too many clients": "raise max_connections of the server, or end what else uses it",
    "No space left": "make room on the disk of the database server",
    "statement timeout": "see what else is at work on the database server",
    "lock timeout": "see what else is at work on the database server",
}
"""By what the server says, as patterns: it gives no codes while a connection is made."""
ELSE = "see that the database server runs and can be reached, then try again"


def refuse_cut(path: Path) -> None:
    """SQLite takes an empty file for a new database: then every letter of the past would go out again.

    A first start that was killed leaves one, too, but before anybody has pressed.

    Raises
    ------
    StateError
        The file holds nothing, and the audit beside it has entries.
    """
    is_cut = path.is_file() and path.stat().st_size < LEAST_FILE_BYTES
    if is_cut and any((path.parent / DIRECTORY_NAME).glob("*.jsonl")):
        raise StateError(
            f"{path} is damaged: it is empty, and the audit beside it is not",
            advice=f"put it back from a copy, or move {path.parent} away and start again: it begins empty",
        )


def sqlite_engine(path: Path) -> sa.Engine:
    """The file with the settings that survive a power cut: WAL and synchronous=FULL."""
    # A statement's parameters are addresses and experiments: they belong in no error and no log.
    engine = sa.create_engine(
        f"sqlite:///{path}", connect_args={"timeout": 30}, hide_parameters=True, pool_size=POOL_SIZE
    )

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = "IMMEDIATE"
        for setting in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {setting}")

    return engine


class Patience(threading.local):
    """Which threads wait at a new connection for as long as the server is away; at first, none does.

    DBOS asks a server that is away again after pauses that double up to 90 s, so that a run would rest
    for a minute after the server is back. A thread that waits here goes on within a second.
    """

    until: threading.Event | None = None
    """Set when the thread is to wait no longer; None in a thread that does not wait."""


patience = Patience()


def _connect_patiently(dialect: sa.Dialect, _record: Any, arguments: Any, parameters: Any) -> Any:
    """A connection made as SQLAlchemy makes it, and again each second in a thread that is patient."""
    while True:
        try:
            return dialect.connect(*arguments, **parameters)
        except dialect.loaded_dbapi.OperationalError:
            if patience.until is None or patience.until.wait(AGAIN_S):
                raise


def postgres_engine(url: DatabaseUrl, application: str) -> sa.Engine:
    """A pool of connections; nothing is connected yet.

    Parameters
    ----------
    application
        How the server names it to whoever looks at pg_stat_activity.
    """
    parameters = postgres_parameters(url, application)
    place = {key: parameters.pop(key, None) for key in ("host", "port", "user", "dbname")}
    engine = sa.create_engine(
        sa.URL.create(
            "postgresql+psycopg",
            username=place["user"],
            host=place["host"],
            port=place["port"],
            database=place["dbname"],
        ),
        connect_args=parameters,
        hide_parameters=True,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        pool_pre_ping=True,
    )
    event.listen(engine, "do_connect", _connect_patiently)
    return engine


def postgres_parameters(url: DatabaseUrl, application: str) -> dict[str, Any]:
    """What libpq is given for one connection: never a password, which it reads from its file itself."""
    options = " ".join(f"-c {name}={value}" for name, value in SERVER_SETTINGS.items())
    parameters: dict[str, Any] = {
        "host": url.host.strip("[]"),
        "port": url.port,
        "user": url.user,
        "dbname": url.database,
        "connect_timeout": CONNECT_S,
        "application_name": application,
        "options": options,
        **CLIENT_KEEPALIVES,
        **url.options,
    }
    return {name: value for name, value in parameters.items() if value not in ("", None)}


def ask_version(url: DatabaseUrl) -> str:
    """The server's version, such as 15.18; nothing is changed.

    Raises
    ------
    StateError
        It does not answer, or does not let us in.
    """
    import psycopg  # not for a site on SQLite: it takes a fifth of the start

    check_passfile(url)
    try:
        with psycopg.connect(**postgres_parameters(url, "beamtime check")) as connection:
            return connection.info.parameter_status("server_version") or "of no known version"
    except psycopg.Error as error:
        raise postgres_trouble(url.name, error) from error


def address_of(database: str) -> DatabaseUrl:
    """The URL at `database:` of the site file, taken apart.

    Raises
    ------
    StateError
        It is none; not chained, and nothing of it is repeated.
    """
    try:
        return DatabaseUrl.parse(database)
    except ValueError as error:
        raise StateError(f"the URL of the state database is wrong: {error}") from None


def check_passfile(url: DatabaseUrl) -> None:
    """Libpq leaves a password file that it does not like unread, and says so to nobody.

    Raises
    ------
    StateError
        It is absent, unreadable, or open to others.
    """
    path = url.options.get("passfile")
    if path is None:
        return
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise StateError(
            f"the password file {path} cannot be read: {error.strerror}",
            advice="make it for this user, with a line HOST:PORT:DATABASE:USER:PASSWORD",
        ) from error
    if mode & 0o077:
        raise StateError(f"others may read the password file {path}", advice=f"chmod 600 {path}")


def reason_of(error: BaseException) -> str:
    """What the driver says, in one line."""
    lines = [line.strip() for line in str(getattr(error, "orig", None) or error).splitlines()]
    lines = [line for line in lines if line] or [type(error).__name__]
    # localhost is tried as ::1 and as 127.0.0.1; the first line only says so.
    best = lines[1] if lines[0].startswith("Multiple connection attempts") and len(lines) > 1 else lines[0]
    return best.removeprefix("- ")[:300]


def postgres_trouble(name: str, error: BaseException) -> StateError:
    """An error of PostgreSQL or of the way to it, in words."""
    text = str(getattr(error, "orig", None) or error)
    advice = next((advice for words, advice in ADVICE.items() if re.search(words, text)), ELSE)
    return StateError(f"the state database {name} cannot be used: {reason_of(error)}", advice=advice)
