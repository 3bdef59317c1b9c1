"""Training without a beamline: an IOC turns the faults of a box by records, and says what it is."""

import json
from collections.abc import Generator
from typing import Any

import pytest

from box_house import PREFIX, Box, Ioc, beamtime, until
from c_client import CClient
from wire_house import pva_context

OK, MINOR, INVALID = 0, 1, 3


@pytest.fixture
def ca(ioc: Ioc) -> Generator[CClient, None, None]:
    with CClient(ioc.ca) as client:
        yield client


def knobs(box: Box) -> dict[str, Any]:
    told = beamtime("sim", "show", "--dir", str(box.directory), environment={"COLUMNS": "400"}).stdout
    return {line.split()[0]: line.split()[1] for line in told.splitlines() if "." in line.split(" ")[0]}


def test_a_fault_is_turned_by_a_record_works_and_is_taken_back(box: Box, ioc: Ioc, ca: CClient) -> None:
    until(lambda: ca("timed", f"{PREFIX}SimScheduleStatus")[1] == OK, "the box")

    assert ca("caput", f"{PREFIX}SimScheduleStatus", 503) == 1
    assert knobs(box)["schedule.status"] == "503"
    with ioc.client() as client, pytest.raises(Exception, match=r"Failed: .*503"):
        client.press("UpdateUserInfo", wait=True)
    told = beamtime("status", "--site", str(box.site)).stdout
    assert "faults by the box at http://127.0.0.1:" in told
    assert "on: schedule.status = 503" in " ".join(told.split())

    assert ca("caput", f"{PREFIX}SimReset", 1) == 1
    with ioc.client() as client:
        client.press("UpdateUserInfo", wait=True)
    beamtime("sim", "--dir", str(box.directory), "set", "mail.hang", "data")
    until(lambda: ca("timed", f"{PREFIX}SimMailHang")[:2] == [2, MINOR], "what the terminal turned")
    audited = beamtime("audit", "--site", str(box.site), "--json").stdout
    puts = [json.loads(line) for line in audited.splitlines() if '"put"' in line]
    assert any("SimScheduleStatus" in json.dumps(line) and "503" in json.dumps(line) for line in puts)


def test_a_box_that_is_gone_is_told_everywhere_and_the_ioc_goes_on(box: Box, ioc: Ioc, ca: CClient) -> None:
    until(lambda: ca("timed", f"{PREFIX}SimScheduleDelay")[1] == OK, "the box")
    box.program.kill()

    until(lambda: ca("timed", f"{PREFIX}SimScheduleDelay")[1] == INVALID, "the loss")

    message = ca("text", f"{PREFIX}SimMessage")
    assert message.endswith(f"does not answer; start it with: beamtime sim --dir {box.directory}")
    with pva_context(ioc.pva) as pva, pytest.raises(Exception, match="start it with: beamtime sim"):
        pva.put(f"{PREFIX}SimScheduleDelay", 5.0)
    checked = beamtime("check", str(box.site))
    assert checked.returncode == 1
    assert message in checked.stdout
    told = " ".join(beamtime("status", "--site", str(box.site)).stdout.split())
    assert "Training the box at http://127.0.0.1:" in told
    box.program.start()
    until(lambda: ca("timed", f"{PREFIX}SimScheduleDelay")[1] == OK, "the box")
    assert "training: faults by the box" in beamtime("check", str(box.site)).stdout


def test_without_a_box_in_the_site_file_no_record_of_one_is_served(box: Box) -> None:
    box.edit_site(lambda site: site.pop("sim"))
    started = Ioc.on(box).start()

    with started.client() as client:
        served = client.rows("Services")
        told = beamtime("status", "--site", str(box.site)).stdout
    with pva_context(started.pva) as pva:
        found = pva.get([f"{PREFIX}SimReset", f"{PREFIX}SimMessage"], timeout=0.5, throw=False)

    assert [type(one) for one in found] == [TimeoutError, TimeoutError]
    assert "sim" not in [row["service"] for row in served]
    assert "raining" not in told
    assert started.stop() == 0
