"""A Monday with a TomoScan: its names follow, its scan locks us, its frames go where they should."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.errors import BeamtimeError
from box_house import until
from link_house import PREFIX, LinkHouse, link_house, rows, until_read

SCAN = f"{PREFIX}StartScan"
SITE: dict[str, list[dict[str, Any]]] = {
    "mirrors": [{"tomoscan": PREFIX}],
    "interlocks": [{"pv": SCAN, "idle": [0, "Done"], "why": "a scan runs"}],
    "consumers": [{"tomoscan": PREFIX, "name": "TomoScan", "place": "det1"}],
}


@pytest.fixture
def house(tmp_path: Path) -> Generator[LinkHouse]:
    with link_house(tmp_path) as made:
        yield made


def audited(house: LinkHouse, what: str, text: str) -> list[str]:
    """The lines of a deed, as soon as one of them holds the text."""

    def look() -> list[str]:
        files = (house.box.directory / "state" / "audit").glob("*.jsonl")
        lines = [json.loads(line) for file in sorted(files) for line in file.read_text().splitlines()]
        said = [f"{line['action']}: {line['text']}" for line in lines if line["what"] == what]
        return said if any(text in line for line in said) else []

    return until(look, f"{text!r} in the audit")


def test_a_monday_with_a_scan_ioc(house: LinkHouse) -> None:
    scan, here = house.tomoscan, str(house.box.directory / "data" / "det1")
    site = {**SITE, "consumers": [{**SITE["consumers"][0], "map": {"/mnt/det1": here}}]}
    with house.serve(**site) as client:
        until_read(client, "MirrorState", "Waiting")
        assert scan.text("UserLastName") == "Unknown"  # nothing is written before an experiment is known
        until_read(client, "InterlockOk", "Ok")
        until_read(client, "NextFrameMessage", "no experiment is known yet")

        client.press("BeginBeamtime", wait=True)

        until_read(client, "MirrorState", "Ok")
        for name in (
            "UserName",
            "UserLastName",
            "UserInstitution",
            "UserBadge",
            "UserEmail",
            "ProposalNumber",
        ):
            assert scan.text(name) == client.read(name), name
        found = rows(house, "Mirrors")
        assert found[f"{PREFIX}UserLastName"]["found"] == client.read("UserLastName")
        assert found[f"{PREFIX}ESAFDOINumber"]["state"] == "Not there"

        # The detector still writes where it did last month.
        scan.put("FilePath", "/mnt/det1/2026-10/")
        scan.put("FilePathExists", 1)
        until_read(client, "NextFrameMessage", "TomoScan: frame would go to /mnt/det1/2026-10/")
        assert client.read("NextFrameOk") == "Elsewhere"
        name = client.read("ExperimentName")
        scan.put("FilePath", f"/mnt/det1/{name[:7]}/{name}/raw/")
        until_read(client, "NextFrameOk", "Ok")
        scan.put("FilePathExists", 0)
        until_read(client, "NextFrameOk", "Missing")

        # A scan runs, and somebody presses by mistake.
        scan.put("StartScan", 1)
        until_read(client, "InterlockOk", "Busy")
        with pytest.raises(BeamtimeError, match=f"not while {SCAN} is busy .a scan runs."):
            client.press("UpdateUserInfo", wait=True)
        assert client.read("UpdateUserInfoMessage").startswith(f"refused: not while {SCAN} is busy")
        assert audited(house, "refused", f"update-user-info: not while {SCAN} is busy")
        with pytest.raises(BeamtimeError, match=f"not while {SCAN} is busy"):
            client.write("UserLastName", "Typed")
        client.press("UpdateUserInfoPreview", wait=True)
        assert client.read("UpdateUserInfoPlan").startswith(f"would be refused: not while {SCAN} is busy")
        client.press("CreateDirectories", wait=True)  # changes no identity

        scan.put("StartScan", 0)
        until_read(client, "InterlockOk", "Ok")
        client.press("UpdateUserInfo", wait=True)


def test_while_nobody_knows_whether_a_scan_runs_the_experiment_stays_unless_staff_overrides(
    house: LinkHouse,
) -> None:
    with house.serve(interlocks=SITE["interlocks"]) as client:
        until_read(client, "InterlockOk", "Ok")

        house.tomoscan.kill()

        until_read(client, "InterlockOk", "Unreachable")
        with pytest.raises(BeamtimeError, match=f"{SCAN} does not answer; nobody knows"):
            client.press("UpdateUserInfo", wait=True)
        client.write("InterlockOverride", "On")
        assert client.read("InterlockOk") == "Overridden"
        client.press("UpdateUserInfo", wait=True)
        assert client.read("InterlockOverride") == "Off"
        with pytest.raises(BeamtimeError, match="does not answer"):
            client.press("UpdateUserInfo", wait=True)
        lines = audited(house, "override", "override used")
        assert lines[0].startswith(": override on")
        assert lines[1].startswith(f"update-user-info: override used: although {SCAN} does not answer")

        house.tomoscan.start()
        until_read(client, "InterlockOk", "Ok")
        client.write("UserLastName", "Corrected")
        assert client.read("UserLastName") == "Corrected"


def test_without_interlocks_and_consumers_that_is_what_is_shown_and_never_that_it_is_safe(
    house: LinkHouse,
) -> None:
    with house.serve() as client:
        assert client.read("InterlockOk") == client.read("NextFrameOk") == "None configured"
        assert client.read("InterlockMessage").startswith("none configured: nothing keeps the experiment")
        assert client.read("NextFrameMessage").startswith("none configured: nobody knows")
        assert (client.read("MirrorState"), client.read("MirrorMessage")) == (
            "Off",
            "no mirrors in the site file",
        )
