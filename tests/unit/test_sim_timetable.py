"""The invented schedule: somebody is always on beam, and at the anchor a group worth showing."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_sim.people import Facility, load_facility
from beamtime_sim.timetable import Beamtime, timetable
from beamtime_sim.wire import offset_time, replies

ANCHOR = date(2026, 11, 20)
EXAMPLE_DOMAINS = ("example.edu", "example.org", "example.com")


@pytest.fixture(scope="module")
def facility() -> Facility:
    return load_facility()


def at_anchor(facility: Facility) -> Beamtime:
    return next(beamtime for beamtime in timetable(facility, ANCHOR).beamtimes if beamtime.number == 0)


def test_beamtimes_and_runs_follow_each_other_without_a_gap(facility: Facility) -> None:
    table = timetable(facility, ANCHOR)

    assert all(one.end == other.start for one, other in pairwise(table.beamtimes))
    assert all(one.end == other.start for one, other in pairwise(table.runs))


@given(minutes=st.integers(-500 * 24 * 60, 1500 * 24 * 60))
def test_at_every_minute_of_years_one_beamtime_is_active_in_one_run(minutes: int) -> None:
    table = timetable(load_facility(), ANCHOR)
    now = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(minutes=minutes)

    runs = [run for run in table.runs if run.start <= now < run.end]

    assert len(runs) == 1
    assert len([one for one in table.within(runs[0]) if one.start <= now < one.end]) == 1


def test_the_first_group_is_on_beam_during_the_whole_anchor_day(facility: Facility) -> None:
    first = at_anchor(facility)

    assert first.start <= datetime(2026, 11, 20, 0, 0, tzinfo=facility.timezone)
    assert first.end > datetime(2026, 11, 20, 23, 59, tzinfo=facility.timezone)


def test_the_first_group_has_its_leader_second_and_one_person_without_address(facility: Facility) -> None:
    visit = at_anchor(facility).visit

    addresses = [person.email for person in visit.people if person.email]

    assert visit.people[1] is visit.pi
    assert 3 <= len(addresses) == len(visit.people) - 1 <= 4
    assert {address.partition("@")[2] for address in addresses} == set(EXAMPLE_DOMAINS)


def test_nobody_can_be_reached_by_an_invented_address(facility: Facility) -> None:
    people = {person.badge: person for visit in facility.visits for person in visit.people}

    domains = {person.email.lower().partition("@")[2] for person in people.values() if person.email}

    assert domains <= set(EXAMPLE_DOMAINS)
    assert all(badge.startswith("9001") and len(badge) == 6 for badge in people)


def test_change_over_is_at_eight_on_the_facilitys_clock_all_year(facility: Facility) -> None:
    table = timetable(facility, ANCHOR)

    starts = [beamtime.start.astimezone(facility.timezone) for beamtime in table.beamtimes]

    assert {(start.hour, start.minute) for start in starts} == {(8, 0)}
    assert {start.utcoffset() for start in starts} == {timedelta(hours=-5), timedelta(hours=-6)}


def test_a_group_does_not_come_back_within_a_month(facility: Facility) -> None:
    """Two beamtimes of one proposal in one month would share a directory by name."""
    table = timetable(facility, ANCHOR)
    months = [(one.start.year, one.start.month, one.visit.gup) for one in table.beamtimes]

    assert len(months) == len(set(months))


def test_each_beamtime_has_numbers_of_its_own_near_the_anchor_as_agreed(facility: Facility) -> None:
    wire = replies(facility, timetable(facility, ANCHOR))
    activities = [
        activity
        for path, elements in wire.items()
        if path.startswith("schedule/")
        for element in elements
        for activity in element["activities"]
    ]

    first = next(activity for activity in activities if activity["beamtime"]["beamtimeId"] == 300050)

    assert first["beamtime"]["proposal"]["gupId"] == 9100001
    assert first["experimentId"] == 8800050
    for key in ("activityId", "experimentId"):
        numbers = [activity[key] for activity in activities if activity[key] is not None]
        assert len(numbers) == len(set(numbers))


def test_some_safety_forms_are_missing_but_not_that_of_the_first_group(facility: Facility) -> None:
    missing = [visit.gup for visit in facility.visits if not visit.esaf]

    wire = replies(facility, timetable(facility, ANCHOR))
    without = {
        activity["beamtime"]["proposal"]["gupId"]
        for element in wire["schedule/findByRunNameAndScheduleName/2026-3/99-BM-A,B"]
        for activity in element["activities"]
        if activity["experimentId"] is None
    }

    assert without == set(missing) == {9100002, 9100010}


def test_both_forms_of_an_offset_are_written(facility: Facility) -> None:
    winter = datetime(2026, 12, 1, 8, tzinfo=facility.timezone)

    assert offset_time(winter) == "2026-12-01T08:00:00-0600"
    assert offset_time(winter, colon=True) == "2026-12-01T08:00:00-06:00"


def test_duration_counts_true_seconds_over_the_clock_change(facility: Facility) -> None:
    table = timetable(facility, date(2026, 11, 1))

    wire = replies(facility, table)
    durations = [
        activity["duration"]
        for element in wire["schedule/findByRunNameAndScheduleName/2026-3/99-BM-A,B"]
        for activity in element["activities"]
        if activity["beamtime"]["beamtimeId"] == 300050
    ]

    assert durations == [(4 * 24 + 1) * 3600]
