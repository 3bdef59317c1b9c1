"""What the installed distribution says of itself."""

import re
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def entry_points(group: str) -> dict[str, str]:
    found: list[EntryPoint] = list(distribution("beamtime-ioc").entry_points)
    return {entry.name: entry.value for entry in found if entry.group == group}


def test_the_command_is_called_beamtime() -> None:
    assert entry_points("console_scripts") == {"beamtime": "beamtime_ioc.cli:main"}


def test_each_action_is_a_function_of_its_name_in_a_file_of_its_name() -> None:
    actions = entry_points("beamtime.handlers")

    words = {name: name.replace("-", "_") for name in actions}

    assert {"update-user-info", "create-directories", "email-users", "deliver-outbox"} <= set(actions)
    assert actions == {name: f"beamtime_handlers.{word}:{word}" for name, word in words.items()}


def test_the_services_and_commands_of_the_first_press_are_offered() -> None:
    services = entry_points("beamtime.services")
    commands = entry_points("beamtime.commands")

    assert {"schedule.aps", "hosts.local", "hosts.ssh", "mail.smtp"} <= set(services)
    assert all(module.startswith("beamtime_handlers.clients.") for module in services.values())
    assert commands["sim"] == "beamtime_sim.command:app"
    assert commands["mail"] == "beamtime_handlers.clients.smtp_mail.command:app"


def test_only_a_file_that_wraps_a_library_without_types_is_checked_less_strictly() -> None:
    basic = [
        path
        for root in ("ioc", "handlers", "sim")
        for path in (CHECKOUT / root).rglob("*.py")
        if "# pyright: basic" in path.read_text()
    ]

    wraps = re.compile(r"^\s*(from|import) (caproto|p4p|epics|setuptools_dso)\b", re.MULTILINE)
    assert basic
    assert [path.name for path in basic if not wraps.search(path.read_text())] == []
