"""What only PostgreSQL can do to the state: go away, say no, hang, and serve several hosts at once."""

import logging
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest
import sqlalchemy as sa

from beamtime_ioc.databaseurl import DatabaseUrl
from beamtime_ioc.errors import OutcomeUnknownError, StateError
from beamtime_ioc.executors import ExecutorLock, key_of
from beamtime_ioc.model import Letter
from beamtime_ioc.store import Store
from beamtime_ioc.stored_identity import StoredIdentity
from beamtime_ioc.stored_outbox import StoredOutbox
from pg_house import Database, Postgres

LETTER = Letter(key="k1", to="zoe@example.edu", name="Zoë", subject="s", text="t", run_id="run1")
Worker = Callable[[str], Store]


@pytest.fixture
def worker(tmp_path: Path, database: Database) -> Iterator[Worker]:
    begun: list[Store] = []

    def begin(executor: str) -> Store:
        begun.append(Store.for_worker(tmp_path / "state", "x:", database.url, executor))
        return begun[-1]

    yield begin
    for store in begun:
        store.close()


def lock_for(database: Database, executor: str) -> ExecutorLock:
    return ExecutorLock(DatabaseUrl.parse(database.url), executor)


def test_a_worker_makes_no_directory_and_leaves_no_connection(
    tmp_path: Path, postgres: Postgres, database: Database
) -> None:
    store = Store.for_worker(tmp_path / "state", "x:", database.url, "transfers1")
    during = set(postgres.connections(database))

    store.close()

    assert not (tmp_path / "state").exists()
    assert during == {"beamtime transfers1", "beamtime transfers1 lock"}
    assert until_gone(postgres, database) == []


def until_gone(postgres: Postgres, database: Database) -> list[str]:
    deadline = monotonic() + 10
    while (left := postgres.connections(database)) and monotonic() < deadline:
        pass
    return left


def test_the_tables_are_made_once_by_however_many_begin_at_once(worker: Worker) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(worker, [f"w{n}" for n in range(8)]))

    assert [StoredIdentity(store).current() for store in stores] == [None] * 8


def test_of_two_hosts_that_claim_one_letter_one_may_send_it(worker: Worker) -> None:
    outboxes = [StoredOutbox(worker(f"w{n}")) for n in range(4)]

    def claim(outbox: StoredOutbox) -> bool:
        try:
            outbox.claim(LETTER)
        except OutcomeUnknownError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(claim, outboxes))
    outboxes[first.index(True)].settle("k1", "deferred", "451 later")
    with ThreadPoolExecutor(4) as pool:
        second = list(pool.map(claim, outboxes))

    assert (first.count(True), second.count(True)) == (1, 1)


def test_a_name_that_is_taken_is_refused_and_its_holder_described(worker: Worker, database: Database) -> None:
    worker("transfers1")

    with pytest.raises(
        StateError, match=r"works as 'transfers1' on postgresql://.* \(from 127.0.0.1/?\d*, since"
    ):
        worker("transfers1")

    worker("transfers2")


def test_the_name_of_a_killed_process_is_free_at_once(worker: Worker, database: Database) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold_for_ever, args=(database.url, held))
    process.start()
    assert held.wait(30)
    with pytest.raises(StateError, match="another process works as 'transfers1'"):
        worker("transfers1")

    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    began = monotonic()
    worker("transfers1")

    assert monotonic() - began < 1
    process.join(10)


def hold_for_ever(url: str, held: "multiprocessing.synchronize.Event") -> None:  # type: ignore[name-defined]
    lock = ExecutorLock(DatabaseUrl.parse(url), "transfers1")
    held.set()
    signal.pause()
    lock.release()


def test_an_executor_is_dead_when_nobody_holds_its_name(database: Database) -> None:
    ours, theirs = lock_for(database, "a"), lock_for(database, "b")

    with ours.try_other("b") as while_alive:
        pass
    theirs.release()
    until_dead(ours, "b")
    with ours.try_other("b") as once_dead, pytest.raises(StateError, match="works as 'b'"):
        lock_for(database, "b")
    with ours.try_other("a") as ourselves:
        pass

    assert (while_alive, once_dead, ourselves) == (False, True, False)
    lock_for(database, "b").release()
    ours.release()


def until_dead(lock: ExecutorLock, executor: str) -> None:
    deadline = monotonic() + 10
    while monotonic() < deadline:
        with lock.try_other(executor) as dead:
            if dead:
                return


def test_the_key_of_a_name_never_changes() -> None:
    assert (key_of("ioc"), key_of("transfers1")) == (363468336, 1042696201)


def test_while_the_server_is_away_all_is_refused_in_words_and_then_works_again(
    worker: Worker, postgres: Postgres
) -> None:
    store = worker("transfers1")
    identity = StoredIdentity(store)
    assert identity.current() is None
    lock = store.executor_lock
    assert lock is not None
    assert lock.alive()

    with postgres.gone():
        began = monotonic()
        with pytest.raises(
            StateError, match=r"state database postgresql://\S+ cannot be used: .*; see that"
        ) as error:
            identity.current()
        took_s = monotonic() - began
        alive_then = lock.alive()
        with pytest.raises(StateError, match="cannot be used"):
            worker("transfers2")

    assert took_s < 8
    assert "\n" not in str(error.value)
    assert identity.current() is None
    assert (alive_then, lock.alive()) == (False, False)
    worker("transfers1").close()


def test_a_server_that_came_back_unnoticed_is_used_as_if_nothing_had_been(
    worker: Worker, postgres: Postgres
) -> None:
    identity = StoredIdentity(worker("transfers1"))
    assert identity.current() is None

    with postgres.gone():
        pass

    assert identity.current() is None


def test_a_transaction_that_is_held_up_ends_in_words(
    worker: Worker, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "beamtime_ioc.store.LIMITS",
        sa.text(
            "SELECT set_config('statement_timeout', '300ms', true), set_config('lock_timeout', '200ms', true)"
        ),
    )
    outbox = StoredOutbox(worker("transfers1"))
    with database.connect() as other, other.transaction():
        other.execute("LOCK TABLE beamtime_outbox IN EXCLUSIVE MODE")

        with pytest.raises(StateError, match="lock timeout; see what else is at work"):
            outbox.claim(LETTER)

    outbox.claim(LETTER)


def test_the_limits_are_those_of_our_transactions_alone(worker: Worker) -> None:
    store = worker("transfers1")
    StoredIdentity(store).current()

    with store.engine.connect() as db:
        assert db.exec_driver_sql("SHOW statement_timeout").scalar() == "0"
        assert db.exec_driver_sql("SHOW tcp_keepalives_idle").scalar() == "10"


def everything(error: BaseException) -> str:
    """The traceback with its whole chain, and what a debugger would print of each error."""
    text, link = "".join(traceback.format_exception(error)), error
    while link is not None:
        text += f"{link!r} {link.args!r} {vars(link)!r}"
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    return text


def test_a_wrong_password_is_never_shown(
    tmp_path: Path, database: Database, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = "korrekt-horse-battery-staple"
    passfile = tmp_path / "pgpass"
    passfile.touch(mode=0o600)
    passfile.write_text(f"*:*:*:*:{wrong}\n")

    with caplog.at_level(logging.DEBUG), pytest.raises(StateError) as caught:
        Store(tmp_path / "state", "x:", database=f"{database.bare_url}?passfile={passfile}")

    assert 'password authentication failed for user "beamtime"' in str(caught.value)
    assert str(caught.value).endswith("mend the password in the passfile that database: names")
    shown = everything(caught.value) + caplog.text + "".join(capfd.readouterr())
    assert wrong not in shown


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.chmod(0o644), "others may read the password file .*; chmod 600 "),
        (lambda path: path.chmod(0), "cannot be read: Permission denied"),
        (lambda path: path.unlink(), "cannot be read: No such file or directory"),
    ],
)
def test_a_password_file_that_libpq_would_pass_over_is_named(
    tmp_path: Path, database: Database, change: Callable[[Path], None], sentence: str
) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_bytes(database.passfile.read_bytes())
    passfile.chmod(0o600)
    change(passfile)

    with pytest.raises(StateError, match=sentence):
        Store(tmp_path / "state", "x:", database=f"{database.bare_url}?passfile={passfile}")


def test_without_a_password_it_says_how_to_give_one(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))

    with pytest.raises(StateError, match="no password supplied; name a file with the password in database:"):
        Store(tmp_path / "state", "x:", database=database.bare_url)


def test_a_database_that_is_not_there_is_named_with_the_way_to_make_it(
    tmp_path: Path, database: Database
) -> None:
    absent = database.url.replace(database.name, "absent")

    with pytest.raises(StateError, match='database "absent" does not exist; make it: createuser'):
        Store(tmp_path / "state", "x:", database=absent)


def test_a_role_that_may_not_make_tables_is_told_what_it_lacks(
    tmp_path: Path, database: Database, postgres: Postgres
) -> None:
    postgres.execute(f"ALTER DATABASE {database.name} OWNER TO postgres")

    with pytest.raises(
        StateError, match="permission denied for schema public; make the role of database: the owner"
    ):
        Store(tmp_path / "state", "x:", database=database.url)


def test_the_name_for_sentences_holds_neither_user_nor_password_file(
    worker: Worker, database: Database
) -> None:
    store = worker("transfers1")

    assert store.is_postgresql
    assert store.name == f"postgresql://127.0.0.1:{database.port}/{database.name}"
    assert store.url == database.url
