"""A state that cannot be used: one line says what is wrong and the way out, and the exit code is 2."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from beamtime_ioc.action import Run, action
from beamtime_ioc.engine.durable import DurableEngine
from beamtime_ioc.engine.engine import Order, new_run_id
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.model import Experiment, Who
from beamtime_ioc.store import FILE_NAME, Store
from beamtime_ioc.testing.run import TEST_SITE
from box_house import beamtime
from engine_house import News
from pg_house import Database, Postgres

IN_A_NAMESPACE = """
import os, subprocess, sys
from pathlib import Path
mounts, words = sys.argv[1].split("\\n"), sys.argv[2:]
for mount in filter(None, mounts):
    subprocess.run(["mount", *mount.replace("PID", str(os.getpid())).split(" ")], check=True)
os.execv(sys.executable, [sys.executable, "-m", "beamtime_ioc", *words])
"""
"""A user may mount in a namespace of his own; the process keeps its number."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A site without services."""

    file: Path
    state: Path

    def write(self, **keys: str) -> None:
        lines = {"prefix": "'x:'", "beamline": "99-BM-A,B", "timezone": "America/Chicago", "state": "state"}
        text = "".join(f"{key}: {value}\n" for key, value in {**lines, **keys}.items())
        self.file.write_text(text, encoding="utf-8")

    def serve(self, mounts: Sequence[str] = ()) -> str:
        """Start an IOC that cannot start; gives its one line."""
        ended = subprocess.run(
            [
                "unshare",
                "-rm",
                sys.executable,
                "-c",
                IN_A_NAMESPACE,
                "\n".join(mounts),
                "serve",
                str(self.file),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        lines = [line for line in ended.stderr.splitlines() if line.startswith("beamtime: ")]
        assert ended.returncode == 2, ended
        assert "Traceback" not in ended.stderr
        assert "READY" not in ended.stdout
        assert len(lines) == 1, ended.stderr
        return lines[0]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(file=tmp_path / "site.yaml", state=tmp_path / "state")
    made.write()
    return made


@pytest.mark.parametrize("size", ["4k", "64k", "300k", "1500k"])
def test_a_state_on_a_full_disk_is_refused_and_nothing_is_called_damaged(site: Site, size: str) -> None:
    site.state.mkdir(mode=0o700)

    words = site.serve([f"-t tmpfs -o size={size} none {site.state}"])

    assert re.search(
        r"the disk of .*/state/state.sqlite is full; make 2 MB of room|No space left on device", words
    )


@pytest.mark.parametrize("used_before", [False, True])
def test_a_state_on_a_read_only_disk_is_refused(site: Site, used_before: bool) -> None:
    site.state.mkdir(mode=0o700)
    if used_before:
        for name in ("lock", "state.sqlite"):
            (site.state / name).touch(mode=0o600)

    words = site.serve([f"--bind {site.state} {site.state}", f"-o remount,bind,ro {site.state}"])

    assert (
        f"the state directory {site.state} cannot be used: Read-only file system; make it writable" in words
    )


def test_a_state_on_a_network_file_system_is_refused_with_the_way_to_postgresql(
    site: Site, tmp_path: Path
) -> None:
    site.state.mkdir(mode=0o700)
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        f"99 22 0:52 / {site.state} rw,relatime - nfs4 filer.example.org:/beams rw,vers=4.2\n"
    )

    words = site.serve([f"--bind {mounts} /proc/PID/mountinfo"])

    assert f"{site.state} lies on a network file system (nfs4, {site.state}), where SQLite can lose" in words
    assert "use PostgreSQL, at database: in the site file" in words
    assert list(site.state.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE workflow_input SET inputs = '{'", r"state\.sqlite is damaged: malformed JSON; move .* away"),
        (
            "UPDATE workflow_output SET output = '\"x\"'",
            r"run 0\d+-\w+ cannot be read: .*; start the version",
        ),
    ],
)
def test_a_run_that_cannot_be_read_is_said_in_one_line(site: Site, statement: str, sentence: str) -> None:
    @action("update-user-info", resource="r", needs_experiment=False)
    def ask(run: Run, experiment: Experiment | None) -> None: ...

    store, news = Store(site.state, "x:"), News()
    engine = DurableEngine(Workshop(actions={ask.name: ask}, services={}, site=TEST_SITE), store)
    engine.start(news)
    who = Who(via="local", user="bm99")
    order = Order(id=new_run_id(), action=ask.name, resource="r", who=who, experiment=None)
    asyncio.run(engine.submit(order))
    news.wait(lambda: order.id in news.ends)
    engine.stop(5)
    store.close()
    with closing(sqlite3.connect(site.state / FILE_NAME)) as database, database:
        assert database.execute(statement).rowcount == 1

    words = site.serve()
    listed = beamtime("history", "--state", str(site.state))

    assert re.search(sentence, words)
    assert (listed.returncode, listed.stderr.count("\n")) == (2, 1), listed


def test_a_server_that_does_not_answer_is_named(site: Site, database: Database, postgres: Postgres) -> None:
    site.write(database=database.url)

    with postgres.gone():
        words = site.serve()

    assert (
        f"the state database postgresql://127.0.0.1:{database.port}/{database.name} cannot be used" in words
    )
    assert words.endswith("see that the database server runs and can be reached, then try again")


def test_a_wrong_password_is_refused_and_not_shown(site: Site, database: Database, tmp_path: Path) -> None:
    passfile = tmp_path / "pgpass"
    passfile.touch(mode=0o600)
    passfile.write_text("*:*:*:*:korrekt-horse\n")
    site.write(database=f"{database.bare_url}?passfile={passfile}")

    words = site.serve()

    assert "password authentication failed" in words
    assert "mend the password in the passfile" in words
    assert "horse" not in words


def test_a_check_asks_the_database_and_leaves_it_empty(
    site: Site, database: Database, postgres: Postgres
) -> None:
    site.write(database=database.url)
    command = [sys.executable, "-m", "beamtime_ioc", "check", str(site.file)]

    there = subprocess.run(command, capture_output=True, text=True, timeout=60)
    with postgres.gone():
        gone = subprocess.run(command, capture_output=True, text=True, timeout=60)

    name = f"postgresql://127.0.0.1:{database.port}/{database.name}"
    assert re.search(rf"^ok    state database {name}: PostgreSQL \d+\.\d+ .*answers$", there.stdout, re.M)
    assert f"FAULT the state database {name} cannot be used" in gone.stdout
    assert gone.returncode == 1
    with database.connect() as db:
        assert db.execute("SELECT to_regclass('beamtime_about')").fetchone() == (None,)


def test_a_password_in_the_site_file_is_refused_and_not_repeated(site: Site) -> None:
    site.write(database="postgresql://beamtime:korrekt-horse@db.example.org/beamtime")

    words = site.serve()

    assert f"{site.file}:5: database: no password here" in words
    assert "horse" not in words


def test_a_url_as_state_directory_is_told_its_place(site: Site) -> None:
    site.write(state="postgresql://beamtime@db.example.org/beamtime")

    words = site.serve()

    assert f"{site.file}:4: state: a directory, for audit and exports too; the URL" in words
    assert words.endswith("stands at database:")
