"""A schedule as a table: a line a person, and what is wrong in it."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beamtime_ioc.errors import BadResponseError
from beamtime_ioc.model import one_line
from file_house import faults, file_schedule, listed

HEADER = "id,proposal_id,title,start,end,safety_form_id,first,last,email,external_id,role\n"
BEGIN = '017,0123,"Cracks, grown",2026-10-30T08:00:00-05:00,2026-11-02T08:00:00-06:00,88,'
ZOE = f"{BEGIN}Zoë,Müller-Łukasik,zoe@example.edu,000101,pi\n"
REN = f"{BEGIN}Ren,O'Brien,,000102,\n"
GOOD = HEADER + REN + ZOE


def test_the_lines_of_one_id_are_one_beamtime(tmp_path: Path) -> None:
    [beamtime] = listed(file_schedule(tmp_path, GOOD, ".csv"))

    assert (beamtime.id, beamtime.proposal, beamtime.title) == ("017", "0123", "Cracks, grown")
    assert [(p.full_name, p.badge, p.email, p.is_pi) for p in beamtime.people] == [
        ("Zoë Müller-Łukasik", "000101", "zoe@example.edu", True),
        ("Ren O'Brien", "000102", "", False),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("id,prop", "ID, Prop", 1),
        GOOD.replace('"Cracks, grown"', "Cracks").replace(",", ";"),
        GOOD + "\n,,,,,,,,,,\n",
        HEADER + ZOE + "017,,,,,,Ren,O'Brien,,000102,\n",
    ],
    ids=["mark", "crlf", "capitals", "semicolons", "blank lines", "the rest left empty"],
)
def test_tables_of_all_programs_are_read(tmp_path: Path, text: str) -> None:
    [beamtime] = listed(file_schedule(tmp_path, text, ".csv"))

    assert len(beamtime.people) == 2


def test_a_beamtime_without_people_is_one_line(tmp_path: Path) -> None:
    text = "id,start,end\nstudies,2026-10-30T08:00:00Z,2026-10-31T08:00:00Z\n"

    [beamtime] = listed(file_schedule(tmp_path, text, ".csv"))

    assert beamtime.people == ()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (REN.replace("0123", "0124"), "line 3: proposal_id differs from that in line 2 of the same id"),
        (REN.replace("11-02", "11-03"), "line 3: end differs from that in line 2 of the same id"),
        ("017,0123\n", "line 3: has 2 columns, the header 11"),
        (REN.replace("000102,", "000102,boss"), "line 3: role is pi, or nothing"),
    ],
)
def test_a_beamtime_with_a_wrong_line_is_left_out_whole(tmp_path: Path, line: str, words: str) -> None:
    schedule = file_schedule(tmp_path, HEADER + ZOE + line + ZOE.replace("017", "good"), ".csv")

    assert [beamtime.id for beamtime in listed(schedule)] == ["good"]
    assert words in faults(schedule)


def test_a_fault_names_the_line_behind_a_text_of_several_lines(tmp_path: Path) -> None:
    long_title = ZOE.replace("Cracks, grown", "Cracks,\ngrown").replace("017", "good")
    schedule = file_schedule(tmp_path, HEADER + long_title + ZOE.replace("2026-10-30T08", "soon"), ".csv")

    assert listed(schedule)[0].title == "Cracks, grown"
    assert faults(schedule)[0].startswith("line 4: start is no time")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the column id is missing"),
        ("id,start\n", "the column end is missing"),
        ("id,start,end,id\n", "the column id stands twice"),
        ("id|start|end\n", "unknown key 'id|start|end'; allowed are id, proposal_id"),
        (HEADER + 'x,"open', "no CSV"),
        (GOOD.encode("utf-16"), "is no UTF-8 text"),
        (GOOD.encode("latin-1", "replace"), "is no UTF-8 text"),
        (HEADER + ZOE.replace("2026-10-30T08", "soon"), "line 2: start is no time"),
    ],
)
def test_a_table_of_no_use_is_a_bad_response(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(BadResponseError, match=re.escape(words)):
        listed(file_schedule(tmp_path, text, ".csv"))


NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=st.lists(st.tuples(NAMES, NAMES), max_size=4), title=NAMES)
def test_what_a_spreadsheet_writes_is_read_back(
    tmp_path: Path, people: list[tuple[str, str]], title: str
) -> None:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["id", "start", "end", "title", "first", "last", "external_id"])
    for number, (first, last) in enumerate(people or [("", "")]):
        writer.writerow(["1", "2026-10-30T08:00Z", "2026-10-31T08:00Z", title, first, last, number])

    [beamtime] = listed(file_schedule(tmp_path, table.getvalue(), ".csv"))

    assert beamtime.title == one_line(title)
    assert sorted((p.first_name, p.last_name) for p in beamtime.people) == sorted(
        (one_line(first), one_line(last)) for first, last in people or [("", "")]
    )
