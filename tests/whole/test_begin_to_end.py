"""A beamtime begins, is handed over and ends on two hosts over ssh; what stands is read back each time."""

from collections.abc import Generator
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from box_house import PREFIX, Box, Ioc, until
from ssh_house import SshHouse
from wire_house import PvaClient, pva_context


@pytest.fixture
def ioc(box: Box, ssh_servers: SshHouse) -> Generator[Ioc]:
    def far(site: dict[str, Any]) -> None:
        site["hosts"] = {**ssh_servers.settings, "timeout_s": 5}
        site["watch"] = {"every_s": 5}
        for place in site["places"]:
            place.update(host=place["name"], top=str(box.directory / place["top"]))

    box.edit_site(far)
    started = Ioc.on(box).start()
    yield started
    assert started.stop() == 0


def hosts(pva: PvaClient) -> dict[str, tuple[str, str]]:
    """State and path of each place."""
    rows = pva.get(f"{PREFIX}Hosts").value.todict()
    return dict(zip(rows["name"], zip(rows["state"], rows["path"], strict=True), strict=True))


def stand(pva: PvaClient, box: Box, name: str, *states: str) -> None:
    wanted = {
        place: (state, str(next((box.directory / f"data/{place}").rglob(name), "")))
        for place, state in zip(("det1", "ana1"), states, strict=True)
    }
    until(lambda: hosts(pva) == wanted, f"{wanted}; it is {hosts(pva)}")


def test_begin_hand_over_and_end_on_two_hosts(box: Box, ioc: Ioc) -> None:
    box.set(schedule__on_beam=1)
    written_by_hand = files_of_the_site(box)
    with ioc.client() as client, pva_context(ioc.pva) as pva:
        client.press("BeginBeamtime", wait=True)
        first, key = client.read("ExperimentName"), client.read("ExperimentKey")
        stand(pva, box, first, "CREATED", "CREATED")
        mailed = box.recipients()

        box.set(schedule__on_beam=2)
        client.press("Handover", wait=True)
        second = client.read("ExperimentName")
        assert second != first
        ended = [line.state for line in client.view("Handover").steps if line.name == f"end of {key}"]
        assert ended == ["made"]
        assert client.read("HandoverMessage").startswith(f"{first} is closed; {second} has begun: ")
        stand(pva, box, second, "CREATED", "CREATED")
        assert sorted(path.name for path in box.directories()) == sorted([first, second] * 2)
        assert len(box.recipients()) == len(set(box.recipients())) > len(mailed)

        client.press("CreateDirectories", wait=True)
        stand(pva, box, second, "EXISTS", "EXISTS")

        client.press("EndBeamtime", wait=True)
        until(lambda: client.read("ExperimentOpen") == "Closed", "the end of it")
        before = box.directories(), box.recipients()
        refused_in_words(client, second, "CreateDirectories", "EmailUsers")
        assert (box.directories(), box.recipients()) == before
        stand(pva, box, second, "EXISTS", "EXISTS")
    assert files_of_the_site(box) == written_by_hand


def files_of_the_site(box: Box) -> dict[str, bytes]:
    """What people write, and the program reads only."""
    assert (box.directory / "access.acf").exists()
    return {path.name: path.read_bytes() for path in (box.site, *box.directory.glob("*.acf"))}


def refused_in_words(client: Client, name: str, *buttons: str) -> None:
    for button in buttons:
        with pytest.raises(BeamtimeError, match=f"{name} is closed: its beamtime was ended"):
            client.press(button, wait=True)
        assert client.read(f"{button}Message").startswith(f"refused: {name} is closed")
        assert "press BeginBeamtime for the next one" in client.read(f"{button}Message")
