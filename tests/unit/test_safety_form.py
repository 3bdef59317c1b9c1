"""Safety forms: read as the service gives them, and joined with the people of a proposal."""

from dataclasses import astuple, replace
from datetime import datetime
from time import monotonic
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_handlers.clients.safety_form import read_form
from beamtime_ioc.errors import BadResponseError
from beamtime_ioc.model import Person, SafetyForm, people_of, sorted_people, with_form

CHICAGO = ZoneInfo("America/Chicago")
ZOE = Person(first_name="Zoë", last_name="Müller", email="zoe@example.edu", badge="900101", is_pi=True)
REN = Person(first_name="Ren", last_name="O'Brien", badge="000102")
LIV = Person(first_name="Liv", last_name="Ås", email="liv@example.org", badge="900104")
PEOPLE = st.builds(
    Person,
    last_name=st.sampled_from(["", "Doe", "Roe"]),
    email=st.sampled_from(["", "doe@example.org", "Doe@example.org", "roe@example.org"]),
    badge=st.sampled_from(["", "1", "2"]),
    is_pi=st.booleans(),
)
GIVEN: dict[str, Any] = {
    "esafId": 8800011,
    "esafTitle": "Cracks ",
    "esafStatus": "Approved",
    "sector": "99",
    "experimentStartDate": "2026-10-30 08:00:00",
    "experimentEndDate": "2026-11-01 01:30:00",
    "experimentUsers": [
        {"badge": "000102", "firstName": "Ren ", "lastName": "O'Brien", "email": None, "piFlag": "No"},
        {"badgeNumber": 900101, "firstName": "Zoë", "lastName": "Müller", "piFlag": "Yes", "novel": 1},
    ],
    "doi": "10.0000/esaf.8800011",
}


def read(**changes: Any) -> SafetyForm:
    return read_form({**GIVEN, **changes}, "the safety forms", CHICAGO)


def test_a_form_is_read_with_its_people_and_its_local_times() -> None:
    form = read()

    assert (form.number, form.status, form.doi) == ("8800011", "Approved", "10.0000/esaf.8800011")
    assert form.start == datetime.fromisoformat("2026-10-30T08:00:00-05:00")
    assert form.end == datetime.fromisoformat("2026-11-01T01:30:00-06:00")  # the second of that hour
    assert [(p.badge, p.full_name, p.email, p.is_pi) for p in form.people] == [
        ("900101", "Zoë Müller", "", True),
        ("000102", "Ren O'Brien", "", False),
    ]


@pytest.mark.parametrize("flag", ["Yes", "YES", "y", "Y "])
def test_both_spellings_of_the_flag_make_a_pi(flag: str) -> None:
    [person] = read(experimentUsers=[{"badge": "1", "piFlag": flag}]).people

    assert person.is_pi


@pytest.mark.parametrize("flag", ["No", "N", "", None])
def test_whatever_else_makes_none(flag: str | None) -> None:
    [person] = read(experimentUsers=[{"badge": "1", "piFlag": flag}]).people

    assert not person.is_pi


@pytest.mark.parametrize("users", [None, []])
def test_a_form_may_have_no_people_and_no_times(users: object) -> None:
    form = read(experimentUsers=users, experimentStartDate=None, experimentEndDate="", doi="None")

    assert (form.people, form.start, form.end, form.doi) == ((), None, None, "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"esafId": None}, "esafId"),
        ({"experimentStartDate": "soon"}, "experimentStartDate: is no time"),
        ({"experimentEndDate": "2026-11-01"}, "experimentEndDate: is a date without a time of day"),
        ({"experimentUsers": {}}, "experimentUsers"),
        ({"experimentUsers": [{"badge": {}}]}, r"experimentUsers\[0\]\.badge: is no text"),
    ],
)
def test_a_field_of_another_kind_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadResponseError, match=f"^the safety forms answered .*: {words}"):
        read(**changes)


def joined(proposal: list[Person], form: list[Person]) -> list[tuple[str, bool, bool, bool]]:
    people = with_form(proposal, form)
    return [(p.badge or p.email, p.is_pi, p.pi_inferred, p.form_only) for p in people]


def test_who_stands_on_the_form_alone_is_added_and_marked() -> None:
    assert joined([ZOE, REN], [LIV, REN]) == [
        ("900101", True, False, False),
        ("000102", False, False, False),
        ("900104", False, False, True),
    ]


def test_who_stands_on_both_is_as_the_proposal_says_and_what_it_lacks_comes_from_the_form() -> None:
    other = Person(first_name="R.", last_name="OBRIEN", email="ren@example.org", badge="000102")

    [ren] = with_form([Person(first_name="Ren", last_name="O'Brien", badge="000102", is_pi=True)], [other])

    assert (ren.full_name, ren.email, ren.form_only) == ("Ren O'Brien", "ren@example.org", False)


def test_an_address_tells_who_is_the_same_only_where_a_badge_is_missing() -> None:
    without = Person(last_name="Müller", email="ZOE@example.edu")
    other = Person(last_name="Example", email="zoe@example.edu", badge="900199")

    assert len(with_form([ZOE], [without])) == 1
    assert len(with_form([ZOE], [other])) == 2
    assert len(with_form([REN], [Person(last_name="O'Brien")])) == 2  # nothing in common but a name


@given(st.lists(PEOPLE, max_size=5), st.lists(PEOPLE, max_size=7))
def test_who_is_the_same_is_the_first_that_is_so(proposal: list[Person], form: list[Person]) -> None:
    listed = list(people_of(proposal))
    for other in sorted_people(one for one in form if one.is_known):
        place = next((n for n, one in enumerate(listed) if one.is_same(other)), len(listed))
        listed[place : place + 1] = [(listed[place] if place < len(listed) else other).filled(other)]

    found = {astuple(replace(one, is_pi=False, pi_inferred=False, form_only=False)) for one in listed}
    for one in with_form(people_of(proposal), form):
        assert astuple(replace(one, is_pi=False, pi_inferred=False, form_only=False)) in found


@pytest.mark.parametrize("email", ["", "all@example.org"])
def test_many_people_are_joined_in_a_time_that_grows_with_their_number(email: str) -> None:
    proposal = [Person(last_name="Doe", badge=f"1{n}", email=email) for n in range(10_000)]
    form = [Person(last_name="Roe", badge=f"{1 + n % 2}{n}", email=email) for n in range(10_000)]

    began = monotonic()
    people = with_form(proposal, form)

    assert len(people) == 15_000
    assert monotonic() - began < 10  # each against each: a minute


def test_a_leading_zero_makes_another_badge() -> None:
    assert len(with_form([Person(last_name="A", badge="0900")], [Person(last_name="B", badge="900")])) == 2


def test_the_pi_of_the_proposal_stays() -> None:
    assert joined([ZOE], [Person(last_name="Ås", badge="900104", is_pi=True)]) == [
        ("900101", True, False, False),
        ("900104", False, False, True),
    ]


def test_the_pi_of_the_form_counts_where_the_proposal_marks_none() -> None:
    inferred = Person(last_name="O'Brien", badge="000102", is_pi=True, pi_inferred=True)

    assert joined([inferred], [ZOE]) == [("900101", True, False, True), ("000102", False, False, False)]
    assert joined([inferred], [LIV])[0] == ("000102", True, True, False)


def test_without_people_on_the_proposal_those_of_the_form_are_all() -> None:
    assert joined([], [LIV, ZOE]) == [("900101", True, False, True), ("900104", False, False, True)]
    assert joined([], [LIV])[0] == ("900104", True, True, True)
    assert joined([], [Person(institution="Example University")]) == []


PEOPLE = st.lists(
    st.builds(
        Person,
        last_name=st.sampled_from(["Ås", "Doe", ""]),
        email=st.sampled_from(["", "a@example.org", "A@example.org", "b@example.org"]),
        badge=st.sampled_from(["", "1", "01", "2"]),
        is_pi=st.booleans(),
    ),
    max_size=5,
)


@given(proposal=PEOPLE, form=PEOPLE)
def test_whatever_comes_nobody_is_lost_or_doubled_and_one_leads(
    proposal: list[Person], form: list[Person]
) -> None:
    people = with_form(people_of(proposal), form)

    assert all(any(one.is_same(two) for two in people) for one in [*proposal, *form] if one.badge)
    assert sum(person.is_pi for person in people) == min(1, len(people))
    assert len({person.badge for person in people if person.badge}) == len([p for p in people if p.badge])
