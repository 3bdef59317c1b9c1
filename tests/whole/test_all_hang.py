"""The schedule, both hosts and the relay take what they are sent and never answer, all at once."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.model import RunState
from box_house import PREFIX, Ioc, refusal, running, until
from chaos.site import install, ioc_on, start_box
from wire_house import pva_context

SCHEDULE_S, COMMAND_S, MAIL_S = 2, 3, 6
"""How long an answer of the schedule, a command on a host and an answer of the relay may take."""
LIMIT_S = 18
"""Of an abort: one answer, or one command and what a connection takes; less than all four letters would."""
GET_S = 0.25
HANG = {"schedule__hang": True, "hosts__hang": "command", "mail__hang": "connect"}


@pytest.fixture
def ioc(tmp_path: Path) -> Generator[Ioc]:
    """With two hosts over ssh, and an action that needs none of what will hang."""
    box = start_box(tmp_path / "box", far=True)

    def be_patient(site: dict[str, Any]) -> None:
        site["hosts"] |= {"connect_timeout_s": 1, "timeout_s": COMMAND_S}
        site["schedule"] |= {"read_timeout_s": SCHEDULE_S, "overall_timeout_s": 2 * SCHEDULE_S}
        site["mail"]["timeout_s"] = MAIL_S
        site["watch"] = {"every_s": 5, "schedule_s": 5}

    box.edit_site(be_patient)
    started = ioc_on(box, install(tmp_path / "site-package")).start()
    yield started
    assert started.stop() == 0
    assert box.program.stop() == 0


def abort(client: Client, *buttons: str) -> dict[str, RunState]:
    """Abort all; how each ended, within the time that one answer may take."""
    began = time.monotonic()
    for button in buttons:
        client.press(f"{button}Abort")
    until(lambda: all(client.view(button).state.ended for button in buttons), f"the end of {buttons}")
    assert time.monotonic() - began < LIMIT_S
    return {button: client.view(button).state for button in buttons}


def gets_s(ioc: Ioc, names: list[str]) -> list[float]:
    """How long each of 300 gets took, in s."""
    took: list[float] = []
    with pva_context(ioc.pva) as pva:
        pva.get([PREFIX + name for name in names])
        for number in range(300):
            began = time.monotonic()
            pva.get(PREFIX + names[number % len(names)])
            took.append(time.monotonic() - began)
    return sorted(took)


@pytest.mark.timeout(300)
def test_while_all_hang_records_answer_others_work_aborts_end_and_then_it_goes_on_by_one_press(
    ioc: Ioc,
) -> None:
    with ioc.client() as client:
        client.press("UpdateUserInfo", wait=True)
        ioc.box.set(**HANG)

        # What hangs side by side keeps nobody else: neither a get, nor an action of another resource.
        for button in ("EmailUsers", "CreateDirectories"):
            client.press(button)
            running(client, button)
        client.press("DeliverOutbox")
        took = gets_s(ioc, ["UserName", "EmailUsersMessage", "ScheduleService", "Hosts"])
        client.press("PostNote", wait=True)
        alone = refusal(client, "UpdateUserInfo")
        waits = client.view("DeliverOutbox").state
        ends = abort(client, "DeliverOutbox", "EmailUsers", "CreateDirectories")

        # Those that change whose experiment it is hang each alone.
        client.write("ExperimentChoice", "300051")
        for button in ("BeginBeamtime", "Handover", "SelectExperiment", "EndBeamtime", "UpdateUserInfo"):
            client.press(button)
            running(client, button)
            ends |= abort(client, button)
        client.write("ReopenExperimentArm", client.read("ExperimentName"))
        client.press("ReopenExperiment", wait=True)

        ioc.box.reset()
        client.press("BeginBeamtime", wait=True)
        begun = client.view("BeginBeamtime")
        until(lambda: [row["reachable"] for row in client.rows("Services")].count("Up") == 5, "the lamps")

    assert took[len(took) * 99 // 100] < GET_S
    assert "EmailUsers runs since" in alone or "CreateDirectories runs since" in alone
    assert waits is RunState.QUEUED
    assert set(ends.values()) == {RunState.ABORTED}
    assert begun.state is RunState.DONE
    assert len(ioc.box.directories()) == 2
    assert len(ioc.box.recipients()) == len(set(ioc.box.recipients())) == 4
