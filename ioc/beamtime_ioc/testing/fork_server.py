"""Processes within milliseconds: forked from one that has imported everything and has no threads."""

import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from beamtime_ioc.action import Action
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.registry import load_actions
from beamtime_ioc.testing.fakes import MemoryOutbox
from beamtime_ioc.testing.job import Job, Lived
from beamtime_ioc.testing.life import fork, go_through, prepare, wait_for, write_whole
from beamtime_ioc.testing.world import Outside

START = f"from {__name__} import serve; serve()"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What every job needs.

    Parameters
    ----------
    actions
        Those that are not found by an entry point, as `module:variable`.
    state
        Where the state directory is made that each job gets a copy of.
    outside
        Opened once, so that all that it imports is there.
    """

    actions: tuple[str, ...]
    state: Path
    outside: Outside


class ForkServer:
    """A context manager; whatever it started is ended with it.

    Raises
    ------
    BeamtimeError
        An action cannot be imported there, or an import started a thread.
    """

    def __init__(self, preparation: Preparation) -> None:
        self.preparation = preparation

    def __enter__(self) -> Self:
        self._connection, theirs = Pipe()
        self._child = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
        theirs.close()
        with ExitStack() as undo:
            undo.push(self.__exit__)
            self._connection.send(self.preparation)
            if fault := self._receive():
                raise BeamtimeError(
                    fault, advice="see that it can be imported, and that its import does no work"
                )
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)  # with all that it forked
        self._child.wait()

    def go_through(self, jobs: Sequence[Job], at_once: int) -> Iterator[Lived]:
        """What came of each job, as they end."""
        self._connection.send((list(jobs), at_once))
        for _ in jobs:
            yield self._receive()

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            code = self._child.wait()
            raise BeamtimeError(
                f"the process that runs the lives ended with {code}", advice="see what it wrote to stderr"
            ) from None


def action_at(words: str) -> Action:
    """The action that a `module:variable` names."""
    module, _, variable = words.partition(":")
    return getattr(import_module(module), variable)


def words_for(action: Action) -> str:
    """`module:variable` for an action that was made in a module.

    Raises
    ------
    BeamtimeError
        It is no variable of its handler's module.
    """
    module = action.handler.__module__
    for variable, value in vars(sys.modules[module]).items():
        if value is action:
            return f"{module}:{variable}"
    raise BeamtimeError(
        f"the action {action.name} is no variable of {module}", advice="define it there, outside of functions"
    )


def serve() -> None:
    """What the server does: prepare, then fork a process a job until nobody asks any more."""
    connection = Connection(int(sys.argv[1]))
    preparation: Preparation = connection.recv()
    try:
        given = [action_at(words) for words in preparation.actions]
        actions = {**load_actions(), **{action.name: action for action in given}}
        preparation.outside.open(preparation.state, MemoryOutbox())
    except (BeamtimeError, ImportError, AttributeError) as error:
        connection.send(str(error))
        return
    code = wait_for(fork(partial(prepare, preparation.state, preparation.outside.prefix, actions)))
    if code != 0:
        connection.send(f"a state directory could not be prepared ({code})")
        return
    for module in (preparation.state.parent / "modules").read_text().splitlines():
        if module not in sys.modules:
            import_module(module)  # what a life would import, each anew
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        connection.send(f"{threads - 1} threads were started by an import: a fork would not have them")
        return
    gc.freeze()
    connection.send("")
    with suppress(EOFError):
        while True:
            jobs, at_once = connection.recv()
            for job in _forked(jobs, at_once, lambda job: _whole(job, preparation.state, actions)):
                connection.send(pickle.loads((job.directory / "lived").read_bytes()))


def _whole(job: Job, prepared: Path, actions: Mapping[str, Action]) -> None:
    shutil.copytree(prepared, job.state)
    write_whole(job.directory / "lived", go_through(job, actions))


def _forked(jobs: Sequence[Job], at_once: int, body: Callable[[Job], None]) -> Iterator[Job]:
    """Each job in a fork of its own; gives it when it is done."""
    waiting, running = list(reversed(jobs)), dict[int, Job]()
    while waiting or running:
        while waiting and len(running) < at_once:
            job = waiting.pop()
            running[fork(partial(body, job))] = job
        pid, _ = os.wait()
        yield running.pop(pid)
