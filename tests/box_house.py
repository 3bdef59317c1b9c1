"""The facility in a box and an IOC on it, as programs of their own that a test starts, kills and ends."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from beamtime_ioc.client import Address, Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState

START_S, DEADLINE_S = 40.0, 40.0
PREFIX = "99bm:Beamtime:"


def until(condition: Callable[[], Any], what: str = "the condition", deadline_s: float = DEADLINE_S) -> Any:
    """Wait for a true value, and give it."""
    end = time.monotonic() + deadline_s
    pause = select.poll()
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        pause.poll(10)
    raise AssertionError(f"{what} did not come within {deadline_s:g} s")


@dataclass
class Program:
    """`beamtime ...` as a process; its stderr is kept in a file."""

    words: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> str:
        """Start it and give its READY line."""
        self.launch()
        line = self.read_line(lambda text: text.startswith("READY"))
        if line is None:
            raise AssertionError(
                f"{self.words} did not get ready:\n{self.log.read_text(errors='replace')[-3000:]}"
            )
        return line

    def launch(self) -> None:
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "beamtime_ioc", *self.words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                start_new_session=True,
            )

    def read_line(self, wanted: Callable[[str], bool], deadline_s: float = START_S) -> str | None:
        assert self.child.stdout is not None
        stream, text = self.child.stdout, ""
        os.set_blocking(stream.fileno(), False)
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            if select.select([stream], [], [], 0.05)[0]:
                chunk = stream.read() or b""
                text += chunk.decode()
                for line in text.splitlines():
                    if wanted(line):
                        return line
                if not chunk:
                    break
        self.child.wait(5)
        return None

    @property
    def pid(self) -> int:
        return self.child.pid

    def kill(self) -> None:
        """As a power cut does to a process."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self._close()

    def stop(self) -> int:
        """End it as a service manager does; gives its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise
        finally:
            self.child.wait()
            self._close()

    def _close(self) -> None:
        if self.child.stdout is not None:
            self.child.stdout.close()


@dataclass
class Box:
    """The facility: its directory, its knobs, and what reached it."""

    directory: Path
    program: Program

    @classmethod
    def start(cls, directory: Path, *words: str, far: bool = False) -> "Box":
        """Start it; `far`: its places are on hosts that are reached over ssh."""
        directory.mkdir(parents=True, exist_ok=True)
        near = [] if far else ["--local"]
        program = Program(["sim", "--dir", str(directory), *near, *words], directory / "sim.log")
        line = program.start()
        assert line == f"READY site={directory}/site.yaml"
        return cls(directory, program)

    @property
    def site(self) -> Path:
        return self.directory / "site.yaml"

    @property
    def _control(self) -> str:
        ports = yaml.safe_load((self.directory / "sim.yaml").read_text())["ports"]
        return f"http://127.0.0.1:{ports['control']}"

    def set(self, **knobs: object) -> None:
        """Turn knobs: `mail__refuse=[...]` is `mail.refuse`."""
        body = {name.replace("__", "."): value for name, value in knobs.items()}
        requests.put(f"{self._control}/knobs", json=body, timeout=5).raise_for_status()

    def knobs(self) -> dict[str, Any]:
        """How each knob stands."""
        return requests.get(f"{self._control}/knobs", timeout=5).json()

    def reset(self) -> None:
        requests.delete(f"{self._control}/knobs", timeout=5).raise_for_status()

    def mails(self) -> list[dict[str, Any]]:
        """What the mail server accepted, from its own log on the disk."""
        log = self.directory / "mail" / "log.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def recipients(self) -> list[str]:
        """One address per accepted mail, sorted: a second mail to somebody is seen as a double."""
        return sorted(mail["to"] for mail in self.mails())

    def directories(self) -> list[Path]:
        """Directories of experiments, by their markers."""
        return sorted(marker.parent for marker in self.directory.glob("data/*/**/.experiment.json"))

    def edit_site(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the site file as a person would with an editor."""
        content = yaml.safe_load(self.site.read_text())
        change(content)
        self.site.write_text(yaml.safe_dump(content, allow_unicode=True))


@dataclass
class Ioc:
    """An IOC on a box."""

    box: Box
    program: Program
    ca: int = 0
    pva: int = 0

    @classmethod
    def on(cls, box: Box, **environment: str) -> "Ioc":
        program = Program(["serve", str(box.site)], box.directory / "ioc.log", environment)
        return cls(box, program)

    def start(self) -> "Ioc":
        line = self.program.start()
        found = re.fullmatch(r"READY prefix=(\S+) ca=(\d+) pva=(\d+)", line)
        assert found is not None, line
        self.ca, self.pva = int(found[2]), int(found[3])
        return self

    def kill(self) -> None:
        self.program.kill()

    def stop(self) -> int:
        return self.program.stop()

    def client(self) -> Client:
        return Client(Address(prefix=PREFIX, port=self.pva, interfaces=("127.0.0.1",)), timeout_s=15)


def refusal(client: Client, button: str) -> str:
    """Press what must be refused; why it is."""
    with pytest.raises(BeamtimeError) as refused:
        client.press(button)
    return str(refused.value)


def running(client: Client, button: str) -> None:
    """Wait until a handler works on it."""
    until(lambda: client.view(button).state is RunState.RUNNING, f"{button} at work")


def beamtime(
    *words: str, environment: dict[str, str] | None = None, timeout_s: float = 60
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "beamtime_ioc", *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
