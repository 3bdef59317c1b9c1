"""How the IOC is, as its clients see it, and as a service manager hears it."""

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.model import RunState
from box_house import PREFIX, Box, Ioc, until
from c_client import CClient


def test_its_health_is_told_on_both_protocols(ioc: Ioc, client: Client) -> None:
    with CClient(ioc.ca) as c:
        assert client.read("PROCESS_ID") == c("get", f"{PREFIX}PROCESS_ID") == ioc.program.pid
        assert client.read("HOSTNAME") == c("get", f"{PREFIX}HOSTNAME") == os.uname().nodename[:39]
        assert client.read("START_CNT") == 1
        until(lambda: client.read("ServerRunning") == "Running")
        first = client.read("HEARTBEAT")
        until(lambda: client.read("HEARTBEAT") >= first + 2)
        assert c("text", f"{PREFIX}UPTIME").startswith("00:00:")
        until(lambda: client.read("CA_CLNT_CNT") == 1)
        until(lambda: client.read("CA_CONN_CNT") == 3)
        until(lambda: client.read("PVA_CLNT_CNT") == 1)
        until(lambda: client.read("IOC_CPU_LOAD") > 0)
        until(lambda: client.read("LOOP_LATENCY_MAX") > 0)
        assert 1e7 < client.read("MEM_USED") < 1e9
        assert client.read("FD_CNT") > 5
    until(lambda: client.read("CA_CLNT_CNT") == 0)


def test_each_start_is_counted(box: Box, ioc: Ioc) -> None:
    ioc.kill()

    ioc.start()

    with ioc.client() as client:
        assert client.read("START_CNT") == 2


READY_WITH_GARBAGE = """
import gc, sys, typer
from beamtime_ioc import cli
echo = typer.echo
typer.echo = lambda line: echo(f"{line} collecting={gc.isenabled()} frozen={gc.get_freeze_count() > 100_000}")
sys.argv = ["beamtime", "serve", sys.argv[1]]
cli.main()
"""
"""The command, which says besides how the garbage collector stands."""


def test_garbage_is_collected_once_it_is_ready_but_what_was_imported_is_not_looked_through(box: Box) -> None:
    command = [sys.executable, "-c", READY_WITH_GARBAGE, str(box.site)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as ioc:
        assert ioc.stdout is not None
        line = ioc.stdout.readline()
        ioc.terminate()

    assert line.startswith("READY ")
    assert line.endswith("collecting=True frozen=True\n")
    assert ioc.returncode == 0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd makes for a service of Type=notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(20)
        yield made


def test_systemd_hears_ready_signs_of_life_and_the_end(box: Box, manager: socket.socket) -> None:
    ioc = Ioc.on(box, NOTIFY_SOCKET=str(manager.getsockname()), WATCHDOG_USEC="5000000").start()

    heard = [manager.recv(4096).decode()]
    while "READY=1" not in heard[-1]:
        heard.append(manager.recv(4096).decode())
    assert f"STATUS=serves {count_of_records(ioc)} records on {PREFIX}" in heard[-1]
    for _ in range(2):
        while "WATCHDOG=1" not in manager.recv(4096).decode():
            pass

    os.kill(ioc.program.pid, signal.SIGSTOP)  # a loop that hangs
    manager.settimeout(4)
    with contextlib.suppress(TimeoutError):
        for number in range(10):  # what was on its way comes yet
            manager.recv(4096)
            assert number < 9, "it feeds the watchdog while it hangs"
    os.kill(ioc.program.pid, signal.SIGCONT)

    manager.settimeout(20)
    ioc.program.child.send_signal(signal.SIGTERM)
    while "STOPPING=1" not in manager.recv(4096).decode():
        pass
    assert ioc.stop() == 0


def count_of_records(ioc: Ioc) -> int:
    """As the log of the start says it."""
    ready = next(line for line in ioc.program.log.read_text().splitlines() if "ready: " in line)
    return int(ready.split("ready: ")[1].split()[0])


def test_sigterm_with_clients_connected_ends_within_a_second(box: Box) -> None:
    took: list[float] = []
    for _ in range(3):
        ioc = Ioc.on(box).start()
        with ExitStack() as stack:
            for _ in range(3):
                assert stack.enter_context(ioc.client()).read("EngineState") == "Running"
            for _ in range(2):
                assert stack.enter_context(CClient(ioc.ca))("get", f"{PREFIX}EngineState") == 1
            began = time.monotonic()

            assert ioc.stop() == 0

            took.append(time.monotonic() - began)

    assert statistics.median(took) < 1, took


def test_a_second_sigterm_does_not_wait_for_a_handler_and_its_run_goes_on_at_the_next_start(box: Box) -> None:
    ioc = Ioc.on(box).start()
    box.set(schedule__delay_s=20)
    with ioc.client() as client:
        client.press("UpdateUserInfo")
        until(lambda: client.view("UpdateUserInfo").state is RunState.RUNNING)
        run_id = client.view("UpdateUserInfo").run_id
        ioc.program.child.send_signal(signal.SIGTERM)
        until(lambda: client.read("EngineState") == "Stopping")
        assert client.read("ServerRunning") == "Stopped"
        began = time.monotonic()

        assert ioc.stop() == 0  # the second

        assert time.monotonic() - began < 5
    box.reset()
    ioc.start()
    with ioc.client() as client:
        until(lambda: client.view("UpdateUserInfo").state.ended)
        assert client.view("UpdateUserInfo").run_id == run_id
        assert client.view("UpdateUserInfo").state is RunState.DONE
    assert ioc.stop() == 0
