"""A real PostgreSQL on a loopback port, begun by whoever runs the tests and ended by its process id."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from spare_ports import spare_port

USER = "beamtime"
TEMPLATE = "beamtime_template"
START_S, STOP_S = 60, 30
SAFE_BUT_SLOW = ("fsync=on", "full_page_writes=on")
# What is committed survives a crash of the server, though not of this computer.
FAST = ("fsync=off", "full_page_writes=off")
SETTINGS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "synchronous_commit=on",
    "dynamic_shared_memory_type=mmap",
    "timezone=UTC",
    "log_min_messages=warning",
)


def programs() -> Path:
    """Where Debian keeps initdb and postgres, the newest first; they are not on PATH."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), reverse=True
    )
    if not found:
        raise FileNotFoundError("no /usr/lib/postgresql/*/bin/initdb: apt-get install postgresql")
    return found[0].parent


def _as_ordinary_user() -> list[str]:
    """PostgreSQL refuses to run as root; and it must not outlive whoever began it."""
    drop = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", "--pdeathsig=QUIT", *drop, "--"]


@dataclass(frozen=True, kw_only=True)
class Database:
    """One database, owned by an ordinary role.

    Attributes
    ----------
    url
        As the site file has it at `database:`; the password is in the file that it names.
    """

    name: str
    port: int
    passfile: Path
    password: str

    @property
    def url(self) -> str:
        return f"{self.bare_url}?passfile={self.passfile}"

    @property
    def bare_url(self) -> str:
        """Without a way to the password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{self.name}"

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        """A connection of the test's own, each statement committed."""
        return psycopg.connect(self.url, autocommit=True, connect_timeout=5)


@dataclass(kw_only=True)
class Postgres:
    """A cluster in a directory of its own.

    Must be started and stopped in the thread that lives longest: the server ends when that thread does.
    """

    directory: Path
    settings: Sequence[str] = FAST
    port: int = field(default_factory=spare_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    process: "subprocess.Popen[bytes] | None" = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _making: threading.Lock = field(default_factory=threading.Lock)
    _has_template: bool = False

    @property
    def passfile(self) -> Path:
        return self.directory / "pgpass"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(encoding="utf-8", errors="replace")

    def make(self) -> None:
        """Write the cluster; nothing runs yet."""
        private = self.directory / "superuser"
        for path, text in ((private, self.password), (self.passfile, f"*:*:*:*:{self.password}\n")):
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
        if os.geteuid() == 0:
            shutil.chown(self.directory, "nobody", "nogroup")
            shutil.chown(private, "nobody", "nogroup")
        initdb = [programs() / "initdb", "--no-sync", "--auth=scram-sha-256", "--username=postgres"]
        where = [f"--pwfile={private}", "--encoding=UTF8", "--locale=C.UTF-8", f"--pgdata={self._data}"]
        command = [*_as_ordinary_user(), *initdb, *where]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120, cwd="/")
        private.unlink()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        """Start, or start again on the same port; returns when it answers."""
        options = [part for setting in (*SETTINGS, *self.settings) for part in ("-c", setting)]
        command = [*_as_ordinary_user(), str(programs() / "postgres"), "-D", str(self._data)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal ends the tests first
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                with self._superuser():
                    return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"PostgreSQL did not start: {self.log}") from error
                threading.Event().wait(0.02)

    def stop(self, *, abruptly: bool = True) -> None:
        """End it: as by a crash of its host, or with goodbyes to its clients."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGQUIT if abruptly else signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
            raise

    @contextmanager
    def gone(self) -> Generator[None, None, None]:
        """PostgreSQL is away for as long as the block lasts."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def database(self, *, engine_ready: bool = True) -> Database:
        """A fresh database.

        Parameters
        ----------
        engine_ready
            It holds the engine's tables already, which saves a second at the first launch.
        """
        with self._making:
            if not self._has_template:
                self._make_template()
                self._has_template = True
            name = f"beamtime_{next(self._numbers)}"
            template = TEMPLATE if engine_ready else "template0"
            self.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(template), sql.Identifier(USER)
                )
            )
        return self._database(name)

    def drop(self, database: Database) -> None:
        """Away with it, and with whoever is still connected."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name)))

    def execute(self, statement: "sql.Composed | str") -> None:
        """One statement of the superuser, committed."""
        with self._superuser() as db:
            db.execute(statement if isinstance(statement, sql.Composed) else statement.encode())

    def connections(self, database: Database) -> list[str]:
        """The application names of all that are connected to a database."""
        with self._superuser() as db:
            rows = db.execute(
                "SELECT application_name FROM pg_stat_activity WHERE datname = %s", (database.name,)
            )
            return sorted(str(row[0]) for row in rows)

    def _superuser(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=self.password,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def _database(self, name: str) -> Database:
        return Database(name=name, port=self.port, passfile=self.passfile, password=self.password)

    def _make_template(self) -> None:
        from dbos import DBOS

        role, password = sql.Identifier(USER), sql.Literal(self.password)
        self.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
        self.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(TEMPLATE), role))
        DBOS.migrate(self._database(TEMPLATE).url)


@contextmanager
def postgres_server(*, safe: bool = False) -> Generator[Postgres, None, None]:
    """A server for as long as the block lasts.

    Parameters
    ----------
    safe
        What is committed survives a power cut, as on a real host: for measurements.
    """
    directory = Path(tempfile.mkdtemp(prefix="beamtime-pg-"))
    server = Postgres(directory=directory, settings=SAFE_BUT_SLOW if safe else FAST)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def version() -> tuple[int, ...]:
    """Of the programs, such as (15, 18)."""
    said = subprocess.run([programs() / "postgres", "--version"], check=True, capture_output=True, text=True)
    found = re.search(r"(\d+)\.(\d+)", said.stdout)
    assert found is not None
    return tuple(int(part) for part in found.groups())
