"""Programs that do tasks in turns: each told by a line, and heard before the next one is told."""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
END_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Took:
    """How long a task took, and how much of a processor, in s."""

    seconds: float
    cpu_s: float


class Program:
    """A program of this directory that obeys lines (see work.py); begun and ended as a context manager.

    Parameters
    ----------
    request
        What it is begun with.

    Attributes
    ----------
    ready_s
        From the command until it was ready, the last time.
    """

    def __init__(self, label: str, name: str, directory: Path, **request: Any) -> None:
        self.label, self._request = label, request
        self._command = [sys.executable, str(HERE / name)]
        self._log = directory / f"{label}.log"
        self.ready_s = 0.0

    def __enter__(self) -> Self:
        """Start it and see it ready."""
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [*self._command, json.dumps(self._request)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        with ExitStack() as undo:
            undo.callback(self._end)
            self._answer()
            undo.pop_all()
        self.ready_s = time.perf_counter() - began
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def _answer(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            last = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{self.label} ended by itself; its log ends:\n{last}")
        return json.loads(line)

    def do(self, task: str, **words: Any) -> Took:
        """Tell it one task and wait for its end."""
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"task": task, **words}) + "\n")
        self._child.stdin.flush()
        return Took(**self._answer())
