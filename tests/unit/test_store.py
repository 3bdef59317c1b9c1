"""The state directory of SQLite: one holder, good permissions, clear refusals."""

import multiprocessing
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from beamtime_ioc.audit import AuditEntry, AuditLog, Deed
from beamtime_ioc.errors import StateError
from beamtime_ioc.model import Who
from beamtime_ioc.store import FILE_NAME, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state", "99bm:Beamtime:")
    yield opened
    opened.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directory_and_its_files_are_for_the_owner_only(store: Store) -> None:
    assert mode_of(store.directory) == 0o700
    assert {path.name: oct(mode_of(path)) for path in store.directory.iterdir()} == {
        path.name: oct(0o600) for path in store.directory.iterdir()
    }


def test_what_is_committed_survives_a_power_cut(store: Store) -> None:
    with store.engine.connect() as db:
        journal, synchronous = (
            db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        )

    assert (journal, synchronous) == ("wal", 2)  # 2 is FULL


def _open_second(directory: Path, answers: "multiprocessing.Queue[str]") -> None:
    try:
        Store(directory, "99bm:Beamtime:")
    except StateError as error:
        answers.put(str(error))
    else:
        answers.put("opened")


def test_a_second_process_on_the_same_state_is_refused_and_told_who_has_it(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    other = context.Process(target=_open_second, args=(store.directory, answers))
    other.start()
    answer = answers.get(timeout=20)
    other.join(20)

    assert f"another IOC (pid {os.getpid()})" in answer


def test_a_corrupt_database_is_refused_and_the_way_out_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, " * 500)

    with pytest.raises(StateError, match=r"is damaged: .*; move .* away and start again"):
        Store(tmp_path, "x:")


@pytest.mark.parametrize("left", [0, 1, 100])
def test_a_database_that_was_cut_to_nothing_is_not_taken_for_a_new_one(tmp_path: Path, left: int) -> None:
    Store(tmp_path, "x:").close()
    AuditLog(tmp_path).write(AuditEntry(what=Deed.PRESS, who=Who(via="local"), action="go"))
    os.truncate(tmp_path / FILE_NAME, left)

    with pytest.raises(StateError, match=r"is damaged: it is empty, and the audit .*; put it back"):
        Store(tmp_path, "x:")
    assert (tmp_path / FILE_NAME).stat().st_size == left


def test_what_a_first_start_leaves_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch(mode=0o600)

    Store(tmp_path, "x:").close()

    assert (tmp_path / FILE_NAME).stat().st_size


def test_a_database_that_another_program_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beamtime_ioc.store.START_LOCK_S", 0.2)
    Store(tmp_path, "x:").close()
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StateError, match="is locked by another program; end it"):
        Store(tmp_path, "x:")
    other.close()
    Store(tmp_path, "x:").close()


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "closed"
    parent.mkdir(mode=0o500)

    with pytest.raises(StateError, match="cannot be used: Permission denied; make it writable"):
        Store(parent / "state", "x:")


def test_a_directory_that_cannot_even_be_looked_into_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)

    for directory in (closed, closed / "state"):
        with pytest.raises(StateError, match="cannot be used: Permission denied; make it writable"):
            Store(directory, "x:")


def test_a_state_on_a_network_file_system_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    home = tmp_path / "home"
    home.mkdir()
    mounts.write_text(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        f"99 22 0:52 / {home} rw,relatime shared:2 - nfs4 filer.example.org:/home rw,vers=4.2\n"
    )
    monkeypatch.setattr("beamtime_ioc.mounts.MOUNTINFO", mounts)

    with pytest.raises(
        StateError, match=rf"network file system \(nfs4, {home}\), .*PostgreSQL, at database:"
    ):
        Store(home / "state", "x:")

    assert list(home.iterdir()) == []
    Store(tmp_path / "local", "x:").close()


def test_a_worker_without_postgresql_is_refused_and_makes_no_directory(tmp_path: Path) -> None:
    with pytest.raises(
        StateError, match=r"a worker needs PostgreSQL: .*; write database: into the site file"
    ):
        Store.for_worker(tmp_path / "state", "x:", "", "transfers1")

    assert not (tmp_path / "state").exists()
