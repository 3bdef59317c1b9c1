"""Handlers with the faults that a crash matrix is made to find, one that is right, and what they write to."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from beamtime_ioc.action import Run, action
from beamtime_ioc.model import Experiment, Json, Site
from beamtime_ioc.ports import Outbox, Services
from beamtime_ioc.testing.run import TEST_SITE

ON = datetime(2026, 11, 2, 14, tzinfo=UTC)
EXPERIMENT = Experiment(key="manual:7", name="seven", start=ON, end=ON)


class Pager(Protocol):
    """Calls somebody; nobody can look up whether it has."""

    def call(self, whom: str) -> Json: ...

    def calls(self) -> list[str]: ...


@dataclass(frozen=True)
class LoggingPager:
    """A pager whose own log is a file, a line a call."""

    log: Path

    def call(self, whom: str) -> Json:
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(log, f"{whom}\n".encode())
        os.close(log)
        return f"called {whom}"

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@dataclass(frozen=True)
class PagerOutside:
    """A pager for one run."""

    log: Path
    prefix: str = TEST_SITE.prefix

    def open(self, state: Path, outbox: Outbox) -> tuple[Site, Services]:
        return TEST_SITE, {"pager": LoggingPager(self.log)}

    def made(self) -> Mapping[str, int]:
        return Counter(f"call of {whom}" for whom in LoggingPager(self.log).calls())


class PagerWorld:
    """Nothing but a pager."""

    def fresh(self, directory: Path) -> PagerOutside:
        return PagerOutside(directory / "pager.log")

    def experiment(self) -> Experiment:
        return EXPERIMENT

    def counted_by(self, thing: str) -> str:
        return "pager.log"


@action("page-once", resource="pager")
def page_once(run: Run, experiment: Experiment) -> None:
    """As it should be: what cannot be looked up is done at most once."""
    run.once("call the guard", partial(run.service(Pager).call, "guard"))


@action("page-in-a-step", resource="pager")
def page_in_a_step(run: Run, experiment: Experiment) -> None:
    """Wrong: a step is repeated when the process dies before it is written down."""
    run.step("call the guard", partial(run.service(Pager).call, "guard"))


@action("page-blindly", resource="pager")
def page_blindly(run: Run, experiment: Experiment) -> None:
    """Wrong: the look never sees what stands."""
    pager = run.service(Pager)

    def verify() -> Json:
        return len(pager.calls())

    run.effect("guard is called", look=lambda: None, make=partial(pager.call, "guard"), verify=verify)


@action("page-on-a-whim", resource="pager")
def page_on_a_whim(run: Run, experiment: Experiment) -> None:
    """Wrong: its steps have other names each time."""
    run.step(f"weather at {datetime.now(UTC):%M:%S.%f}", lambda: "fine")
    run.once("call the guard", partial(run.service(Pager).call, "guard"))


@action("page-twice", resource="pager")
def page_twice(run: Run, experiment: Experiment) -> None:
    """Wrong without any kill."""
    pager = run.service(Pager)
    run.once("call the guard", partial(pager.call, "guard"))
    run.once("call the guard again", partial(pager.call, "guard"))
