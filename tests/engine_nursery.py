"""Engines in processes of their own, which a test may kill and begin again on the same state."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from beamtime_ioc.engine.engine import EngineHealth, Order, Outcome
from beamtime_ioc.model import Json, RunState, from_json, to_json
from engine_house import DEADLINE_S, Bench, News, State
from engine_world import World, until

HERE = Path(__file__).parent


class Refused(Exception):  # noqa: N818  # what the child answered, not an error of the test
    """A question was answered by an error."""


class Nursery:
    """A program that has imported all that an engine needs, and forks one for each connection."""

    def __init__(self, directory: Path) -> None:
        self.door = directory / "door"
        words = [sys.executable, str(HERE / "engine_child.py"), str(self.door)]
        self.program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.program.stdout is not None
        assert self.program.stdout.readline() == b"ready\n"

    def close(self) -> None:
        assert self.program.stdin is not None
        self.program.stdin.close()
        self.program.wait(DEADLINE_S)


class Life:
    """One process with an engine, from its birth to its death."""

    def __init__(self, door: Path, config: Mapping[str, object]) -> None:
        self.news, self.steps = News(), dict[str, list[str]]()
        self._said: dict[object, dict[str, Any]] = {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(door))
        self._lines = self._socket.makefile()
        self._end = os.pidfd_open(json.loads(self._lines.readline())["pid"])
        self._numbers = count(1)
        self.write(config)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):
            for line in self._lines:
                self._hear(json.loads(line))
        with self.news.changed:
            self._said.setdefault("first", {"died": True})
            self.news.changed.notify_all()

    def _hear(self, said: dict[str, Any]) -> None:
        if "ready" in said or "refused" in said or "answer_to" in said:
            with self.news.changed:
                self._said[said.get("answer_to", "first")] = said
                self.news.changed.notify_all()
        elif "state" in said:
            self.news.on_state(said["run"], RunState(said["state"]))
        elif "stuck" in said:
            self.news.on_stuck(said["run"], said["stuck"])
        else:
            self.steps[said["run"]] = said["steps"]
            self.news.on_end(said["run"], from_json(Outcome, said["end"]))

    def heard(self, what: object, within_s: float) -> dict[str, Any]:
        self.news.wait(lambda: what in self._said, within_s)
        return self._said[what]

    def write(self, words: Mapping[str, object]) -> None:
        self._socket.sendall((json.dumps(words) + "\n").encode())

    def ask(self, do: str, words: Mapping[str, Json]) -> int:
        number = next(self._numbers)
        self.write({"number": number, "do": do, "words": words})
        return number

    def kill(self) -> None:
        """As a power cut does; returns when nothing of it is left."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._end, signal.SIGKILL)
        assert select.select([self._end], [], [], DEADLINE_S)[0]
        os.close(self._end)
        self._socket.close()


@dataclass
class Child(Bench):
    """An engine in a process of its own, begun as often as a test likes on the same state.

    Parameters
    ----------
    errands
        A file with the handlers; a test may write another and start again.
    steps_version
        Instead of the one that the engine has.
    disk_mb
        The state lies on a file system of its own, of this size; it is lost with the process.
    """

    nursery: Nursery
    state: State
    world: World
    errands: Path = HERE / "engine_errands.py"
    steps_version: str = ""
    disk_mb: int = 0
    life: Life | None = None

    @property
    def alive(self) -> Life:
        assert self.life is not None
        return self.life

    @property
    def news(self) -> News:  # type: ignore[override]
        return self.alive.news

    @property
    def steps(self) -> Mapping[str, Sequence[str]]:
        """The checklist of each run that has ended in this life: `made a`."""
        return self.alive.steps

    def start(self) -> "Child":
        """Begin a life; returns when the engine has started.

        Raises
        ------
        Refused
            It ended with a sentence.
        """
        self.life = Life(
            self.nursery.door,
            {
                "directory": str(self.state.directory),
                "database": self.state.database,
                "world": str(self.world.directory),
                "errands": str(self.errands),
                "steps_version": self.steps_version,
                "disk_mb": self.disk_mb,
            },
        )
        first = self.life.heard("first", DEADLINE_S)
        if "refused" in first:
            self.kill()
            raise Refused(first["refused"])
        assert "ready" in first, (self.world.directory / "child.log").read_text()[-3000:]
        return self

    def ask(self, do: str, *, within_s: float = DEADLINE_S, **words: Json) -> Any:
        """Ask the program and wait for its answer.

        Raises
        ------
        Refused
            With the error's class and sentence.
        """
        return self.answer(self.begin_to_ask(do, **words), within_s)

    def begin_to_ask(self, do: str, **words: Json) -> int:
        return self.alive.ask(do, words)

    def answer(self, number: int, within_s: float = DEADLINE_S) -> Any:
        said = self.alive.heard(number, within_s)
        if "error" in said:
            raise Refused(said["error"])
        return said["answer"]

    def order(self, order: Order) -> None:
        self.ask("submit", order=to_json(order))

    def cancel(self, run_id: str) -> None:
        self.ask("cancel", run=run_id)

    def written_end(self, run_id: str) -> tuple[RunState, Json]:
        """Wait until the end of a run stands in the journal: a kill may come before anybody is told of it."""
        end = until(lambda: self.ask("written_end", run=run_id), f"the end of {run_id}")
        return RunState(end["state"]), end["value"]

    def health(self, within_s: float = DEADLINE_S) -> EngineHealth:
        return from_json(EngineHealth, self.ask("health", midnight=time.time() - 60, within_s=within_s))

    def kill(self) -> None:
        """As a power cut does to a process."""
        if self.life is not None:
            self.life.kill()
            self.life = None

    def again(self) -> "Child":
        """Kill it and start it again."""
        self.kill()
        return self.start()
