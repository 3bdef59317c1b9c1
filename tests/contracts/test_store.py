"""The state database on SQLite and on PostgreSQL: one holder, clear refusals, letters claimed once."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest
import sqlalchemy as sa

from beamtime_ioc.errors import OutcomeUnknownError, StateError
from beamtime_ioc.model import Answer, Experiment, Letter, Person, Who
from beamtime_ioc.store import Store, transaction
from beamtime_ioc.stored_doubts import StoredDoubts
from beamtime_ioc.stored_identity import StoredIdentity
from beamtime_ioc.stored_outbox import StoredOutbox
from beamtime_ioc.tables import FORMAT, metadata

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
EXPERIMENT = Experiment(
    key="aps:300011",
    name="2026-11-Muller_Lukasik-9100001",
    start=NOW,
    end=NOW + timedelta(days=3),
    people=(Person(first_name="Zoë", last_name="Müller-Łukasik", badge="0900101", is_pi=True),),
)
LETTER = Letter(
    key="k1",
    to="zoe@example.edu",
    name="Zoë",
    subject="s",
    text="t",
    message_id="<1@example.org>",
    run_id="run1",
)
LIV = Who(via="local", user="liv")

FORMAT_1 = """
CREATE TABLE beamtime_about (key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key));
CREATE TABLE beamtime_identity (
    id INTEGER NOT NULL, experiment TEXT, changed_at TEXT, looked_up_at TEXT, PRIMARY KEY (id));
CREATE TABLE beamtime_namings (key TEXT NOT NULL, naming TEXT NOT NULL, PRIMARY KEY (key));
CREATE TABLE beamtime_outbox (
    key TEXT NOT NULL, recipient TEXT NOT NULL, state TEXT NOT NULL, answer TEXT NOT NULL,
    message_id TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (key));
INSERT INTO beamtime_about VALUES ('format', '1'), ('prefix', 'x:');
INSERT INTO beamtime_identity (id) VALUES (1);
INSERT INTO beamtime_outbox VALUES
    ('k0', 'ren@example.org', 'accepted', '250 Ok', '<0@example.org>', '2026-10-01T08:00:00+00:00'),
    ('k1', 'zoe@example.edu', 'unsure', '', '<1@example.org>', '2026-10-01T08:01:00+00:00')
"""
"""What the first version wrote."""


@dataclass(kw_only=True)
class State:
    """A state that may be opened again and again."""

    directory: Path
    database: str
    opened: list[Store] = field(default_factory=list[Store])

    def open(self, prefix: str = "x:", executor: str = "ioc") -> Store:
        store = Store(self.directory, prefix, database=self.database, executor=executor)
        self.opened.append(store)
        return store

    @contextmanager
    def engine(self) -> Iterator[sa.Connection]:
        """A connection past the store."""
        url = self.database.replace("postgresql:", "postgresql+psycopg:")
        engine = sa.create_engine(url or f"sqlite:///{self.directory}/state.sqlite")
        with engine.begin() as db:
            yield db
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    url = request.getfixturevalue("database").url if request.param == "postgresql" else ""
    state = State(directory=tmp_path / "state", database=url)
    yield state
    for store in state.opened:
        store.close()


@pytest.fixture
def store(state: State) -> Store:
    return state.open()


def test_a_second_process_under_the_same_name_is_refused_within_a_second(state: State) -> None:
    state.open()
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    other = context.Process(target=_open_second, args=(state.directory, state.database, answers))

    other.start()
    answer, took_s = answers.get(timeout=30)
    other.join(20)

    assert answer.startswith("another ")
    assert took_s < 1


def _open_second(directory: Path, database: str, answers: "multiprocessing.Queue[tuple[str, float]]") -> None:
    began = monotonic()
    try:
        Store(directory / "other" if database else directory, "x:", database=database)
    except StateError as error:
        answers.put((str(error), monotonic() - began))
    else:
        answers.put(("opened", monotonic() - began))


def test_a_closed_state_can_be_opened_again_at_once(state: State) -> None:
    for _ in range(3):
        state.open().close()


def test_a_state_of_another_site_is_refused(state: State) -> None:
    state.open("99bm:Beamtime:").close()

    with pytest.raises(
        StateError, match="belongs to 99bm:Beamtime:, not to 2bm:Beamtime:; give this site a "
    ):
        state.open("2bm:Beamtime:")
    state.open("99bm:Beamtime:")


def test_a_state_of_a_newer_version_is_refused_and_left_as_it_is(state: State) -> None:
    state.open().close()
    with state.engine() as db:
        db.execute(sa.text("UPDATE beamtime_about SET value = '99' WHERE key = 'format'"))
        db.execute(sa.text("DROP TABLE beamtime_switches"))

    with pytest.raises(
        StateError, match=f"newer version: format 99, known is {FORMAT}; install that version"
    ):
        state.open()

    with state.engine() as db:
        assert not sa.inspect(db).has_table("beamtime_switches")


def test_a_state_that_does_not_say_what_it_is_is_refused(state: State) -> None:
    state.open().close()
    with state.engine() as db:
        db.execute(sa.text("UPDATE beamtime_about SET value = 'two' WHERE key = 'format'"))

    with pytest.raises(StateError, match="is damaged: it does not say what it is"):
        state.open()


def test_what_was_current_before_experiments_could_be_closed_is_open(state: State) -> None:
    store = state.open()
    StoredIdentity(store).adopt(EXPERIMENT)
    store.close()
    with state.engine() as db:
        db.execute(sa.text("UPDATE beamtime_about SET value = '2' WHERE key = 'format'"))
        for table in ("closings", "manuals"):
            db.execute(sa.text(f"DROP TABLE beamtime_{table}"))

    identity = StoredIdentity(state.open())
    found = identity.current()
    identity.close(EXPERIMENT.key, NOW, "run1")

    assert found == EXPERIMENT
    assert identity.closed(EXPERIMENT.key) == NOW


def test_the_state_of_the_first_version_is_brought_to_todays_format(state: State) -> None:
    state.directory.mkdir()
    with state.engine() as db:
        for statement in FORMAT_1.split(";"):
            db.exec_driver_sql(statement)

    store = state.open()

    with state.engine() as db:
        found = sa.inspect(db)
        columns = {name: {c["name"] for c in found.get_columns(name)} for name in metadata.tables}
        written = db.execute(sa.text("SELECT value FROM beamtime_about WHERE key = 'format'")).scalar()
    assert written == str(FORMAT)
    assert columns == {name: {column.name for column in table.c} for name, table in metadata.tables.items()}
    rows = [StoredOutbox(store).find(key) for key in ("k0", "k1")]
    assert [(row.to, row.state) for row in rows if row] == [
        ("ren@example.org", "accepted"),
        ("zoe@example.edu", "unsure"),
    ]
    state.opened.pop().close()
    state.open()


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


def test_the_first_naming_of_an_experiment_is_kept(store: Store) -> None:
    identity = StoredIdentity(store)
    identity.adopt(EXPERIMENT)

    identity.adopt(replace(EXPERIMENT, name="another"))
    naming = identity.first_naming(EXPERIMENT.key)

    assert naming is not None
    assert naming.name == EXPERIMENT.name
    assert identity.first_naming("aps:1") is None


def test_an_experiment_is_closed_once_and_opened_again(store: Store) -> None:
    identity = StoredIdentity(store)
    changes: list[bool] = []
    identity.adopt(EXPERIMENT)
    identity.changed = lambda: changes.append(identity.closed(EXPERIMENT.key) is not None)

    identity.close(EXPERIMENT.key, NOW, "run1")
    identity.close(EXPERIMENT.key, NOW + timedelta(days=1), "run2")
    identity.adopt(replace(EXPERIMENT, title="corrected"))
    closed = identity.current()
    since = identity.closed(EXPERIMENT.key)
    identity.reopen(EXPERIMENT.key)
    identity.reopen(EXPERIMENT.key)

    assert closed == replace(EXPERIMENT, title="corrected", open=False)
    assert since == NOW
    assert identity.current() == replace(EXPERIMENT, title="corrected")
    assert identity.closed("aps:1") is None
    assert changes == [True, True, True, False, False]


def test_experiments_that_no_schedule_knows_are_kept_as_they_were_last(store: Store) -> None:
    identity = StoredIdentity(store)
    first, second = (replace(EXPERIMENT, key=f"manual:{n}", source="manual") for n in (1, 2))

    for one in (second, first, EXPERIMENT, replace(first, title="corrected")):
        identity.adopt(one)
    identity.close(second.key, NOW, "run1")

    assert identity.manual(first.key) == replace(first, title="corrected")
    assert identity.manual(EXPERIMENT.key) is None
    assert identity.manuals() == [replace(first, title="corrected"), replace(second, open=False)]


def test_all_that_were_first_named_so_are_found_by_that_name(store: Store) -> None:
    identity = StoredIdentity(store)
    identity.adopt(EXPERIMENT)
    identity.adopt(replace(EXPERIMENT, key="aps:1", name="another"))

    assert identity.named(EXPERIMENT.name.upper()) == [EXPERIMENT.key]
    assert identity.named("nothing") == []


def test_a_letter_is_claimed_once_and_its_answer_kept(store: Store) -> None:
    outbox = StoredOutbox(store)

    outbox.claim(LETTER)
    with pytest.raises(OutcomeUnknownError, match="may have been sent") as caught:
        outbox.claim(LETTER)
    outbox.settle("k1", "accepted", "250 Ok")

    row = outbox.find("k1")
    assert row is not None
    assert caught.value.claim == "k1"
    assert (row.to, row.state, row.answer) == ("zoe@example.edu", "accepted", "250 Ok")
    with pytest.raises(OutcomeUnknownError):
        outbox.claim(LETTER)


@pytest.mark.parametrize("state_of_letter", ["refused", "deferred"])
def test_a_letter_that_was_not_taken_may_be_claimed_again(store: Store, state_of_letter: str) -> None:
    outbox = StoredOutbox(store)
    outbox.claim(LETTER)
    outbox.settle("k1", state_of_letter, "451 later")

    outbox.claim(LETTER)

    row = outbox.find("k1")
    assert row is not None
    assert (row.state, row.answer) == ("sending", "")


@pytest.mark.parametrize("state_of_letter", ["accepted", "refused", "unsure", "undelivered"])
def test_only_a_letter_that_waits_can_be_given_up_and_nobody_claims_it_then(
    store: Store, state_of_letter: str
) -> None:
    outbox = StoredOutbox(store)
    for key, state in (("k1", "deferred"), ("k2", state_of_letter)):
        outbox.claim(replace(LETTER, key=key))
        outbox.settle(key, state, "451 later")

    for key in ("k1", "k2", "k3"):
        outbox.give_up(key, "given up by a person", "run-9")

    rows = [outbox.find(key) for key in ("k1", "k2", "k3")]
    assert [row and (row.state, row.answer, row.run_id) for row in rows] == [
        ("given up", "given up by a person", "run-9"),
        (state_of_letter, "451 later", LETTER.run_id),
        None,
    ]
    assert outbox.waiting() == []
    with pytest.raises(OutcomeUnknownError):
        outbox.claim(replace(LETTER, key="k1"))


def test_a_letter_whose_sender_died_is_in_doubt_until_somebody_answers(state: State) -> None:
    first = state.open()
    StoredOutbox(first).claim(LETTER)
    first.close()  # the process died in the middle of the talk with the relay

    second = state.open()
    outbox, doubts = StoredOutbox(second), StoredDoubts(second)
    row = outbox.find("k1")
    with pytest.raises(OutcomeUnknownError):
        outbox.claim(LETTER)
    (doubt,) = doubts.of_run("run1")
    doubts.answer(doubt, Answer.AGAIN, LIV)
    outbox.claim(replace(LETTER, run_id="run2"))

    assert row is not None
    assert row.state == "unsure"
    assert (doubt.key, doubt.step) == ("k1", "letter to zoe@example.edu")
    assert doubt.text.startswith("the letter to zoe@example.edu was begun at 2")
    assert " UTC, its end is not known; ask zoe@example.edu whether it arrived" in doubt.text
    assert [one.answer for one in doubts.of_run("run1")] == ["do it again"]


def test_a_doubt_is_noted_once_however_often_the_program_starts(state: State) -> None:
    first = state.open()
    StoredOutbox(first).claim(LETTER)
    first.close()
    state.open().close()
    third = state.open()

    StoredDoubts(third).note("run1", "letter to zoe@example.edu", "said otherwise", claim="k1")

    assert StoredDoubts(third).count_open() == 1


def test_a_letter_of_another_executor_is_left_alone_until_that_one_is_known_to_be_dead(state: State) -> None:
    store = state.open(executor="transfers1")
    StoredOutbox(store).claim(LETTER)
    store.close()
    store = state.open(executor="ioc")
    outbox = StoredOutbox(store)

    before = outbox.find("k1")
    count = store.disown("transfers1")
    after = outbox.find("k1")

    assert before is not None
    assert after is not None
    assert (before.state, count, after.state) == ("sending", 1, "unsure")
    assert [doubt.key for doubt in StoredDoubts(store).of_run("run1")] == ["k1"]
    assert store.disown("transfers1") == 0


def test_an_answer_that_comes_late_does_not_undo_what_was_done_since(state: State) -> None:
    store = state.open(executor="transfers1")
    outbox = StoredOutbox(store)
    outbox.claim(LETTER)
    store.disown("transfers1")
    doubts = StoredDoubts(store)

    doubts.answer(doubts.of_run("run1")[0], Answer.GIVE_UP, LIV)
    outbox.settle("k1", "accepted", "250 Ok")

    row = outbox.find("k1")
    assert row is not None
    assert (row.state, row.answer.partition(" said ")[0]) == ("given up", "give up,")


def test_a_database_that_fails_is_told_in_words_without_what_was_written(store: Store) -> None:
    outbox = StoredOutbox(store)
    with transaction(store) as db:
        db.execute(sa.text("DROP TABLE beamtime_outbox"))

    with pytest.raises(StateError, match=r"cannot be used: .*beamtime_outbox") as caught:
        outbox.claim(LETTER)

    assert "zoe" not in str(caught.value)
    assert "INSERT" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_letter_that_was_put_off_is_kept_until_it_is_accepted(state: State) -> None:
    first = state.open()
    outbox, due = StoredOutbox(first), NOW
    for key, of in (("k2", "deferred"), ("k3", "accepted"), ("k1", "deferred"), ("k4", "refused")):
        outbox.claim(replace(LETTER, key=key, text=f"{key}\n"))
        outbox.settle(key, of, "said", due=due if of == "deferred" else None)
    first.close()  # the IOC ended, or the host

    outbox = StoredOutbox(state.open())
    waiting = outbox.waiting()
    outbox.claim(replace(LETTER, run_id="run2"))
    outbox.settle("k1", "accepted", "250 Ok")

    assert [(row.key, row.due, row.tries) for row, _ in waiting] == [("k2", due, 1), ("k1", due, 1)]
    assert [letter and letter.text for _, letter in waiting] == ["k2\n", "k1\n"]
    assert [row.key for row, _ in outbox.waiting()] == ["k2"]
    row = outbox.find("k1")
    assert row is not None
    assert (row.state, row.tries, row.run_id, row.subject) == ("accepted", 2, "run2", LETTER.subject)
    with state.engine() as db:
        rows = db.execute(sa.text("SELECT key, letter FROM beamtime_letters"))
        kept = {str(one.key): str(one.letter) for one in rows}
    assert (kept["k1"], kept["k3"]) == ("", "")
    assert '"k4\\n"' in kept["k4"]


def test_a_letter_whose_sending_died_waits_for_an_answer_and_not_for_its_time(state: State) -> None:
    first = state.open()
    outbox = StoredOutbox(first)
    outbox.claim(LETTER)
    outbox.settle("k1", "deferred", "451 later", due=NOW)
    outbox.claim(replace(LETTER, run_id="run2"))
    first.close()  # killed in the middle of the second try

    second = state.open()
    outbox, doubts = StoredOutbox(second), StoredDoubts(second)
    during = outbox.waiting()
    doubts.answer(doubts.of_run("run2")[0], Answer.AGAIN, LIV)
    after = outbox.waiting()

    assert during == []
    assert [(row.state, row.due) for row, _ in after] == [("deferred", None)]
    assert after[0][1] == replace(LETTER, run_id="run2")


@pytest.mark.parametrize("answer", [Answer.HAPPENED, Answer.GIVE_UP])
def test_the_text_of_a_letter_goes_with_the_answer_that_ends_it(state: State, answer: Answer) -> None:
    first = state.open()
    StoredOutbox(first).claim(LETTER)
    first.close()
    doubts = StoredDoubts(state.open())

    doubts.answer(doubts.of_run("run1")[0], answer, LIV)

    with state.engine() as db:
        assert db.execute(sa.text("SELECT letter FROM beamtime_letters")).scalars().all() == [""]
