"""A put that waits returns when the effect was read back, and fails when not: with the clients of scripts."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.journal import reading
from beamtime_ioc.model import RunState
from box_house import PREFIX, Box, Ioc, until
from c_client import CClient

ENUM, ONE, ZERO = 3, "0100", "0000"
NORMAL, PUTFAIL = 1, 160
"""ECA_NORMAL, and ECA_PUTFAIL as caerr.h has it: warning number 20."""
ENDS = {
    "Done": (NORMAL, "UpdateUserInfo", lambda box: None),
    "Problems": (NORMAL, "EmailUsers", lambda box: box.set(mail__refuse=["zoe.mueller@example.edu"])),
    "Unsure": (PUTFAIL, "EmailUsers", lambda box: box.set(mail__lose_reply=1)),
    "Failed": (PUTFAIL, "UpdateUserInfo", lambda box: box.set(schedule__status=500)),
}
"""In this order: the letter that was refused is the one that goes out again."""


@pytest.fixture
def c(ioc: Ioc) -> Generator[CClient, None, None]:
    with CClient(ioc.ca) as opened:
        yield opened


def state(client: Client, button: str) -> str:
    return str(client.read(f"{button}State"))


def test_a_put_callback_is_answered_by_how_the_run_ended(box: Box, client: Client, c: CClient) -> None:
    for end, (status, button, prepare) in ENDS.items():
        box.reset()
        prepare(box)

        answered = c("put", f"{PREFIX}{button}", ENUM, 1, ONE)

        assert state(client, button) == end
        assert answered == status, end
        assert client.read(button) == "Done"  # the button is up again when the answer comes


def test_an_abort_fails_the_put_that_waits_and_a_zero_does_nothing(
    box: Box, client: Client, c: CClient
) -> None:
    box.set(schedule__delay_s=2.0)
    c.begin("put", f"{PREFIX}UpdateUserInfo", ENUM, 1, ONE)
    until(lambda: state(client, "UpdateUserInfo") == "Running", "the run")

    client.write("UpdateUserInfo", "Done")
    assert state(client, "UpdateUserInfo") == "Running"
    client.press("UpdateUserInfoAbort")

    assert c.finish() == PUTFAIL
    assert state(client, "UpdateUserInfo") == "Aborted"


def test_a_stuck_run_fails_the_put_that_waits_and_goes_on_by_itself(
    box: Box, client: Client, c: CClient
) -> None:
    with closing(sqlite3.connect(box.directory / "state/state.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        answered = c("put", f"{PREFIX}UpdateUserInfo", ENUM, 1, ONE, 30)

        assert state(client, "UpdateUserInfo") == "Stuck"
        assert answered == PUTFAIL
        assert "is written down when it does" in client.read("UpdateUserInfoMessage")
    until(lambda: state(client, "UpdateUserInfo") == "Done", "its end")


def test_a_refused_put_fails_at_once_while_the_first_waits_on(
    box: Box, ioc: Ioc, client: Client, c: CClient
) -> None:
    box.set(schedule__delay_s=1.5)
    c.begin("put", f"{PREFIX}UpdateUserInfo", ENUM, 1, ONE)
    until(lambda: state(client, "UpdateUserInfo") == "Running", "the run")

    with CClient(ioc.ca) as second:
        began = time.monotonic()
        refused = second("put", f"{PREFIX}UpdateUserInfo", ENUM, 1, ONE)
        took_s = time.monotonic() - began

    assert refused == PUTFAIL
    assert took_s < 1.2
    assert "refused: UpdateUserInfo runs since" in client.read("UpdateUserInfoMessage")
    assert c.finish() == NORMAL


def test_a_plain_put_returns_at_once(box: Box, client: Client, c: CClient) -> None:
    box.set(schedule__delay_s=1.5)

    c("put_plain", f"{PREFIX}UpdateUserInfo", ENUM, 1, ONE)

    until(lambda: state(client, "UpdateUserInfo") in ("Queued", "Running"), "the run")
    until(lambda: state(client, "UpdateUserInfo") == "Done", "its end")


def test_a_client_that_dies_while_it_waits_stops_nothing(box: Box, ioc: Ioc, client: Client) -> None:
    box.set(schedule__delay_s=1.0)
    with CClient(ioc.ca) as dying:
        dying.begin("put", f"{PREFIX}UpdateUserInfo", ENUM, 1, ONE)
        until(lambda: state(client, "UpdateUserInfo") == "Running", "the run")

    until(lambda: state(client, "UpdateUserInfo") == "Done", "its end")


def test_pyepics_put_and_wait_returns_at_the_end(box: Box, client: Client, c: CClient) -> None:
    box.set(schedule__delay_s=1.0)
    began = time.monotonic()

    assert c("caput", f"{PREFIX}UpdateUserInfo", 1) == 1

    assert state(client, "UpdateUserInfo") == "Done"
    assert time.monotonic() - began >= 1.0


def test_an_ophyd_signal_with_put_complete_is_done_at_the_end(box: Box, ioc: Ioc, client: Client) -> None:
    box.set(schedule__delay_s=1.0)
    environment = {
        "EPICS_CA_SERVER_PORT": str(ioc.ca),
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_REPEATER_PORT": "65000",
    }
    program = Path(__file__).parents[1] / "ophyd_client.py"

    ended = subprocess.run(
        [sys.executable, str(program), f"{PREFIX}UpdateUserInfo"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    first, last = ended.stdout.splitlines()
    assert first == "busy"
    assert last.split()[0] == "Done"
    assert float(last.split()[1]) >= 1.0


def test_a_restart_ends_the_wait_and_the_run_goes_on_to_its_end(
    box: Box, ioc: Ioc, client: Client, c: CClient
) -> None:
    box.set(schedule__delay_s=1.5)
    c.begin("put", f"{PREFIX}UpdateUserInfo", ENUM, 1, ONE)
    until(lambda: state(client, "UpdateUserInfo") == "Running", "the run")

    ioc.kill()
    ioc.start()

    assert c.finish() != NORMAL
    with ioc.client() as again:
        until(lambda: state(again, "UpdateUserInfo") == "Done", "its end")


PUT_AND_WAIT = """
import sys
from wire_house import pva_context
with pva_context(int(sys.argv[1])) as context:
    try:
        context.put(sys.argv[2], 1, wait=True, timeout=60)
        print("ended well")
    except Exception as error:
        print(error)
"""


def test_the_put_that_pvxs_sends_again_after_a_kill_begins_nothing_again(box: Box, ioc: Ioc) -> None:
    def runs() -> list[RunState]:
        with reading(box.directory / "state") as journal:
            return [run.state for run in journal.last(10)]

    box.set(schedule__delay_s=1.5)
    command = [sys.executable, "-c", PUT_AND_WAIT, str(ioc.pva), f"{PREFIX}UpdateUserInfo"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as plan:
        try:
            until(lambda: runs() == [RunState.RUNNING], "the run")
            # It shall look for the IOC when the run has ended; meanwhile it takes others' searches, too.
            plan.send_signal(signal.SIGSTOP)
            ioc.kill()
            ioc.start()
            until(lambda: runs() == [RunState.DONE], "its end")
            plan.send_signal(signal.SIGCONT)
            said, _ = plan.communicate(timeout=60)
        finally:
            plan.kill()

    assert re.search(r"pressed it at \d\d:\d\d:\d\d, and that run went on .*\(Done: aps:300050,", said), said
    assert said.endswith("press once more if you want another run\n")
    assert runs() == [RunState.DONE]
    with ioc.client() as client:
        assert client.read("UpdateUserInfoMessage") == f"refused: {said.strip()}"
