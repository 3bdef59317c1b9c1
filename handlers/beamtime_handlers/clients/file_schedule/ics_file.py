"""A schedule as a calendar (ICS), without events that repeat.

Ids and people stand in `X-` properties, or in UID, ATTENDEE and ORGANIZER as calendar programs write them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from beamtime_handlers.clients.file_schedule.entries import (
    Contents,
    EntryError,
    FileError,
    Rules,
    Word,
    make_beamtime,
)
from beamtime_handlers.clients.file_schedule.ics_lines import Line, content_lines
from beamtime_handlers.clients.replies import not_none
from beamtime_ioc.model import Beamtime, Person, local_time, one_line

_REPEATS = ("RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID")
_WORDS = {
    "X-BEAMTIME-ID": "id",
    "X-PROPOSAL-ID": "proposal_id",
    "X-SAFETY-FORM-ID": "safety_form_id",
    "X-RUN-CYCLE": "cycle",
    "X-BEAMLINE": "beamline",
    "SUMMARY": "title",
}


def read_ics(text: str, rules: Rules) -> Contents:
    """Read the events of a calendar; one that is cancelled is none.

    Raises
    ------
    FileError
        It is no calendar.
    """
    contents = Contents()
    for begin, lines in _events(text, contents.bad):
        if any(line.name == "STATUS" and line.value.strip().upper() == "CANCELLED" for line in lines):
            continue
        with contents.entry():
            contents.take(_beamtime(begin, lines, rules), begin, rules)
    return contents


def _events(text: str, bad: list[EntryError]) -> Iterator[tuple[int, Sequence[Line]]]:
    """The lines of each event, without those of alarms and the like in it."""
    open_parts: list[str] = []
    event: list[Line] = []
    begin, broken, whole = 0, 0, False
    for line in content_lines(text):
        if not open_parts and not (
            isinstance(line, Line) and (line.name, line.value.upper()) == ("BEGIN", "VCALENDAR")
        ):
            number = line.number if isinstance(line, Line) else line
            raise FileError(number, "no calendar: it should begin with BEGIN:VCALENDAR")
        if isinstance(line, int):
            broken = broken or line
        elif line.name == "BEGIN":
            open_parts.append(line.value.strip().upper())
            whole = False
            if open_parts[1:] == ["VEVENT"]:
                begin, event, broken = line.number, [], 0
        elif line.name == "END":
            if open_parts[-1] != line.value.strip().upper():
                raise FileError(
                    line.number, f"no calendar: END:{one_line(line.value, 20)} ends what did not begin"
                )
            if open_parts[1:] == ["VEVENT"]:
                if broken:
                    bad.append(EntryError(broken, "is no line of a calendar: it has no name and colon"))
                else:
                    yield begin, event
            open_parts.pop()
            whole = not open_parts
        elif open_parts[1:] == ["VEVENT"]:
            event.append(line)
    if not whole:
        number = begin if open_parts[1:] else 0
        raise FileError(number, "no whole calendar: END:VCALENDAR is missing; was it cut off?")


def _beamtime(begin: int, lines: Sequence[Line], rules: Rules) -> Beamtime:
    for line in lines:
        if line.name in _REPEATS:
            raise EntryError(line.number, f"{line.name}: events that repeat are not read; write each one out")
    first = {line.name: line for line in reversed(lines)}
    words = {_WORDS[name]: Word(line.text, line.number) for name, line in first.items() if name in _WORDS}
    if "id" not in words and "UID" in first:
        words["id"] = Word(first["UID"].text, first["UID"].number)
    return make_beamtime(words, _people(lines), begin, rules, times=_times(begin, first, rules))


# -- times --------------------------------------------------------------------------------------


def _times(begin: int, lines: dict[str, Line], rules: Rules) -> tuple[datetime, datetime]:
    start, end = lines.get("DTSTART"), lines.get("DTEND")
    if start is None:
        raise EntryError(begin, "has no DTSTART")
    if end is not None:
        return _moment(start, rules), _moment(end, rules)
    if "DURATION" in lines or not _is_date(start):
        raise EntryError(start.number, "has no DTEND; write the end out")
    begins = _moment(start, rules)  # first: behind the last day that a calendar can write there is none
    return begins, _begin_of(_date(start) + timedelta(days=1), start, rules)


def _is_date(line: Line) -> bool:
    return line.params.get("VALUE", "").upper() == "DATE" or re.fullmatch(r"[0-9]{8}", line.value) is not None


def _date(line: Line) -> date:
    try:
        if not re.fullmatch(r"[0-9]{8}", line.value):
            raise ValueError
        return datetime.strptime(line.value, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise EntryError(line.number, f"{line.name} is no date") from None


def _begin_of(day: date, line: Line, rules: Rules) -> datetime:
    if rules.day_begins is None:
        raise EntryError(
            line.number,
            f"{line.name} is a whole day; say when it begins, by schedule.day_begins of the site file",
        )
    return _local(datetime.combine(day, rules.day_begins), rules.zone, line)


def _moment(line: Line, rules: Rules) -> datetime:
    if _is_date(line):
        return _begin_of(_date(line), line, rules)
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z?", line.value):
        raise EntryError(line.number, f"{line.name} is no time")
    try:
        naive = datetime.strptime(line.value.rstrip("Z"), "%Y%m%dT%H%M%S")  # noqa: DTZ007 - its zone comes below
    except ValueError:
        raise EntryError(line.number, f"{line.name} is no time") from None
    if line.value.endswith("Z"):
        return _local(naive, ZoneInfo("UTC"), line)
    if "TZID" in line.params:
        name = line.params["TZID"]
        if (zone := _zone(name)) is None:
            shown = one_line(name, 40)
            raise EntryError(
                line.number, f"{line.name}: no time zone {shown!r} is known; one is America/Chicago"
            )
        return _local(naive, zone, line)
    if not rules.local:
        raise EntryError(line.number, f"{line.name} is a time without a zone")
    return _local(naive, rules.zone, line)


@lru_cache(100)
def _zone(name: str) -> ZoneInfo | None:
    """None if it is not known. Remembered, since the disk is searched for the names of all."""
    return ZoneInfo(name) if name in available_timezones() else None


def _local(naive: datetime, zone: ZoneInfo, line: Line) -> datetime:
    try:
        return local_time(naive, zone)
    except ValueError as error:
        raise EntryError(line.number, f"{line.name} {error}") from error


# -- people -------------------------------------------------------------------------------------


def _people(lines: Sequence[Line]) -> list[Person]:
    """The attendees; the organizer is the PI, unless one of them has the chair."""
    people = [_person(line) for line in lines if line.name == "ATTENDEE"]
    organizers = [_person(line) for line in lines if line.name == "ORGANIZER"]
    if any(person.is_pi for person in people) or not organizers:
        return people
    pi = organizers[0]
    same = [p for p in people if pi.email and p.email.lower() == pi.email.lower()]
    others = [person for person in people if not (pi.email and person.email.lower() == pi.email.lower())]
    return [replace(same[0] if same else pi, is_pi=True), *others]


def _person(line: Line) -> Person:
    given = {name: one_line(text) for name, text in line.params.items()}
    first, last = given.get("X-FIRST-NAME", ""), given.get("X-LAST-NAME", "")
    if not first and not last:
        first, last = _names(given.get("CN", ""))
    scheme, colon, rest = line.value.partition(":")
    email = one_line(rest) if colon and scheme.strip().lower() == "mailto" else ""
    return Person(
        first_name=first,
        last_name=last,
        email=not_none(email),
        institution=given.get("X-INSTITUTION", ""),
        badge=given.get("X-BADGE", ""),
        is_pi=given.get("ROLE", "").upper() == "CHAIR",
    )


def _names(full: str) -> tuple[str, str]:
    """First and last name of `Zoë Example` or `Example, Zoë`."""
    if "@" in full:
        return "", ""
    last, comma, first = full.partition(",")
    if comma:
        return first.strip(), last.strip()
    first, _, last = full.rpartition(" ")
    return first, last
