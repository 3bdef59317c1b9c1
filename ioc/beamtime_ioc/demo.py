"""The whole way in one command: the facility in a box, an IOC, one press, and a look at what came of it."""
# pyright: basic

import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from beamtime_ioc.client import Address, Client
from beamtime_ioc.errors import DemoError
from beamtime_ioc.model import RunState

Say = Callable[[str], None]
START_S, RUN_S, LOOKED_S = 30.0, 45.0, 1.0
BUTTON = "BeginBeamtime"
SEE_LOG = "see ioc.log in the directory above"
SHOWN = ("State", "Percent", "Step", "Message")


@dataclass(frozen=True, kw_only=True)
class Served:
    """An IOC that answers.

    Parameters
    ----------
    ca, pva
        Search ports.
    """

    prefix: str
    ca: int
    pva: int


def run_demo(directory: Path | None, *, stay: bool, say: Say) -> int:
    """Start all, press, check, and end all; the exit code."""
    directory = (directory or Path(tempfile.mkdtemp(prefix="beamtime-demo-"))).absolute()
    with ExitStack() as stack:
        say(f"The facility in a box: schedule, mail server, hosts det1 and ana1 over ssh, in {directory}")
        box, _ = stack.enter_context(_program(directory, "sim", ["sim", "--dir", str(directory)]))
        for note in (directory / "sim.log").read_text(encoding="utf-8").splitlines():
            say(f"  {note}")
        site = directory / "site.yaml"
        say("The IOC: beamtime serve " + str(site))
        ioc, ready = stack.enter_context(_program(directory, "ioc", ["serve", str(site)]))
        served = _parse_ready(ready)
        say(f"  {ready}")
        well = _press(served, say)
        well &= _look(directory, say)
        if stay:
            _say_what_to_type(served, site, say)
            _wait_for_the_end({"the box": box, "the IOC": ioc})
    say("All is well." if well else "Something is missing; the logs are in " + str(directory))
    return 0 if well else 1


@contextmanager
def _program(
    directory: Path, name: str, words: list[str]
) -> Generator[tuple["subprocess.Popen[bytes]", str], None, None]:
    """A program of ours until the block ends; gives it and its READY line."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{name}.log").open("wb") as log:
        command = [sys.executable, "-m", "beamtime_ioc", *words]
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            yield child, _wait_ready(child, name, Path(log.name))
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()


def _wait_ready(child: "subprocess.Popen[bytes]", name: str, log: Path) -> str:
    assert child.stdout is not None
    os.set_blocking(child.stdout.fileno(), False)
    text, deadline = "", time.monotonic() + START_S
    while time.monotonic() < deadline:
        text += _read_some(child.stdout)
        for line in text.splitlines():
            if line.startswith("READY"):
                return line
        if child.poll() is not None:
            break
    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing was said"]
    raise DemoError(f"{name} did not get ready: {last[0]}", advice=f"see {log}")


def _read_some(stream: IO[bytes]) -> str:
    import select

    readable, _, _ = select.select([stream], [], [], 0.1)
    return (stream.read() or b"").decode() if readable else ""


def _parse_ready(line: str) -> Served:
    found = re.fullmatch(r"READY prefix=(\S+) ca=(\d+) pva=(\d+)", line)
    if found is None:
        raise DemoError(f"the IOC said {line!r}", advice=SEE_LOG)
    return Served(prefix=found[1], ca=int(found[2]), pva=int(found[3]))


@contextmanager
def _no_repeater() -> Generator[int, None, None]:
    """A port that looks like a CA repeater, so that the client library starts none that would outlive us."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as repeater:
        repeater.bind(("", 0))
        yield repeater.getsockname()[1]


def _press(served: Served, say: Say) -> bool:
    """Press through the C client library (pyepics) and print each post."""
    with _no_repeater() as repeater:
        os.environ |= {
            "EPICS_CA_ADDR_LIST": "127.0.0.1",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_SERVER_PORT": str(served.ca),
            "EPICS_CA_REPEATER_PORT": str(repeater),
        }
        import epics

        posts: queue.Queue[tuple[str, str]] = queue.Queue()

        def on_post(pvname: str, value: Any, char_value: str, **_: Any) -> None:
            part = pvname.removeprefix(served.prefix + BUTTON)
            texts = {"State": lambda: tuple(RunState)[value], "Percent": lambda: f"{value:.0f} %"}
            posts.put((part, texts.get(part, lambda: char_value)()))

        pvs = [
            epics.PV(f"{served.prefix}{BUTTON}{part}", callback=on_post, auto_monitor=True) for part in SHOWN
        ]
        button = epics.PV(served.prefix + BUTTON)
        if not button.wait_for_connection(timeout=10):
            raise DemoError(
                f"{button.pvname} does not answer over Channel Access",
                advice=SEE_LOG,
            )
        say(f"Pressing {button.pvname} (caput -c):")
        done: queue.Queue[bool] = queue.Queue()
        button.put(1, use_complete=True, callback=lambda **_: done.put(True))
        shown: dict[str, str] = dict.fromkeys(SHOWN, "")
        deadline = time.monotonic() + RUN_S
        while time.monotonic() < deadline and not (posts.empty() and not done.empty()):
            try:
                part, text = posts.get(timeout=0.2)
            except queue.Empty:
                continue
            if shown[part] != text:
                shown[part] = text
                say(f"  {part:<8} {text}")
        for pv in [*pvs, button]:
            pv.disconnect()
        epics.ca.finalize_libca()
    return _say_how_it_ended(served, say)


def _say_how_it_ended(served: Served, say: Say) -> bool:
    """The checklist, read over PVAccess."""
    address = Address(prefix=served.prefix, port=served.pva, interfaces=("127.0.0.1",))
    with Client(address) as client:
        view = client.view(BUTTON)
    say(f"{BUTTON} ended {view.state} after {view.elapsed_s:.1f} s:")
    for step in view.steps:
        say(f"  {step.state:<15} {step.name}" + (f": {step.reason}" if step.reason else ""))
    return view.state is RunState.DONE


def _look(directory: Path, say: Say) -> bool:
    markers = sorted(directory.glob("data/*/**/.experiment.json"))
    letters = sorted(directory.glob("mail/*.eml"))
    say(f"Directories of the experiment, {len(markers)}:")
    for marker in markers:
        say(f"  {marker.parent}  {marker.parent.stat().st_mode & 0o7777:o}")
    say(f"Letters that the mail server took, {len(letters)}:")
    for letter in letters:
        say(f"  {letter}")
    return bool(markers and letters)


def _say_what_to_type(served: Served, site: Path, say: Say) -> None:
    beamtime = shutil.which("beamtime") or f"{Path(sys.executable).parent / 'beamtime'}"
    say(f"""
It goes on serving; Ctrl-C ends it. In another terminal:

  {beamtime} press BeginBeamtime --preview --site {site}
  {beamtime} press BeginBeamtime --wait --site {site}
  {beamtime} status --site {site}
  {beamtime} history --site {site}
  {beamtime} sim show --dir {site.parent}
  {beamtime} sim set hosts.refuse connect --dir {site.parent}

From Python over Channel Access (pyepics; what it says of caRepeater does no harm):

  export EPICS_CA_ADDR_LIST=127.0.0.1 EPICS_CA_AUTO_ADDR_LIST=NO EPICS_CA_SERVER_PORT={served.ca}
  {sys.executable} -c 'import epics; print(epics.caget("{served.prefix}ExperimentName", as_string=True))'

and over PVAccess (p4p):

  export EPICS_PVA_ADDR_LIST=127.0.0.1 EPICS_PVA_AUTO_ADDR_LIST=NO EPICS_PVA_BROADCAST_PORT={served.pva}
  {sys.executable} -c 'from p4p.client.thread import Context
print(Context("pva").get("{served.prefix}{BUTTON}Progress"))'
""")


def _wait_for_the_end(programs: Mapping[str, "subprocess.Popen[bytes]"]) -> None:
    """Until somebody ends the demo.

    Raises
    ------
    DemoError
        One of the programs has ended before.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            for name, child in programs.items():
                with suppress(subprocess.TimeoutExpired):
                    child.wait(LOOKED_S)
                    raise DemoError(
                        f"{name} has ended by itself", advice="see the logs in the directory above"
                    )
    except KeyboardInterrupt:
        return
