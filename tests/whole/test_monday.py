"""A Monday at the beamline, from last week's names on the screen to a scan that locks the experiment."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from box_house import PREFIX as OURS
from box_house import Box, beamtime, until
from c_client import CClient
from link_house import PREFIX, LinkHouse, link_house, rows, until_read
from ssh_house import SshHouse

SCAN = f"{PREFIX}StartScan"
SITE = {
    "watch": {"every_s": 5, "schedule_s": 5},
    "mirrors": [{"tomoscan": PREFIX}],
    "interlocks": [{"pv": SCAN, "idle": [0, "Done"], "why": "a scan runs"}],
    "consumers": [{"tomoscan": PREFIX, "name": "TomoScan", "place": "det1"}],
}
ENUM, ONE = 3, "0100"
NORMAL, PUTFAIL = 1, 160


@pytest.fixture
def house(tmp_path: Path) -> Generator[LinkHouse]:
    with link_house(tmp_path) as made:
        yield made


def steps(client: Client, button: str) -> dict[str, str]:
    return {line.name: line.state for line in client.view(button).steps}


def far(box: Box, servers: SshHouse) -> dict[str, Any]:
    """The places of the box on two hosts over ssh."""
    places = yaml.safe_load(box.site.read_text())["places"]
    for place in places:
        place.update(host=place["name"], top=str(box.directory / place["top"]))
    return {"hosts": {**servers.settings, "timeout_s": 5}, "places": places}


def test_monday(house: LinkHouse, ssh_servers: SshHouse) -> None:
    box, scan = house.box, house.tomoscan
    box.set(schedule__on_beam=1)
    with house.serve(**SITE, **far(box, ssh_servers)) as client, CClient(house.started[0].ca) as c:
        until_read(client, "InterlockOk", "Ok")
        client.press("UpdateUserInfo", wait=True)
        until_read(client, "IdentityStale", "No")
        last_week = client.read("ExperimentName")

        # 07:50. The schedule goes on, these records do not: one glance says so.
        box.set(schedule__on_beam=2)
        until_read(client, "IdentityStale", "Yes")
        says = client.read("ScheduleSays")
        assert f"({last_week})" in says
        assert says.endswith("press UpdateUserInfo or BeginBeamtime")
        assert c("timed", f"{OURS}IdentityStale")[:3] == [1, 1, 7]  # Yes; MINOR, STATE
        until_read(client, "ServicesDown", 0)

        # 08:01. A preview in plain lines: what ends, what begins, where, who is mailed; nothing has changed.
        client.press("HandoverPreview", wait=True)
        plan = client.read("HandoverPlan").splitlines()
        assert f"would make: end of {client.read('ExperimentKey')}" in plan
        assert [line.split(":")[1] for line in plan if line.startswith("would make: directory")] == [
            " directory det1",
            " directory ana1",
        ]
        mailed = [line for line in plan if line.startswith("would make: letter to ")]
        assert any(
            line.startswith(f"read: {len(mailed)} letters: {len(mailed)} new, 0 already mailed")
            for line in plan
        )
        assert (box.directories(), box.recipients()) == ([], [])
        assert client.read("ExperimentName") == last_week

        # 08:03. One host does not answer: caput -c of the scan script fails, one red line says what to do.
        with ssh_servers.ana1.gone():
            assert c("put", f"{OURS}Handover", ENUM, 1, ONE) == PUTFAIL
            assert "ana1: host ana1 cannot be reached" in client.read("HandoverMessage")
            assert "then press BeginBeamtime again: only this is missing" in client.read("HandoverAdvice")
            until_read(client, "ChecklistFailing", "directory ana1:")
            failed = [line.name for line in client.view("Handover").steps if line.state == "failed"]
            assert [name.split(":")[0] for name in failed] == ["directory ana1"]
            until_read(client, "HostsOk", 1)
            until(lambda: rows(house, "Hosts")["ana1"]["state"] == "UNREACHABLE", "the place in the table")
        assert [path.parts[-3] for path in box.directories()] == ["det1"]
        assert client.read("ExperimentName") != last_week
        assert box.recipients() == []

        # The host is awake. To hand over again is refused, and says which button goes on.
        with pytest.raises(BeamtimeError, match="to go on with this one, press BeginBeamtime"):
            client.press("Handover", wait=True)

        # Pressed again, only what is missing is made, everybody gets one letter; once more, and no second.
        for ana1 in ("made", "stands already"):
            assert c("put", f"{OURS}BeginBeamtime", ENUM, 1, ONE) == NORMAL
            made = {name.split(":")[0]: state for name, state in steps(client, "BeginBeamtime").items()}
            assert (made["directory det1"], made["directory ana1"]) == ("stands already", ana1)
            assert len(box.recipients()) == len(set(box.recipients())) == len(mailed) > 0
        until_read(client, "IdentityStale", "No")
        until_read(client, "HostsOk", 2)

        # TomoScan's own user records have followed.
        until_read(client, "MirrorState", "Ok")
        name = client.read("ExperimentName")
        assert name != last_week
        assert scan.text("UserLastName") == client.read("UserLastName")

        # Last month's path would have taken the frames; this one does not.
        scan.put("FilePath", f"{box.directory}/data/det1/2026-10/")
        until_read(client, "NextFrameOk", "Elsewhere")
        assert "frame would go to" in client.read("NextFrameMessage")
        (directory,) = [path for path in box.directories() if "det1" in path.parts]
        scan.put("FilePath", f"{directory}/raw/")
        scan.put("FilePathExists", 1)
        until_read(client, "NextFrameOk", "Ok")

        # 10:30. A scan runs, and somebody presses by mistake: refused in words, and written down.
        scan.put("StartScan", 1)
        until_read(client, "InterlockOk", "Busy")
        with pytest.raises(BeamtimeError, match=f"not while {SCAN} is busy"):
            client.press("UpdateUserInfo", wait=True)
        with pytest.raises(BeamtimeError, match=f"not while {SCAN} is busy"):
            client.write("UserEmail", "typed@example.org")
        assert client.read("ExperimentName") == name

        def refused() -> list[str]:
            told = beamtime("audit", "--json", "--site", str(box.site)).stdout.splitlines()
            lines = [json.loads(line) for line in told]
            return [line["record"] for line in lines if line["what"] == "refused" and SCAN in line["text"]]

        assert until(lambda: len(refused()) == 2 and refused(), "both refusals in the audit") == [
            f"{OURS}UpdateUserInfo",
            f"{OURS}UserEmail",
        ]
