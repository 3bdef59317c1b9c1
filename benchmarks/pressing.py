"""From a press to what is written down and to the first look, with an empty history and with a long one."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from statistics import median
from typing import Any

from effort import Effort
from history import multiply
from servers import PREFIX, House, Server, run_client
from table import Group, Line, ratio_of

EMPTY, FULL = "state-empty", "state-full"
MODELS = ("UpdateUserInfo", "CreateDirectories")


def presses(house: House, effort: Effort) -> Group:
    """The same presses on two IOCs, which differ in their history only."""
    rows = _fill(house, effort.history)
    servers = [house.ours(EMPTY, "empty"), house.ours(FULL, "full")]
    answered: dict[str, list[float]] = {server.label: [] for server in servers}
    ready: dict[str, list[float]] = {server.label: [] for server in servers}
    for turn in range(effort.starts + 1):
        for server in servers:
            with server:
                pass
            if turn:
                answered[server.label].append(server.answered_s)
                ready[server.label].append(server.ready_s)
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        found: dict[str, Any] = run_client(
            "presses.py",
            "presses",
            servers,
            presses=effort.presses,
            pause_s=0.03,
            schedule=house.schedule_requests,
            databases={
                server.label: str(house.directory / state / "state.sqlite")
                for server, state in zip(servers, (EMPTY, FULL), strict=True)
            },
        )
    lines = [line for protocol in ("ca", "pva") for line in _press_lines(protocol, found[protocol]["empty"])]
    many = f"{rows:,} runs in the history"
    lines += _history_lines(found, many)
    lines += [
        Line(
            what=f"start to {what}, {many}",
            ours=f"{median(times['full']):.2f} s",
            peer=f"few {median(times['empty']):.2f} s",
            ratio=ratio_of(times["full"], times["empty"]),
            goal="<= 1.2",
        )
        for what, times in (("first answer", answered), ("READY", ready))
    ]
    remark = (
        "The button is UpdateUserInfo. Written down: the client sees Queued or Running, and another "
        "connection to the database then finds the row. First look: the question reaches the schedule."
    )
    return Group(name="A press", lines=lines, remark=remark)


def _press_lines(protocol: str, times: Any) -> list[Line]:
    presses, on_disk = len(times["seen_ms"]), times["on_disk"]
    seen, look = median(times["seen_ms"]), median(times["look_ms"])
    name = protocol.upper()
    return [
        Line(
            what=f"{name} press to written down",
            ours=f"{seen:.1f} ms, {on_disk} of {presses} on disk",
            goal="<= 15 ms",
            measured=seen if on_disk == presses else float("inf"),
        ),
        Line(what=f"{name} press to first look", ours=f"{look:.0f} ms", goal="<= 300 ms", measured=look),
    ]


def _history_lines(found: dict[str, Any], many: str) -> list[Line]:
    """Both protocols together: a history is slow for both or for none."""
    times = {
        label: found["ca"][label]["seen_ms"] + found["pva"][label]["seen_ms"] for label in ("empty", "full")
    }
    return [
        Line(
            what=f"press to written down, {many}",
            ours=f"{median(times['full']):.1f} ms",
            peer=f"few {median(times['empty']):.1f} ms",
            ratio=median(times["full"]) / median(times["empty"]),
            goal="<= 1.2",
        )
    ]


def _fill(house: House, wanted: int) -> int:
    """Run the models for real, then copy them; how many runs there are then."""
    with house.ours(EMPTY, "empty") as server:
        for button in MODELS:
            _press_by_command(server, button)
    empty, full = house.directory / EMPTY, house.directory / FULL
    shutil.copytree(empty, full)
    return multiply(full / "state.sqlite", wanted)


def _press_by_command(server: Server, button: str) -> None:
    environment = {
        **os.environ,
        "EPICS_PVA_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_BROADCAST_PORT": str(server.pva_search),
    }
    command = [sys.executable, "-m", "beamtime_ioc", "press", button, "--wait", "--prefix", PREFIX]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
