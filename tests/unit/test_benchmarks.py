"""The benches can be begun: what they take from the tests is there."""

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


def test_the_benches_can_be_begun() -> None:
    ended = subprocess.run(
        [sys.executable, RUN, "--help"], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "look-up" in ended.stdout
