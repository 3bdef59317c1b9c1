"""No secret comes to light: a whole IOC with three of them, every button, and faults that tell much."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.records import load_records, shipped
from beamtime_ioc.store import FILE_NAME
from box_house import PREFIX, Box, Ioc, beamtime, until
from leak_house import Seen, forms
from mail_house import ScriptedRelay, certificate
from ssh_house import SshHouse

USER, SCHEDULE, RELAY = "sweep-user", "Sweep-Schedule-7Q4w", "Sweep-Relay-9K2v"
LOGIN = {"EHLO": "250-relay\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN", "STARTTLS": "220 go"}
SHIPPED = load_records(shipped(training=True), prefix=PREFIX)
RECORDS, TABLES = list(SHIPPED.records), [table.name for table in SHIPPED.tables]
WHOLE = [name for name in RECORDS if not re.search(r"Line\d+$", name)]
"""Without those that show a line of another one."""
PATIENT_S = 2


@dataclass
class Sweep:
    """The facility, the IOC on it, and what was seen of both."""

    ioc: Ioc
    ssh: SshHouse
    relay: ScriptedRelay
    seen: Seen

    @property
    def box(self) -> Box:
        return self.ioc.box

    def press(self, client: Client, *buttons: str) -> dict[str, str]:
        """Preview and press buttons; each ends, and how is told in words."""
        return {button: press(client, button) for button in buttons}

    def ask(self, *words: str) -> str:
        """What a command says."""
        done = beamtime(*words)
        self.seen.add(f"command {' '.join(words[:2])}", (done.stdout + done.stderr).encode())
        return " ".join((done.stdout + done.stderr).split())


def press(client: Client, button: str) -> str:
    said: list[str] = []
    if button == "SelectExperiment":
        client.write("ExperimentChoice", "300051")
    if button == "UseManual":
        client.write("ManualName", "Sweep")
        client.write("ManualEmail", "sweep@example.org")
    if button == "ReopenExperiment":
        client.write("ReopenExperimentArm", client.read("ExperimentName"))
    for one in (f"{button}Preview", button):
        try:
            client.press(one, wait=True)
        except BeamtimeError as error:
            said.append(str(error))
    return " ".join(said)


@contextmanager
def sweep(directory: Path, ssh: SshHouse) -> Iterator[Sweep]:
    good, tls = certificate(directory / "tls", "IP:127.0.0.1")
    box_directory, password = directory / "box", directory / "relay-password"
    box_directory.mkdir()
    for path, text in ((box_directory / "credentials.txt", f"{USER}|{SCHEDULE}"), (password, RELAY)):
        path.write_text(f"{text}\n")
        path.chmod(0o600)
    box = Box.start(box_directory)
    with ScriptedRelay({**LOGIN, "AUTH": "235 come in"}, starttls=tls) as relay:

        def far(site: dict[str, Any]) -> None:
            site["hosts"] = {**ssh.settings, "timeout_s": PATIENT_S, "connect_timeout_s": PATIENT_S}
            site["watch"] = {"every_s": 5, "schedule_s": 5}
            site["schedule"]["read_timeout_s"] = PATIENT_S
            site["mail"] |= {"connection": "starttls", "port": relay.port, "timeout_s": PATIENT_S}
            site["mail"] |= {"user": USER, "password_file": str(password), "ca_file": str(good)}
            for place in site["places"]:
                place.update(host=place["name"], top=str(box.directory / place["top"]))

        box.edit_site(far)
        seen, ioc = Seen(), Ioc.on(box)
        ioc.program.words.append("--verbose")
        with seen.processes():
            ioc.start()
            with seen.monitored(ioc.pva, [*WHOLE, *TABLES]):
                yield Sweep(ioc, ssh, relay, seen)
            assert ioc.stop() == 0
    if box.program.child.poll() is None:
        assert box.program.stop() == 0
    seen.read_files(box.directory, box.directory / "credentials.txt")
    for number, letter in enumerate(relay.texts):
        seen.add(f"letter {number}", letter)


@pytest.mark.timeout(300)
def test_no_secret_comes_to_light_whatever_is_pressed_and_whatever_fails(
    tmp_path: Path, ssh_servers: SshHouse
) -> None:
    key = (ssh_servers.directory / "user").read_text()
    with sweep(tmp_path, ssh_servers) as house, house.ioc.client() as client:
        well = house.press(client, "BeginBeamtime", "UseManual")

        # All three refuse us, and the relay says again what it was told.
        house.box.set(schedule__status=401)
        house.relay.answers["AUTH"] = f"535 5.7.8 {RELAY} is not the word of {USER}"
        with ssh_servers.nobody_let_in():
            refused = house.press(client, *client.buttons())
            house.seen.read_records(house.ioc.ca, RECORDS)
            site = str(house.box.site)
            told = [
                house.ask("check", site),
                house.ask("mail", "send-test", "--site", site),
                house.ask("press", "email-users", "--wait", "--site", site),
            ]
            until(lambda: f"pva {PREFIX}Checklist" in house.seen.with_any([USER.encode()]), deadline_s=30)

        # A relay that is another one; then nobody is there.
        _, house.relay.starttls = certificate(tmp_path / "other", "DNS:other.example.org")
        other = house.press(client, "EmailUsers")
        house.box.program.kill()
        house.relay.stop()
        with ssh_servers.det1.gone(), ssh_servers.ana1.gone():
            gone = house.press(client, "UpdateUserInfo", "CreateDirectories", "EmailUsers")
        house.seen.read_records(house.ioc.ca, RECORDS)

    # Each fault was met, and what it says was seen wherever a secret could stand.
    assert set(well.values()) == {""}
    assert "(401)" in refused["UpdateUserInfo"]
    assert "Permission denied" in refused["CreateDirectories"]
    assert f"{USER} with the password in" in refused["EmailUsers"]
    assert "certificate that is not trusted" in other["EmailUsers"]
    assert "cannot be reached" in gone["UpdateUserInfo"]
    assert "cannot be reached" in gone["CreateDirectories"]
    assert "refuses the connection" in gone["EmailUsers"]
    assert all("(535)" in said for said in told)
    shown = house.seen.with_any([USER.encode()])
    assert {"pva", "ca", "file", "command"} == {where.partition(" ")[0] for where in shown}
    assert {"file ioc.log", f"file state/{FILE_NAME}"} <= set(shown)
    assert [where for where in shown if where.startswith("file state/audit/")]
    assert any(b"BatchMode=yes" in words for words in house.seen.texts["argv"])
    assert any(b"PATH=" in words for words in house.seen.texts["environ"])
    assert house.seen.of("letter")

    secrets = {
        "schedule": forms(SCHEDULE, USER),
        "relay": forms(RELAY, USER),
        "key": [line.encode() for line in key.splitlines() if not line.startswith("-")],
    }
    assert {name: house.seen.with_any(words) for name, words in secrets.items()} == {
        name: [] for name in secrets
    }
