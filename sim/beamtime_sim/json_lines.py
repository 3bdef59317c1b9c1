"""A log of one JSON object a line, which a kill cannot damage for good."""

import json
import os
from pathlib import Path
from typing import Any

NAME = "log.jsonl"


class JsonLines:
    """Append-only; a line that a kill tore is dropped when the file is read again.

    Parameters
    ----------
    durable
        A line is on the disk before `append` returns. Otherwise it is with the operating system.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path, self.durable = path, durable

    def append(self, line: dict[str, Any]) -> None:
        """Write one line; the caller sees to it that one thread at a time does.

        Raises
        ------
        OSError
            The disk is full, or the file may not be written.
        """
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, ensure_ascii=False) + "\n")
            log.flush()
            if self.durable:
                os.fsync(log.fileno())

    def mend(self) -> list[dict[str, Any]]:
        """Return all whole lines, and cut off a torn one.

        Raises
        ------
        ValueError
            A whole line is no JSON.
        """
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        *lines, torn = text.split("\n")
        if torn:
            self.path.write_text(text.removesuffix(torn), encoding="utf-8")
        return [json.loads(line) for line in lines]
