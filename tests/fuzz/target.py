"""The test board in a process of its own, at which bytes are thrown."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Self

import psutil

from beamtime_ioc.records import load_records
from raw_ca import NORMAL, RawCa, search
from raw_pva import GET, RawPva, searching
from spare_ports import spare_port
from wire_house import DATA, PREFIX

STRANGER = "127.0.0.2"
"""An address from which the access file of the tests lets nobody write."""
QUIET_S = 0.002
SERVER = Path(__file__).parents[1] / "wire_server.py"
NAMES = sorted(load_records([DATA / "wire.substitutions"], prefix=PREFIX).records)


class Target:
    """A server to be thrown at; ended by its pid."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.ca, self.pva, self.pva_tcp = spare_port(), spare_port(), 0

    def __enter__(self) -> Self:
        paths = os.pathsep.join(filter(None, sys.path))
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, str(SERVER), f"{self.ca}", f"{self.pva}"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": paths},
            )
        assert self.child.stdout is not None
        if self.child.stdout.readline() != "READY\n":
            self.__exit__()
            raise AssertionError(self.said()[-3000:])
        self.pva_tcp = self.pva_port()
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.wait()
        assert self.child.stdout is not None
        self.child.stdout.close()

    @property
    def rss_mb(self) -> float:
        return psutil.Process(self.child.pid).memory_info().rss / 1e6

    def said(self) -> str:
        """What it wrote to its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def values(self) -> Mapping[str, bytes]:
        """Each record's value with its alarm, read over Channel Access."""
        with RawCa(self.ca) as client:
            opened = {name: client.open(name) for name in NAMES}
            found: dict[str, bytes] = {}
            for name, channel in opened.items():
                assert channel is not None, name
                answer = client.read(channel.sid, channel.kind + 7)
                assert answer.header.parameter1 == NORMAL, name
                found[name] = b"".join(map(bytes, answer.buffers))
            return found

    def pva_port(self) -> int:
        """Where PVAccess is served, by a search for one of its names.

        Raises
        ------
        TimeoutError
            It does not answer.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.bind(("127.0.0.1", 0))
            asker.settimeout(10)
            asker.sendto(searching(1, asker.getsockname()[1], NAMES[0]), ("127.0.0.1", self.pva))
            answer = asker.recv(1000)
            return int.from_bytes(answer[40:42], "big" if answer[2] & 0x80 else "little")

    def check(self) -> float:
        """See that both protocols answer searches and gets.

        Returns
        -------
        float
            Seconds that it took.

        Raises
        ------
        AssertionError
            They do not.
        """
        began = time.monotonic()
        assert self.child.poll() is None, f"the server ended by itself:\n{self.said()[-3000:]}"
        assert search(self.ca, NAMES[0]) == [self.ca]
        assert self.pva_port() == self.pva_tcp
        with RawPva(self.pva_tcp) as client:
            sid = client.open(1, NAMES[0])
            assert sid is not None
            client.begin(GET, sid, 1)
            assert client.go_on(GET, sid, 1)[0] in (0xFF, 0)
        return time.monotonic() - began


def throw(port: int, messages: Sequence[bytes], answer_s: float = 0.02) -> None:
    """Connect, send everything, and read what comes until nothing does; also where a message is empty."""
    with socket.socket() as made:
        made.bind((STRANGER, 0))
        made.settimeout(answer_s)
        try:
            made.connect(("127.0.0.1", port))
            for is_pause, group in groupby(messages, lambda each: not each):
                if is_pause:
                    _read(made)
                else:
                    made.sendall(b"".join(group))
            made.shutdown(socket.SHUT_WR)
            _read(made)
        except OSError:  # it was closed
            return


def _read(made: socket.socket) -> None:
    with suppress(TimeoutError):
        while made.recv(65536):
            made.settimeout(QUIET_S)


def throw_datagram(port: int, messages: Sequence[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind((STRANGER, 0))
        made.sendto(b"".join(messages)[:60_000], ("127.0.0.1", port))
