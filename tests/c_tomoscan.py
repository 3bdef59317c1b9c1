"""A C IOC with the records of a TomoScan: started, killed and started again on the same port."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from c_client import CClient
from c_ioc import SERVE, START, environment
from spare_ports import spare_port

DATA = Path(__file__).parent / "data"
START_S = 20.0


class TomoScan:
    """One of them.

    Attributes
    ----------
    address
        For EPICS_CA_ADDR_LIST.
    """

    def __init__(self, prefix: str, *, db: Path = DATA / "tomoscan.db") -> None:
        self.prefix, self.db, self.port = prefix, db, spare_port()
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: CClient | None = None

    def start(self) -> Self:
        commands = [
            f"asSetFilename {DATA / 'tomoscan.acf'}",
            f'dbLoadRecords {self.db} "P={self.prefix}"',
        ]
        program = START + "".join(f"c.ioc({command!r})\n" for command in commands) + SERVE
        port = str(self.port)
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment(), "EPICS_CA_SERVER_PORT": port, "EPICS_CAS_SERVER_PORT": port},
        )
        assert self._process.stdout is not None
        said, end = b"", time.monotonic() + START_S
        while b"running" not in said:
            assert time.monotonic() < end, said
            if select.select([self._process.stdout], [], [], 0.1)[0]:
                chunk = os.read(self._process.stdout.fileno(), 1000)
                assert chunk, f"it has ended: {said!r}"
                said += chunk
        return self

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a power cut does to a process; does nothing if it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def stop(self) -> None:
        self.kill()
        if self._client is not None:
            self._client.kill()

    @property
    def client(self) -> CClient:
        """Another client of it, which is not ours."""
        if self._client is None:
            self._client = CClient(self.port)
        return self._client

    def text(self, record: str) -> str:
        return self.client("text", self.prefix + record)

    def put(self, record: str, value: object) -> None:
        assert self.client("caput", self.prefix + record, value) == 1
