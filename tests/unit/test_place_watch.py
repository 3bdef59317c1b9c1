"""Places that are looked at again and again: what stands, what is wrong, and disks that hang."""

import asyncio
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from beamtime_ioc import lookout
from beamtime_ioc.alarm import QUIET, Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.errors import BeamtimeError, ConflictError, PlaceError
from beamtime_ioc.identity import IdentityRecords
from beamtime_ioc.model import Experiment, RunState, Site
from beamtime_ioc.place_watch import PlaceWatch
from beamtime_ioc.places import Room
from beamtime_ioc.progress import RunView, StepLine, StepState
from beamtime_ioc.runner import Runner
from beamtime_ioc.testing.fakes import MemoryIdentity
from watch_house import AskedHosts, experiment, new_board, run, site, until

SITE = site("det1", "ana1")
FIRST, SECOND = experiment(SITE, "1"), experiment(SITE, "2")
NEVER = 3600.0


class House:
    def __init__(self, board: Board, watch: PlaceWatch, identity: IdentityRecords, hosts: AskedHosts) -> None:
        self.board, self.watch, self.identity, self.hosts = board, watch, identity, hosts

    def state(self, name: str) -> str:
        return self.watch.views[name].state

    def states(self) -> tuple[str, ...]:
        return tuple(view.state for view in self.watch.views.values())

    def alarm(self, suffix: str) -> Any:
        return self.board.cell(suffix).reading.alarm

    def value(self, suffix: str) -> Any:
        return self.board.cell(suffix).value


@asynccontextmanager
async def house(
    current: Experiment | None = FIRST,
    hosts: AskedHosts | None = None,
    *,
    slowest_s: float = 10,
    every_s: float = NEVER,
    at: Site = SITE,
) -> AsyncIterator[House]:
    board, disks = new_board(), hosts or AskedHosts()
    identity = IdentityRecords(board, MemoryIdentity(), at, _runner())
    identity.show(current, None)
    watch = PlaceWatch(board, disks, identity, every_s=every_s)
    for one in watch.lookouts.values():
        one.slowest_s = slowest_s
    tasks = watch.start()
    try:
        yield House(board, watch, identity, disks)
    finally:
        for disk in disks.disks.values():
            disk.open_.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _runner() -> Runner:
    nobody: Any = None
    return nobody  # nobody types here


def test_places_are_unknown_and_their_count_undefined_until_they_were_looked_at() -> None:
    async def body() -> None:
        hosts = AskedHosts()
        hosts.disk("det1").open_.clear()
        async with house(hosts=hosts) as h:
            await until(lambda: h.state("ana1") == "absent")

            assert h.state("det1") == "unknown"
            assert h.alarm("HostsOk").status is Status.UDF
            assert (await h.watch.rows(9)).alarm.status is Status.UDF
            assert h.value("HostCount") == 2

    run(body)


def test_what_stands_and_what_does_not_yet_are_both_well() -> None:
    async def body() -> None:
        hosts = AskedHosts(stands={"det1": {"path": "there"}, "ana1": None})
        async with house(hosts=hosts) as h:
            await until(lambda: h.states() == ("EXISTS", "absent"))

            assert (h.value("HostsOk"), h.alarm("HostsOk")) == (2, QUIET)
            rows = (await h.watch.rows(9)).rows
            assert rows[0]["path"] == "/data/det1/2026-11/2026-11-unknown-901"
            assert rows[1]["sentence"] == "ana1: /data/ana1/2026-11/2026-11-unknown-901 stands not yet"

    run(body)


def test_without_an_experiment_only_the_top_is_looked_at() -> None:
    async def body() -> None:
        async with house(None) as h:
            await until(lambda: h.states() == ("ready", "ready"))

            assert sorted(h.hosts.experiments) == [("ana1", ""), ("det1", "")]
            assert (await h.watch.rows(9)).rows[0]["path"] == ""

    run(body)


def test_the_room_of_each_place_stands_in_the_table_and_the_least_of_all_in_a_record() -> None:
    async def body() -> None:
        hosts = AskedHosts(rooms={"ana1": Room(free_bytes=3_500_000_000, state="low")})
        hosts.disk("det1").raising = PlaceError("NO_SPACE", "det1: full", advice="make space")
        async with house(hosts=hosts) as h:
            assert h.alarm("HostsLeastFree").severity is Severity.INVALID
            await until(lambda: h.states() == ("NO_SPACE", "absent"))

            rows = (await h.watch.rows(9)).rows
            assert [(row["free_gb"], row["space"]) for row in rows] == [(1000, "ok"), (3.5, "low")]
            assert (h.value("HostsLow"), h.alarm("HostsLow").severity) == (1, Severity.MINOR)
            assert (h.value("HostsLeastFree"), h.alarm("HostsLeastFree")) == (3.5, QUIET)

            hosts.rooms.clear()
            h.watch.soon()
            await until(lambda: h.value("HostsLow") == 0)
            assert (h.value("HostsLeastFree"), h.alarm("HostsLow")) == (1000, QUIET)

    run(body)


def test_a_place_that_does_not_answer_is_not_asked_a_second_time_for_its_room() -> None:
    async def body() -> None:
        hosts = AskedHosts()
        async with house(hosts=hosts) as h:
            await until(lambda: h.states() == ("absent", "absent"))
            hosts.asked_room.clear()
            for name in ("det1", "ana1"):
                hosts.disk(name).raising = PlaceError("TIMEOUT", f"{name}: hangs", advice="look")
            h.watch.soon()
            await until(lambda: h.states() == ("TIMEOUT", "TIMEOUT"))

            assert hosts.asked_room == []
            row = (await h.watch.rows(9)).rows[0]
            assert isinstance(row["free_gb"], float)
            assert math.isnan(row["free_gb"])
            assert row["space"] == ""
            assert h.alarm("HostsLeastFree").severity is Severity.INVALID

    run(body)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (PlaceError("NO_TOPDIR", "det1: no top", advice="mount it"), "NO_TOPDIR"),
        (PlaceError("NOT_MOUNTED", "det1: no disk", advice="mount it"), "NOT_MOUNTED"),
        (PlaceError("NO_SPACE", "det1: full", advice="make space"), "NO_SPACE"),
        (PlaceError("DENIED", "det1: not ours", advice="let us write"), "DENIED"),
        (PlaceError("UNREACHABLE", "det1: is away", advice="look"), "UNREACHABLE"),
        (ConflictError("det1: of another", advice="look whose it is"), "CONFLICT"),
        (BeamtimeError("det1: some trouble", advice="look at it"), "UNREACHABLE"),
        (TypeError("a bug"), "UNREACHABLE"),
    ],
)
def test_what_is_wrong_with_a_place_is_its_state_and_major_and_clears(error: Exception, state: str) -> None:
    async def body() -> None:
        hosts = AskedHosts()
        hosts.disk("det1").raising = error
        async with house(hosts=hosts) as h:
            await until(lambda: h.states() == (state, "absent"))
            alarm, sentence = h.alarm("HostsOk"), h.watch.views["det1"].text

            assert h.value("HostsOk") == 1
            assert (alarm.severity, alarm.message) == (Severity.MAJOR, sentence)
            assert sentence.startswith("det1")
            assert ";" in sentence
            assert (await h.watch.rows(9)).alarm == alarm

            hosts.disk("det1").raising = None
            h.watch.soon()
            await until(lambda: h.states() == ("absent", "absent"))
            assert (h.value("HostsOk"), h.alarm("HostsOk")) == (2, QUIET)

    run(body)


def test_the_same_advice_for_two_places_is_said_once() -> None:
    async def body() -> None:
        hosts = AskedHosts()
        for name in ("det1", "ana1"):
            advice = f"see whether it is on, and try by hand: ssh {name} true; then press again"
            hosts.disk(name).raising = PlaceError("UNREACHABLE", f"{name}: is away", advice=advice)
        async with house(hosts=hosts) as h:
            await until(lambda: h.states() == ("UNREACHABLE", "UNREACHABLE"))

            assert h.alarm("HostsOk").message == (
                "det1: is away; ana1: is away; see whether it is on, and try by hand: ssh det1 true; "
                "ssh ana1 true; then press again"
            )
            sentences = [row["sentence"] for row in (await h.watch.rows(9)).rows]
            assert [text.count("then press again") for text in sentences] == [1, 1]

    run(body)


def test_a_disk_that_hangs_is_a_timeout_holds_one_thread_and_no_other_place() -> None:
    async def body() -> None:
        hosts = AskedHosts()
        hosts.disk("det1").open_.clear()
        async with house(hosts=hosts, slowest_s=0.1, every_s=0.02) as h:
            await until(lambda: h.state("det1") == "TIMEOUT")
            asked = hosts.disk("ana1").asked
            for _ in range(5):
                h.watch.soon()
            await until(lambda: hosts.disk("ana1").asked > asked + 5)

            assert hosts.disk("det1").most_at_once == hosts.disk("det1").asked == 1
            assert re.fullmatch(
                r"det1: /data/det1 does not answer since \d\d:\d\d; look whether its disk hangs",
                h.watch.views["det1"].text,
            )
            assert h.alarm("HostsOk").severity is Severity.MAJOR

            hosts.disk("det1").open_.set()
            await until(lambda: h.state("det1") == "absent")
            assert hosts.disk("det1").most_at_once == 1

    run(body)


@pytest.mark.parametrize(
    ("error", "host", "times"),
    [
        (PlaceError("UNREACHABLE", "det1: is away", advice="look"), "det1", [1, 2, 4, 8, 8, 8]),
        (PlaceError("DENIED", "det1: not ours", advice="let us in"), "det1", [1, 2, 4, 8, 8, 8]),
        (PlaceError("NO_SPACE", "det1: is full", advice="make space"), "det1", [1, 1, 1, 1, 1, 1]),
        (PlaceError("DENIED", "det1: not ours", advice="let us write"), "", [1, 1, 1, 1, 1, 1]),
    ],
)
def test_a_host_that_is_away_is_looked_at_more_and_more_seldom_and_at_once_after_a_run(
    monkeypatch: pytest.MonkeyPatch, error: Exception, host: str, times: list[int]
) -> None:
    every_s, waits = 0.01, list[float]()

    def note(wait_s: float) -> float:
        waits.append(wait_s / every_s)
        return NEVER if len(waits) == len(times) else wait_s

    monkeypatch.setattr(lookout, "spread", note)

    async def body() -> None:
        hosts = AskedHosts()
        hosts.disk("det1").raising = error
        here = site("det1")
        far = replace(here, places=(replace(here.places[0], host=host),))
        async with house(hosts=hosts, every_s=every_s, at=far) as h:
            await until(lambda: len(waits) == len(times))
            assert waits == pytest.approx(times)

            hosts.disk("det1").raising = None
            h.board.progress["create-directories"].set(
                RunView(action="create-directories", run_id="1", state=RunState.DONE)
            )
            await until(lambda: h.state("det1") == "absent")
            await until(lambda: len(waits) > len(times))
            assert waits[len(times)] == pytest.approx(1)

    run(body)


def test_another_experiment_is_looked_for_at_once() -> None:
    async def body() -> None:
        async with house(FIRST) as h:
            await until(lambda: h.states() == ("absent", "absent"))

            h.identity.show(SECOND, None)

            await until(lambda: h.watch.views["det1"].path.endswith("902"))
            looks = len(h.hosts.experiments)
            h.identity.show(replace(SECOND, title="corrected"), None)
            await asyncio.sleep(0.05)
            assert len(h.hosts.experiments) == looks

    run(body)


def test_what_was_seen_of_an_experiment_that_has_gone_is_not_shown() -> None:
    async def body() -> None:
        hosts = AskedHosts(stands={"det1": {"path": "of the first"}})
        hosts.disk("det1").open_.clear()
        async with house(FIRST, hosts) as h:
            await until(lambda: hosts.disk("det1").asked)
            paths: list[str] = []
            h.watch.tell_changes(lambda: paths.append(h.watch.views["det1"].path))
            h.identity.show(SECOND, None)
            hosts.disk("det1").open_.set()

            await until(lambda: h.state("det1") == "EXISTS")

            assert {path[-3:] for path in paths if path} == {"902"}
            assert [key for name, key in hosts.experiments if name == "det1"] == ["aps:1", "aps:2"]

    run(body)


def test_a_run_that_has_ended_is_looked_after_once() -> None:
    async def body() -> None:
        async with house(FIRST) as h:
            await until(lambda: h.states() == ("absent", "absent"))
            h.hosts.stands["det1"] = {"path": "made"}
            progress = h.board.progress["create-directories"]
            progress.set(RunView(action="create-directories", run_id="1", state=RunState.RUNNING))
            progress.set(RunView(action="create-directories", run_id="1", state=RunState.DONE))

            await until(lambda: h.state("det1") == "EXISTS")

            looks = len(h.hosts.experiments)
            progress.set(RunView(action="create-directories", run_id="1", state=RunState.DONE))
            await asyncio.sleep(0.05)
            assert len(h.hosts.experiments) == looks == 4

    run(body)


def test_what_the_last_run_made_is_created_and_what_stood_exists() -> None:
    async def body() -> None:
        hosts = AskedHosts(stands={"det1": {"path": "there"}, "ana1": {"path": "there"}})
        async with house(FIRST, hosts) as h:
            await until(lambda: h.states() == ("EXISTS", "EXISTS"))

            steps = tuple(
                StepLine(name=f"directory {view.place.name}:{view.path}", state=state)
                for view, state in zip(
                    h.watch.views.values(), (StepState.MADE, StepState.STANDS), strict=True
                )
            )
            progress = h.board.progress["begin-beamtime"]
            progress.set(RunView(action="begin-beamtime", run_id="1", state=RunState.FAILED, steps=steps))

            await until(lambda: h.states() == ("CREATED", "EXISTS"))
            assert (h.value("HostsOk"), h.alarm("HostsOk")) == (2, QUIET)

            again = tuple(replace(step, state=StepState.STANDS) for step in steps)
            progress.set(RunView(action="begin-beamtime", run_id="2", state=RunState.DONE, steps=again))
            await until(lambda: h.states() == ("EXISTS", "EXISTS"))

    run(body)


def test_a_place_on_another_host_is_shown_with_that_host() -> None:
    async def body() -> None:
        async with house(None) as h:
            views = h.watch.views
            views["det1"] = replace(
                views["det1"], place=replace(views["det1"].place, host="det1.example.org")
            )

            assert (await h.watch.rows(9)).rows[0]["host"] == "det1.example.org"

    run(body)


def test_a_site_without_hosts_says_so() -> None:
    async def body() -> None:
        board = new_board()
        watch = PlaceWatch(
            board, None, IdentityRecords(board, MemoryIdentity(), SITE, _runner()), every_s=NEVER
        )

        found = await watch.rows(9)

        assert watch.start() == []
        assert [row["sentence"] for row in found.rows] == ["no section hosts: in the site file"] * 2
        assert found.alarm.status is Status.UDF

    run(body)
