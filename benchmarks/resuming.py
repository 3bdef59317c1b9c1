"""From a start to the first effect, when kill -9 has ended the process before in the middle of a run."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Self

from effort import Effort
from outside import LOG
from own_button import finding, install_button
from pressing import press_by_command
from servers import HERE, House, Server
from table import Group, Line, ratio_of

BUTTON = "BenchLong"
BEFORE_KILL = 3
"""Effects that are seen between a start and the next kill."""
DEADLINE_S = 60.0


class Victim:
    """A program that is started and killed again and again, and the log of what it did outside."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._effects = Path(server.environment[LOG])
        self._effects.touch()

    def __enter__(self) -> Self:
        with self.server.log.open("ab") as log:
            self._began_ns = time.monotonic_ns()
            self._child = subprocess.Popen(
                self.server.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.server.directory,
                env=self.server.variables,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Kill -9."""
        self._child.kill()
        self._child.wait()

    def first_effect_s(self) -> float:
        """From its start to the first effect that it did; returns when some more are done."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and self._child.poll() is None:
            since = [at for at in self._times() if at > self._began_ns]
            if len(since) >= BEFORE_KILL:
                return (since[0] - self._began_ns) / 1e9
            time.sleep(0.01)
        last = self.server.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"{self.server.label} does not go on with its run; its log ends:\n{last}")

    def _times(self) -> Sequence[int]:
        whole, _, _ = self._effects.read_bytes().rpartition(b"\n")
        return [int(line) for line in whole.split()]


def resumes(house: House, effort: Effort) -> Group:
    """Kills in turns: our engine alone, the whole IOC, and the libraries of both without any of our code."""
    records = [install_button(house.directory, "bench-long", BUTTON, "long_action")]
    ioc = house.ours("state-resumed", "IOC", records=records)
    servers = (
        house.server("engine", str(HERE / "resume_ours.py"), "state-engine"),
        ioc,
        house.server("bare", str(HERE / "resume_bare.py"), "resumed.sqlite", "records.json"),
    )
    for server in servers:
        log = house.directory / f"{server.label}.effects"
        server.environment = {LOG: str(log), **finding(house.directory)}
    with ioc:
        press_by_command(ioc, BUTTON, wait=False)
    victims = [Victim(server) for server in servers]
    took: dict[str, list[float]] = {victim.server.label: [] for victim in victims}
    for turn in range(effort.kills + 2):
        for victim in victims:
            with victim:
                seconds = victim.first_effect_s()
            if turn > 1:  # the first one begins the run and compiles, the second reads what was compiled
                took[victim.server.label].append(seconds)
    peer = f"bare {median(took['bare']):.2f} s"
    lines = [
        Line(
            what=f"kill -9, start to first effect: {what}",
            ours=f"{median(took[label]):.2f} s, longest {max(took[label]):.2f} s",
            peer=peer,
            ratio=ratio_of(took[label], took["bare"]),
            goal="<= 1.5 s" if label == "IOC" else "",
            measured=median(took[label]) if label == "IOC" else None,
        )
        for label, what in (("engine", "the engine alone"), ("IOC", "the IOC"))
    ]
    remark = (
        f"{effort.kills} kills each. Time counts from the command until the effect has written its line "
        "outside. Bare: caproto, p4p and DBOS with the same records and the same queue."
    )
    return Group(name="Going on after kill -9", lines=lines, remark=remark)
