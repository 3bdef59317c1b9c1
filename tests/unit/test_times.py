"""Times as people write them: read right, or refused in words."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.model import local_time, parse_time

CHICAGO = ZoneInfo("America/Chicago")
EIGHT = datetime(2026, 10, 30, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-10-30T08:00:00-05:00",
        "2026-10-30T08:00:00-0500",
        "2026-10-30 08:00:00-05:00",
        "2026-10-30T08:00-05:00",
        " 2026-10-30T08:00:00.000-05:00 ",
        "2026-10-30T13:00:00Z",
        "20261030T130000Z",
    ],
)
def test_each_way_to_write_a_time_is_the_same_time(text: str) -> None:
    assert parse_time(text) == EIGHT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no time"),
        ("tomorrow", "is no time"),
        ("10/30/2026 08:00", "is no time"),
        ("2026-02-30T08:00:00Z", "is no time"),
        ("2026-10-30T24:30:00Z", "is no time"),
        ("2026-10-30", "is a date without a time of day"),
        ("2026-W44-5", "is a date without a time of day"),
        ("2026-10-30T08:00:00", "is a time without a zone"),
        ("0001-01-01T00:00:00+14:00", "out of all reason"),
        ("9999-12-31T23:59:59-14:00", "out of all reason"),
    ],
)
def test_what_is_no_time_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_time(text)


def test_a_time_without_a_zone_gets_the_one_it_is_given() -> None:
    assert parse_time("2026-10-30T08:00:00", CHICAGO) == EIGHT
    assert parse_time("2026-11-02T08:00:00", CHICAGO) == EIGHT + timedelta(hours=73)


def test_a_time_with_a_zone_keeps_it() -> None:
    assert parse_time("2026-10-30T13:00:00Z", CHICAGO) == EIGHT


def test_an_hour_that_comes_twice_is_refused_or_chosen() -> None:
    text = "2026-11-01T01:30:00"

    with pytest.raises(ValueError, match="comes twice in America/Chicago: write it with its offset"):
        parse_time(text, CHICAGO)

    first, second = parse_time(text, CHICAGO, fold=0), parse_time(text, CHICAGO, fold=1)
    assert second - first == timedelta(hours=1)
    assert first == parse_time("2026-11-01T01:30:00-05:00")


def test_an_hour_that_the_clocks_leave_out_is_refused() -> None:
    with pytest.raises(ValueError, match="no clock in America/Chicago shows"):
        parse_time("2026-03-08T02:30:00", CHICAGO)


@given(st.text())
def test_any_text_gives_a_time_in_utc_or_a_sentence(text: str) -> None:
    words, moment = "", None
    try:
        moment = parse_time(text, CHICAGO)
    except ValueError as error:
        words = str(error)

    assert words.startswith(("is ", "comes ")) or (moment is not None and moment.tzinfo is UTC)


@given(st.integers(0, 500_000_000))
def test_what_a_clock_shows_is_read_back_from_it(minutes: int) -> None:
    naive = datetime(1900, 1, 2, tzinfo=UTC).replace(tzinfo=None) + timedelta(minutes=minutes)
    try:
        moment = local_time(naive, CHICAGO)
    except ValueError:
        both = [naive.replace(tzinfo=CHICAGO, fold=fold).utcoffset() for fold in (0, 1)]
        assert both[0] != both[1]
    else:
        assert moment.astimezone(CHICAGO).replace(tzinfo=None) == naive
