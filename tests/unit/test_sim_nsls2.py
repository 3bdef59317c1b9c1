"""The box in the manner of NSLS-II: what its wire looks like, asked without our client."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from beamtime_sim.schedule import Schedule
from beamtime_sim.schedule_server import ScheduleServer

NOW = datetime(2026, 11, 20, 18, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[ScheduleServer]:
    schedule = Schedule.around(NOW.date())
    with ScheduleServer(schedule, credentials=("u", "p"), clock=lambda: NOW) as server:
        yield server


def get(server: ScheduleServer, path: str) -> tuple[int, object]:
    reply = requests.get(server.nsls2_url + path, timeout=5)
    return reply.status_code, reply.json()


def test_a_proposal_has_its_people_its_beamline_and_every_cycle(server: ScheduleServer) -> None:
    status, body = get(server, "proposal/9100001")

    assert status == 200
    assert isinstance(body, dict)
    proposal = body["proposal"]
    assert (proposal["proposal_id"], proposal["data_session"]) == ("9100001", "pass-9100001")
    assert proposal["instruments"] == ["99-BM-A,B"]
    assert "2026-3" in proposal["cycles"]
    assert [user["last_name"] for user in proposal["users"] if user["is_pi"]] == ["Müller-Łukasik"]
    assert proposal["safs"][0]["status"] == "APPROVED"


def test_the_current_cycle_is_a_name_without_dates(server: ScheduleServer) -> None:
    assert get(server, "facility/nsls2/cycles/current") == (200, {"facility": "nsls2", "cycle": "2026-3"})


@pytest.mark.parametrize("path", ["proposal/1", "proposals", "facility/other/cycles/current", ""])
def test_what_there_is_not_is_a_404_in_json(server: ScheduleServer, path: str) -> None:
    status, body = get(server, path)

    assert status == 404
    assert isinstance(body, dict)
    assert body["detail"]


def test_nothing_can_be_written(server: ScheduleServer) -> None:
    assert requests.post(server.nsls2_url + "proposal/9100001", timeout=5).status_code in (401, 405)
