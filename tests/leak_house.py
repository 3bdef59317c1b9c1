"""Where a secret may come to light: what all processes were called with, every record, every file."""

import os
import threading
from base64 import b64encode
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from c_client import CClient
from wire_house import pva_context

LOOK_S = 0.01


def forms(secret: str, *users: str) -> list[bytes]:
    """A secret as it is, and as protocols spell it."""
    logins = [secret, *(f"{user}:{secret}" for user in users), *(f"\0{user}\0{secret}" for user in users)]
    return [secret.encode(), *(b64encode(login.encode()) for login in logins)]


@dataclass
class Seen:
    """What was seen, by where.

    Attributes
    ----------
    texts
        By place, such as `record X:UserName by ca`: everything that was there at any time.
    """

    texts: dict[str, set[bytes]] = field(default_factory=dict[str, set[bytes]])

    def add(self, where: str, text: bytes) -> None:
        self.texts.setdefault(where, set()).add(text)

    def with_any(self, words: Iterable[bytes]) -> list[str]:
        """The places that show any of the words."""
        words = list(words)
        return [
            where
            for where, texts in sorted(self.texts.items())
            if any(word in text for word in words for text in texts)
        ]

    def of(self, kind: str) -> Mapping[str, set[bytes]]:
        return {where: texts for where, texts in self.texts.items() if where.startswith(kind)}

    def read_files(self, directory: Path, *but: Path) -> None:
        """All files below a directory, as they are."""
        for path in directory.rglob("*"):
            if path not in but and path.is_file():
                self.add(f"file {path.relative_to(directory)}", path.read_bytes())

    def read_records(self, port: int, names: Iterable[str]) -> None:
        """All records by Channel Access."""
        names = list(names)
        with CClient(port) as ca:
            for name, value in zip(names, ca("get_all", names), strict=True):
                self.add(f"ca {name}", plain(value))

    @contextmanager
    def monitored(self, port: int, names: Iterable[str]) -> Generator[None]:
        """All records by PVAccess, each value that they have meanwhile."""
        with pva_context(port) as pva, ExitStack() as ends:
            for name in names:
                told = pva.monitor(name, lambda value, name=name: self.add(f"pva {name}", plain(value)))
                ends.callback(told.close)
            yield

    @contextmanager
    def processes(self) -> Generator[None]:
        """Words and environment of each process that begins meanwhile."""
        before, over = set(_pids()), threading.Event()

        def look() -> None:
            while not over.wait(LOOK_S):
                for pid in set(_pids()) - before:
                    with suppress(OSError):  # it has ended, or it is somebody else's
                        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                        self.add("argv", words)
                        self.add("environ", Path(f"/proc/{pid}/environ").read_bytes())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _pids() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdecimal()]


def plain(value: Any) -> bytes:
    """Every text of a value, however deep; long texts are arrays of numbers."""
    if hasattr(value, "todict"):
        value = value.todict()
    match value:
        case dict():
            return b"\n".join(map(plain, value.values()))
        case bytes():
            return value
        case np.ndarray() if value.dtype.kind in "iu":
            return value.astype(np.uint8).tobytes()
        case list() if value and all(isinstance(one, int) for one in value):
            return bytes(one % 256 for one in value)
        case list() | tuple() | np.ndarray():
            return b"\n".join(map(plain, value))
        case _:
            return str(value).encode()
