"""Services that are asked again and again: what their lamps say when they fail, hang, and come back."""

import asyncio
import logging
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.alarm import Severity, Status
from beamtime_ioc.board import Board
from beamtime_ioc.errors import ServiceUnavailableError
from beamtime_ioc.filled_table import Rows
from beamtime_ioc.ports import Health
from beamtime_ioc.service_watch import Lamp, ServiceWatch
from watch_house import CHICAGO, WELL, AskedService, new_board, run, until

DOWN = Health(ok=False, sentence="it says no; see its log", latency_s=1.5)


class House:
    def __init__(self, board: Board, watch: ServiceWatch) -> None:
        self.board, self.watch = board, watch

    def lamp(self, name: str) -> Lamp:
        return Lamp(int(self.board.cell(f"{name}Service").value))

    def value(self, suffix: str) -> Any:
        return self.board.cell(suffix).value

    def alarm(self, suffix: str) -> Any:
        return self.board.cell(suffix).reading.alarm

    async def rows(self) -> Rows:
        found = await self.watch.rows(50)
        assert found is not None
        return found


@asynccontextmanager
async def house(
    *, slowest_s: float = 10, every_s: float = 0.02, **services: AskedService
) -> AsyncIterator[House]:
    board = new_board()
    named = {name: ("kind", service) for name, service in services.items()}
    watch = ServiceWatch(board, named, CHICAGO, every_s=every_s)
    for one in watch.watched.values():
        one.lookout.slowest_s = slowest_s
    made = House(board, watch)
    tasks = watch.start()
    try:
        yield made
    finally:
        for service in services.values():
            service.open_.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_service_is_unknown_and_undefined_until_it_was_asked() -> None:
    async def body() -> None:
        mail = AskedService()
        mail.open_.clear()
        async with house(mail=mail) as h:
            await until(lambda: mail.asked)

            assert h.lamp("Mail") is Lamp.UNKNOWN
            for suffix in ("MailService", "MailServiceMessage", "MailServiceLatency", "ServicesDown"):
                assert h.alarm(suffix).severity is Severity.INVALID
                assert h.alarm(suffix).status in (Status.UDF, Status.STATE)
            assert (await h.rows()).alarm.status is Status.UDF
            assert h.value("ServiceCount") == 1

    run(body)


def test_a_service_that_answers_is_up_with_its_sentence_and_its_latency() -> None:
    async def body() -> None:
        async with house(mail=AskedService()) as h:
            await until(lambda: h.lamp("Mail") is Lamp.UP)

            assert (h.value("MailServiceMessage"), h.value("MailServiceLatency")) == ("it answers", 0.25)
            assert h.value("ServicesDown") == 0
            for suffix in ("MailService", "MailServiceMessage", "MailServiceLatency", "ServicesDown"):
                assert h.alarm(suffix).severity is Severity.NO_ALARM
            found = await h.rows()
            assert found.alarm.severity is Severity.NO_ALARM
            assert {key: found.rows[0][key] for key in ("service", "backend", "reachable", "sentence")} == {
                "service": "mail",
                "backend": "kind",
                "reachable": "Up",
                "sentence": "it answers",
            }

    run(body)


@pytest.mark.parametrize(
    ("raising", "health", "sentence"),
    [
        (None, DOWN, r"it says no; see its log \(since \d\d:\d\d\)"),
        (
            ServiceUnavailableError("the relay", "is away"),
            WELL,
            r"the relay is away; press again when it is back; .* \(since \d\d:\d\d\)",
        ),
        (
            TypeError("a bug"),
            WELL,
            r"mail cannot be looked at \(TypeError\); see the log of the IOC .*",
        ),
    ],
)
def test_a_service_that_is_down_is_major_in_one_sentence_and_touches_no_other(
    raising: Exception | None, health: Health, sentence: str
) -> None:
    async def body() -> None:
        mail, schedule = AskedService(raising=raising, health=health), AskedService()
        async with house(mail=mail, schedule=schedule) as h:
            await until(lambda: h.lamp("Mail") is Lamp.DOWN and h.lamp("Schedule") is Lamp.UP)

            assert re.fullmatch(sentence, h.value("MailServiceMessage"))
            for suffix in ("MailService", "MailServiceMessage"):
                assert h.alarm(suffix).severity is Severity.MAJOR
                assert h.alarm(suffix).message == h.value("MailServiceMessage")
            assert h.alarm("ScheduleService").severity is Severity.NO_ALARM
            assert h.value("ServicesDown") == 1
            assert (h.alarm("ServicesDown").severity, h.alarm("ServicesDown").status) == (
                Severity.MAJOR,
                Status.HIGH,
            )
            assert h.alarm("ServicesDown").message.startswith("mail: ")
            assert (await h.rows()).alarm.severity is Severity.MAJOR

    run(body)


def test_when_it_comes_back_the_alarms_clear_and_since_is_now() -> None:
    async def body() -> None:
        mail = AskedService(health=DOWN)
        async with house(mail=mail) as h:
            await until(lambda: h.lamp("Mail") is Lamp.DOWN)
            down_since = h.watch.watched["mail"].view.since
            asked = mail.asked
            await until(lambda: mail.asked > asked + 2)
            assert h.watch.watched["mail"].view.since == down_since
            mail.health = WELL

            await until(lambda: h.lamp("Mail") is Lamp.UP)

            up_since = h.watch.watched["mail"].view.since
            assert up_since is not None
            assert down_since is not None
            assert up_since > down_since
            for suffix in ("MailService", "MailServiceMessage", "ServicesDown"):
                assert h.alarm(suffix).severity is Severity.NO_ALARM
            assert h.value("ServicesDown") == 0

    run(body)


def test_a_service_that_hangs_is_down_since_it_was_asked_and_no_thread_piles_up() -> None:
    async def body() -> None:
        mail, schedule = AskedService(), AskedService()
        mail.open_.clear()
        async with house(slowest_s=0.1, mail=mail, schedule=schedule) as h:
            await until(lambda: h.lamp("Mail") is Lamp.DOWN)
            threads, asked = threading.active_count(), schedule.asked
            await until(lambda: schedule.asked > asked + 5)

            assert re.fullmatch(
                r"mail does not answer since \d\d:\d\d; it is asked again until it does",
                h.value("MailServiceMessage"),
            )
            assert h.alarm("MailService").severity is Severity.MAJOR
            assert (mail.asked, mail.most_at_once) == (1, 1)
            assert threading.active_count() <= threads + 1

            mail.open_.set()
            await until(lambda: h.lamp("Mail") is Lamp.UP)
            assert mail.most_at_once == 1

    run(body)


def test_the_loop_is_not_held_while_a_check_hangs_for_its_whole_time() -> None:
    async def body() -> None:
        mail = AskedService()
        mail.open_.clear()
        async with house(slowest_s=0.2, mail=mail) as h:
            late: list[float] = []
            while h.lamp("Mail") is not Lamp.DOWN or len(late) < 100:
                began = time.monotonic()
                await asyncio.sleep(0.005)
                late.append(time.monotonic() - began - 0.005)

            assert sorted(late)[len(late) * 95 // 100] < 0.05

    run(body)


def test_a_lamp_of_a_service_that_is_not_configured_says_so_without_alarm() -> None:
    async def body() -> None:
        async with house(mail=AskedService()) as h:
            assert h.lamp("Schedule") is Lamp.ABSENT
            assert h.board.cell("ScheduleService").record.states[Lamp.ABSENT] == "Not configured"
            assert h.value("ScheduleServiceMessage") == "not configured"
            for suffix in ("ScheduleService", "ScheduleServiceMessage", "ScheduleServiceLatency"):
                assert h.alarm(suffix).severity is Severity.NO_ALARM
            assert h.value("ServiceCount") == 1

    run(body)


def test_a_service_without_a_lamp_is_told_in_the_log_and_stands_in_the_table(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> None:
        async with house(catalogue=AskedService()) as h:
            await until(lambda: h.watch.watched["catalogue"].view.lamp is Lamp.UP)

            assert [row["service"] for row in (await h.rows()).rows] == ["catalogue"]

    caplog.set_level(logging.INFO)
    run(body)

    assert "service catalogue has no lamp; one is a row of service.template" in caplog.text


def test_a_site_adds_a_lamp_with_one_row(tmp_path: Path) -> None:
    rows = tmp_path / "own.substitutions"
    rows.write_text('file service.template { { SERVICE="catalogue", NAME=Catalogue } }')

    board = new_board(rows)

    assert dict(board.records.reports("service"))["catalogue.state"].suffix == "CatalogueService"
