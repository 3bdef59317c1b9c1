"""Boxes that are made side by side get ports of their own, whether something listens there yet or not."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from beamtime_sim.free_ports import FIRST, LAST, RECENT_S, free_ports

ASK = "from beamtime_sim.free_ports import free_ports; print(*[n for _ in range(20) for n in free_ports(8)])"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test keeps what was given away."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path / f"beamtime-ports-{os.getuid()}.json"


def test_no_port_is_given_twice_by_processes_that_ask_at_the_same_time() -> None:
    asking = [subprocess.Popen([sys.executable, "-c", ASK], stdout=subprocess.PIPE) for _ in range(8)]

    given = [int(word) for child in asking for word in child.communicate(timeout=60)[0].split()]

    assert all(child.returncode == 0 for child in asking)
    assert len(given) == len(set(given)) == 8 * 20 * 8
    assert all(FIRST <= port < LAST for port in given)


def test_a_port_is_given_again_when_nobody_else_is_left_or_its_time_is_over(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beamtime_sim.free_ports.LAST", FIRST + 40)
    first, second = set(free_ports(10)), set(free_ports(10))
    assert not first & second

    assert len(free_ports(30)) == 30  # rather a port that a sleeping box has than none

    later = time.time() + RECENT_S + 1
    monkeypatch.setattr("beamtime_sim.free_ports.time.time", lambda: later)
    third, fourth = set(free_ports(10)), set(free_ports(10))
    assert not third & fourth
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1, 2]", "7", '{"20000": "soon"}', '{"20000": null}', "\udcff", "x" * 100_000, "[" * 100_000],
)
def test_what_cannot_be_read_of_earlier_boxes_counts_as_nothing(kept: Path, text: str) -> None:
    kept.write_bytes(text.encode(errors="surrogateescape"))

    given = {*free_ports(8), *free_ports(8)}

    assert len(given) == 16
    assert {int(port) for port in json.loads(kept.read_text())} == given


def test_where_nothing_can_be_written_there_are_ports_all_the_same(kept: Path) -> None:
    no_file_may_grow = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    words = f"import resource, tempfile; tempfile.gettempdir(); {no_file_may_grow}; {ASK}"
    asking = subprocess.run([sys.executable, "-c", words], stdout=subprocess.PIPE, check=True)

    assert len(asking.stdout.split()) == 20 * 8
    assert kept.read_bytes() == b""


@pytest.mark.parametrize("what", ["a link", "a directory", "a pipe", "no directory for it"])
def test_where_nothing_can_be_kept_there_are_ports_all_the_same(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "a link":
        kept.symlink_to(tmp_path / "elsewhere")
    elif what == "a directory":
        kept.mkdir()
    elif what == "a pipe":
        os.mkfifo(kept)
    else:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))

    assert len(set(free_ports(8))) == 8
    assert not (tmp_path / "elsewhere").exists()
