"""Actions of a named queue on other hosts: real workers on a real PostgreSQL, killed and replaced."""

import json
import os
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from beamtime_ioc.model import RunState
from box_house import Box, Ioc, Program, beamtime, until
from chaos.site import PACKAGE
from pg_house import Database

RATE = 250_000
COPY_BYTES = 1_000_000

MODULE = f'''
from functools import partial

from chaos_errands import Errands

from beamtime_ioc.action import Run, action
from beamtime_ioc.model import Experiment


@action("copy-data", resource="copies", needs_experiment=False, queue="transfers")
def copy_data(run: Run, experiment: Experiment | None) -> None:
    """Start a copy of the data, and wait until it is done."""
    errands = run.service(Errands)
    find = partial(errands.find_copy, run.id)
    run.effect("copy", look=find, make=partial(errands.start_copy, run.id, {COPY_BYTES}), verify=find)
    while (found := find()) and found["state"] != "done":
        run.progress(found["done_bytes"] / found["bytes"], f"{{found['done_bytes']}} bytes are copied")
        run.sleep(0.02)
    run.progress(1, "all is copied")
'''
ENTRY_POINTS = """\
[beamtime.handlers]
copy-data = worker_actions:copy_data

[beamtime.services]
errands.box = chaos_errands
"""
ROWS = """\
file action.template {
    pattern { ACTION,      NAME,       VERB,   DESC }
            { "copy-data", "CopyData", "Copy", "Copy the data" }
}
"""


class Facility:
    """A box, a database, and the programs on them."""

    def __init__(self, directory: Path, database: Database) -> None:
        self.box, self.database, self.directory = Box.start(directory / "box"), database, directory
        package = directory / "package"
        info = package / "workers-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text(ENTRY_POINTS)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: workers\nVersion: 1.0\n")
        (package / "worker_actions.py").write_text(MODULE)
        (package / "chaos_errands.py").write_text((PACKAGE / "chaos_errands.py").read_text())
        (directory / "copies.substitutions").write_text(ROWS)
        self.environment = {"PYTHONPATH": str(package)}
        errands = yaml.safe_load((self.box.directory / "sim.yaml").read_text())["errands"]

        def add(site: dict[str, Any]) -> None:
            site["records"] = [str(directory / "copies.substitutions")]
            site["errands"] = {"backend": "box", "url": errands}
            site["database"] = database.url

        self.box.edit_site(add)
        self.box.set(errands__rate_bytes_per_s=RATE)
        self.ioc = Ioc.on(self.box, **self.environment)
        self.workers: list[Program] = []

    def worker(self, name: str) -> Program:
        words = ["worker", str(self.box.site), "--queue", "transfers", "--name", name]
        program = Program(words, self.directory / f"{name}.log", self.environment)
        self.workers.append(program)
        assert program.start() == f"READY worker={name} queue=transfers"
        return program

    def copies(self) -> list[str]:
        """What the box was asked to copy, from its own log."""
        log = self.box.directory / "errands" / "log.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [line["id"] for line in lines if line["what"] == "copy"]

    def executor_of(self, run_id: str) -> str:
        query = "SELECT executor_id FROM dbos.workflow_status WHERE workflow_uuid = %s AND status = 'PENDING'"
        with self.database.connect() as db:
            row = db.execute(query, (run_id,)).fetchone()
        return str(row[0]) if row else ""

    def end(self) -> None:
        for program in [*self.workers, self.ioc.program]:
            if hasattr(program, "child") and program.child.poll() is None:
                program.stop()
        assert self.box.program.stop() == 0


@pytest.fixture
def facility(tmp_path: Path, database: Database) -> Generator[Facility, None, None]:
    made = Facility(tmp_path, database)
    yield made
    made.end()


def press(ioc: Ioc) -> str:
    with ioc.client() as client:
        client.press("CopyData")
        return str(client.read("CopyDataRunId"))


def wait(ioc: Ioc, good: Callable[[Any], object]) -> Any:
    with ioc.client() as client:

        def seen() -> Any:
            view = client.view("CopyData")
            return view if good(view) else None

        return until(seen, "the state of CopyData")


def test_a_worker_does_the_action_and_the_records_of_the_ioc_follow_at_most_once_a_second(
    facility: Facility,
) -> None:
    facility.ioc.start()
    facility.worker("w1")
    posts: list[float] = []

    run_id = press(facility.ioc)
    with facility.ioc.client() as client:
        for view in client.watch("CopyData"):
            if not posts or view.percent != posts[-1]:
                posts.append(view.percent)
            if view.state.ended:
                break

    assert (view.state, view.message) == (RunState.DONE, "all is copied")
    assert [(step.name, step.state) for step in view.steps] == [("copy", "made")]
    seconds = COPY_BYTES / RATE
    assert 3 <= len(posts) <= 2 * seconds + 4
    assert posts == sorted(posts)
    assert facility.copies() == [run_id]


@pytest.mark.timeout(240)
def test_a_dead_worker_s_run_is_taken_over_and_a_live_one_is_never_robbed(facility: Facility) -> None:
    facility.box.set(errands__rate_bytes_per_s=COPY_BYTES / 12)
    facility.ioc.start()
    workers = {name: facility.worker(name) for name in ("w1", "w2")}
    run_id = press(facility.ioc)
    first = until(lambda: facility.executor_of(run_id), "a worker that took it")
    wait(facility.ioc, lambda view: view.percent > 30)  # the other one has looked some times
    assert facility.executor_of(run_id) == first

    workers[first].kill()

    other = ({"w1", "w2"} - {first}).pop()
    until(lambda: facility.executor_of(run_id) == other, "the takeover")
    assert wait(facility.ioc, lambda view: view.state.ended).state is RunState.DONE
    assert facility.copies() == [run_id]


@pytest.mark.timeout(240)
def test_without_another_worker_it_is_stuck_until_one_of_the_same_name_comes_back(facility: Facility) -> None:
    facility.box.set(errands__rate_bytes_per_s=COPY_BYTES / 10)
    facility.ioc.start()
    worker = facility.worker("w1")
    run_id = press(facility.ioc)
    wait(facility.ioc, lambda view: view.percent > 10)

    worker.kill()
    stuck = wait(facility.ioc, lambda view: view.state is RunState.STUCK)
    facility.worker("w1")
    end = wait(facility.ioc, lambda view: view.state.ended)

    assert "w1, which worked on it, is dead" in stuck.message
    assert "beamtime worker SITE.yaml --queue transfers" in stuck.message
    assert end.state is RunState.DONE
    assert facility.copies() == [run_id]


def test_a_worker_needs_no_state_directory_on_its_own_host(facility: Facility) -> None:
    facility.ioc.start()
    here = facility.box.directory / "worker.yaml"
    content = yaml.safe_load(facility.box.site.read_text())
    here.write_text(yaml.safe_dump({**content, "state": "not-on-this-host"}, allow_unicode=True))
    log = facility.directory / "w1.log"
    words = ["worker", str(here), "--queue", "transfers", "--name", "w1"]
    facility.workers.append(Program(words, log, facility.environment))
    assert facility.workers[0].start() == "READY worker=w1 queue=transfers"

    run_id = press(facility.ioc)
    end = wait(facility.ioc, lambda view: view.state.ended)

    assert end.state is RunState.DONE
    assert facility.copies() == [run_id]
    assert " ERROR " not in log.read_text()
    assert not (here.parent / "not-on-this-host").exists()


def test_an_abort_reaches_the_worker_within_a_second_or_two(facility: Facility) -> None:
    facility.box.set(errands__rate_bytes_per_s=10_000)
    facility.ioc.start()
    facility.worker("w1")
    press(facility.ioc)
    wait(facility.ioc, lambda view: view.state is RunState.RUNNING and view.percent > 0)

    with facility.ioc.client() as client:
        client.press("CopyDataAbort")
    end = wait(facility.ioc, lambda view: view.state.ended)

    assert end.state is RunState.ABORTED


@pytest.mark.timeout(240)
def test_the_run_of_a_dead_worker_can_be_given_up(facility: Facility) -> None:
    facility.box.set(errands__rate_bytes_per_s=10_000)
    facility.ioc.start()
    worker = facility.worker("w1")
    press(facility.ioc)
    wait(facility.ioc, lambda view: view.percent > 0)
    worker.kill()
    wait(facility.ioc, lambda view: view.state is RunState.STUCK)

    with facility.ioc.client() as client:
        client.press("CopyDataAbort")
    end = wait(facility.ioc, lambda view: view.state.ended)

    assert (end.state, end.message) == (
        RunState.ABORTED,
        "given up, since its worker is dead; what was made stands",
    )


def test_a_run_without_any_worker_waits_and_the_engine_says_what_to_start(facility: Facility) -> None:
    facility.ioc.start()
    run_id = press(facility.ioc)

    with facility.ioc.client() as client:
        text = until(lambda: client.read("EngineMessage"), "a word of the engine")
        queued = client.view("CopyData").state
    facility.worker("w1")
    end = wait(facility.ioc, lambda view: view.state.ended)

    assert "none of its workers is alive" in str(text)
    assert "beamtime worker SITE.yaml --queue transfers" in str(text)
    assert queued is RunState.QUEUED
    assert end.state is RunState.DONE
    assert facility.copies() == [run_id]


def test_after_kill_9_the_ioc_follows_the_worker_s_run_again(facility: Facility) -> None:
    facility.box.set(errands__rate_bytes_per_s=COPY_BYTES / 12)
    facility.ioc.start()
    facility.worker("w1")
    run_id = press(facility.ioc)
    wait(facility.ioc, lambda view: view.percent > 10)

    facility.ioc.kill()
    facility.ioc.start()
    running = wait(facility.ioc, lambda view: view.percent > 10)
    end = wait(facility.ioc, lambda view: view.state.ended)

    assert (running.run_id, running.state) == (run_id, RunState.RUNNING)
    assert end.state is RunState.DONE
    assert facility.copies() == [run_id]


def test_a_second_worker_of_the_same_name_or_of_no_queue_or_without_postgresql_is_refused_in_words(
    facility: Facility,
) -> None:
    facility.ioc.start()
    facility.worker("w1")
    site, environment = str(facility.box.site), {**os.environ, **facility.environment}

    same = beamtime("worker", site, "--queue", "transfers", "--name", "w1", environment=environment)
    other = beamtime("worker", site, "--queue", "nonsense", environment=environment)
    own, odd = (
        beamtime("worker", site, "--queue", "transfers", "--name", name, environment=environment)
        for name in ("ioc", "two words")
    )
    facility.box.edit_site(lambda content: content.pop("database"))
    sqlite = beamtime("worker", site, "--queue", "transfers", environment=environment)

    assert (same.returncode, other.returncode, sqlite.returncode) == (2, 2, 2)
    assert (own.returncode, odd.returncode) == (2, 2)
    assert "another process works as 'w1'" in same.stderr
    assert "ioc is the name of the IOC itself; name the worker by --name" in own.stderr
    assert "'two words' cannot be a worker's name: up to 100 letters" in odd.stderr
    assert "no action has the queue 'nonsense'; there are transfers" in other.stderr
    assert re.search(r"needs PostgreSQL.*database:", sqlite.stderr)
