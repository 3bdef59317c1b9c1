"""A whole IOC with places on two hosts over ssh: made, watched, killed, and hostile words in every record."""

import json
import os
import pwd
from collections.abc import Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.records import load_records, shipped
from box_house import PREFIX, Box, Ioc, until
from recorder import Recorder
from ssh_house import SshHouse
from wire_house import PvaClient, pva_context

HOSTILE = "x'; touch PWNED; $(touch PWNED) `touch PWNED`\n\"; touch PWNED; # -rf ../../PWNED \\0nn"
RECORDS = load_records(shipped(), prefix=PREFIX).records.values()
IDENTITY = [record.suffix for record in RECORDS if record.field]
ARGUMENTS = {record.suffix: record.info["beamtime:argument"] for record in RECORDS if record.argument}
CHECKED = [name for name, argument in ARGUMENTS.items() if argument.endswith((".start", ".end", ".email"))]
NOT_TYPED = {
    # Refused in words: not to be typed, or an address, a number or a key.
    *("ExperimentName", "ExperimentYearMonth", "ProposalNumber", "ESAFNumber", "UserEmail"),
    *("ExperimentChoice", "HandoverChoice"),
    *("ExperimentKey", "ExperimentOpen", "ExperimentSource", "ProposalStart", "ProposalEnd", "RunCycle"),
    *("Beamline", "UserCount", "UserInfoUpdate"),
}
ARMS = {
    record.suffix.removesuffix("Arm"): record.suffix for record in RECORDS if "beamtime:arm" in record.info
}


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


def write(client: Client, names: Iterable[str]) -> set[str]:
    """Put hostile words into records; those that took them."""
    took = set[str]()
    for name in names:
        with suppress(BeamtimeError, ValueError):  # some of them are not typed, they are chosen or numbers
            client.write(name, HOSTILE)
            took.add(name)
    return took


def press_hostile(client: Client, button: str) -> str:
    """Preview and press with hostile words in all that the press takes; how it ended, in words."""
    write(client, ARGUMENTS)
    press(client, f"{button}Preview")
    if button in ARMS:
        client.write(ARMS[button], client.read("ExperimentName"))
    return press(client, button)


def user_home() -> Path:
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


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

        # Hostile words in every record that takes a text, and every button pressed with them.
        box.set(schedule__pi_last_name=HOSTILE)
        typed = write(client, [*IDENTITY, *ARGUMENTS])
        shown = {name for name in IDENTITY if "touch PWNED" in str(client.read(name))}
        buttons = client.buttons()
        ends = {button: press_hostile(client, button) for button in ("UseManual", *buttons)}
        write(client, ARGUMENTS)
        for name in CHECKED:  # times and addresses that are none are refused
            client.write(name, "")
        for button in ("UseManual", "CreateDirectories", "EmailUsers", "EndBeamtime"):
            ends[button] += press(client, button)
        client.write("ExperimentChoice", "300051")
        for button in ("SelectExperiment", "CreateDirectories"):
            client.press(button, wait=True)
        never = {button for button in buttons if not client.view(button).run_id}
        found = rows(pva)

    assert "ana1: host ana1 cannot be reached" in failed
    assert "(1 of 2 are done)" in failed
    assert {name: row["host"] for name, row in found.items()} == {"det1": "det1", "ana1": "ana1"}
    assert {*IDENTITY, *ARGUMENTS} - typed == NOT_TYPED
    assert shown == typed & set(IDENTITY)
    assert never == set()
    assert set(ARMS) <= set(ends)
    assert len(buttons) >= 10
    assert "touch PWNED" in ends["UseManual"]  # what was typed has reached the handlers
    assert recorder.strange() == []
    assert not [word for word in recorder.words() if "touch" in word]
    markers = [json.loads((path / ".experiment.json").read_text()) for path in box.directories()]
    proposals = [marker["proposal"] for marker in markers]
    assert len(proposals) == 12
    assert sum("$(touch PWNED) `touch PWNED`" in text for text in proposals) == 4  # as words, over ssh
    made = [path for path in box.directory.rglob("*") if path.name == "PWNED"]
    assert made == []
    for where in (ssh_servers.det1.home, ssh_servers.ana1.home, user_home(), Path.cwd()):
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
