"""The short form of the chaos run: an IOC killed every 1 to 4 s does 150 actions, none lost, none doubled."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LAST_LINE = re.compile(r"chaos: actions=150 kills=(\d+) lost=0 doubled=0 unsure=(\d+)")
LONGEST_S = 240


def chaos(*words: str, timeout_s: float) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "chaos", *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.timeout(LONGEST_S + 30)
def test_150_actions_with_a_kill_each_1_to_4_s_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "chaos"

    done = chaos("--actions", "150", "--kills", "1,4", "--dir", str(directory), timeout_s=LONGEST_S)

    last = done.stdout.splitlines()[-1]
    found = LAST_LINE.fullmatch(last)
    assert found is not None, f"{done.stdout}\n{done.stderr}"
    assert int(found[1]) >= 20
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("span", ["4,1", "0,0", "soon", "-1,2"])
def test_a_span_of_kills_that_is_none_is_refused(span: str) -> None:
    done = chaos(f"--kills={span}", timeout_s=60)

    assert done.returncode == 2
    assert "must be two numbers of seconds" in done.stderr or "invalid" in done.stderr
