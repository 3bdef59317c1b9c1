"""Draw every screen against the facility in a box: `make screens`.

Five series of pictures go into docs/images: idle, at work with a press refused, after a good press, after
presses that failed or ended unsure, and two screens of a site in training. Look at them.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from beamtime_ioc.client import Address, Client

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "images"
BEAMTIME = [sys.executable, "-m", "beamtime_ioc"]
KINDS = {"medm": "render_adl.py", "phoebus": "render_bob.py"}


@contextmanager
def program(*words: str) -> Generator[str, None, None]:
    """One of ours until the block ends; gives its READY line."""
    child = subprocess.Popen([*BEAMTIME, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child.stdout.readline()
    finally:
        child.terminate()
        child.wait(40)


def run(words: Sequence[str]) -> int:
    return subprocess.run(words, check=False, timeout=90).returncode


def await_end(ready: str, button: str) -> None:
    address = Address(prefix="99bm:Beamtime:", port=ports(ready)[1], interfaces=("127.0.0.1",))
    with Client(address) as client:
        deadline = time.monotonic() + PATIENT_S
        while not client.view(button).state.ended:
            if time.monotonic() > deadline:
                raise SystemExit(f"{button} did not end within {PATIENT_S} s")
            time.sleep(0.2)


def ports(ready: str) -> tuple[int, int]:
    """Those of Channel Access and of PVAccess."""
    found = re.search(r"ca=(\d+) pva=(\d+)", ready)
    assert found is not None, ready
    return int(found[1]), int(found[2])


def draw(series: str, ready: str, *names: str, source: Path = ROOT) -> None:
    """Both kinds at the same time: what is shown does not wait.

    PyDM loses one of some thousand values, which comes while it sets its callbacks: what could not be drawn
    with all values is drawn again.
    """
    ca, pva = ports(ready)
    where = {
        "EPICS_CA_SERVER_PORT": str(ca),
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_ADDR_LIST": f"127.0.0.1:{pva}",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    }
    with ExitStack() as stack:
        left: list[list[str]] = []
        for kind, tool in KINDS.items():
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for path in (source / kind).iterdir():
                if not names or path.stem in names:
                    (directory / path.name).write_bytes(path.read_bytes())
            words = [sys.executable, f"{ROOT}/tools/{tool}", str(directory), f"{PICTURES}/{kind}{series}"]
            left.append([*words, "99bm:", "Beamtime:"])
        for _ in range(TRIES):
            drawing = [(words, subprocess.Popen(words, env={**os.environ, **where})) for words in left]
            left = [words for words, child in drawing if child.wait(120)]
            if not left:
                return
    raise SystemExit("a screen could not be drawn; see the lines above")


TRIES = 3
AT_WORK_S, PATIENT_S = 25, 90
EVERY_S = 5
LOOKED_S = 3 * EVERY_S
"""After so long services, places and the schedule have been looked at as they are now."""


def main() -> None:
    with ExitStack() as stack:
        box = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="box-")))
        stack.enter_context(program("sim", "--dir", str(box)))
        site = box / "site.yaml"
        text = site.read_text().replace(
            "read_timeout_s: 10", f"read_timeout_s: {PATIENT_S}\n  overall_timeout_s: {PATIENT_S}"
        )
        site.write_text(f"{text}\nwatch: {{every_s: {EVERY_S}, schedule_s: {EVERY_S}}}\n")
        ready = stack.enter_context(program("serve", str(site)))

        def press(action: str, *words: str) -> int:
            return run([*BEAMTIME, "press", action, *words, "--site", str(site)])

        def knob(name: str, value: str) -> None:
            run([*BEAMTIME, "sim", "set", name, value, "--dir", str(box)])

        draw("-idle", ready, "beamtime")
        knob("schedule.delay_s", str(AT_WORK_S))
        press("BeginBeamtime")
        press("CreateDirectories")  # refused
        draw("-running", ready, "beamtime")
        knob("schedule.delay_s", "default")
        await_end(ready, "BeginBeamtime")
        press("EmailUsers", "--preview")
        time.sleep(LOOKED_S)
        draw("", ready)
        knob("schedule.on_beam", "7")
        knob("mail.drop", "after-data")
        press("BeginBeamtime", "--wait")
        (box / "data/ana1/.mounted").unlink()
        knob("schedule.on_beam", "8")
        press("CreateDirectories", "--wait")
        press("EmailUsers", "--preview")
        time.sleep(LOOKED_S)
        draw("-trouble", ready, "beamtime", "beamtime_create_directories")
        own = box / "screens"
        if run([*BEAMTIME, "export", str(own), "--screens", "--site", str(site)]):
            raise SystemExit("the screens of a site that trains could not be written")
        draw("-training", ready, "beamtime", "beamtime_training", source=own)


if __name__ == "__main__":
    main()
