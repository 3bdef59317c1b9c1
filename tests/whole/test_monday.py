"""A Monday at the beamline, from last week's names on the screen to a scan that locks the experiment."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from box_house import PREFIX as OURS
from box_house import beamtime, until
from c_client import CClient
from link_house import PREFIX, LinkHouse, link_house, rows, until_read

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


def test_monday(house: LinkHouse) -> None:
    box, scan = house.box, house.tomoscan
    box.set(schedule__on_beam=1)
    with house.serve(**SITE) as client, CClient(house.started[0].ca) as c:
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

        # 08:01. A preview in plain lines; nothing has changed.
        client.press("BeginBeamtimePreview", wait=True)
        plan = client.read("BeginBeamtimePlan").splitlines()
        assert any(line.startswith("would make: current experiment aps:") for line in plan)
        assert (box.directories(), box.recipients()) == ([], [])
        assert client.read("ExperimentName") == last_week

        # 08:03. One host is not there: caput -c of the scan script fails, and the line says what to do.
        (box.directory / "data/ana1/.mounted").rename(box.directory / "mounted")
        assert c("put", f"{OURS}BeginBeamtime", ENUM, 1, ONE) == PUTFAIL
        assert "ana1" in client.read("BeginBeamtimeMessage")
        assert "mount it, then press BeginBeamtime again" in client.read("BeginBeamtimeAdvice")
        until_read(client, "ChecklistFailing", "directory ana1:")
        until_read(client, "HostsOk", 1)
        until(lambda: rows(house, "Hosts")["ana1"]["state"] == "NOT_MOUNTED", "the place in the table")
        assert [path.parts[-3] for path in box.directories()] == ["det1"]
        assert box.recipients() == []

        # The disk is mounted; pressed again, only what is missing is made, and everybody gets one letter.
        (box.directory / "mounted").rename(box.directory / "data/ana1/.mounted")
        assert c("put", f"{OURS}BeginBeamtime", ENUM, 1, ONE) == NORMAL
        made = {name.split(":")[0]: state for name, state in steps(client, "BeginBeamtime").items()}
        assert (made["directory det1"], made["directory ana1"]) == ("stands already", "made")
        assert len(box.recipients()) == len(set(box.recipients())) > 0
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
