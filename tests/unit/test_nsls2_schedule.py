"""Proposals by their numbers, against the box's own reading of the API."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aps_house import SITE, always, http, talking
from beamtime_handlers.clients.nsls2_schedule import Nsls2Schedule, Settings, build
from beamtime_handlers.clients.nsls2_schedule.replies import parse_proposal
from beamtime_ioc.errors import (
    BadResponseError,
    ChooseByIdError,
    NobodyOnBeamError,
    ServiceUnavailableError,
    WrongProposalError,
)
from beamtime_ioc.on_beam import Outcome, on_beam, outcome_of
from beamtime_ioc.ports import Context
from beamtime_ioc.testing import MemoryOutbox
from beamtime_sim.schedule import Schedule
from beamtime_sim.schedule_server import ScheduleServer

NOON = datetime(2026, 11, 1, 18, tzinfo=UTC)  # of the day on which Chicago sets its clocks back
PROPOSAL: dict[str, Any] = {
    "proposal_id": "312345",
    "data_session": "pass-312345",
    "title": "Grains of an invented metal",
    "type": "General User",
    "instruments": ["SRX", "99-bm-a,b"],
    "cycles": ["2026-2", "2026-3"],
    "users": [
        {"first_name": "Ren", "last_name": "O'Brien", "email": None, "username": "robrien", "is_pi": False},
        {
            "first_name": "Zoë",
            "last_name": "Łukasik",
            "email": "z@example.edu",
            "username": "zl",
            "is_pi": True,
        },
    ],
    "safs": [{"saf_id": "311284", "status": "APPROVED", "instruments": ["SRX"]}],
}


def make_client(url: str, **settings: Any) -> Nsls2Schedule:
    given = {"backend": "nsls2", "url": url, "read_timeout_s": 1, "overall_timeout_s": 2, **settings}
    context = Context(site=SITE, directory=Path(), state=Path(), outbox=MemoryOutbox())
    client = build(Settings.model_validate(given), context)
    client.clock = lambda: NOON
    return client


@pytest.fixture(scope="module")
def served() -> Iterator[ScheduleServer]:
    schedule = Schedule.around(datetime(2026, 11, 1, tzinfo=UTC).date())
    with ScheduleServer(schedule, credentials=("u", "p"), clock=lambda: NOON) as server:
        yield server


@pytest.fixture
def server(served: ScheduleServer) -> Iterator[ScheduleServer]:
    served.forget_requests()
    yield served
    served.knobs.reset()


@pytest.mark.parametrize("key", ["9100001", "nsls2:9100001", "pass-9100001", " 9100001 "])
def test_a_proposal_is_found_by_its_number(server: ScheduleServer, key: str) -> None:
    found = make_client(server.nsls2_url).by_id(key)

    assert found is not None
    assert (found.key, found.proposal, found.cycle) == ("nsls2:9100001", "9100001", "2026-3")
    assert found.title == "Crack growth in invented alloys"
    assert [person.full_name for person in found.people if person.is_pi] == ["Zoë Müller-Łukasik"]
    assert found.esaf


def test_a_chosen_proposal_counts_for_whole_days_from_midnight(server: ScheduleServer) -> None:
    found = make_client(server.nsls2_url, days=2).by_id("9100001")

    assert found is not None
    assert found.start.astimezone(SITE.zone).isoformat() == "2026-11-01T00:00:00-05:00"
    assert found.end.astimezone(SITE.zone).isoformat() == "2026-11-03T00:00:00-06:00"


def test_no_password_is_sent_and_none_is_asked_for(server: ScheduleServer) -> None:
    make_client(server.nsls2_url).by_id("9100001")

    assert [request.path for request in server.requests] == [
        "v1/proposal/9100001",
        "v1/facility/nsls2/cycles/current",
    ]
    assert {request.status for request in server.requests} == {200}


def test_a_look_up_after_the_first_is_one_question(server: ScheduleServer) -> None:
    client = make_client(server.nsls2_url)
    client.by_id("9100001")
    server.forget_requests()

    client.by_id("9100002")

    assert server.request_count == 1


@pytest.mark.parametrize("key", ["1", "999999999999"])
def test_a_number_that_is_not_there_gives_none(server: ScheduleServer, key: str) -> None:
    assert make_client(server.nsls2_url).by_id(key) is None


@pytest.mark.parametrize("key", ["", "9100001/../..", "91%2f", "٣١٢", "-1", "1" * 13, "pass-", "x"])
def test_what_is_no_number_is_not_asked_for(server: ScheduleServer, key: str) -> None:
    assert make_client(server.nsls2_url).by_id(key) is None
    assert server.request_count == 0


def test_who_is_on_beam_is_never_said(server: ScheduleServer) -> None:
    with pytest.raises(ChooseByIdError, match="does not say who is on beam") as caught:
        on_beam(make_client(server.nsls2_url), NOON, 0)

    assert isinstance(caught.value, NobodyOnBeamError)
    assert outcome_of(caught.value) is Outcome.NONE
    assert "choose the proposal by its number" in caught.value.advice
    assert server.request_count == 0


def test_a_check_asks_for_the_cycle(server: ScheduleServer) -> None:
    good = make_client(server.nsls2_url).check()
    server.knobs.set("schedule.status", 500)
    bad = make_client(server.nsls2_url).check()

    assert good.ok
    assert "is in cycle 2026-3" in good.sentence
    assert not bad.ok


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"instrument": "HXN"}, "is for 99-BM-A,B, not for HXN"),
        ({"cycle": "1999-1"}, "now is 1999-1"),
    ],
)
def test_a_proposal_of_another_beamline_or_cycle_is_refused(
    server: ScheduleServer, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(WrongProposalError, match=words) as caught:
        make_client(server.nsls2_url, **settings).by_id("9100001")

    assert "look at the number" in caught.value.advice


@pytest.mark.parametrize(
    ("knob", "value", "error"),
    [
        ("schedule.status", 503, ServiceUnavailableError),
        ("schedule.body", "html", BadResponseError),
        ("schedule.body", "garbage", BadResponseError),
        ("schedule.body", "truncated", BadResponseError),
        ("schedule.body", "wrong-shape", BadResponseError),
        ("schedule.body", "empty", BadResponseError),
        ("schedule.hang", True, ServiceUnavailableError),
    ],
)
def test_a_service_that_fails_is_never_a_number_that_is_not_there(
    server: ScheduleServer, knob: str, value: object, error: type[Exception]
) -> None:
    client = make_client(server.nsls2_url, read_timeout_s=0.3)
    server.knobs.set(knob, value)

    with pytest.raises(error) as caught:
        client.by_id("9100001")

    assert caught.value.advice  # type: ignore[attr-defined]


def test_a_service_that_fails_twice_is_no_failure(server: ScheduleServer) -> None:
    server.knobs.set_all({"schedule.status": 503, "schedule.fail_times": 2})

    assert make_client(server.nsls2_url).by_id("9100001") is not None


def test_an_answer_about_another_proposal_is_not_taken() -> None:
    body = json.dumps({"proposal": PROPOSAL}).encode()

    with (
        talking(always(http(body))) as (url, _),
        pytest.raises(BadResponseError, match="answered with proposal 312345, asked for 312346"),
    ):
        make_client(url, cycle="2026-3").by_id("312346")


def test_commissioning_belongs_to_no_cycle() -> None:
    proposal = {**PROPOSAL, "cycles": [], "type": "Beamline Commissioning (beamline staff only)"}
    with talking(always(http(json.dumps({"proposal": proposal}).encode()))) as (url, _):
        found = make_client(url, cycle="2026-3").by_id("312345")

    assert found is not None
    assert found.cycle == "2026-3"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"proposal_id": None}, "proposal.proposal_id"),
        ({"instruments": "SRX"}, "proposal.instruments"),
        ({"users": [{"first_name": {}}]}, r"proposal\.users\[0\]\.first_name: is no text"),
        ({"users": [None]}, r"proposal\.users\[0\]"),
    ],
)
def test_a_field_of_another_kind_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadResponseError, match=words):
        parse_proposal(json.dumps({"proposal": {**PROPOSAL, **changes}}).encode(), "the service")


@given(
    name=st.text(max_size=40),
    email=st.none() | st.sampled_from(["", "None", "none"]),
    pi=st.none() | st.booleans(),
)
def test_any_name_is_one_line_and_no_address_is_none(name: str, email: str | None, pi: bool | None) -> None:
    user = {"first_name": name, "last_name": "Doe", "email": email, "username": "u1", "is_pi": pi}
    body = json.dumps({"proposal": {**PROPOSAL, "proposal_id": 312345, "users": [user]}}).encode()

    proposal = parse_proposal(body, "the service")

    assert proposal.number == "312345"
    [person] = proposal.people
    assert "\n" not in person.first_name
    assert (person.email, person.is_pi, person.pi_inferred) == ("", True, not pi)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("url", "api.example.org", "must be a whole address"),
        ("url", "https://u:hush@api.example.org/v1", "must hold no user"),
        ("facility", "nsls2/../x", "match pattern"),
        ("days", 0, "greater than or equal to 1"),
        ("tolerance_min", 60, "not permitted"),
    ],
)
def test_a_wrong_setting_is_refused(key: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Settings.model_validate({"backend": "nsls2", "url": "https://api.example.org/v1", key: value})

    assert "hush" not in str(caught.value)
