"""The schedule goes away: what is known of it stays to be seen, and each step does as the site file says."""

from typing import Any

import pytest
import yaml

from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState
from box_house import Box, Ioc, beamtime, until

AWAY = {"schedule__status": 503}


def test_while_the_schedule_is_away_an_open_step_goes_on_and_a_closed_one_waits(box: Box) -> None:
    def edit(site: dict[str, Any]) -> None:
        site["without_schedule"] = {"begin-beamtime": {"who is on beam": "open"}}

    box.edit_site(edit)
    ioc = Ioc.on(box).start()
    with ioc.client() as client:
        client.press("UpdateUserInfo", wait=True)
        until(lambda: client.read("ScheduleOutcome") == "ACTIVE", "an answer")
        known, looked_up = client.read("ExperimentKey"), client.read("UserInfoUpdate")
    ioc.kill()

    box.set(**AWAY)
    ioc.start()
    with ioc.client() as client:
        # What it said before the restart is seen, with its age, and the records stand.
        until(lambda: client.read("ScheduleOutcome") == "STALE", "that it is stale")
        until(lambda: client.read("ScheduleAge") > 0, "its age")
        assert client.read("IdentityStale") == "No"
        assert "answered 503 since" in client.read("ScheduleSays")
        assert client.read("ScheduleSays").endswith(f"names {known}")
        assert (client.read("ExperimentKey"), client.read("UserInfoUpdate")) == (known, looked_up)

        with pytest.raises(BeamtimeError, match="answered 503"):
            client.press("UpdateUserInfo", wait=True)
        closed = client.view("UpdateUserInfo")
        assert closed.state is RunState.FAILED
        assert "press again when it is back" in client.read("UpdateUserInfoAdvice")
        assert client.read("UserInfoUpdate") == looked_up

        client.press("BeginBeamtime", wait=True)
        opened = client.view("BeginBeamtime")
        assert opened.state is RunState.DONE
        [held] = [line for line in opened.steps if line.name == "take over who is on beam"]
        assert held.state == "held"
        assert f"it goes on with {known}" in held.reason
        assert "has begun without the schedule: 2 directories" in client.read("BeginBeamtimeMessage")
        assert "open without the schedule: begin-beamtime (who is on beam); " in client.read(
            "WithoutSchedule"
        )
        assert len(box.directories()) == 2
        assert len(box.recipients()) == len(set(box.recipients())) > 0
    assert ioc.stop() == 0


def test_a_schedule_in_a_file_begins_a_beamtime(box: Box) -> None:
    visit = {
        "id": "2026-3-017",
        "proposal_id": "0123",
        "start": "2000-01-01T08:00:00-06:00",
        "end": "2800-01-01T08:00:00-06:00",
        "people": [{"first": "Zoë", "last": "Łukasik", "email": "zoe@example.edu", "role": "pi"}],
    }
    (box.directory / "schedule.yaml").write_text(yaml.safe_dump({"beamtimes": [visit]}))

    def edit(site: dict[str, Any]) -> None:
        site["schedule"] = {"backend": "file", "path": "schedule.yaml"}

    box.edit_site(edit)
    checked = beamtime("check", str(box.site))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "has 1 beamtime, 1 of them not over" in checked.stdout

    ioc = Ioc.on(box).start()
    with ioc.client() as client:
        client.press("BeginBeamtime", wait=True)

        assert client.read("ExperimentKey") == "file:2026-3-017"
        assert client.read("ProposalNumber") == "0123"
        assert box.recipients() == ["zoe@example.edu"]
    assert ioc.stop() == 0
