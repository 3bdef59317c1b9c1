"""The unit file for systemd fits the program."""

import configparser
from pathlib import Path

from beamtime_ioc.app import AUDIT_GRACE_S, GRACE_S
from beamtime_ioc.health import SLOWEST_S
from beamtime_ioc.life import AUTOSAVE_GRACE_S
from beamtime_ioc.store import START_LOCK_S

UNIT = Path(__file__).parents[2] / "systemd" / "beamtime-ioc@.service"


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def test_it_is_told_and_watched_and_not_root() -> None:
    found = service()

    assert (found["Type"], found["NotifyAccess"], found["User"]) == ("notify", "main", "beamtime")
    assert found["ExecStart"].split()[1:] == ["serve", "/etc/beamtime/%i/site.yaml"]
    assert found["ExecReload"].split()[1:] == ["-HUP", "$MAINPID"]


def test_it_lets_a_handler_end_its_step_and_kills_no_ssh_before() -> None:
    found = service()

    assert int(found["TimeoutStopSec"]) > GRACE_S + AUDIT_GRACE_S + AUTOSAVE_GRACE_S + 10
    assert found["KillMode"] == "mixed"
    assert int(found["WatchdogSec"]) > 2 * (SLOWEST_S + START_LOCK_S)


def test_its_walls_leave_the_program_what_it_needs() -> None:
    found = service()

    assert not {"ProtectHome", "PrivateTmp", "PrivateNetwork", "RestrictSUIDSGID"} & set(found)
    assert found["ProtectSystem"] == "full"
    assert found["StateDirectory"] == "beamtime/%i"
    assert {"AF_UNIX", "AF_INET"} <= set(found["RestrictAddressFamilies"].split())
