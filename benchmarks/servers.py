"""The servers that are compared, each a program of its own, and the facility that ours works in."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from ca_probe import wait_for_answer

from beamtime_ioc.export import flat_db
from beamtime_ioc.records import RecordSet, db_dir, load_records

HERE = Path(__file__).parent
PREFIX = "99bm:Beamtime:"
NUMBER, TEXT = f"{PREFIX}BenchNumber", f"{PREFIX}BenchText"
START_S, STOP_S = 60.0, 40.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, neither for TCP nor for UDP."""
    found: list[socket.socket] = []
    try:
        while len(found) < 2 * count:
            stream = socket.socket()
            stream.bind(("127.0.0.1", 0))
            datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                datagram.bind(stream.getsockname())
            except OSError:
                stream.close()
                datagram.close()
                continue
            found += [stream, datagram]
        return [made.getsockname()[1] for made in found[::2]]
    finally:
        for made in found:
            made.close()


@dataclass(kw_only=True)
class Server:
    """One server: started and found ready as a context manager, looked at, ended by its pid.

    Attributes
    ----------
    answered_s, ready_s
        From the command until its first record answered, and until it said READY. A C IOC says nothing: for
        it both are the same.
    """

    label: str
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.ca, self.pva, self.pva_search = free_ports(3)
        self.answered_s = self.ready_s = 0.0

    def __enter__(self) -> Self:
        """Start it and see it ready."""
        began = time.perf_counter()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self.label != "C" else subprocess.DEVNULL,
                stderr=log,
                cwd=self.directory,
                env=self.variables,
            )
        with ExitStack() as undo:
            undo.callback(self._stop)
            try:
                self._see_ready(began)
            except TimeoutError as error:
                last = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"{self.label} did not start ({error}); its log ends:\n{last}") from error
            undo.pop_all()
        self.ready_s = time.perf_counter() - began
        return self

    def _see_ready(self, began: float) -> None:
        wait_for_answer(self.ca, NUMBER, lambda: self._child.poll() is None, START_S)
        self.answered_s = time.perf_counter() - began
        while self._child.stdout is not None:
            line = self._child.stdout.readline()
            if line.startswith(b"READY"):
                return
            if not line:
                raise TimeoutError("it ended before it was ready")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def log(self) -> Path:
        """What it says on stderr."""
        return self.directory / f"{self.label}.log"

    @property
    def variables(self) -> dict[str, str]:
        """Its whole environment."""
        return {
            **os.environ,
            "EPICS_CA_SERVER_PORT": str(self.ca),
            "EPICS_CAS_SERVER_PORT": str(self.ca),
            "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
            "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
            "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_PVAS_SERVER_PORT": str(self.pva),
            "EPICS_PVAS_BROADCAST_PORT": str(self.pva_search),
            "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
            "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1",
            # Its warnings about load cost it time that a beamline would not spend.
            "CAPROTO_SERVER_HIGH_LOAD_WARN_LATENCY_SEC": "0",
            **self.environment,
        }

    def _stop(self) -> None:
        """End it: by the end of its input if it is a C IOC, by SIGTERM if not."""
        child = self._child
        assert child.stdin is not None
        child.stdin.close()
        if self.label != "C":
            child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()

    @property
    def rss_mb(self) -> float:
        """Resident size now, in MB of 10**6 bytes."""
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024 / 1e6

    def address(self) -> dict[str, Any]:
        """What the client programs are told."""
        return {
            "label": self.label,
            "pid": self._child.pid,
            "ca": self.ca,
            "pva": self.pva,
            "pva_search": self.pva_search,
            # Of a server that measures it, see watched.py.
            "lateness": str(self.directory / f"{self.label}.late"),
        }


class House:
    """A directory with the facility in a box, and the servers that can be started in it.

    Attributes
    ----------
    count
        How many records each of them serves.
    """

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="beamtime-bench-")
        self.directory = Path(self._kept.name)
        # Compiled once, as an installed package is, also where `make` forbids bytecode in the checkout.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(self.directory / "bytecode")

    def __enter__(self) -> Self:
        records = load_records([db_dir() / "beamtime.substitutions", HERE / "records.db"], prefix=PREFIX)
        self._write_records(records)
        command = [sys.executable, "-m", "beamtime_ioc", "sim", "--dir", str(self.directory), "--local"]
        self._box = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self._box.stdout is not None
        if not self._box.stdout.readline().startswith(b"READY"):
            self._box.kill()
            raise RuntimeError("the facility in a box did not get ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._box.terminate()
        self._box.wait()
        if self._box.stdout is not None:
            self._box.stdout.close()
        self._kept.cleanup()

    def _write_records(self, records: RecordSet) -> None:
        self.count = len(records.records)
        (self.directory / "flat.db").write_text(flat_db(records), encoding="utf-8")
        listed = [
            {"name": r.name, "kind": r.kind.value, "size_bytes": r.nelm, "states": list(r.states)}
            for r in records.records.values()
        ]
        (self.directory / "records.json").write_text(json.dumps(listed), encoding="utf-8")

    @property
    def schedule_requests(self) -> str:
        """Where the box tells what its schedule was asked."""
        ports = yaml.safe_load((self.directory / "sim.yaml").read_text(encoding="utf-8"))["ports"]
        return f"http://127.0.0.1:{ports['control']}/requests"

    def ours(self, state: str = "state", label: str = "ours", records: Sequence[Path] = ()) -> Server:
        """`beamtime serve` on the box's site file, with the bench's records and a state directory."""
        return self.server(label, "-m", "beamtime_ioc", "serve", str(self.site(state, records)))

    def site(self, state: str, records: Sequence[Path] = ()) -> Path:
        """The box's site file with the bench's records and more of them, and a state directory."""
        site = yaml.safe_load((self.directory / "site.yaml").read_text(encoding="utf-8"))
        site |= {"state": f"{state}/", "records": [str(HERE / "records.db"), *map(str, records)]}
        path = self.directory / f"site-{state}.yaml"
        path.write_text(yaml.safe_dump(site, allow_unicode=True), encoding="utf-8")
        return path

    def bare(self) -> Server:
        """caproto and p4p without any of our code."""
        return self.server("bare", str(HERE / "bare_server.py"), "records.json")

    def c(self) -> Server:
        """EPICS base."""
        return self.server("C", "-m", "epicscorelibs.ioc", "-m", "P=99bm:,R=Beamtime:", "-d", "flat.db")

    def server(self, label: str, *words: str) -> Server:
        """Python with these words."""
        return Server(label=label, command=[sys.executable, *words], directory=self.directory)


def run_client(program: str, task: str, servers: Sequence[Server], **options: Any) -> Any:
    """Run a client program of this directory against servers, and give what it found."""
    request = {"task": task, "servers": [server.address() for server in servers], **options}
    ended = subprocess.run(
        [sys.executable, str(HERE / program)],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    return json.loads(ended.stdout.splitlines()[-1])
