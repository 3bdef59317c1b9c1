"""`beamtime check` sees what the IOC would refuse at its start."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from beamtime_ioc.errors import StateError
from beamtime_ioc.store import Store
from pg_house import Database

ON_A_SMALL_DISK = 'mount -t tmpfs -o size=1500k none "$1"; shift; exec "$@"'
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the file of a site without services."""

    def write(prefix: str, database: str = "") -> Path:
        file = tmp_path / "site.yaml"
        text = f"prefix: '{prefix}'\nbeamline: 99-BM-A,B\ntimezone: America/Chicago\nstate: state\n"
        file.write_text(text + (f"database: {database}\n" if database else ""))
        return file

    return write


def check(site: Path, *before: str) -> "subprocess.CompletedProcess[str]":
    command = [*before, sys.executable, "-m", "beamtime_ioc", "check", str(site)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_full_disk_is_a_fault(write: Write, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()

    ended = check(write("x:"), "unshare", "-rm", "sh", "-c", ON_A_SMALL_DISK, "sh", str(state))

    fault = f"FAULT state directory {state}: its disk is full; make 2 MB of room"
    assert fault in ended.stdout.splitlines(), ended
    assert ended.returncode == 1


def test_an_address_of_another_computer_is_a_fault(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    site = write("x:")
    site.write_text(site.read_text() + "epics: {interfaces: [127.0.0.1, 192.0.2.9]}\n")
    monkeypatch.setenv("EPICS_PVAS_INTF_ADDR_LIST", "192.0.2.8")

    faults = [line for line in check(site).stdout.splitlines() if "no address of this computer" in line]

    assert faults == [
        "FAULT epics.interfaces: 192.0.2.9 is no address of this computer; see `ip address`",
        "FAULT EPICS_PVAS_INTF_ADDR_LIST: 192.0.2.8 is no address of this computer; see `ip address`",
    ]


def test_a_state_of_another_site_is_a_fault_and_is_left_as_it_is(write: Write, tmp_path: Path) -> None:
    state = tmp_path / "state"
    Store(state, "x:").close()
    before = sorted(state.iterdir())

    own, other = check(write("x:")), check(write("y:"))

    words = f"state directory {state}: it belongs to x:, not to y:; give this site a state directory"
    assert f"ok    state directory {state}" in own.stdout.splitlines()
    assert f"FAULT {words} of its own" in other.stdout.splitlines(), other
    assert other.returncode == 1
    assert sorted(state.iterdir()) == before


def test_a_state_that_an_ioc_has_open_is_looked_at_too(write: Write, tmp_path: Path) -> None:
    held = Store(tmp_path / "state", "x:")
    try:
        other = check(write("y:"))
    finally:
        held.close()

    assert "it belongs to x:, not to y:" in other.stdout


def test_a_database_of_another_site_is_a_fault(write: Write, tmp_path: Path, database: Database) -> None:
    Store(tmp_path / "elsewhere", "x:", database=database.url).close()

    other = check(write("y:", database.url))

    assert "FAULT state database postgresql://" in other.stdout, other
    assert "it belongs to x:, not to y:; give this site a database of its own" in other.stdout
    assert other.returncode == 1


def test_what_check_says_of_another_site_the_ioc_says_too(tmp_path: Path) -> None:
    Store(tmp_path / "state", "x:").close()

    with pytest.raises(StateError, match="belongs to x:, not to y:"):
        Store(tmp_path / "state", "y:")
