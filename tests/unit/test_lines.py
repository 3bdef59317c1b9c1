"""A long text line by line, for screens that wrap nothing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.alarm import Alarm, Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.errors import NotAllowedError, RecordFileError
from beamtime_ioc.model import Who
from beamtime_ioc.record import Line
from beamtime_ioc.records import load_records
from beamtime_ioc.values import line_of

DECLARED = """record(waveform, "$(P)$(R)Message") {
    field(DESC, "What happened") field(FTVL, CHAR) field(NELM, 1024) info(beamtime:lines, "%s")
}"""
PREFIX = "9:B:"


class Everybody:
    def require(self, group: str, who: Who) -> None:
        if group == "nobody":
            raise NotAllowedError("no", advice="")

    def may_write_from_somewhere(self, group: str, user: str) -> bool:
        return True


def board(directory: Path, lines: str) -> Board:
    path = directory / "own.db"
    path.write_text(DECLARED % lines)
    return Board(load_records([path], prefix=PREFIX), Everybody())


def rows(text: str, count: int, width: int) -> list[str]:
    return [line_of(text, Line(number=at, count=count, width=width)) for at in range(1, count + 1)]


def test_a_text_is_cut_at_its_blanks_and_at_its_line_ends() -> None:
    text = "ana1 does not answer (ssh, 5 s).\nStart ana1, then press again"

    assert rows(text, 4, 20) == ["ana1 does not answer", "(ssh, 5 s).", "Start ana1, then", "press again"]
    assert rows("short", 3, 20) == ["short", "", ""]


def test_the_last_line_says_by_its_end_that_there_is_more() -> None:
    assert rows("one two three four five six", 2, 20) == ["one two three four", "five six"]
    assert rows("one two three four five six seven eight nine", 2, 20) == [
        "one two three four",
        "five six seven ...",
    ]


@given(st.text(max_size=400), st.integers(1, 6), st.integers(20, 90))
def test_no_line_is_wider_than_it_may_be_and_no_word_is_lost_unsaid(
    text: str, count: int, width: int
) -> None:
    shown = rows(text, count, width)

    assert all(len(line) <= width for line in shown)
    if not shown[-1].endswith("..."):
        assert "".join("".join(shown).split()) == "".join(text.split())


def test_the_lines_follow_their_text_with_its_alarm(tmp_path: Path) -> None:
    made = board(tmp_path, "3x20")
    failed = Alarm(Severity.MAJOR, Status.STATE, "failed")

    made.cell("Message").set("ana1 does not answer (ssh, 5 s)", failed)

    lines = [made.cell(f"MessageLine{number}") for number in (1, 2, 3)]
    assert [line.value for line in lines] == ["ana1 does not answer", "(ssh, 5 s)", ""]
    assert {line.reading.alarm for line in lines} == {failed}
    assert not any(line.writable for line in lines)


def test_a_line_that_stays_as_it_is_is_not_posted_again(tmp_path: Path) -> None:
    made = board(tmp_path, "2x20")
    text, second = made.cell("Message"), made.cell("MessageLine2")
    posts: list[object] = []
    second.watchers.append(posts.append)

    text.set("one")
    text.set("two")
    text.set("ana1 does not answer (ssh, 5 s)")

    assert [getattr(post, "value", None) for post in posts] == ["(ssh, 5 s)"]


@pytest.mark.parametrize("lines", ["", "4", "0x80", "4x5", "40x80", "4x800", "4 x 80"])
def test_lines_that_cannot_be_are_refused_with_the_form(tmp_path: Path, lines: str) -> None:
    with pytest.raises(RecordFileError, match="how many lines of how many characters: 4x80"):
        board(tmp_path, lines)


def test_lines_of_what_is_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    path.write_text('record(longin, "$(P)$(R)Count") { field(DESC, "n") info(beamtime:lines, "2x40") }')

    with pytest.raises(RecordFileError, match="beamtime:lines is for CHAR waveforms"):
        load_records([path], prefix=PREFIX)


def test_a_line_that_has_the_name_of_another_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    path.write_text(DECLARED % "2x40" + '\nrecord(longin, "$(P)$(R)MessageLine2") { field(DESC, "n") }')

    with pytest.raises(RecordFileError, match=r"belongs to .*Message.* already"):
        load_records([path], prefix=PREFIX)
