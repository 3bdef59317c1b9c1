"""A whole IOC with places on two hosts over ssh: made, watched, killed, and hostile words in every record."""

import os
import pwd
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from box_house import PREFIX, Box, Ioc, until
from recorder import Recorder
from ssh_house import SshHouse
from wire_house import PvaClient, pva_context

HOSTILE = "x'; touch PWNED; $(touch PWNED) `touch PWNED`\n\"; touch PWNED; # -rf ../../PWNED \\0nn"
IDENTITY = (
    *("UserName", "UserLastName", "UserInstitution", "UserBadge", "UserEmail", "ProposalNumber"),
    *("ProposalTitle", "ESAFNumber", "ESAFDOINumber", "ExperimentName", "ExperimentYearMonth"),
)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "recorded")


@pytest.fixture
def ioc(box: Box, ssh_servers: SshHouse, recorder: Recorder) -> Generator[Ioc, None, None]:
    def far(site: dict[str, Any]) -> None:
        site["hosts"] = {**ssh_servers.settings, "timeout_s": 3}
        site["watch"] = {"every_s": 5, "schedule_s": 5}
        for place in site["places"]:
            place.update(host=place["name"], top=str(box.directory / place["top"]), siblings=["_rec"])

    box.edit_site(far)
    started = Ioc.on(box, **recorder.environment()).start()
    yield started
    assert started.stop() == 0


def rows(pva: PvaClient) -> dict[str, dict[str, Any]]:
    columns = pva.get(f"{PREFIX}Hosts").value.todict()
    table = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {row["name"]: row for row in table}


def states(pva: PvaClient) -> list[str]:
    return [row["state"] for row in rows(pva).values()]


def press(client: Client, button: str) -> str:
    try:
        client.press(button, wait=True)
    except BeamtimeError as error:
        return str(error)
    return ""


def test_directories_on_two_hosts_are_made_watched_and_no_hostile_word_reaches_a_shell(
    box: Box, ioc: Ioc, ssh_servers: SshHouse, recorder: Recorder
) -> None:
    with ioc.client() as client, pva_context(ioc.pva) as pva:
        until(lambda: states(pva) == ["ready", "ready"], "the places")
        client.press("UpdateUserInfo", wait=True)
        until(lambda: states(pva) == ["absent", "absent"], "the places")

        # One of the two is down: the other is made, the run fails, and its sentence says which.
        with ssh_servers.ana1.gone():
            failed = press(client, "CreateDirectories")
            until(lambda: states(pva)[0] == "CREATED", "the first place")
            until(lambda: states(pva)[1] == "UNREACHABLE", "the second place")
        client.press("CreateDirectories", wait=True)
        until(lambda: states(pva) == ["EXISTS", "CREATED"], "the places")

        for name in IDENTITY:
            with suppress(BeamtimeError):  # some of them are not typed, they are chosen
                client.write(name, HOSTILE)
        for button in client.buttons():
            press(client, f"{button}Preview")
            press(client, button)
        found = rows(pva)

    assert "ana1: host ana1 cannot be reached" in failed
    assert "(1 of 2 are done)" in failed
    assert {name: row["host"] for name, row in found.items()} == {"det1": "det1", "ana1": "ana1"}
    assert len(box.directories()) == 4
    assert recorder.strange() == []
    assert not [word for word in recorder.words() if "PWNED" in word]
    assert list(box.directory.rglob("*PWNED*")) == []
    for where in (ssh_servers.det1.home, Path(pwd.getpwuid(os.getuid()).pw_dir), Path.cwd()):
        assert list(where.glob("*PWNED*")) == []


def test_killed_while_a_host_works_the_run_goes_on_and_nothing_stays_behind(
    box: Box, ioc: Ioc, ssh_servers: SshHouse, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    with ioc.client() as client:
        client.press("UpdateUserInfo", wait=True)
        with ssh_servers.ana1.planted("mkdir", f"PATH=/usr/bin:/bin\ntouch '{begun}'\nexec sleep 1000"):
            client.press("CreateDirectories")
            until(begun.exists, "the work on the second host")
            ioc.kill()
    ioc.start()

    with ioc.client() as client:
        until(lambda: client.view("CreateDirectories").state.ended, "the end of the run")
        assert client.view("CreateDirectories").state.value == "Done"

    assert len(box.directories()) == 4
