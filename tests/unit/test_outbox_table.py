"""The table of the letters, and the records that count them."""

import asyncio
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from beamtime_ioc.alarm import QUIET, Alarm, Severity
from beamtime_ioc.board import Board
from beamtime_ioc.filled_table import Rows
from beamtime_ioc.model import Letter, RunState
from beamtime_ioc.outbox_table import OutboxSource
from beamtime_ioc.progress import RunView, StepLine, StepState
from beamtime_ioc.store import Store, transaction
from beamtime_ioc.stored_outbox import StoredOutbox, letters_of_any_version
from beamtime_ioc.tables import letters, outbox
from watch_house import CHICAGO, PREFIX, new_board

LETTER = Letter(
    key="k1", to="zoe@example.edu", name="Zoë", subject="Your beamtime", text="text\n", run_id="run1"
)


@pytest.fixture
def store(tmp_path: Path) -> Generator[Store]:
    store = Store(tmp_path / "state", PREFIX)
    yield store
    store.close()


def send(store: Store, number: int, state: str, answer: str = "", due: datetime | None = None) -> None:
    kept = StoredOutbox(store)
    key = f"k{number}"
    kept.claim(replace(LETTER, key=key, to=f"p{number}@example.edu", experiment="2026-11-Zoe"))
    kept.settle(key, state, answer, due=due)


def read(store: Store, board: Board | None = None, limit: int = 10) -> Rows:
    return asyncio.run(OutboxSource(store, board or new_board(), CHICAGO).rows(limit))


def test_each_letter_is_a_row_with_what_became_of_it_the_newest_first(store: Store) -> None:
    due = datetime(2026, 11, 26, 18, tzinfo=UTC)
    send(store, 1, "accepted", "250 kept")
    send(store, 2, "deferred", "451 later", due)

    second, first = read(store).rows

    assert {
        name: second[name] for name in ("to", "state", "answer", "due", "tries", "experiment", "run")
    } == {
        "to": "p2@example.edu",
        "state": "deferred",
        "answer": "451 later",
        "due": "2026-11-26T12:00:00-06:00",
        "tries": 1,
        "experiment": "2026-11-Zoe",
        "run": "run1",
    }
    assert (first["state"], first["due"], first["subject"]) == ("accepted", "", "Your beamtime")
    assert set(first) == set(OutboxSource.columns)
    assert [row["to"] for row in read(store, limit=1).rows] == ["p2@example.edu"]


@pytest.mark.parametrize(
    ("state", "severity", "words"),
    [
        ("accepted", Severity.NO_ALARM, ""),
        ("refused", Severity.NO_ALARM, ""),
        ("given up", Severity.NO_ALARM, ""),
        ("deferred", Severity.MINOR, "1 were put off; DeliverOutbox tries them again"),
        (
            "undelivered",
            Severity.MAJOR,
            "1 did not go, after many tries; see the answers, then press EmailUsers",
        ),
        ("unsure", Severity.MAJOR, "1 may have gone; ask whether they arrived, then answer with Resolve"),
    ],
)
def test_what_wants_attention_is_an_alarm_and_a_number(
    store: Store, state: str, severity: Severity, words: str
) -> None:
    board = new_board()
    send(store, 1, state)

    alarm = read(store, board).alarm

    assert (alarm.severity, alarm.message) == (severity, words)
    names = {"deferred": "OutboxDeferred", "undelivered": "OutboxUndelivered", "unsure": "OutboxUnsure"}
    shown = {word: board.cell(name).value for word, name in names.items()}
    assert shown == {word: int(word == state) for word in names}
    if state in names:
        assert board.cell(names[state]).reading.alarm.severity == severity


def test_what_was_given_up_long_ago_wants_nobody(store: Store) -> None:
    send(store, 1, "undelivered")
    with transaction(store) as db:
        db.execute(outbox.update().values(at=(datetime.now(UTC) - timedelta(days=8)).isoformat()))

    assert read(store).alarm == QUIET


def test_rows_of_an_earlier_version_are_shown_too(store: Store) -> None:
    send(store, 1, "deferred", "451")
    with transaction(store) as db:
        db.execute(letters.delete())
    (kept,) = read(store).rows
    with store.engine.begin() as db:
        db.execute(sa.text("DROP TABLE beamtime_letters"))
        (found,) = letters_of_any_version(db, 5)
        db.execute(sa.text("DROP TABLE beamtime_outbox"))
        assert letters_of_any_version(db, 5) == []

    assert (kept["state"], kept["subject"], kept["tries"]) == ("deferred", "", 1)
    assert (found.to, found.experiment) == ("p1@example.edu", "")


def test_the_table_is_read_again_when_a_step_or_a_run_has_ended_and_not_at_each_post(store: Store) -> None:
    board, told = new_board(), list[int]()
    OutboxSource(store, board, CHICAGO).tell_changes(lambda: told.append(1))
    posting: Any = board.progress["email-users"]

    def post(elapsed_s: float, state: RunState, *steps: StepState, message: str = "") -> int:
        lines = tuple(StepLine(name=f"letter {n}", state=step) for n, step in enumerate(steps))
        view = RunView(
            action="email-users", run_id="r", state=state, steps=lines, elapsed_s=elapsed_s, message=message
        )
        posting.set(view, Alarm())
        return len(told)

    counts = [
        post(1, RunState.RUNNING, StepState.RUNNING),
        post(2, RunState.RUNNING, StepState.RUNNING),
        post(3, RunState.RUNNING, StepState.MADE),
        post(4, RunState.UNSURE, StepState.MADE, message="2 doubts"),
        post(4, RunState.UNSURE, StepState.MADE, message="1 doubt"),
        post(4, RunState.UNSURE, StepState.MADE, message="1 doubt"),
    ]

    assert counts == [1, 1, 2, 3, 4, 4]
