"""A change of groups: one goes, the next one comes, and what was measured before is needed once more."""

import json

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState
from box_house import PREFIX, Box, Ioc, beamtime, until

TYPED = {
    "ManualName": "Commissioning",
    "ManualTitle": "Where the beam is; touch PWNED",
    "ManualEmail": "staff@example.org",
}


def until_read(client: Client, suffix: str, value: object) -> None:
    until(lambda: client.read(suffix) == value, f"{suffix} = {value!r}")


def candidates(client: Client) -> list[str]:
    return [client.read(f"Candidate{n}") for n in range(1, 11)]


def refused(box: Box) -> list[str]:
    told = beamtime("audit", "--json", "--site", str(box.site)).stdout.splitlines()
    return [line["record"] for line in map(json.loads, told) if line["what"] == "refused"]


def steps(client: Client, button: str) -> list[tuple[str, str]]:
    return [(line.name.partition(":")[0], str(line.state)) for line in client.view(button).steps]


def test_groups_change_and_nobody_works_in_another_groups_directory(box: Box, ioc: Ioc) -> None:
    with ioc.client() as client:
        client.press("UpdateUserInfo", wait=True)
        here = client.read("ExperimentKey")
        until(lambda: "(current, on beam)" in " ".join(candidates(client)), "the current one in the list")

        # 07:50. Commissioning before the users come: typed by hand, previewed, then taken.
        for suffix, text in TYPED.items():
            client.write(suffix, text)
        client.press("UseManualPreview", wait=True)
        assert "would make: current experiment manual:" in client.read("UseManualPlan")
        client.press("UseManual", wait=True)
        manual, name = client.read("ExperimentKey"), client.read("ExperimentName")
        assert manual.startswith("manual:")
        assert "-Commissioning-" in name
        assert client.read("ExperimentSource") == "manual"
        until_read(client, "ManualName", "")
        until_read(client, "IdentityStale", "Yes")

        # 08:00. Handed over to who is on the schedule: one plan, one checklist.
        client.press("HandoverPreview", wait=True)
        plan = client.read("HandoverPlan").splitlines()
        assert f"would make: end of {manual}" in plan
        assert f"would make: current experiment {here}" in plan
        assert client.read("ExperimentKey") == manual
        client.press("Handover", wait=True)
        assert client.read("ExperimentKey") == here
        assert client.read("HandoverMessage").startswith(f"{name} is closed; ")
        made = steps(client, "Handover")
        assert made[:2] == [("who comes", "read"), (f"end of {manual.partition(':')[0]}", "made")]
        assert [path.name for path in box.directories()] == [client.read("ExperimentName")] * 2
        assert len(box.recipients()) == len(set(box.recipients())) > 0

        # 10:00. The commissioning data are needed: chosen, still closed, refused in words.
        until(lambda: f"{manual} (closed)" in " ".join(candidates(client)), "the closed one in the list")
        place = next(n for n, text in enumerate(candidates(client), 1) if text.startswith(manual))
        client.write("ExperimentChoice", str(place))
        assert client.read("ExperimentChoice") == manual
        client.press("SelectExperiment", wait=True)
        assert client.read("ExperimentKey") == manual
        until_read(client, "ExperimentOpen", "Closed")
        with pytest.raises(BeamtimeError, match=f"{name} is closed: its beamtime was ended"):
            client.press("CreateDirectories", wait=True)
        assert client.read("CreateDirectoriesMessage").startswith(f"refused: {name} is closed")
        with pytest.raises(BeamtimeError, match="is closed"):
            client.write("UserEmail", "other@example.org")
        wanted = {f"{PREFIX}CreateDirectories", f"{PREFIX}UserEmail"}
        until(lambda: wanted <= set(refused(box)), "both refusals in the audit")

    # A power cut: what was closed is closed.
    ioc.kill()
    ioc.start()
    with ioc.client() as client:
        until_read(client, "ExperimentOpen", "Closed")
        with pytest.raises(BeamtimeError, match="is not armed"):
            client.press("ReopenExperiment", wait=True)
        client.write("ReopenExperimentArm", name)
        client.press("ReopenExperiment", wait=True)
        until_read(client, "ExperimentOpen", "Open")
        client.press("CreateDirectories", wait=True)
        assert client.view("CreateDirectories").state is RunState.DONE
        assert name in [path.name for path in box.directories()]
        assert not list(box.directory.rglob("PWNED"))
