"""From a press to what is written down and to the first look."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any

from effort import Effort
from servers import PREFIX, House, Server, run_client
from table import Group, Line

REMARK = (
    "The button is UpdateUserInfo. Written down: the client sees Queued or Running, and another connection "
    "to the database then finds the row. First look: the question reaches the schedule."
)


def presses(house: House, effort: Effort) -> Group:
    """Presses by both protocols."""
    found = press_in_turns(house, effort, {"state-pressed": house.ours("state-pressed", "pressed")})
    lines = [
        line for protocol in ("ca", "pva") for line in _press_lines(protocol, found[protocol]["pressed"])
    ]
    return Group(name="A press", lines=lines, remark=REMARK)


def press_in_turns(house: House, effort: Effort, servers: Mapping[str, Server]) -> Any:
    """What `presses.py` finds of servers, each with its state directory before it."""
    with ExitStack() as stack:
        for server in servers.values():
            stack.enter_context(server)
        return run_client(
            "presses.py",
            "presses",
            list(servers.values()),
            presses=effort.presses,
            pause_s=0.03,
            schedule=house.schedule_requests,
            databases={
                server.label: str(house.directory / state / "state.sqlite")
                for state, server in servers.items()
            },
        )


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


def press_by_command(server: Server, button: str, *, wait: bool = True) -> None:
    """Press as an operator in a terminal does, and wait for the end of the run unless told otherwise."""
    environment = {
        **os.environ,
        "EPICS_PVA_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_BROADCAST_PORT": str(server.pva_search),
    }
    command = [sys.executable, "-m", "beamtime_ioc", "press", button, "--prefix", PREFIX]
    command += ["--wait"] if wait else []
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
