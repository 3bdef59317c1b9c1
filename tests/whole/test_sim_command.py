"""`beamtime sim` as a person or another program runs it."""

import os
import select
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

PATIENCE_S = 20
# The box is a sub-command of the main one; mounted here as the main command mounts it.
MOUNTED = """
import typer
from beamtime_sim.command import app
main = typer.Typer()
main.command()(lambda: None)
main.add_typer(app, name="sim")
main(prog_name="beamtime")
"""
COMMAND = [sys.executable, "-c", MOUNTED, "sim"]

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the command in tmp_path; whatever still runs at the end is ended."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ready_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
    assert readable, "no line within the time"
    return process.stdout.readline()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_ready_is_said_in_one_line_when_everything_answers(start: Start, tmp_path: Path) -> None:
    box = start("--dir", "some/box", "--anchor", "2026-11-20")

    line = ready_line(box)

    site = load(tmp_path / "some/box/site.yaml")
    user, password = (tmp_path / "some/box/credentials.txt").read_text().strip().split("|")
    url = site["schedule"]["url"] + "run/getAllRuns"
    runs = requests.get(url, auth=(user, password), timeout=PATIENCE_S)
    with smtplib.SMTP(site["mail"]["relay"], site["mail"]["port"], timeout=PATIENCE_S) as talk:
        talk.sendmail("beamline@example.org", ["ren.obrien@example.org"], "Subject: x\r\n\r\n")
    assert line == "READY site=some/box/site.yaml\n"
    assert runs.status_code == 200
    assert [path.name for path in (tmp_path / "some/box/mail").glob("*.eml")] == [
        "0001-ren.obrien@example.org.eml"
    ]
    box.terminate()
    assert ended(box) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_a_second_also_while_clients_hang(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    box = start("--dir", "box")
    ready_line(box)
    ports = load(tmp_path / "box/sim.yaml")["ports"]
    clients = [
        socket.create_connection(("127.0.0.1", ports[name])) for name in ("schedule", "mail", "control")
    ]
    begin = time.monotonic()

    box.send_signal(number)
    result = ended(box)
    seconds = time.monotonic() - begin

    for client in clients:
        client.close()
    assert result == (0, "", "")
    assert seconds < 1


def test_a_restart_keeps_ports_anchor_and_the_numbers_of_the_mails(start: Start, tmp_path: Path) -> None:
    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE_S) as talk:
            talk.sendmail("beamline@example.org", ["ren.obrien@example.org"], "Subject: x\r\n\r\n")

    first = start("--dir", "box", "--anchor", "2026-11-20")
    ready_line(first)
    kept = load(tmp_path / "box/sim.yaml")
    send(kept["ports"]["mail"])
    first.kill()
    first.wait()

    second = start("--dir", "box")
    ready_line(second)
    send(kept["ports"]["mail"])

    assert load(tmp_path / "box/sim.yaml") == kept
    assert sorted(path.name for path in (tmp_path / "box/mail").glob("*.eml")) == [
        "0001-ren.obrien@example.org.eml",
        "0002-ren.obrien@example.org.eml",
    ]


def test_a_second_box_on_the_directory_is_refused_in_one_line(start: Start) -> None:
    first = start("--dir", "box")
    ready_line(first)

    code, out, err = ended(start("--dir", "box"))

    assert (code, out) == (2, "")
    sentence = f"beamtime sim: a box runs on box already (process {first.pid}); use it, or end it first\n"
    assert err == sentence


def test_a_taken_port_is_refused_in_one_line(start: Start, tmp_path: Path) -> None:
    first = start("--dir", "box")
    ready_line(first)
    first.terminate()
    first.wait()
    port = load(tmp_path / "box/sim.yaml")["ports"]["mail"]

    with socket.create_server(("127.0.0.1", port)):
        code, out, err = ended(start("--dir", "box"))

    assert (code, out) == (2, "")
    assert err.startswith(f"beamtime sim: port {port} on 127.0.0.1 is taken by another process (mail, ")
    assert err.count("\n") == 1


def test_set_show_and_reset_speak_to_the_running_box(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_line(start("--dir", "box"))
    monkeypatch.setenv("BEAMTIME_SITE", str(tmp_path / "box/site.yaml"))

    turned = ended(start("set", "mail.refuse", "ren.obrien@example.org", "--dir", "box"))
    number = ended(start("set", "schedule.status", "503", "--dir", "box"))
    shown = ended(start("show", "--dir", "box"))
    reset = ended(start("reset"))
    after = ended(start("show", "--dir", "box"))

    assert turned == (0, 'mail.refuse = ["ren.obrien@example.org"]\n', "")
    assert number == (0, "schedule.status = 503\n", "")
    assert "ren.obrien@example.org" in shown[1]
    assert reset == (0, "every knob is at its default\n", "")
    assert "ren.obrien@example.org" not in after[1]
    assert "schedule: 0 requests" in after[1]
    assert "hosts: 0 commands on det1, 0 commands on ana1" in after[1]


@pytest.mark.parametrize(
    ("knob", "value", "sentence"),
    [
        ("mail.nothing", "1", "there is no knob 'mail.nothing'; the knobs are schedule.delay_s, "),
        ("schedule.delay_s", "-3", "schedule.delay_s cannot be -3; "),
        ("mail.drop", "sometimes", 'mail.drop cannot be "sometimes"; allowed is one of never, '),
    ],
)
def test_a_bad_knob_is_refused_in_one_line(start: Start, knob: str, value: str, sentence: str) -> None:
    ready_line(start("--dir", "box"))

    code, out, err = ended(start("set", knob, value, "--dir", "box"))

    assert (code, out) == (2, "")
    assert err.startswith(f"beamtime sim: {sentence}")
    assert err.count("\n") == 1


def test_without_a_box_the_knobs_say_how_to_start_one(start: Start, tmp_path: Path) -> None:
    never = ended(start("show", "--dir", "nowhere"))
    first = start("--dir", "box")
    ready_line(first)
    first.terminate()
    first.wait()
    port = load(tmp_path / "box/sim.yaml")["ports"]["control"]

    gone = ended(start("show", "--dir", "box"))

    start_one = "beamtime sim: nowhere holds no box; start one with: beamtime sim --dir nowhere\n"
    assert never == (2, "", start_one)
    advice = "start the box with: beamtime sim --dir box"
    assert gone == (3, "", f"beamtime sim: no box answers on port {port} of 127.0.0.1; {advice}\n")


def test_a_missing_directory_option_is_a_usage_error(start: Start) -> None:
    code, out, err = ended(start())

    assert (code, out) == (2, "")
    assert "--dir DIR" in err
    assert "Traceback" not in err
