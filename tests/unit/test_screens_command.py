"""`beamtime screens` and `beamtime export --screens`, as they are typed."""

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from box_house import beamtime, until

SITE = """
prefix: "9:B:"
beamline: 9-B
timezone: UTC
epics: {ca_port: 15064, pva_port: 15076, interfaces: ["127.0.0.1"]}
"""
NOWHERE = {"PATH": "/nowhere", "EPICS_CA_ADDR_LIST": "", "EPICS_DISPLAY_PATH": ""}
PROGRAM = """#!{python}
import os, sys
with open({out!r} + ".part", "w") as file:
    print(sys.argv[1:], *map(os.environ.get, ("EPICS_DISPLAY_PATH", "EPICS_CA_SERVER_PORT")), file=file)
os.replace({out!r} + ".part", {out!r})
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return path


def program(directory: Path, name: str) -> tuple[dict[str, str], Path]:
    """A program that writes down how it was called, alone on PATH."""
    made, out = directory / "bin" / name, directory / "called"
    made.parent.mkdir()
    made.write_text(PROGRAM.format(python=sys.executable, out=str(out)))
    made.chmod(made.stat().st_mode | stat.S_IXUSR)
    return {"PATH": str(made.parent), "XDG_CACHE_HOME": str(directory / "cache")}, out


def test_medm_is_started_with_the_macros_the_path_and_the_port_of_the_site(
    site: Path, tmp_path: Path
) -> None:
    environment, out = program(tmp_path, "medm")

    ended = beamtime("screens", str(site), environment=environment)

    assert ended.returncode == 0, ended.stderr
    called = until(lambda: out.exists() and out.read_text(), "the call of medm")
    assert called.startswith("['-x', '-macro', 'P=9:,R=B:', '")
    assert called.rstrip().endswith(" 15064")
    assert "medm/beamtime.adl" in called


def test_the_screens_of_a_site_with_a_button_of_its_own_show_it(site: Path, tmp_path: Path) -> None:
    environment, out = program(tmp_path, "phoebus.sh")
    (tmp_path / "own.db").write_text(
        'record(bo, "$(P)$(R)Light") { field(DESC, "x") field(ZNAM, "Off") field(ONAM, "On") }'
    )
    site.write_text(SITE + "records: [own.db]\n")

    ended = beamtime("screens", str(site), "--phoebus", environment=environment)

    assert ended.returncode == 0, ended.stderr
    called = until(lambda: out.exists() and out.read_text(), "the call of phoebus")
    assert (tmp_path / "cache/beamtime-ioc/9-B-/phoebus/beamtime.bob").as_uri() in called
    assert "P=9%3A&R=B%3A" in called


def test_where_neither_is_installed_one_sentence_says_what_would_have_run(site: Path) -> None:
    ended = beamtime("screens", "--site", str(site), environment=NOWHERE)

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "neither medm nor phoebus can be found; install one, or run elsewhere: env " in ended.stderr
    assert "EPICS_PVA_BROADCAST_PORT=15076 " in ended.stderr
    assert re.search(r" EPICS_DISPLAY_PATH=\S+/medm medm -x -macro P=9:,R=B: /", ended.stderr)


def export(*words: str) -> "subprocess.CompletedProcess[str]":
    return beamtime("export", *words)


def test_only_the_screens_are_written_and_a_check_names_what_is_not_theirs(tmp_path: Path) -> None:
    written = export(str(tmp_path), "--screens")
    assert written.returncode == 0
    assert {path.parent.name for path in map(Path, written.stdout.split())} == {"medm", "phoebus"}
    assert export(str(tmp_path), "--screens", "--check").returncode == 0

    (tmp_path / "medm/beamtime_old_action.adl").touch()
    (tmp_path / "medm/beamtime_audit.adl").unlink()
    (tmp_path / "phoebus/beamtime.bob").write_bytes(b"\xff")
    checked = export(str(tmp_path), "--screens", "--check")

    assert checked.returncode == 1
    assert [line.split(" ", 1)[1].split(";")[0] for line in checked.stdout.splitlines()] == [
        "is missing",
        "differs from the records",
        "is no screen of these records",
    ]
