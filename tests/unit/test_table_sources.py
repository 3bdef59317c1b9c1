"""What fills the tables of people, actions, checklist and audit."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.actions_table import ActionsSource
from beamtime_ioc.alarm import QUIET, Severity
from beamtime_ioc.audit import AuditEntry, AuditLog, Deed
from beamtime_ioc.audit_table import AuditSource
from beamtime_ioc.audit_tail import lines_backwards
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.checklist_table import ChecklistSource
from beamtime_ioc.errors import AuditError
from beamtime_ioc.experiment_table import ExperimentSource, UsersSource
from beamtime_ioc.filled_table import Rows
from beamtime_ioc.identity import IdentityRecords
from beamtime_ioc.model import Person, RunState, Who
from beamtime_ioc.panel import alarm_for
from beamtime_ioc.progress import RunView, StepLine, StepState
from beamtime_ioc.runrecord import RecordedStep
from beamtime_ioc.testing.fakes import MemoryIdentity
from watch_house import CHICAGO, experiment, new_board, run, site, until

SITE = site()
PRESS = AuditEntry(what=Deed.PRESS, who=Who(via="ca", user="ann", peer="127.0.0.1"), action="walk")


def identity(*people: Person) -> IdentityRecords:
    nobody: Any = None
    made = IdentityRecords(new_board(), MemoryIdentity(), SITE, nobody)
    if people:
        made.show(experiment(SITE, people=people), None)
    return made


def found(rows: Rows | None) -> Rows:
    assert rows is not None
    return rows


# -- people -----------------------------------------------------------------------------------------------


def test_nothing_is_known_of_an_experiment_before_there_is_one() -> None:
    assert asyncio.run(UsersSource(identity()).rows(9)) is None
    assert asyncio.run(ExperimentSource(identity()).rows(9)) is None


def test_people_are_rows_and_a_list_in_the_experiment() -> None:
    shown = identity(
        Person(first_name="Zoë", last_name="Müller", badge="007", is_pi=True), Person(last_name="王")
    )

    users = found(asyncio.run(UsersSource(shown).rows(9)))
    (row,) = found(asyncio.run(ExperimentSource(shown).rows(9))).rows

    assert [(one["first"], one["last"], one["badge"], one["pi"]) for one in users.rows] == [
        ("Zoë", "Müller", "007", 1),
        ("", "王", "", 0),
    ]
    assert row["users"] == users.rows
    assert (row["key"], row["proposal"], row["open"]) == ("aps:1", "901", 1)
    assert set(row) | {f"users.{name}" for name in users.rows[0]} == set(ExperimentSource.columns)


def test_a_thousand_people_are_shown_and_more_are_cut_and_said() -> None:
    people = [Person(first_name="ü" * 300, last_name=f"{number}") for number in range(1001)]

    whole = found(asyncio.run(UsersSource(identity(*people[:1000])).rows(1000)))
    cut = found(asyncio.run(ExperimentSource(identity(*people)).rows(1000)))

    assert (len(whole.rows), whole.alarm) == (1000, QUIET)
    assert len(cut.rows[0]["users"]) == 1000
    assert (cut.alarm.severity, cut.alarm.message) == (
        Severity.MINOR,
        "cut: the first 1000 of 1001 people are shown",
    )


def test_a_change_of_the_experiment_is_told() -> None:
    shown, told = identity(), list[int]()
    UsersSource(shown).tell_changes(lambda: told.append(1))

    shown.show(experiment(SITE), None)

    assert told == [1]


# -- runs -------------------------------------------------------------------------------------------------


def view(action: str, state: RunState, started: float, *steps: StepLine) -> RunView:
    return RunView(
        action=action,
        state=state,
        run_id=f"{action}-{started}",
        started=started,
        elapsed_s=5.04,
        steps=steps,
        message=f"{action} {state}",
        started_by="ann",
    )


def test_the_actions_have_a_row_each_and_the_alarm_of_the_worst() -> None:
    board = new_board()
    failed = view("email-users", RunState.FAILED, 1.0)
    board.progress["email-users"].set(failed, alarm_for(failed.state, failed.message))

    rows = asyncio.run(ActionsSource(board, CHICAGO).rows(4))

    assert [row["state"] for row in rows.rows] == ["Idle", "Idle", "Failed", "Idle"]
    assert {key: rows.rows[2][key] for key in ("button", "started", "by", "elapsed", "message")} == {
        "button": "EmailUsers",
        "started": "1969-12-31T18:00:01-06:00",
        "by": "ann",
        "elapsed": 5.0,
        "message": "email-users Failed",
    }
    assert rows.rows[0]["started"] == ""
    assert (rows.alarm.severity, rows.alarm.message) == (Severity.MAJOR, "EmailUsers: email-users Failed")


class StoredSteps:
    """A journal with the steps of one run."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.threads: set[threading.Thread] = set()

    def steps(self, run_id: str) -> list[RecordedStep]:
        self.asked.append(run_id)
        self.threads.add(threading.current_thread())
        return [RecordedStep(name="letters", state=StepState.FAILED, reason="no relay", seconds=2.0)]


def lines(*states: StepState) -> tuple[StepLine, ...]:
    return tuple(StepLine(name=f"step {number}", state=state) for number, state in enumerate(states))


def checklist(*views: RunView) -> tuple[Rows, Any, StoredSteps]:
    board, journal = new_board(), StoredSteps()
    any_journal: Any = journal
    source = ChecklistSource(board, any_journal)
    for one in views:
        board.progress[one.action].set(one)

    async def body() -> Rows:
        await source.rows(9)
        return await source.rows(9)

    return asyncio.run(body()), board.cell, journal


def test_the_checklist_is_of_the_run_that_goes_on_else_of_the_last_to_end() -> None:
    read, made = lines(StepState.READ), lines(StepState.MADE)
    long_ago = view("email-users", RunState.DONE, 10.0, *read)
    later = view("create-directories", RunState.DONE, 20.0, *made)
    goes_on = view("update-user-info", RunState.RUNNING, 5.0, *lines(StepState.READ, StepState.RUNNING))

    ended, *_ = checklist(long_ago, later)
    active, cell, _ = checklist(long_ago, later, goes_on)

    assert [row["state"] for row in ended.rows] == ["made"]
    assert [row["state"] for row in active.rows] == ["read", "running"]
    assert cell("ChecklistStep").value == "step 1: running"
    assert cell("ChecklistFailing").reading.alarm == QUIET


@pytest.mark.parametrize("state", [StepState.FAILED, StepState.UNSURE])
def test_a_line_that_is_wrong_is_major_and_clears_with_the_next_run(state: StepState) -> None:
    wrong = StepLine(name="directory ana1", state=state, reason="ana1 is away; wake it")
    bad, cell, _ = checklist(
        view("create-directories", RunState.PROBLEMS, 1.0, *lines(StepState.MADE), wrong)
    )
    failing = cell("ChecklistFailing")

    assert (bad.alarm.severity, bad.alarm.message) == (
        Severity.MAJOR,
        f"directory ana1: {state}: ana1 is away; wake it",
    )
    assert (failing.value, failing.reading.alarm) == (bad.alarm.message, bad.alarm)

    good, cell, _ = checklist(
        view("create-directories", RunState.PROBLEMS, 1.0, wrong),
        view("email-users", RunState.RUNNING, 2.0, *lines(StepState.RUNNING)),
    )
    assert (good.alarm, cell("ChecklistFailing").value) == (QUIET, "")


def test_the_checklist_of_an_earlier_life_is_read_once() -> None:
    rows, cell, journal = checklist(view("email-users", RunState.FAILED, 3.0))

    assert [(row["step"], row["reason"]) for row in rows.rows] == [("letters", "no relay")]
    assert cell("ChecklistFailing").value == "letters: failed: no relay"
    assert journal.asked == ["email-users-3.0"]
    assert threading.main_thread() not in journal.threads


def test_a_checklist_line_that_is_too_long_for_its_record_is_cut_at_a_letter() -> None:
    line = StepLine(name="ü" * 900, state=StepState.MADE)

    rows, cell, _ = checklist(view("email-users", RunState.DONE, 1.0, line))

    assert rows.rows[0]["step"] == "ü" * 900
    assert cell("ChecklistStep").value == "ü" * 510 + " ..."


# -- audit ------------------------------------------------------------------------------------------------


def test_the_audit_shows_its_newest_lines_first_over_the_turn_of_a_month(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    for number, at in enumerate(("2026-10-31T23:59:59+00:00", "2026-11-01T00:00:01+00:00")):
        for again in range(2):
            log.write(_press(at, f"{number}.{again}"))

    source = AuditSource(log, Auditor(log), ZoneInfo("America/Chicago"))
    rows = asyncio.run(_audit(source, 3))

    assert [row["text"] for row in rows] == ["1.1", "1.0", "0.1"]
    assert (rows[0]["at"], rows[0]["user"], rows[0]["what"]) == (
        "2026-10-31T19:00:01.000-05:00",
        "ann",
        "press",
    )
    assert set(AuditSource.columns) <= set(rows[0])


class ReadLog(AuditLog):
    """Notes which threads read it."""

    threads: set[threading.Thread]

    def last(self, limit: int) -> Sequence[AuditEntry]:
        self.threads = {threading.current_thread()}
        return super().last(limit)


def test_the_audit_is_read_beside_the_event_loop(tmp_path: Path) -> None:
    log = ReadLog(tmp_path)

    asyncio.run(_audit(AuditSource(log, Auditor(log), CHICAGO), 3))

    assert threading.main_thread() not in log.threads


def _press(at: str, text: str) -> AuditEntry:
    return replace(PRESS, at=datetime.fromisoformat(at), text=text)


async def _audit(source: AuditSource, limit: int) -> Any:
    return await source.rows(limit)


def test_an_audit_that_was_never_written_is_empty_and_damaged_lines_are_left_out(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    assert log.last(5) == []
    log.write(_press("2026-11-01T00:00:00+00:00", "whole"))
    with log.path_of(PRESS.at.replace(year=2026, month=11)).open("ab") as file:
        file.write(b'\xff\n[]\n{"at": "2026-11-0' + b"x" * 200_000)

    assert [entry.text for entry in log.last(5)] == ["whole"]


def test_an_audit_that_cannot_be_read_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "audit" / "2026-11.jsonl").mkdir(parents=True)

    with pytest.raises(AuditError, match=r"2026-11.jsonl is no file; look what it is"):
        AuditLog(tmp_path).last(5)


def test_each_line_that_is_written_is_told_in_the_loop(tmp_path: Path) -> None:
    async def body() -> None:
        log = AuditLog(tmp_path)
        auditor, told = Auditor(log), asyncio.Event()
        AuditSource(log, auditor, CHICAGO).tell_changes(told.set)

        await auditor.press(PRESS)

        await until(told.is_set)
        auditor.close()

    run(body)


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=12),
    ended=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_lines_read_backwards_are_the_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool, chunk: int
) -> None:
    path = tmp_path_factory.mktemp("tail") / "file"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ended else b""))

    assert list(lines_backwards(path, chunk)) == [line for line in reversed(lines) if line]
