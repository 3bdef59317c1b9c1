"""The program's own health, on its records."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from beamtime_ioc import vitals as vitals_module
from beamtime_ioc.access import load_gate
from beamtime_ioc.alarm import Severity
from beamtime_ioc.board import Board
from beamtime_ioc.procfs import connections_to
from beamtime_ioc.records import load_records, shipped
from beamtime_ioc.starts import count_start
from beamtime_ioc.store import Store
from beamtime_ioc.vitals import Vitals, percentile, uptime


class House:
    def __init__(self) -> None:
        self.board = Board(load_records(shipped(), prefix="X:Vital:"), load_gate(None))
        self.vitals = Vitals(self.board, ZoneInfo("America/Chicago"), start_count=3)

    def value(self, suffix: str) -> object:
        return self.board.cell(suffix).value

    def severity(self, suffix: str) -> Severity:
        return self.board.cell(suffix).reading.alarm.severity


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_it_says_which_process_it_is_from_the_beginning() -> None:
    house = House()

    assert house.value("PROCESS_ID") == os.getpid()
    assert house.value("HOSTNAME") == os.uname().nodename
    assert house.value("START_CNT") == 3
    assert str(house.value("STARTTOD"))[:4] == time.strftime("%Y")
    assert str(house.value("STARTTOD")).endswith(("CST", "CDT"))


def test_what_was_not_measured_yet_is_invalid() -> None:
    house = House()

    for suffix in ("CA_CLNT_CNT", "CA_CONN_CNT", "PVA_CLNT_CNT", "MEM_USED", "FD_CNT", "IOC_CPU_LOAD"):
        assert house.severity(suffix) is Severity.INVALID, suffix
    assert house.severity("LOOP_LATENCY") is house.severity("LOOP_LATENCY_MAX") is Severity.INVALID


def test_the_heart_beats_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals_module, "BEAT_S", 0.05)
    house = House()
    beats: list[tuple[object, float]] = []
    house.board.cell("HEARTBEAT").watchers.append(lambda r: beats.append((r.value, time.monotonic())))

    async def play() -> None:
        task = asyncio.create_task(house.vitals.beat())
        await until(lambda: len(beats) >= 10)
        task.cancel()

    asyncio.run(play())

    assert [value for value, _ in beats] == list(range(len(beats)))
    assert beats[9][1] - beats[0][1] >= 0.4  # it never hurries


def test_the_watchdog_counts_down_to_stopped_and_an_answer_winds_it_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vitals_module, "BEAT_S", 0.01)
    house = House()
    assert (house.value("ServerRunning"), house.severity("ServerRunning")) == (0, Severity.MAJOR)
    seen: list[object] = []
    house.board.cell("Watchdog").watchers.append(lambda reading: seen.append(reading.value))

    async def play() -> None:
        house.vitals.wind_up()
        assert (house.value("ServerRunning"), house.severity("ServerRunning")) == (1, Severity.NO_ALARM)
        task = asyncio.create_task(house.vitals.beat())
        await until(lambda: house.value("Watchdog") == 0)
        task.cancel()

    asyncio.run(play())

    assert seen == list(range(vitals_module.WATCHDOG_S, -1, -1))
    assert (house.value("ServerRunning"), house.severity("ServerRunning")) == (0, Severity.MAJOR)


def test_an_end_by_our_own_will_is_stopped_at_once() -> None:
    house = House()
    house.vitals.wind_up()

    house.vitals.stop()

    assert (house.value("Watchdog"), house.value("ServerRunning")) == (0, 0)


def test_a_loop_that_is_held_up_is_seen() -> None:
    house = House()

    async def play() -> None:
        task = asyncio.create_task(house.vitals.listen())
        await asyncio.sleep(0.01)
        time.sleep(0.4)  # what must never happen in the loop
        await until(lambda: house.severity("LOOP_LATENCY_MAX") is Severity.NO_ALARM)
        task.cancel()

    asyncio.run(play())

    most = house.value("LOOP_LATENCY_MAX")
    assert isinstance(most, float)
    assert 200 < most < 2000
    assert house.value("LOOP_LATENCY") == most  # of ten looks the worst is the 99th percentile


def test_it_says_what_the_process_uses_and_who_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals_module, "USE_S", 0.1)
    house = House()

    async def play() -> None:
        task = asyncio.create_task(house.vitals.weigh(lambda: (2, 30), lambda: 4))
        await until(lambda: house.severity("IOC_CPU_LOAD") is Severity.NO_ALARM)
        with Path("/dev/null").open() as _, Path("/dev/null").open() as _:
            before = house.value("FD_CNT")
            assert isinstance(before, int)
            await until(lambda: house.value("FD_CNT") == before + 2)
        end = time.process_time() + 0.2
        while time.process_time() < end:
            await asyncio.sleep(0)
        await until(lambda: float(str(house.value("IOC_CPU_LOAD"))) > 10)
        task.cancel()

    asyncio.run(play())

    counts = [house.value(name) for name in ("CA_CLNT_CNT", "CA_CONN_CNT", "PVA_CLNT_CNT")]
    assert counts == [2, 30, 4]
    assert 5e6 < float(str(house.value("MEM_USED"))) < 5e9


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.9, "00:00:00"),
        (3661, "01:01:01"),
        (86399.9, "23:59:59"),
        (86400, "1 day, 00:00:00"),
        (200000, "2 days, 07:33:20"),
    ],
)
def test_the_time_since_the_start_reads_as_deviocstats_writes_it(seconds: float, words: str) -> None:
    assert uptime(seconds) == words


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([3.0], 99) == 3
    assert percentile(range(1, 101), 99) == 99
    assert percentile(range(1, 11), 99) == 10


def test_starts_are_counted_in_the_state_database(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        store = Store(tmp_path / "state", "X:Vital:")
        assert count_start(store) == expected
        store.close()


def test_connections_to_a_port_are_counted_from_the_servers_side() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert connections_to(port) == 0
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            assert connections_to(port) == 2
