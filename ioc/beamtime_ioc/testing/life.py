"""One life of a process on a state directory: it works until the run has ended, or dies at an edge."""

import asyncio
import json
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from beamtime_ioc.action import Action
from beamtime_ioc.engine import durable
from beamtime_ioc.engine.engine import Order, Outcome, new_run_id
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Letter, OutboxRow, RunState, Site
from beamtime_ioc.ports import Outbox
from beamtime_ioc.progress import Progress, StepState
from beamtime_ioc.store import Store
from beamtime_ioc.stored_identity import StoredIdentity
from beamtime_ioc.stored_outbox import StoredOutbox
from beamtime_ioc.testing.edges import Edge, Edges, MarkedOutbox, MarkedRun, read_edges, read_tally
from beamtime_ioc.testing.job import Ended, Job, Lived
from beamtime_ioc.testing.losing import watch_http

LONGEST_LIFE_S = 40
POLL_S = 0.05
"""How often the engine's queue is asked: a matrix has many lives, each with one run."""
log = logging.getLogger(__name__)


class LateOutbox:
    """An outbox for clients that are built before its database is open.

    Attributes
    ----------
    stored
        Set by each life for itself.
    """

    stored: Outbox

    def find(self, key: str) -> OutboxRow | None:
        return self.stored.find(key)

    def find_all(self, keys: Collection[str]) -> Mapping[str, OutboxRow]:
        return self.stored.find_all(keys)

    def claim(self, letter: Letter) -> None:
        self.stored.claim(letter)

    def settle(self, key: str, state: str, answer: str, *, due: datetime | None = None) -> None:
        self.stored.settle(key, state, answer, due=due)

    def give_up(self, key: str, answer: str, run_id: str) -> None:
        self.stored.give_up(key, answer, run_id)

    def waiting(self) -> Sequence[tuple[OutboxRow, Letter | None]]:
        return self.stored.waiting()


class _Listener:
    def __init__(self) -> None:
        self.progress: dict[str, Progress] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.stuck = ""
        self._changed = threading.Condition()

    def on_state(self, run_id: str, state: RunState) -> None:
        pass

    def on_stuck(self, run_id: str, sentence: str) -> None:
        with self._changed:
            self.stuck = f"the run is stuck: {sentence}"
            self._changed.notify_all()

    def on_progress(self, run_id: str, progress: Progress) -> None:
        self.progress[run_id] = progress

    def on_end(self, run_id: str, outcome: Outcome) -> None:
        with self._changed:
            self.outcomes[run_id] = outcome
            self._changed.notify_all()

    def wait(self, run_id: str) -> Outcome:
        with self._changed:
            self._changed.wait_for(lambda: run_id in self.outcomes or self.stuck)
            if self.stuck:
                raise BeamtimeError(self.stuck)
        return self.outcomes[run_id]


class _Causes:
    """Sees which step made what: the outside's logs are read at each edge."""

    def __init__(self, job: Job) -> None:
        self.job, self.causes = job, dict[str, str]()

    def look(self, edge: Edge) -> None:
        for thing in _made(self.job):
            self.causes.setdefault(thing, edge.title)


def _made(job: Job) -> Counter[str]:
    """What was made outside since the run began."""
    before = job.directory / "before"
    counts = Counter(job.outside.made())
    counts.subtract(json.loads(before.read_text()) if before.exists() else {})
    return Counter({job.same(thing): count for thing, count in counts.items() if count})


def live(job: Job, life: int, workshop: Workshop, outbox: LateOutbox) -> None:
    """Open the state, let the engine work, write down how the run ended."""
    signal.alarm(LONGEST_LIFE_S)
    logging.basicConfig(filename=job.directory / "log", level=logging.INFO, force=True)
    causes = _Causes(job)

    def watch(edge: Edge) -> None:
        if job.learns:
            causes.look(edge)

    deadly = job.deaths[life] if life < len(job.deaths) else frozenset[str]()
    lose = job.loss.title if job.loss is not None else ""
    edges = Edges(job.directory, life, plain=job.same, deadly=deadly, watch=watch, lose=lose)
    calls = watch_http(job.http_ports, job.loss)
    listener = _Listener()
    engine = _engine(job, workshop, outbox, edges)
    edges.counts = life > 0  # a recovered run goes on at once
    engine.start(listener)

    def press(order: Order) -> Outcome:
        asyncio.run(engine.submit(order))
        return listener.wait(order.id)

    if life == 0:
        _prepare_world(job, workshop, press)
    edges.counts = True
    order, presses = job.order, 1
    outcome = press(order) if life == 0 else listener.wait(order.id)
    if job.loss is not None and outcome.state is RunState.FAILED:
        # It says what failed and asks for another press; that must give everything, and nothing twice.
        order, presses = replace(order, id=new_run_id()), 2
        outcome = press(order)
    steps = listener.progress.get(order.id, Progress()).steps
    unsure = tuple(job.same(step.name) for step in steps if step.state is StepState.UNSURE)
    ended = Ended(outcome=outcome, unsure=unsure, causes=causes.causes, calls=tuple(calls), presses=presses)
    write_whole(job.directory / "ended", ended)


def _prepare_world(job: Job, workshop: Workshop, press: Callable[[Order], Outcome]) -> None:
    for name in job.after:
        action = workshop.action(name)
        order = replace(
            job.order,
            id=new_run_id(),
            action=name,
            resource=action.resource,
            queue=action.queue,
            arguments={},
        )
        outcome = press(order)
        if outcome.state is not RunState.DONE:
            raise BeamtimeError(f"{name}, which is pressed before, ended {outcome.state}: {outcome.message}")
    (job.directory / "before").write_text(json.dumps(dict(job.outside.made())))


def _engine(job: Job, workshop: Workshop, outbox: LateOutbox, edges: Edges) -> durable.DurableEngine:
    store = Store(job.state, job.outside.prefix)
    outbox.stored = MarkedOutbox(StoredOutbox(store), edges)
    services = {**workshop.services, "identity": StoredIdentity(store)}
    make_run = partial(MarkedRun, edges=edges)
    return durable.DurableEngine(
        replace(workshop, services=services), store, make_run=make_run, poll_s=POLL_S
    )


def prepare(state: Path, prefix: str, actions: Mapping[str, Action]) -> None:
    """Make a state directory in which the engine has made its tables and queues.

    Beside it, `modules` lists all that was imported for it.
    """
    store = Store(state, prefix)
    site = Site(prefix=prefix, beamline="none", zone=ZoneInfo("UTC"))
    engine = durable.DurableEngine(Workshop(actions=actions, services={}, site=site), store, poll_s=POLL_S)
    engine.start(_Listener())
    with store.engine.connect() as db:
        db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    (state.parent / "modules").write_text("\n".join(sorted(sys.modules)))


def write_whole(path: Path, found: object) -> None:
    """Pickle it to a file that is whole or absent, whenever this process dies."""
    half = path.with_name(f"{path.name}.part")
    half.write_bytes(pickle.dumps(found))
    half.replace(path)


def fork(body: Callable[[], None]) -> int:
    """Do something in a copy of this process; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        body()
        code = 0
    except BaseException:
        log.exception("this life ended with an error")
        raise
    finally:
        os._exit(code)  # threads of the engine are at work, and the rest of the program is not ours


def wait_for(pid: int) -> int:
    """The exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _try_to_live(job: Job, life: int, workshop: Workshop, outbox: LateOutbox) -> None:
    try:
        live(job, life, workshop, outbox)
    except BeamtimeError as error:
        (job.directory / "fault").write_text(str(error))
        raise


def go_through(job: Job, actions: Mapping[str, Action]) -> Lived:
    """Live through a job, each life in a process of its own that is forked from this one."""
    began = time.monotonic()
    outbox = LateOutbox()
    site, services = job.outside.open(job.state, outbox)  # as they are then, each life has them
    workshop = Workshop(actions=actions, services=services, site=site)
    fault, life = "", 0
    while True:
        code = wait_for(fork(partial(_try_to_live, job, life, workshop, outbox)))
        if code == 0:
            break
        if code == -signal.SIGALRM:
            fault = f"its life number {life + 1} did not come to an end within {LONGEST_LIFE_S} s"
            break
        if code != -signal.SIGKILL or life >= len(job.deaths):
            said = job.directory / "fault"
            fault = said.read_text() if said.exists() else f"its life number {life + 1} ended with {code}"
            break
        life += 1
    path = job.directory / "ended"
    return Lived(
        number=job.number,
        passed=tuple(read_edges(job.directory, number) for number in range(life + 1)),
        kills=life,
        ended=pickle.loads(path.read_bytes()) if path.exists() else None,
        fault=fault,
        made=_made(job),
        tally=read_tally(job.directory),
        seconds=time.monotonic() - began,
    )
