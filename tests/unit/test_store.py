"""The state database: one holder, good permissions, clear refusals, letters claimed once."""

import multiprocessing
import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from beamtime_ioc.errors import OutcomeUnknownError, StateError
from beamtime_ioc.model import Experiment, Letter, Person
from beamtime_ioc.store import FILE_NAME, Store, StoredIdentity, StoredOutbox

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
EXPERIMENT = Experiment(
    key="aps:300011",
    name="2026-11-Muller_Lukasik-9100001",
    start=NOW,
    end=NOW + timedelta(days=3),
    people=(Person(first_name="Zoë", last_name="Müller-Łukasik", badge="0900101", is_pi=True),),
)
LETTER = Letter(
    key="k1", to="zoe@example.edu", name="Zoë", subject="s", text="t", message_id="<1@example.org>"
)


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


def test_a_state_of_another_site_is_refused(tmp_path: Path) -> None:
    Store(tmp_path, "99bm:Beamtime:").close()

    with pytest.raises(StateError, match="belongs to 99bm:Beamtime:, not to 2bm:Beamtime:"):
        Store(tmp_path, "2bm:Beamtime:")
    Store(tmp_path, "99bm:Beamtime:").close()


def test_a_state_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store(tmp_path, "x:").close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("UPDATE beamtime_about SET value = '99' WHERE key = 'format'")
    db.close()

    with pytest.raises(StateError, match="newer version"):
        Store(tmp_path, "x:")


def test_a_corrupt_database_is_refused_and_the_way_out_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, " * 500)

    with pytest.raises(StateError, match=r"is damaged: .*; move .* away and start again"):
        Store(tmp_path, "x:")


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


def test_the_current_experiment_is_kept_with_all_its_people(store: Store) -> None:
    identity = StoredIdentity(store)
    changes: list[Experiment | None] = []
    identity.changed = lambda: changes.append(identity.current())

    assert identity.current() is None
    identity.adopt(EXPERIMENT)
    identity.note_look_up(NOW)

    assert identity.current() == EXPERIMENT
    assert identity.looked_up() == NOW
    assert changes == [EXPERIMENT, EXPERIMENT]


def test_a_letter_is_claimed_once_and_its_answer_kept(store: Store) -> None:
    outbox = StoredOutbox(store)

    outbox.claim(LETTER)
    with pytest.raises(OutcomeUnknownError, match="may have been sent"):
        outbox.claim(LETTER)
    outbox.settle("k1", "accepted", "250 Ok")

    row = outbox.find("k1")
    assert row is not None
    assert (row.to, row.state, row.answer) == ("zoe@example.edu", "accepted", "250 Ok")
    with pytest.raises(OutcomeUnknownError):
        outbox.claim(LETTER)


@pytest.mark.parametrize("state", ["refused", "deferred"])
def test_a_letter_that_was_not_taken_may_be_claimed_again(store: Store, state: str) -> None:
    outbox = StoredOutbox(store)
    outbox.claim(LETTER)
    outbox.settle("k1", state, "451 later")

    outbox.claim(replace(LETTER))

    row = outbox.find("k1")
    assert row is not None
    assert row.state == "sending"


def test_a_letter_whose_sender_died_is_unsure_for_ever(tmp_path: Path) -> None:
    first = Store(tmp_path, "x:")
    StoredOutbox(first).claim(LETTER)
    first.close()  # the process died in the middle of the talk with the relay

    second = Store(tmp_path, "x:")
    row = StoredOutbox(second).find("k1")
    with pytest.raises(OutcomeUnknownError):
        StoredOutbox(second).claim(LETTER)
    second.close()

    assert row is not None
    assert row.state == "unsure"


def test_the_first_naming_of_an_experiment_is_kept(store: Store) -> None:
    identity = StoredIdentity(store)
    identity.adopt(EXPERIMENT)

    identity.adopt(replace(EXPERIMENT, name="another"))
    naming = identity.first_naming(EXPERIMENT.key)

    assert naming is not None
    assert naming.name == EXPERIMENT.name
    assert identity.first_naming("aps:1") is None


def test_a_database_that_fails_is_told_in_words_without_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Store(tmp_path, "x:")
    outbox = StoredOutbox(opened)
    with opened.engine.connect() as db:
        db.exec_driver_sql("DROP TABLE beamtime_outbox")

    with pytest.raises(StateError, match="cannot be used: no such table") as caught:
        outbox.claim(LETTER)
    opened.close()

    assert "zoe" not in str(caught.value)
    assert "INSERT" not in str(caught.value)
