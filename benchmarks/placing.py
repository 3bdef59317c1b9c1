"""Directories on other hosts: twenty places beside one, and what a host that hangs does to all others."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from effort import Effort
from own_button import finding, install_button
from pressing import press_by_command
from servers import HERE, House, Server, run_client
from sshd import MISSING, SshHouse, hosts, program
from table import Group, Line, ratio_of
from timing import timed

from beamtime_handlers.clients.hosts.ssh import SshHosts
from beamtime_handlers.create_directories import create_directories
from beamtime_ioc.model import Experiment, Place
from beamtime_ioc.testing import FakeRun

NOW = datetime.now(UTC)
EXPERIMENT = Experiment(key="bench:1", name="bench", start=NOW, end=NOW)
PLACES, WORK_S = 20, 1
TELL_S = 10.0
BUTTON = "BenchShort"


# -- twenty places --------------------------------------------------------------------------


def places(house: House, effort: Effort) -> Group:
    """The time for twenty places on two hosts, as a ratio to that for one."""
    remark = (
        f"Each directory takes {WORK_S} s of work on its host. The connections stand. The peer is one alone."
    )
    with hosts() as both:
        if both is None:
            return Group(name="Places", lines=[], remark=MISSING)
        with ExitStack() as stack:
            client = stack.enter_context(both.client())
            for host in (both.det1, both.ana1):
                slow = f'{program("sleep")} {WORK_S}; exec {program("mkdir")} "$@"'
                stack.enter_context(host.planted("mkdir", slow))
            tops = house.directory / "places"
            rounds = [_round(both, client, tops / str(number)) for number in range(max(2, effort.runs // 5))]
    one_s, all_s = ([pair[which] for pair in rounds] for which in (0, 1))
    line = Line(
        what=f"{PLACES} places on two hosts, {WORK_S} s of work each",
        ours=f"{median(all_s):.2f} s",
        peer=f"one place {median(one_s):.2f} s",
        ratio=ratio_of(all_s, one_s),
        goal="<= 3",
    )
    return Group(name="Places", lines=[line], remark=remark)


def _round(both: SshHouse, client: SshHosts, top: Path) -> tuple[float, float]:
    """Seconds for one place and for all of them, with new directories."""
    top.mkdir(parents=True)
    of_both = [both.place(host, top) for host in (both.det1, both.ana1)]
    for place in of_both:
        client.check_place(place)
    twenty = [
        replace(of_both[number % 2], name=f"place{number}", path=f"{number}-{{name}}")
        for number in range(PLACES)
    ]
    alone = [replace(twenty[0], path="alone-{name}")]
    return timed(lambda: _make(client, alone)), timed(lambda: _make(client, twenty))


def _make(client: SshHosts, wanted: list[Place]) -> None:
    run = FakeRun(site=replace(client.site, places=tuple(wanted)), services={"hosts": client})
    create_directories(run, EXPERIMENT)


# -- a host that hangs ----------------------------------------------------------------------


def hanging(house: House, effort: Effort) -> Group:
    """How late the loop is, and how long another action takes, while a host and the relay hang."""
    with hosts() as both:
        if both is None:
            return Group(name="A host and a relay that hang", lines=[], remark=MISSING)
        watched = str(HERE / "watched.py")
        server = house.server("ours", watched, "ours.late", "ours", str(_site(house, both)))
        server.environment = finding(house.directory)
        with server, ExitStack() as stack:
            press_by_command(server, "UpdateUserInfo")
            quiet = _phase(server, effort)
            stack.enter_context(both.det1.planted("stat", f"exec {program('sleep')} 1000"))
            _turn(house, "mail.hang", "connect")
            stack.callback(_turn, house, "mail.hang", "false")
            for button in ("CreateDirectories", "EmailUsers"):
                press_by_command(server, button, wait=False)
            hung = _phase(server, effort)
    return Group(name="A host and a relay that hang", lines=_lines(quiet, hung), remark=HUNG)


HUNG = (
    "CreateDirectories waits for a host whose `stat` never ends, and so do the looks at that host; "
    "EmailUsers and the looks at the mail wait for a relay that takes the connection and says nothing. "
    "Meanwhile an action of three steps that needs none of them is pressed by a put with callback, again and "
    "again, and one client gets a number each 2 ms. The loop: what a task that sleeps 5 ms oversleeps. The "
    "peer is the same IOC before anything hung."
)


def _site(house: House, both: SshHouse) -> Path:
    path = house.site("hanging", [install_button(house.directory, "bench-short", BUTTON, "short_action")])
    site: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    top = house.directory / "hanging"
    top.mkdir()
    site["places"] = [
        {"name": host.name, "host": host.name, "top": str(top), "path": f"{host.name}/{{name}}"}
        for host in (both.det1, both.ana1)
    ]
    site |= {"hosts": {**both.settings, "timeout_s": 300}, "watch": {"every_s": 5}}
    site["mail"] |= {"timeout_s": 300, "deadline_s": 600}
    path.write_text(yaml.safe_dump(site, allow_unicode=True), encoding="utf-8")
    return path


def _phase(server: Server, effort: Effort) -> dict[str, Any]:
    """The time of each run and of the gets meanwhile, and how late the loop was."""
    _late(server)
    found = run_client("ca_clients.py", "runs", [server], button=BUTTON, runs=effort.presses)
    return {**found["ours"], "late": _late(server)}


def _late(server: Server) -> list[float]:
    """Median, 99th percentile and maximum since the last call, in ms."""
    told = Path(server.address()["lateness"])
    told.unlink(missing_ok=True)
    os.kill(server.address()["pid"], signal.SIGUSR1)
    end = time.monotonic() + TELL_S
    while not told.exists():
        if time.monotonic() > end:
            raise TimeoutError("the server does not tell how late it is")
        time.sleep(0.01)
    return json.loads(told.read_text(encoding="utf-8"))


def _turn(house: House, knob: str, value: str) -> None:
    """Turn a knob of the box."""
    words = [sys.executable, "-m", "beamtime_ioc", "sim", "set", knob, value, "--dir", str(house.directory)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=60)


def _lines(quiet: dict[str, Any], hung: dict[str, Any]) -> list[Line]:
    before, after = median(quiet["runs_s"]), median(hung["runs_s"])
    return [
        Line(
            what="the loop is late, 99 of 100 below",
            ours=f"{hung['late'][1]:.1f} ms",
            peer=f"quiet {quiet['late'][1]:.1f} ms",
            goal="<= 50 ms",
            measured=hung["late"][1],
        ),
        Line(
            what="another action, press to done",
            ours=f"{1e3 * after:.0f} ms",
            peer=f"quiet {1e3 * before:.0f} ms",
            ratio=after / before,
            goal="<= 1.2",
        ),
        Line(
            what="get, 99 of 100 below",
            ours=f"{hung['gets_ms'][1]:.2f} ms",
            peer=f"quiet {quiet['gets_ms'][1]:.2f} ms",
        ),
    ]
