"""A worker: the actions of one queue, done on another host than the IOC."""

import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from beamtime_ioc.config import read_site_file
from beamtime_ioc.engine.crew import Reporter
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.equipment import build_services, durable_engine
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.registry import load_actions
from beamtime_ioc.store import Store
from beamtime_ioc.stored_identity import StoredIdentity
from beamtime_ioc.stored_outbox import StoredOutbox

log = logging.getLogger(__name__)

GRACE_S, LOOK_S = 30.0, 0.5
NAME = re.compile(r"[A-Za-z0-9._:-]{1,100}")
NAME_OF_IOC = "ioc"


def work(site_file: Path, queue: str, name: str, say: Callable[[str], None]) -> int:
    """Work until SIGTERM, and give the exit code.

    Parameters
    ----------
    name
        Of this worker, the same after a restart; empty: host and queue.

    Raises
    ------
    BeamtimeError
        A file, the database or the settings of a service; or another worker has this name, or none may.
    """
    file = read_site_file(site_file.absolute())  # as the IOC has it
    actions = load_actions()
    served = sorted({action.queue for action in actions.values() if action.queue})
    if queue not in served:
        known = (
            f"there are {', '.join(served)}"
            if served
            else "no installed action has one: install a package here whose action says queue=...; "
            "see docs/how-to/several-hosts.md"
        )
        raise BeamtimeError(f"no action has the queue {queue!r}", advice=known)
    executor = name or f"{socket.gethostname()}:{queue}"
    check_name(executor)
    directory = file.resolve(file.frame.state)
    store = Store.for_worker(directory, file.frame.prefix, file.frame.database, executor)
    end = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        end.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        site, clients = build_services(file, StoredOutbox(store))
        services = {**clients, "identity": StoredIdentity(store)}
        return _work(store, Workshop(actions=actions, services=services, site=site), queue, end, say)
    finally:
        store.close()


def check_name(name: str) -> None:
    """A worker's name stands in rows, locks and log lines, and must not be the IOC's.

    Raises
    ------
    BeamtimeError
        It may not be a worker's.
    """
    advice = "name the worker by --name, such as data1:transfers"
    if name.casefold() == NAME_OF_IOC:
        raise BeamtimeError(f"{name} is the name of the IOC itself", advice=advice)
    if not NAME.fullmatch(name):
        raise BeamtimeError(
            f"{name!a:.120} cannot be a worker's name: up to 100 letters, digits and . _ : -", advice=advice
        )


def _work(
    store: Store, workshop: Workshop, queue: str, end: threading.Event, say: Callable[[str], None]
) -> int:
    reporter = Reporter(store)
    engine = durable_engine(workshop, store, queues=[queue], look_s=LOOK_S)
    engine.start(reporter)
    engine.crew.join(queue)
    assert store.executor_lock is not None
    say(f"READY worker={store.executor} queue={queue}")
    code = 0
    while not end.wait(LOOK_S):
        reporter.write_all()
        if not store.executor_lock.alive():
            log.critical("the name %s is lost with its connection: this worker ends", store.executor)
            code = 1
            break
    if not engine.stop(GRACE_S if not code else 1.0):
        log.warning("a handler did not end: its run goes on at the next start, or with another worker")
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)  # a thread on a hanging disk must not keep the process, nor its name
    return code
