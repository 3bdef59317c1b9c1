"""Engines as processes of their own, to be killed: orders come in and news goes out as lines of JSON.

This program imports all that an engine needs, and then forks a child for each connection to its socket: a
start costs what the engine costs, and not the imports.
"""

import asyncio
import ctypes
import errno
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from beamtime_ioc.engine import durable
from beamtime_ioc.engine.engine import Order, Outcome
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import StateError
from beamtime_ioc.journal import Journal, RunRecord
from beamtime_ioc.model import RunState, from_json, to_json
from beamtime_ioc.progress import Progress
from beamtime_ioc.store import Store
from beamtime_ioc.stored_doubts import StoredDoubts
from beamtime_ioc.testing.run import TEST_SITE
from engine_world import World

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
_talk: socket.socket
_talking = threading.Lock()


def say(**news: object) -> None:
    with _talking:
        _talk.sendall((json.dumps(news) + "\n").encode())


class Speaker:
    """A listener that says what it hears; of the progress the last, with the end."""

    def __init__(self) -> None:
        self.steps: dict[str, list[str]] = {}

    def on_state(self, run_id: str, state: RunState) -> None:
        say(run=run_id, state=state)

    def on_stuck(self, run_id: str, sentence: str) -> None:
        say(run=run_id, stuck=sentence)

    def on_progress(self, run_id: str, progress: Progress) -> None:
        self.steps[run_id] = [f"{step.state} {step.name}" for step in progress.steps]

    def on_end(self, run_id: str, outcome: Outcome) -> None:
        say(run=run_id, end=to_json(outcome), steps=self.steps.get(run_id, []))


class Program:
    """What can be asked of it: a method a word."""

    def __init__(self, config: dict[str, Any], store: Store, engine: durable.DurableEngine) -> None:
        self.store, self.engine, self.world = store, engine, World(Path(config["world"]))
        self.network: list[str] = config["network"]

    def submit(self, order: dict[str, Any]) -> None:
        asyncio.run(self.engine.submit(from_json(Order, order)))

    def cancel(self, run: str) -> None:
        asyncio.run(self.engine.cancel(run))

    def health(self, midnight: float) -> Any:
        return to_json(self.engine.health(datetime.fromtimestamp(midnight).astimezone()))

    def stop(self, grace_s: float) -> bool:
        return self.engine.stop(grace_s)

    def stopping(self) -> bool:
        return self.engine.at_work.stopping.is_set()

    def retire(self, before: float) -> int:
        def keep(records: Sequence[RunRecord]) -> None:
            for record in records:
                self.world.note(f"kept {record.id}")
            self.world.gate("kept")

        return self.engine.retire(datetime.fromtimestamp(before).astimezone(), keep)

    def doubts(self, run: str) -> list[str]:
        return [doubt.text for doubt in StoredDoubts(self.store).of_run(run)]

    def open_runs(self) -> list[str]:
        return [record.id for record in Journal(self.store.engine).open()]

    def written_end(self, run: str) -> dict[str, Any] | None:
        record = Journal(self.store.engine).run(run)
        return (
            None if record is None or record.ended is None else {"state": record.state, "value": record.value}
        )

    def history(self) -> list[str]:
        return [record.id for record in Journal(self.store.engine).last(1000)]

    def fill(self) -> None:
        """Leave no byte free where the state lies."""
        ballast = os.open(self.store.directory / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    os.write(ballast, b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        os.close(ballast)

    def free(self) -> None:
        (self.store.directory / "ballast").unlink()

    def set_clock(self, by_s: float) -> None:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + by_s
        time.time_ns = lambda: now_ns() + int(by_s * 1e9)

    def network_calls(self) -> list[str]:
        return self.network


def obey(program: Program, number: int, do: str, words: dict[str, Any]) -> None:
    try:
        answer: object = getattr(program, do)(**words)
    except Exception as error:  # noqa: BLE001  # whoever asked is told
        say(answer_to=number, error=f"{type(error).__name__}: {error}")
    else:
        say(answer_to=number, answer=answer)


def handlers_of(path: str) -> ModuleType:
    spec = spec_from_file_location("errands", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network_watch() -> list[str]:
    calls: list[str] = []
    events = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto")
    sys.addaudithook(lambda event, args: calls.append(f"{event} {args}") if event in events else None)
    return calls


def own_mounts() -> None:
    """As root of a name space of its own, a process may mount a file system that nobody else sees."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def live(config: dict[str, Any], lines: Iterable[str]) -> None:
    """One life of an engine."""
    config["network"] = network_watch()
    directory = Path(config["directory"])
    if config["disk_mb"]:
        own_mounts()
        directory.mkdir(exist_ok=True)
        size = f"size={config['disk_mb']}m,mode=0700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", directory], check=True)
    if config["steps_version"]:
        durable.STEPS_VERSION = config["steps_version"]
    actions = handlers_of(config["errands"]).ACTIONS
    workshop = Workshop(
        actions={each.name: each for each in actions},
        services={"world": World(Path(config["world"]))},
        site=TEST_SITE,
    )
    try:
        store = Store(directory, "x:", database=config["database"])
        engine = durable.DurableEngine(workshop, store)
        engine.start(Speaker())
    except StateError as error:
        say(refused=str(error))
        return
    program = Program(config, store, engine)
    say(ready=os.getpid())
    for line in lines:
        asked = json.loads(line)
        words = (program, asked["number"], asked["do"], asked["words"])
        threading.Thread(target=obey, args=words, daemon=True).start()


def be_born(connection: socket.socket) -> None:
    """What a forked child does until it is killed, or whoever drives it is gone."""
    global _talk
    _talk = connection
    os.setsid()
    try:
        lines = connection.makefile()
        say(pid=os.getpid())
        config = json.loads(lines.readline())
        log = os.open(Path(config["world"]) / "child.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
        live(config, lines)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(0)  # a handler may still hang


def main() -> None:
    """Listen on the socket that is named; end with whoever keeps our standard input open."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a child ended
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(sys.argv[1])
        door.listen()
        print("ready", flush=True)
        while door in select.select([door, sys.stdin], [], [])[0]:
            connection, _ = door.accept()
            if os.fork() == 0:
                door.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                be_born(connection)
            connection.close()


if __name__ == "__main__":
    main()
