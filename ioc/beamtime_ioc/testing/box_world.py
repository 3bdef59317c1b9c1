"""The facility in a box as the outside of a run; the box is a program of its own, counted by its logs."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self, cast

import yaml

from beamtime_ioc.config import read_site_file
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Experiment, Person, Site
from beamtime_ioc.ports import Context, Outbox, Services
from beamtime_ioc.registry import load_services

START_S = 30.0
MARKER = ".experiment.json"
HTTP = ("schedule", "errands")
LOGS = {
    "mail": "mail/log.jsonl",
    "directory": "the disk",
    "note": "errands/log.jsonl",
    "copy": "errands/log.jsonl",
}
PEOPLE = (
    Person(first_name="Vera", last_name="Example", email="vera@example.edu", badge="900201", is_pi=True),
    Person(first_name="Tomás", last_name="Sample", email="tomas@example.org", badge="900202"),
    Person(first_name="Nobody", last_name="Unreachable", badge="900203"),
)


@dataclass(frozen=True, kw_only=True)
class BoxOutside:
    """A site of its own on the box, with empty places and a Message-ID of its own.

    Parameters
    ----------
    domain
        Of its Message-IDs: tells its mails from all others in the box's log.
    """

    box: Path
    directory: Path
    site_file: Path
    prefix: str
    domain: str

    def open(self, state: Path, outbox: Outbox) -> tuple[Site, Services]:
        file = read_site_file(self.site_file)
        site = file.site()
        context = Context(site=site, directory=file.directory, state=state, outbox=outbox)
        return site, {
            section: module.build(file.section(section, module.Settings), context)
            for section, module in load_services(file)
        }

    def made(self) -> Mapping[str, int]:
        counts: Counter[str] = Counter()
        for mail in _lines(self.box / "mail" / "log.jsonl"):
            if self.domain in mail["message_id"]:
                counts[f"mail to {mail['to']}"] += 1
        for place in sorted((self.directory / "data").iterdir()):
            for marker in sorted(place.rglob(MARKER)):
                counts[f"directory {place.name}:{marker.parent}"] += 1
        for line in _lines(self.box / "errands" / "log.jsonl"):
            words = line.get("text") or line.get("id") or ""
            if self.directory.name in words:
                counts[f"{line['what']} {words}"] += 1
        return counts


@dataclass(frozen=True, kw_only=True)
class BoxWorld:
    """A box that runs; each run gets a site of its own on it.

    Parameters
    ----------
    ports
        By service, as `sim.yaml` has them.
    """

    directory: Path
    ports: Mapping[str, int] = field(default_factory=dict[str, int])

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Generator[Self]:
        """Start `beamtime sim` in a directory, and end it with the block.

        Raises
        ------
        BeamtimeError
            It did not get ready.
        """
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / "sim.log"
        with log.open("wb") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-m", "beamtime_ioc", "sim", "--dir", str(directory), "--local"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        try:
            _wait_ready(child, log)
            yield cls(directory=directory, ports=_read_yaml(directory / "sim.yaml")["ports"])
        finally:
            _end(child)

    # -- port World -------------------------------------------------------------------------

    def fresh(self, directory: Path) -> BoxOutside:
        content = _read_yaml(self.directory / "site.yaml")
        domain = f"{directory.name}-{os.getpid()}-{time.monotonic_ns()}.example.org"
        for place in content.get("places", []):
            top = directory / "data" / place["name"]
            top.mkdir(parents=True)
            if place.get("marker"):
                (top / place["marker"]).touch()
            place["top"] = str(top)
        content["state"] = str(directory / "state")
        content["mail"]["domain"] = domain
        # Beside the box's own, so that the other paths in it mean the same.
        site_file = self.directory / f"site-{domain}.yaml"
        written = yaml.safe_dump(content, allow_unicode=True)  # pyright: ignore[reportUnknownMemberType]
        site_file.write_text(written, encoding="utf-8")
        return BoxOutside(
            box=self.directory,
            directory=directory,
            site_file=site_file,
            prefix=content["prefix"],
            domain=domain,
        )

    def experiment(self) -> Experiment:
        """An invented one with three people, of whom one has no address."""
        start = datetime(2026, 11, 2, 14, tzinfo=UTC)
        return Experiment(
            key="manual:crash-test",
            name="crash-test",
            start=start,
            end=start + timedelta(days=4),
            proposal="9100099",
            title="What a power cut leaves behind",
            people=PEOPLE,
        )

    def counted_by(self, thing: str) -> str:
        return LOGS.get(thing.partition(" ")[0], "the box")

    # -- port LossyWorld --------------------------------------------------------------------

    def http_ports(self) -> Mapping[int, str]:
        return {self.ports[name]: name for name in HTTP if name in self.ports}

    def mailed(self, made: Sequence[str]) -> Mapping[str, str]:
        return {thing: thing.rpartition(" ")[2] for thing in made if thing.startswith("mail to ")}

    def lose_next(self, service: str) -> None:
        self._turn({f"{service}.lose_reply": 1})

    @contextmanager
    def lose_mail(self, recipient: str) -> Generator[None]:
        self._turn({"mail.only": [recipient], "mail.lose_reply": 1})
        try:
            yield
        finally:
            self._turn({"mail.only": None, "mail.lose_reply": None})

    def _turn(self, knobs: Mapping[str, object]) -> None:
        connection = HTTPConnection("127.0.0.1", self.ports["control"], timeout=5)
        try:
            connection.request("PUT", "/knobs", json.dumps(knobs))
            answer = connection.getresponse()
            if answer.status != 200:
                raise BeamtimeError(f"the box refuses {knobs}: {answer.read().decode()}")
        finally:
            connection.close()


def _lines(log: Path) -> Sequence[Mapping[str, Any]]:
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _read_yaml(path: Path) -> dict[str, Any]:
    return cast(dict[str, Any], yaml.safe_load(path.read_text(encoding="utf-8")))


def _wait_ready(child: "subprocess.Popen[bytes]", log: Path) -> None:
    assert child.stdout is not None
    said, deadline = b"", time.monotonic() + START_S
    while time.monotonic() < deadline and b"READY" not in said:
        if select.select([child.stdout], [], [], 0.1)[0]:
            more = os.read(child.stdout.fileno(), 4096)
            if not more:
                break
            said += more
    if b"READY" not in said:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing was said"]
        raise BeamtimeError(f"the box did not get ready: {last[0]}", advice=f"see {log}")


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()
