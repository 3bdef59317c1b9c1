"""What a value means by its record file, and how that goes together with what the program says."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from beamtime_ioc.access import load_gate
from beamtime_ioc.alarm import QUIET, UNDEFINED, Alarm, Severity, Status
from beamtime_ioc.board import Board, Cell
from beamtime_ioc.records import load_records, shipped

Load = Callable[[str], Cell]
LIMITS = 'field(HIGH, "1") field(HSV, "MAJOR")'
SAID = Alarm(Severity.MINOR, Status.COMM, "its disk is slow")


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The cell of the one record of a text."""

    def load(text: str) -> Cell:
        path = tmp_path / "own.db"
        path.write_text(text)
        (cell,) = Board(load_records([path], prefix="9:B:"), load_gate(None)).cells.values()
        return cell

    return load


def test_a_limit_without_a_severity_means_nothing(load: Load) -> None:
    cell = load('record(longin, "9:B:X") { field(HIGH, "1") }')

    cell.set(7)

    assert cell.reading.alarm == QUIET


def test_the_alarm_of_a_limit_says_which(load: Load) -> None:
    cell = load(f'record(longin, "9:B:X") {{ {LIMITS} }}')

    cell.set(7)

    assert cell.reading.alarm == Alarm(Severity.MAJOR, Status.HIGH, "7 is at or above HIGH (1)")


def test_words_of_the_program_go_with_the_alarm_that_the_file_gives(load: Load) -> None:
    cell = load(f'record(longin, "9:B:X") {{ {LIMITS} }}')

    cell.set(2, Alarm(message="two cats are away"))
    bad = cell.reading.alarm
    cell.set(0, Alarm(message="two cats are away"))

    assert bad == Alarm(Severity.MAJOR, Status.HIGH, "two cats are away")
    assert cell.reading.alarm == QUIET


def test_the_worse_of_program_and_file_is_shown(load: Load) -> None:
    cell = load('record(mbbi, "9:B:X") { field(ZRST, "A") field(ONST, "B") field(ONSV, "MAJOR") }')

    cell.set(0, SAID)
    from_program = cell.reading.alarm
    cell.set(1, SAID)

    assert from_program == SAID
    assert cell.reading.alarm == Alarm(Severity.MAJOR, Status.STATE, SAID.message)


def test_a_program_that_says_all_is_well_does_not_quieten_the_file(load: Load) -> None:
    cell = load(f'record(ai, "9:B:X") {{ {LIMITS} }}')

    cell.set(2.0, QUIET)

    assert cell.reading.alarm.severity is Severity.MAJOR


def test_what_is_shown_already_is_not_posted_again(load: Load) -> None:
    cell = load(f'record(ai, "9:B:X") {{ {LIMITS} field(HYST, "0.5") }}')
    cell.show(1.0)
    cell.show(0.6)
    posts: list[object] = []
    cell.watchers.append(posts.append)

    cell.show(0.6)
    cell.show(0.6, Alarm(message=cell.reading.alarm.message))

    assert posts == []
    assert cell.reading.alarm.severity is Severity.MAJOR


def test_a_number_that_is_none_is_undefined(load: Load) -> None:
    cell = load('record(ai, "9:B:X") { field(VAL, "1") }')

    cell.set(math.nan)
    unknown = cell.reading.alarm
    cell.set(1.0)

    assert (unknown, cell.reading.alarm) == (UNDEFINED, QUIET)


def test_the_first_value_has_the_alarm_that_the_file_gives(load: Load) -> None:
    cell = load('record(bi, "9:B:X") { field(ZNAM, "Off") field(ONAM, "On") field(ZSV, "MINOR") }')

    assert cell.reading.alarm == Alarm(Severity.MINOR, Status.STATE, "Off")


@pytest.mark.parametrize(
    ("udfs", "severity"),
    [("", Severity.INVALID), ("MAJOR", Severity.MAJOR), ("NO_ALARM", Severity.NO_ALARM)],
)
def test_what_the_program_looks_up_is_undefined_before_with_the_severity_of_udfs(
    load: Load, udfs: str, severity: Severity
) -> None:
    cell = load(
        f'record(longin, "9:B:X") {{ field(UDFS, "{udfs}") info(beamtime:report, "engine.failed-today") }}'
    )
    before = cell.reading.alarm.severity

    cell.show(0)

    assert (before, cell.reading.alarm) == (severity, QUIET)


def test_a_state_that_the_record_does_not_have_is_unsv(load: Load) -> None:
    cell = load('record(mbbi, "9:B:X") { field(ZRST, "A") field(UNSV, "MAJOR") }')

    cell.set(16)

    assert cell.reading.alarm == Alarm(Severity.MAJOR, Status.STATE, "16")


def test_a_site_makes_an_alarm_of_ours_worse_with_one_line(tmp_path: Path) -> None:
    own = tmp_path / "own.db"
    own.write_text('record("*", "$(P)$(R)UnsureCount") { field(HIHI, "10") field(HHSV, "INVALID") }')
    cell = Board(load_records([*shipped(), own], prefix="99bm:Beamtime:"), load_gate(None)).cell(
        "UnsureCount"
    )

    cell.set(1)
    shipped_alarm = cell.reading.alarm
    cell.set(10)

    assert (shipped_alarm.severity, shipped_alarm.status) == (Severity.MAJOR, Status.HIGH)
    assert (cell.reading.alarm.severity, cell.reading.alarm.status) == (Severity.INVALID, Status.HIHI)
