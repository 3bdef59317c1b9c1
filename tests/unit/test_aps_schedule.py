"""The schedule port over the APS API: what is asked, and what is made of the answers."""

import copy
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aps_house import (
    AUTUMN,
    SAMPLE,
    SCHEDULE,
    SITE,
    House,
    Talks,
    changed,
    http,
    make_client,
    schedule_house,
    talking,
)
from beamtime_handlers.clients.aps_schedule import Settings
from beamtime_handlers.clients.aps_schedule.client import CYCLES_SEARCHED
from beamtime_handlers.select_experiment import select_experiment
from beamtime_ioc.errors import NotFoundError, StepFailedError
from beamtime_ioc.testing import FakeRun, MemoryIdentity


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with schedule_house(tmp_path) as house:
        yield house


def test_the_schedule_is_listed_by_start(house: House) -> None:
    house.serve(changed(lambda a: a.reverse()))

    listed = house.client().list_between(*AUTUMN)

    assert [b.key for b in listed] == ["aps:300011", "aps:300012", "aps:300013", "aps:activity-14"]
    assert listed[0].people[0].full_name == "Zoë Müller-Łukasik"


def test_only_what_overlaps_the_window_is_listed(house: House) -> None:
    schedule = house.client()
    change_over = datetime.fromisoformat("2026-11-02T08:00:00-06:00")

    before = schedule.list_between(change_over - timedelta(hours=1), change_over)
    after = schedule.list_between(change_over, change_over + timedelta(hours=1))

    assert ([b.id for b in before], [b.id for b in after]) == (["300011"], ["300012"])


def test_what_stands_in_two_overlapping_cycles_is_listed_once(house: House) -> None:
    data = copy.deepcopy(SAMPLE)
    data["run/getAllRuns"].append({**data["run/getAllRuns"][1], "runName": "2026-3b"})
    data[SCHEDULE.replace("2026-3", "2026-3b")] = data[SCHEDULE]
    house.serve(data)

    listed = house.client().list_between(*AUTUMN)

    assert [b.id for b in listed] == ["300011", "300012", "300013", "activity-14"]
    assert {b.cycle for b in listed} == {"2026-3"}


def test_the_comma_of_a_beamline_goes_percent_encoded(house: House) -> None:
    house.client().list_between(*AUTUMN)

    asked = house.server.requests[-1]
    assert asked.target.endswith("/2026-3/99-BM-A%2CB")
    assert asked.path == SCHEDULE


def test_a_look_up_after_the_first_is_one_question(house: House) -> None:
    schedule = house.client()
    schedule.list_between(*AUTUMN)
    house.server.forget_requests()

    schedule.cycles()
    schedule.list_between(*AUTUMN)

    assert [request.path for request in house.server.requests] == [SCHEDULE]


def test_only_the_cycles_of_the_window_are_asked(house: House) -> None:
    house.client().list_between(datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 9, 29, 13, 0, 1, tzinfo=UTC))

    assert [request.path.split("/")[2] for request in house.server.requests[1:]] == ["2026-2", "2026-3"]


def test_a_cycle_in_the_site_file_is_looked_in_whatever_its_dates(house: House) -> None:
    data = copy.deepcopy(SAMPLE)
    data["run/getAllRuns"] = []
    house.serve(data)
    schedule = house.client(cycle="2026-3")

    listed = schedule.list_between(*AUTUMN)

    assert schedule.cycles() is None
    assert len(listed) == 4
    assert [request.path for request in house.server.requests] == [SCHEDULE]


@pytest.mark.parametrize("key", ["300012", "aps:300012"])
def test_a_beamtime_is_found_by_its_number(house: House, key: str) -> None:
    found = house.client().by_id(key)

    assert found is not None
    assert found.proposal == "9100002"


def test_a_number_that_is_not_there_gives_none(house: House) -> None:
    assert house.client().by_id("999999") is None


def years_of_cycles(house: House, count: int, *, old: int) -> None:
    """So many cycles before those of the sample; the `old` newest of them has beamtime 300011 alone."""
    data = copy.deepcopy(SAMPLE)
    begin = datetime.fromisoformat(data["run/getAllRuns"][0]["startTime"])
    for back in range(1, count + 1):
        start, end = (begin - timedelta(days=120 * (back - more)) for more in (0, 1))
        period = {"startTime": start.isoformat(), "endTime": end.isoformat()}
        data["run/getAllRuns"].append({"runId": back, "runName": f"old-{back:02d}", **period})
    data[SCHEDULE.replace("2026-3", f"old-{old:02d}")] = data[SCHEDULE]
    data[SCHEDULE] = []
    house.serve(data)


def test_a_beamtime_of_years_ago_is_found_by_its_number_and_adopted(house: House) -> None:
    years_of_cycles(house, 60, old=25)
    schedule, identity = house.client(), MemoryIdentity()
    run = FakeRun(site=SITE, services={"schedule": schedule, "identity": identity})

    select_experiment(run, None, choice="300011")

    current = identity.current()
    assert current is not None
    assert (current.key, current.cycle) == ("aps:300011", "old-25")


def test_where_a_number_was_looked_for_is_said_if_it_was_not_everywhere(house: House) -> None:
    years_of_cycles(house, 60, old=40)
    schedule = house.client()
    run = FakeRun(site=SITE, services={"schedule": schedule, "identity": MemoryIdentity()})
    schedule.cycles()
    house.server.forget_requests()

    with pytest.raises(StepFailedError) as caught:
        select_experiment(run, None, choice="300011")

    newest = len(SAMPLE["run/getAllRuns"])
    assert caught.value.sentence == (
        f"there is no beamtime 300011 of 99-BM-A,B in the {CYCLES_SEARCHED} newest run cycles"
    )
    assert f"older than old-{CYCLES_SEARCHED - newest:02d}, into schedule.cycle" in caught.value.advice
    # The newest cycles for the list around now, and those for the number.
    assert house.server.request_count <= newest + CYCLES_SEARCHED


def test_with_a_cycle_in_the_site_file_a_number_is_looked_for_in_that_alone(house: House) -> None:
    years_of_cycles(house, 60, old=40)

    found = house.client(cycle="old-40").by_id("aps:300011")
    with pytest.raises(NotFoundError, match="no beamtime 300011 of 99-BM-A,B in 2026-3; no other cycle was"):
        house.client(cycle="2026-3").by_id("300011")

    assert found is not None
    assert found.cycle == "old-40"


def test_many_look_ups_use_one_connection() -> None:
    runs, schedule = (json.dumps(SAMPLE[key]).encode() for key in ("run/getAllRuns", SCHEDULE))

    def talk(connection: socket.socket, talks: Talks) -> None:
        while request := talks.request(connection):
            connection.sendall(http(runs if b"getAllRuns" in request else schedule))

    with talking(talk) as (url, talks):
        client = make_client(Path(), url)
        with ThreadPoolExecutor(4) as pool:
            counts = [len(f.result()) for f in [pool.submit(client.list_between, *AUTUMN) for _ in range(20)]]

    assert counts == [4] * 20
    assert talks.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        talks.request(connection)
        connection.sendall(http(b"[]"))

    with talking(talk) as (url, talks):
        client = make_client(Path(), url)
        health = [client.check() for _ in range(3)]

    assert [h.ok for h in health] == [True] * 3
    assert len(talks.requests) >= 3


def test_a_check_says_whether_the_credentials_are_accepted(house: House) -> None:
    good = house.client().check()
    house.write_credentials("svc-99bm|wrong")
    bad = house.client().check()

    assert good.ok
    assert 0 < good.latency_s < 2
    assert not bad.ok
    assert "does not accept our credentials (401)" in bad.sentence
    assert house.server.requests[0].path == "userBeamlineAuthorizedEdit/getAuthorizedBeamlines"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("url", "schedule.example.org/sched-api", "must be a whole address"),
        ("url", "ftp://schedule.example.org/", "must be a whole address"),
        ("url", "https://schedule.example.org:port/", "must be a whole address|port"),
        ("url", "https://someone:hush@schedule.example.org/", "must hold no user, password"),
        ("tolerance_min", -1, "greater than or equal to 0"),
        ("tolerance_min", float("inf"), "less than or equal to 10080"),
        ("read_timeout_s", 0, "greater than 0"),
        ("cycle", "", "at least 1 character"),
        ("tolerance", 60, "not permitted"),
        ("backend", "esrf", "'aps'"),
    ],
)
def test_a_wrong_setting_is_refused(key: str, value: object, sentence: str) -> None:
    section = {"backend": "aps", "url": "https://schedule.example.org/sched-api/", key: value}

    with pytest.raises(ValueError, match=sentence) as caught:
        Settings.model_validate(section)

    assert "hush" not in str(caught.value)


def test_nobody_waits_long_unless_the_site_file_says_so() -> None:
    settings = Settings.model_validate({"backend": "aps", "url": "https://schedule.example.org/sched-api/"})

    waits = settings.connect_timeout_s, settings.read_timeout_s, settings.overall_timeout_s
    assert waits == (3, 10, 15)
    assert (settings.tolerance_min, settings.cycle) == (0, None)


def test_every_setting_is_described() -> None:
    assert [name for name, spec in Settings.model_fields.items() if not spec.description] == []
