"""The schedule API in the box, asked by a real HTTP client."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests

from beamtime_sim import clock_change
from beamtime_sim.bodies import BODIES
from beamtime_sim.errors import BoxError, PortTakenError, ScheduleError
from beamtime_sim.schedule import Schedule
from beamtime_sim.schedule_server import ScheduleServer

SAMPLE = Path(__file__).parents[1] / "data" / "aps_schedule.json"
CREDENTIALS = ("beamline-99bm", "an invented password")
NOW = datetime(2026, 11, 20, 18, tzinfo=UTC)
SCHEDULE = "schedule/findByRunNameAndScheduleName/2026-3/99-BM-A%2CB"
# Long enough for a busy machine, far from an answer that never comes.
PATIENCE_S = 10


@pytest.fixture
def server() -> Iterator[ScheduleServer]:
    schedule = Schedule.around(date(2026, 11, 20))
    with ScheduleServer(schedule, credentials=CREDENTIALS, clock=lambda: NOW) as server:
        yield server


@pytest.fixture
def sample() -> Iterator[ScheduleServer]:
    with ScheduleServer(Schedule.from_file(SAMPLE), clock=lambda: NOW) as server:
        yield server


def get(server: ScheduleServer, path: str, timeout: float = PATIENCE_S) -> requests.Response:
    return requests.get(server.url + path, auth=server.credentials, timeout=timeout)


def activities(reply: requests.Response) -> list[dict[str, Any]]:
    return [activity for element in reply.json() for activity in element["activities"]]


def active(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        activity
        for activity in found
        if datetime.fromisoformat(activity["startTime"]) <= NOW < datetime.fromisoformat(activity["endTime"])
    ]


def wait_for_request(server: ScheduleServer) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while server.request_count == 0:
        assert time.monotonic() < deadline, "no request came"
        threading.Event().wait(0.01)


def test_the_schedule_of_the_current_run_shows_who_is_on_beam(server: ScheduleServer) -> None:
    run = get(server, "run/getCurrentRun").json()[0]["runName"]

    reply = get(server, f"schedule/findByRunNameAndScheduleName/{run}/99-BM-A%2CB")

    (activity,) = active(activities(reply))
    people = activity["beamtime"]["proposal"]["experimenters"]
    assert reply.headers["Content-Type"] == "application/json"
    assert [person["lastName"] for person in people if person["piFlag"] == "Y"] == ["Müller-Łukasik"]
    assert activity["beamtime"]["beamtimeId"] == 300050


def test_a_client_that_reads_only_the_first_element_misses_the_active_beamtime(
    server: ScheduleServer,
) -> None:
    first, second = get(server, SCHEDULE).json()

    assert active(first["activities"]) == []
    assert len(active(second["activities"])) == 1


def test_the_comma_arrives_encoded_or_plain(server: ScheduleServer) -> None:
    encoded = get(server, SCHEDULE)
    plain = get(server, SCHEDULE.replace("%2C", ","))

    assert encoded.json() == plain.json() != []
    assert [seen.path for seen in server.requests] == [SCHEDULE.replace("%2C", ",")] * 2
    assert server.requests[0].target.endswith("/99-BM-A%2CB")


def test_every_run_is_listed_and_found_by_time(server: ScheduleServer) -> None:
    runs = get(server, "run/getAllRuns").json()

    found = get(server, "run/getRunByDateTime/2026-11-20T12:00:00-06:00").json()

    assert [run["runName"] for run in found] == ["2026-3"]
    assert found == get(server, "run/getCurrentRun").json()
    assert found[0] in runs
    assert len(runs) >= 15


def test_a_time_without_zone_is_an_error_as_at_the_facility(server: ScheduleServer) -> None:
    for text in ("2026-11-20T12:00:00", "tomorrow"):
        reply = get(server, f"run/getRunByDateTime/{text}")

        assert reply.status_code == 500
        assert reply.json()["message"] == f"Unparseable date: {text}"


def test_the_activity_endpoint_misses_what_the_schedule_shows(server: ScheduleServer) -> None:
    whole = activities(get(server, SCHEDULE))

    listed = get(server, "activity/findByRunNameAndBeamlineId/2026-3/99-BM-A%2CB").json()

    assert 0 < len(listed) < len(whole)
    assert all(activity in whole for activity in listed)
    assert active(listed) == []


def test_an_activity_is_found_by_its_number(server: ScheduleServer) -> None:
    (wanted,) = active(activities(get(server, SCHEDULE)))

    found = get(server, f"activity/findByActivityId/{wanted['activityId']}")
    missing = get(server, "activity/findByActivityId/77")

    assert found.json() == wanted
    assert missing.status_code == 404
    assert missing.json()["message"] == "No activity 77"


def test_only_the_own_beamline_may_be_read(server: ScheduleServer) -> None:
    authorized = get(server, "userBeamlineAuthorizedEdit/getAuthorizedBeamlines").json()

    foreign = get(server, "schedule/findByRunNameAndScheduleName/2026-3/1-ID-B")

    assert authorized == [{"beamline": "99-BM-A,B"}]
    assert foreign.status_code == 403
    assert "not authorized for beamline Id : 1-ID-B" in foreign.json()["message"]


def test_a_run_without_entries_is_an_empty_list(server: ScheduleServer) -> None:
    reply = get(server, SCHEDULE.replace("2026-3", "1999-1"))

    assert reply.status_code == 200
    assert reply.json() == []


@pytest.mark.parametrize("path", ["", "nothing/here", "run/", "../../etc/passwd"])
def test_any_other_path_is_a_404_in_json(server: ScheduleServer, path: str) -> None:
    reply = get(server, path)

    assert reply.status_code == 404
    assert reply.json()["error"] == "Not Found"


def test_the_schedule_is_read_only(server: ScheduleServer) -> None:
    reply = requests.post(server.url + SCHEDULE, auth=CREDENTIALS, json={}, timeout=PATIENCE_S)

    assert reply.status_code == 405


@pytest.mark.parametrize("auth", [None, ("beamline-99bm", "wrong"), ("somebody", "an invented password")])
def test_without_the_right_password_nothing_is_told(
    server: ScheduleServer, auth: tuple[str, str] | None
) -> None:
    reply = requests.get(server.url + SCHEDULE, auth=auth, timeout=PATIENCE_S)

    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"].startswith("Basic")
    assert reply.json()["error"] == "Unauthorized"


def test_one_connection_carries_many_requests(server: ScheduleServer) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)) as connection:
        connection.connect()
        first = connection.sock

        for _ in range(20):
            connection.request("GET", "/nothing")
            connection.getresponse().read()

        assert connection.sock is first
    assert server.request_count == 20


def test_a_sample_file_is_served_as_it_stands(sample: ScheduleServer) -> None:
    reply = get(sample, SCHEDULE)

    assert [activity["activityId"] for activity in activities(reply)] == [11, 12, 13, 14]
    assert [run["runName"] for run in get(sample, "run/getAllRuns").json()] == ["2026-2", "2026-3"]


def test_the_other_endpoints_follow_from_the_sample_file(sample: ScheduleServer) -> None:
    current = get(sample, "run/getCurrentRun").json()
    listed = get(sample, "activity/findByRunNameAndBeamlineId/2026-3/99-BM-A%2CB").json()
    other_run = get(sample, SCHEDULE.replace("2026-3", "2026-2")).json()

    assert [run["runName"] for run in current] == ["2026-3"]
    assert [activity["activityId"] for activity in listed] == [11, 13]
    assert get(sample, "activity/findByActivityId/14").json()["beamtime"] is None
    assert other_run == []


def test_between_runs_the_current_run_is_an_empty_list() -> None:
    christmas = datetime(2026, 12, 25, 18, tzinfo=UTC)
    with ScheduleServer(Schedule.from_file(SAMPLE), clock=lambda: christmas) as server:
        assert get(server, "run/getCurrentRun").json() == []


def test_data_without_runs_are_refused() -> None:
    with pytest.raises(ScheduleError, match="run/getAllRuns"):
        ScheduleServer({"run/getCurrentRun": []})


def test_a_taken_port_is_said(server: ScheduleServer) -> None:
    other = ScheduleServer(Schedule.from_file(SAMPLE), port=server.port)

    with pytest.raises(PortTakenError, match=f"port {server.port} on 127.0.0.1 is taken"):
        other.start()


def test_a_server_comes_back_on_its_port(server: ScheduleServer) -> None:
    port = server.port
    get(server, "run/getAllRuns")

    server.stop()

    with pytest.raises(requests.ConnectionError):
        get(server, "run/getAllRuns")
    server.start()
    assert server.port == port
    assert get(server, "run/getAllRuns").status_code == 200


# The knobs


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_status_stands_for_every_answer(server: ScheduleServer, status: int) -> None:
    server.knobs.set("schedule.status", status)

    assert [get(server, "run/getAllRuns").status_code for _ in range(3)] == [status] * 3


def test_fail_times_lets_the_next_answers_be_good(server: ScheduleServer) -> None:
    server.knobs.set("schedule.fail_times", 2)
    unnamed = [get(server, "run/getAllRuns").status_code for _ in range(4)]

    server.knobs.set_all({"schedule.fail_times": 1, "schedule.status": 500})
    named = [get(server, "run/getAllRuns").status_code for _ in range(3)]

    assert unnamed == [503, 503, 200, 200]
    assert named == [500, 200, 200]


def test_delay_holds_each_answer_back(server: ScheduleServer) -> None:
    server.knobs.set("schedule.delay_s", 0.3)
    begin = time.monotonic()

    reply = get(server, "run/getAllRuns")

    assert reply.status_code == 200
    assert time.monotonic() - begin >= 0.3


def test_hang_takes_the_request_and_never_answers(server: ScheduleServer) -> None:
    server.knobs.set("schedule.hang", True)

    with pytest.raises(requests.ReadTimeout):
        get(server, "run/getAllRuns", timeout=0.3)

    assert server.request_count == 1


def test_one_hanging_request_holds_no_other_up(server: ScheduleServer) -> None:
    address = ("127.0.0.1", server.port)
    server.knobs.set("schedule.hang", True)
    with socket.create_connection(address, timeout=PATIENCE_S) as hanging:
        hanging.sendall(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n")
        wait_for_request(server)

        server.knobs.set("schedule.hang", False)

        assert get(server, "run/getAllRuns").status_code == 200
        assert hanging.recv(100) == b""


def test_stop_does_not_wait_for_a_hanging_client(server: ScheduleServer) -> None:
    server.knobs.set("schedule.hang", True)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as hanging:
        hanging.sendall(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n")
        wait_for_request(server)
        begin = time.monotonic()

        server.stop()

        assert hanging.recv(100) == b""
        assert time.monotonic() - begin < 1


def test_stop_closes_a_connection_that_is_kept_alive(server: ScheduleServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as kept:
        kept.sendall(b"GET /nothing HTTP/1.1\r\nHost: box\r\n\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 401")

        server.stop()

        assert kept.recv(100) == b""


def test_body_html_is_a_page_with_status_200(server: ScheduleServer) -> None:
    server.knobs.set("schedule.body", "html")

    reply = get(server, SCHEDULE)

    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("body", ["garbage", "truncated", "no-bytes"])
def test_these_bodies_are_no_json(server: ScheduleServer, body: str) -> None:
    server.knobs.set("schedule.body", body)

    reply = get(server, SCHEDULE)

    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "application/json"
    with pytest.raises(requests.JSONDecodeError):
        reply.json()


def test_body_truncated_is_the_first_half_of_the_good_one(server: ScheduleServer) -> None:
    good = get(server, SCHEDULE).content
    server.knobs.set("schedule.body", "truncated")

    assert get(server, SCHEDULE).content == good[: len(good) // 2]


def test_body_empty_is_an_empty_list_and_wrong_shape_is_none(server: ScheduleServer) -> None:
    server.knobs.set("schedule.body", "empty")
    empty = get(server, SCHEDULE).json()

    server.knobs.set("schedule.body", "wrong-shape")
    wrong = get(server, SCHEDULE).json()

    assert empty == []
    assert wrong == {"content": None}


def test_body_nothing_active_leaves_a_later_beamtime(server: ScheduleServer) -> None:
    server.knobs.set("schedule.body", "nothing-active")

    found = activities(get(server, SCHEDULE))

    assert active(found) == []
    assert any(datetime.fromisoformat(activity["startTime"]) > NOW for activity in found)


def test_body_two_active_shows_two_proposals_at_once(server: ScheduleServer) -> None:
    server.knobs.set("schedule.body", "two-active")

    one, other = active(activities(get(server, SCHEDULE)))

    assert one["activityId"] != other["activityId"]
    assert one["beamtime"]["beamtimeId"] != other["beamtime"]["beamtimeId"]
    assert one["beamtime"]["proposal"]["gupId"] != other["beamtime"]["proposal"]["gupId"]


def test_body_no_pi_no_email_and_no_proposal_take_them_away(server: ScheduleServer) -> None:
    def people() -> list[dict[str, Any]]:
        (activity,) = active(activities(get(server, SCHEDULE)))
        return activity["beamtime"]["proposal"]["experimenters"]

    server.knobs.set("schedule.body", "no-pi")
    assert [person["piFlag"] for person in people()] == [None] * 5
    server.knobs.set("schedule.body", "no-email")
    assert [person["email"] for person in people()] == [None] * 5
    server.knobs.set("schedule.body", "no-proposal")

    (activity,) = active(activities(get(server, SCHEDULE)))
    assert activity["beamtime"]["proposal"] is None


def test_pi_last_name_stands_for_every_leaders_name(server: ScheduleServer) -> None:
    server.knobs.set("schedule.pi_last_name", "; touch x")

    found = activities(get(server, SCHEDULE))

    leaders = {
        person["lastName"]
        for activity in found
        for person in activity["beamtime"]["proposal"]["experimenters"]
        if person["piFlag"] == "Y"
    }
    assert leaders == {"; touch x"}


def test_the_knobs_change_copies_only(server: ScheduleServer) -> None:
    before = get(server, SCHEDULE).content

    for body in BODIES:
        server.knobs.set("schedule.body", body)
        for path in (SCHEDULE, "run/getAllRuns", "activity/findByRunNameAndBeamlineId/2026-3/99-BM-A,B"):
            assert get(server, path).status_code == 200
    server.knobs.reset()

    assert get(server, SCHEDULE).content == before


# Guest experiments, lost replies, and the log


def on_beam_now(server: ScheduleServer) -> dict[str, Any]:
    (activity,) = active(activities(get(server, SCHEDULE)))
    return activity


def addresses(activity: dict[str, Any]) -> list[str]:
    return [person["email"] for person in activity["beamtime"]["proposal"]["experimenters"]]


def test_each_guest_experiment_has_ids_and_people_of_its_own(server: ScheduleServer) -> None:
    found: list[dict[str, Any]] = [on_beam_now(server)]
    for number in (1, 2, 999_999):
        server.knobs.set("schedule.on_beam", number)
        found.append(on_beam_now(server))

    for field in ("activityId", "experimentId", "activityName"):
        assert len({activity[field] for activity in found}) == 4
    assert len({activity["beamtime"]["beamtimeId"] for activity in found}) == 4
    assert len({activity["beamtime"]["proposal"]["gupId"] for activity in found}) == 4
    assert len({activity["startTime"] for activity in found}) == 1
    everybody = [address for activity in found[1:] for address in addresses(activity)]
    assert len(set(everybody)) == len(everybody) == 6
    assert addresses(found[2]) == ["guest.2.a@example.edu", "guest.2.b@example.org"]


def test_a_guest_experiment_changes_nothing_but_who_is_on_beam_now(server: ScheduleServer) -> None:
    before = activities(get(server, SCHEDULE))
    server.knobs.set("schedule.on_beam", 7)
    during = activities(get(server, SCHEDULE))
    server.knobs.set("schedule.on_beam", None)

    changed = [one for one, other in zip(before, during, strict=True) if one != other]
    assert changed == active(before)
    assert activities(get(server, SCHEDULE)) == before


def test_a_guest_experiment_has_one_leader_and_may_be_edited_as_others(server: ScheduleServer) -> None:
    server.knobs.set_all({"schedule.on_beam": 7, "schedule.pi_last_name": "Łoś"})

    people = on_beam_now(server)["beamtime"]["proposal"]["experimenters"]

    assert [(person["lastName"], person["piFlag"]) for person in people] == [("Łoś", "Y"), ("Guest7", None)]


@pytest.mark.parametrize("guest", [None, 7])
def test_a_late_colleague_joins_whoever_is_on_beam_and_nobody_else(
    server: ScheduleServer, guest: int | None
) -> None:
    server.knobs.set("schedule.on_beam", guest)
    before = activities(get(server, SCHEDULE))
    server.knobs.set("schedule.late_colleague", True)
    during = activities(get(server, SCHEDULE))
    server.knobs.set("schedule.late_colleague", False)

    (joined,) = active(during)
    assert addresses(joined) == [*addresses(active(before)[0]), "nima.nachzuegler@example.edu"]
    assert [one for one, other in zip(before, during, strict=True) if one != other] == active(before)
    assert activities(get(server, SCHEDULE)) == before


@pytest.mark.parametrize(
    ("change", "start", "end", "hours"),
    [
        ("next", "2026-11-19T08:00:00-0600", "2027-03-15T08:00:00-0500", 116 * 24 - 1),
        ("last", "2026-10-31T08:00:00-0500", "2026-11-23T08:00:00-0600", 23 * 24 + 1),
    ],
)
def test_a_beamtime_may_lie_over_a_change_of_the_clocks(
    server: ScheduleServer, change: str, start: str, end: str, hours: int
) -> None:
    before = activities(get(server, SCHEDULE))
    server.knobs.set("schedule.clock_change", change)
    during = activities(get(server, SCHEDULE))

    (stretched,) = active(during)
    assert (stretched["startTime"], stretched["endTime"]) == (start, end)
    assert stretched["duration"] == hours * 3600
    spans = sorted(
        (datetime.fromisoformat(a["startTime"]), datetime.fromisoformat(a["endTime"])) for a in during
    )
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    untouched = [activity for activity in during if activity is not stretched]
    assert untouched == [activity for activity in before if activity in untouched] != []


def test_where_the_clocks_never_change_nothing_is_stretched(
    server: ScheduleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = activities(get(server, SCHEDULE))
    monkeypatch.setattr(clock_change, "_facility", lambda: (ZoneInfo("Asia/Tokyo"), 8))

    server.knobs.set("schedule.clock_change", "next")

    assert activities(get(server, SCHEDULE)) == before


def test_a_lost_reply_is_counted_down_and_not_used_up_by_a_failure(server: ScheduleServer) -> None:
    server.knobs.set_all({"schedule.lose_reply": 1, "schedule.fail_times": 1})

    assert get(server, "run/getAllRuns").status_code == 503
    with pytest.raises(requests.ConnectionError):
        get(server, "run/getAllRuns")
    assert get(server, "run/getAllRuns").status_code == 200
    assert [seen.status for seen in server.requests] == [503, None, 200]


def test_the_log_has_a_line_a_request_over_restarts_and_says_who_was_on_beam(
    server: ScheduleServer, tmp_path: Path
) -> None:
    server.log_to(tmp_path / "schedule")
    server.knobs.set("schedule.on_beam", 3)
    get(server, SCHEDULE)
    with ScheduleServer(server.schedule, clock=lambda: NOW) as again:
        again.log_to(tmp_path / "schedule")
        get(again, "run/getAllRuns")

    lines = [json.loads(line) for line in (tmp_path / "schedule" / "log.jsonl").read_text().splitlines()]
    assert [(line["path"], line["status"], line["on_beam"]) for line in lines] == [
        (SCHEDULE.replace("%2C", ","), 200, 3),
        ("run/getAllRuns", 200, None),
    ]


def test_a_damaged_log_of_the_schedule_is_said(server: ScheduleServer, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("nothing\n")

    with pytest.raises(BoxError, match=r"log\.jsonl is damaged; remove it to begin"):
        server.log_to(tmp_path)
