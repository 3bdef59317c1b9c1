"""Draw every screen against the facility in a box: `make screens`.

Four series of pictures go into docs/images: idle, at work with a press refused, after a good press, and after
presses that failed or ended unsure. Look at them.
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

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "images"
BEAMTIME = [sys.executable, "-m", "beamtime_ioc"]
REFUSED = 2
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


def draw(series: str, ready: str, *names: str) -> None:
    """Both kinds at the same time: what is shown does not wait."""
    found = re.search(r"ca=(\d+) pva=(\d+)", ready)
    assert found is not None, ready
    where = {
        "EPICS_CA_SERVER_PORT": found[1],
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_ADDR_LIST": f"127.0.0.1:{found[2]}",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    }
    with ExitStack() as stack:
        drawing: list[subprocess.Popen[bytes]] = []
        for kind, tool in KINDS.items():
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for path in (ROOT / kind).iterdir():
                if not names or path.stem in names:
                    (directory / path.name).write_bytes(path.read_bytes())
            words = [sys.executable, f"{ROOT}/tools/{tool}", str(directory), f"{PICTURES}/{kind}{series}"]
            drawing.append(subprocess.Popen([*words, "99bm:", "Beamtime:"], env={**os.environ, **where}))
        if any(child.wait(120) for child in drawing):
            raise SystemExit("a screen could not be drawn; see the lines above")


EVERY_S = 5
LOOKED_S = 3 * EVERY_S
"""After so long services, places and the schedule have been looked at as they are now."""


def main() -> None:
    with ExitStack() as stack:
        box = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="box-")))
        stack.enter_context(program("sim", "--dir", str(box)))
        site = box / "site.yaml"
        text = site.read_text().replace("read_timeout_s: 10", "read_timeout_s: 90")
        site.write_text(f"{text}\nwatch: {{every_s: {EVERY_S}, schedule_s: {EVERY_S}}}\n")
        ready = stack.enter_context(program("serve", str(site)))

        def press(action: str, *words: str) -> int:
            return run([*BEAMTIME, "press", action, *words, "--site", str(site)])

        def knob(name: str, value: str) -> None:
            run([*BEAMTIME, "sim", "set", name, value, "--dir", str(box)])

        draw("-idle", ready, "beamtime")
        knob("schedule.delay_s", "25")
        press("BeginBeamtime")
        press("CreateDirectories")  # refused
        draw("-running", ready, "beamtime")
        knob("schedule.delay_s", "default")
        while press("BeginBeamtime", "--wait") == REFUSED:  # until the first has ended
            pass
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


if __name__ == "__main__":
    main()
