"""A calendar as a schedule: events, people and times as calendar programs write them."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import available_timezones

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beamtime_handlers.clients.file_schedule import ics_file
from beamtime_handlers.clients.file_schedule.ics_lines import Line, content_lines
from beamtime_ioc.errors import BadResponseError
from file_house import faults, file_schedule, listed

EVENT = """\
BEGIN:VEVENT
UID:017@example.org
SUMMARY:Cracks\\, grown
X-PROPOSAL-ID:0123
X-SAFETY-FORM-ID:8800011
DTSTART;TZID=America/Chicago:20261030T080000
DTEND;TZID=America/Chicago:20261102T080000
ATTENDEE;CN="O'Brien, Ren";X-BADGE=000102:mailto:ren@example.org
ATTENDEE;ROLE=CHAIR;CN=Zoë Müller-Łukasik:MAILTO:zoe@example.edu
BEGIN:VALARM
TRIGGER:-PT15M
SUMMARY:wake up
END:VALARM
END:VEVENT
"""


def calendar(*events: str) -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *"".join(events).splitlines(), "END:VCALENDAR", ""])


def test_an_event_is_a_beamtime_with_its_people(tmp_path: Path) -> None:
    [beamtime] = listed(file_schedule(tmp_path, calendar(EVENT), ".ics"))

    assert (beamtime.key, beamtime.proposal, beamtime.esaf) == ("file:017@example.org", "0123", "8800011")
    assert beamtime.title == "Cracks, grown"
    assert beamtime.start == datetime(2026, 10, 30, 13, tzinfo=UTC)
    assert beamtime.end - beamtime.start == timedelta(hours=73)
    assert [(p.first_name, p.last_name, p.email, p.badge, p.is_pi) for p in beamtime.people] == [
        ("Zoë", "Müller-Łukasik", "zoe@example.edu", "", True),
        ("Ren", "O'Brien", "ren@example.org", "000102", False),
    ]


def test_an_id_of_the_sites_own_goes_before_that_of_the_calendar_program(tmp_path: Path) -> None:
    event = EVENT.replace("X-PROPOSAL-ID", "X-BEAMTIME-ID:2026-3-017\nX-PROPOSAL-ID")

    [beamtime] = listed(file_schedule(tmp_path, calendar(event), ".ics"))

    assert beamtime.id == "2026-3-017"


@pytest.mark.parametrize(
    ("organizer", "pi", "count"),
    [
        ("ORGANIZER;CN=Ana Example:mailto:ana@example.org", "Ana Example", 3),
        ("ORGANIZER;CN=Ren:mailto:REN@example.org", "Ren O'Brien", 2),
        ("ORGANIZER:mailto:ana@example.org", "somebody without a name", 3),
        ("ORGANIZER;CN=ana@example.org:https://example.org/ana", "Ren O'Brien", 2),
    ],
)
def test_without_a_chair_the_organizer_is_the_pi(tmp_path: Path, organizer: str, pi: str, count: int) -> None:
    event = EVENT.replace("ROLE=CHAIR;", "").replace("BEGIN:VALARM", f"{organizer}\nBEGIN:VALARM")

    [beamtime] = listed(file_schedule(tmp_path, calendar(event), ".ics"))

    assert [person.full_name for person in beamtime.people if person.is_pi] == [pi]
    assert len(beamtime.people) == count


def test_a_long_line_may_be_folded_anywhere(tmp_path: Path) -> None:
    folded = calendar(EVENT).replace("Müller", "Mül\r\n ler").replace("DTSTART;TZ", "DTST\r\n\tART;TZ")

    assert listed(file_schedule(tmp_path, folded, ".ics")) == listed(
        file_schedule(tmp_path, calendar(EVENT), ".ics")
    )


def test_an_event_that_is_cancelled_is_none(tmp_path: Path) -> None:
    event = EVENT.replace("UID", "STATUS:CANCELLED\nUID")

    assert listed(file_schedule(tmp_path, calendar(event), ".ics")) == []


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("DTSTART:20261030T130000Z", 0),
        ("DTSTART;TZID=Europe/Berlin:20261030T140000", 0),
        ("DTSTART;VALUE=DATE-TIME:20261030T080000", 0),
        ("DTSTART;VALUE=DATE:20261030", 0),
        ("DTSTART:20261029", -24),
    ],
)
def test_each_form_of_a_time_is_read(tmp_path: Path, text: str, start: int) -> None:
    event = EVENT.replace("DTSTART;TZID=America/Chicago:20261030T080000", text)

    [beamtime] = listed(file_schedule(tmp_path, calendar(event), ".ics", times="local", day_begins="08:00"))

    assert beamtime.start == datetime(2026, 10, 30, 13, tzinfo=UTC) + timedelta(hours=start)


def test_the_disk_is_not_searched_for_a_zone_with_each_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = list[int]()
    monkeypatch.setattr(ics_file, "available_timezones", lambda: searches.append(1) or available_timezones())

    beamtimes = listed(file_schedule(tmp_path, calendar(*[EVENT] * 20), ".ics"))

    assert len(beamtimes) == 20
    assert len(searches) <= 1


def test_whole_days_go_from_hour_to_hour_over_the_clock_change(tmp_path: Path) -> None:
    event = re.sub(r"DTSTART.*\nDTEND.*", "DTSTART;VALUE=DATE:20261101\nDTEND;VALUE=DATE:20261103", EVENT)
    one = re.sub(r"DTSTART.*\nDTEND.*", "DTSTART;VALUE=DATE:20261101", EVENT).replace("017", "018")

    several, single = listed(file_schedule(tmp_path, calendar(event, one), ".ics", day_begins="00:00"))

    assert several.end - several.start == timedelta(hours=49)
    assert single.end - single.start == timedelta(hours=25)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "X-PROPOSAL-ID:",
            "RRULE:FREQ=DAILY\nX-PROPOSAL-ID:",
            "line 6: RRULE: events that repeat are not read",
        ),
        ("X-PROPOSAL-ID:", "RECURRENCE-ID:20261030T080000Z\nX-PROPOSAL-ID:", "RECURRENCE-ID: events that"),
        ("UID:017@example.org\n", "", "has no id"),
        ("DTSTART;TZID=America/Chicago:20261030T080000\n", "", "has no DTSTART"),
        ("DTEND;TZID=America/Chicago:20261102T080000", "DURATION:P3D", "has no DTEND; write the end out"),
        ("DTEND;TZID=America/Chicago:20261102", "DTEND;TZID=America/Chicago:20261029", "end does not lie"),
        ("America/Chicago", "Central Standard Time", "no time zone 'Central Standard Time' is known"),
        ("America/Chicago", "../../etc/passwd", "no time zone '../../etc/passwd' is known"),
        (";TZID=America/Chicago:20261030T", ":20261030T", "DTSTART is a time without a zone"),
        ("20261030T080000", "20261330T080000", "DTSTART is no time"),
        ("20261030T080000", "2026-10-30T08:00", "DTSTART is no time"),
        ("20261030T080000", "20261101T013000", "DTSTART comes twice in America/Chicago"),
        (";TZID=America/Chicago:20261030T080000", ";VALUE=DATE:20261030", "by schedule.day_begins"),
        (";TZID=America/Chicago:20261030T080000", ";VALUE=DATE:20261330", "DTSTART is no date"),
        ("SUMMARY:", "SUMMARY ", "is no line of a calendar"),
    ],
)
def test_an_event_that_cannot_be_read_is_left_out_and_said(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    good = EVENT.replace("017", "good").replace("wake up", "sleep")
    schedule = file_schedule(tmp_path, calendar(EVENT.replace(old, new, 1), good), ".ics")

    assert [beamtime.id for beamtime in listed(schedule)] == ["good@example.org"]
    [fault] = faults(schedule)
    assert words in fault


def test_a_whole_day_at_the_end_of_all_years_leaves_the_others(tmp_path: Path) -> None:
    day = "BEGIN:VEVENT\nUID:last@example.org\nDTSTART;VALUE=DATE:99991231\nEND:VEVENT\n"
    schedule = file_schedule(tmp_path, calendar(EVENT, day), ".ics", day_begins="08:00")

    assert [beamtime.id for beamtime in listed(schedule)] == ["017@example.org"]
    [fault] = faults(schedule)
    assert "DTSTART is a time out of all reason" in fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no whole calendar"),
        ("hello\n", "no calendar: it should begin with BEGIN:VCALENDAR"),
        ("<html></html>", "no calendar"),
        (EVENT, "no calendar: it should begin"),
        (calendar(EVENT).removesuffix("END:VCALENDAR\r\n"), "no whole calendar"),
        (calendar(EVENT)[:-40], "no whole calendar: END:VCALENDAR is missing"),
        (calendar(EVENT).partition("BEGIN:VALARM")[0], "line 3: no whole calendar"),
        (calendar(EVENT) + "BEGIN:VCALENDAR\n", "no whole calendar"),
        (calendar("END:VEVENT\n"), "line 3: no calendar: END:VEVENT ends what did not begin"),
        (calendar(EVENT.replace("UID", "RRULE:FREQ=DAILY\nUID")), "events that repeat"),
    ],
)
def test_a_calendar_of_no_use_is_a_bad_response(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadResponseError, match=re.escape(words)):
        listed(file_schedule(tmp_path, text, ".ics"))


def test_an_empty_calendar_is_an_empty_schedule(tmp_path: Path) -> None:
    assert listed(file_schedule(tmp_path, calendar(), ".ics")) == []


# -- lines --------------------------------------------------------------------------------------


def test_colons_and_semicolons_in_quotes_belong_to_the_value() -> None:
    assert list(content_lines('ATTENDEE;CN="a;b:c";X=1:mailto:x@y\n')) == [
        Line(number=1, name="ATTENDEE", value="mailto:x@y", params={"CN": "a;b:c", "X": "1"})
    ]


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)


@given(text=TEXTS, width=st.integers(1, 20))
def test_a_folded_and_escaped_text_is_read_back(text: str, width: int) -> None:
    escaped = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    whole = f"SUMMARY:{escaped}"
    parts = [whole[begin : begin + width] for begin in range(0, len(whole), width)]

    [line] = content_lines("\r\n ".join(parts))

    assert isinstance(line, Line)
    assert (line.name, line.text) == ("SUMMARY", text)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 700), more=st.text(max_size=40))
def test_a_damaged_calendar_is_bad_or_still_says_the_same(tmp_path: Path, cut: int, more: str) -> None:
    whole = calendar(EVENT)
    schedule = file_schedule(
        tmp_path, (whole[:cut] + more + whole[cut:]).encode("utf-8", "surrogatepass"), ".ics"
    )

    try:
        found = listed(schedule)
    except BadResponseError:
        found = []

    assert len(found) <= 1
