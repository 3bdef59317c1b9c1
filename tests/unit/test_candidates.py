"""Who can be chosen, on records and a table, and what a choice means."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.alarm import QUIET, Severity
from beamtime_ioc.board import Board
from beamtime_ioc.candidates import Candidates
from beamtime_ioc.chosen import MOST, candidates, listed
from beamtime_ioc.errors import BadValueError, ServiceUnavailableError
from beamtime_ioc.identity import IdentityRecords
from beamtime_ioc.model import Beamtime, Who
from beamtime_ioc.records import load_records, shipped
from beamtime_ioc.testing import MemoryIdentity
from choice_house import NOW, SITE, MemorySchedule, visit
from watch_house import run, until

OPERATOR = Who(via="ca", user="operator", peer="127.0.0.1")
PAST, HERE, NEXT = visit(1, -3), visit(2, -1), visit(3, 1)
MOMENT = NOW.astimezone(SITE.zone)


class OpenGate:
    def require(self, group: str, who: Who) -> None: ...


@dataclass
class House:
    board: Board
    shown: Candidates
    schedule: MemorySchedule
    identity: MemoryIdentity
    records: IdentityRecords

    def texts(self) -> list[str]:
        cells = [str(self.board.cell(f"Candidate{n}").value) for n in range(1, MOST + 1)]
        return [text.partition(":")[2].partition(":")[0].partition(" ")[0] for text in cells if text]

    async def put(self, suffix: str, value: object) -> object:
        await self.board.cell(suffix).put(value, OPERATOR)
        return self.board.cell(suffix).value

    async def until_count(self, count: int) -> None:
        cell = self.board.cell("CandidateCount")
        await until(lambda: cell.is_known and cell.value == count)


@asynccontextmanager
async def house(*beamtimes: Beamtime, **more: Any) -> AsyncIterator[House]:
    board = Board(load_records(shipped(), prefix=SITE.prefix), OpenGate())
    schedule, identity = MemorySchedule(*beamtimes), MemoryIdentity(more.get("current"))
    nobody: Any = None
    records = IdentityRecords(board, identity, SITE, nobody)
    known, clock = schedule if more.get("scheduled", True) else None, more.get("clock", lambda: NOW)
    shown = Candidates(board, known, records, every_s=60, schedule_s=600, clock=clock)
    tasks = shown.start()
    yield House(board, shown, schedule, identity, records)
    for task in tasks:
        task.cancel()


def keys(beamtimes: Sequence[Beamtime], identity: MemoryIdentity | None = None) -> list[str]:
    return [one.key for one in candidates(beamtimes, identity or MemoryIdentity(), SITE, MOMENT)]


def test_the_newest_comes_first_and_those_that_begin_together_come_by_their_keys() -> None:
    twin = replace(NEXT, id="30000")

    assert keys([PAST, NEXT, HERE, twin]) == ["aps:30000", "aps:30003", "aps:30002", "aps:30001"]


@given(st.permutations([visit(n, n / 4 - 1) for n in range(14)]))
def test_their_order_is_the_same_however_the_schedule_answers(beamtimes: list[Beamtime]) -> None:
    shown = keys(beamtimes)

    assert shown == keys(sorted(beamtimes, key=lambda one: one.id))
    assert len(shown) == MOST
    starts = [one.experiment.start for one in candidates(beamtimes, MemoryIdentity(), SITE, MOMENT)]
    assert starts == sorted(starts, reverse=True)


def test_who_is_on_beam_is_never_crowded_out() -> None:
    coming = [visit(n, 1 + n / 10) for n in range(20)]

    assert HERE.key in keys([*coming, replace(HERE, end=NOW + timedelta(hours=1))])


def test_a_beamtime_with_a_pause_is_one_and_machine_studies_are_none() -> None:
    later = replace(HERE, start=HERE.end + timedelta(days=1), end=HERE.end + timedelta(days=2))
    studies = replace(visit(9, 0), proposal="", people=())

    found = listed(MemorySchedule(HERE, later, studies), MOMENT)

    assert [(one.id, one.start, one.end) for one in found] == [(HERE.id, HERE.start, later.end)]


def test_each_says_whether_it_is_current_on_beam_or_closed() -> None:
    identity = MemoryIdentity(SITE.experiment(HERE))
    identity.close(PAST.key, NOW, "run")

    found = candidates([PAST, HERE, NEXT], identity, SITE, MOMENT)

    assert {one.key: one.state for one in found} == {
        "aps:30003": (),
        "aps:30002": ("current", "on beam"),
        "aps:30001": ("closed",),
    }
    assert found[1].text.startswith("aps:30002 (current, on beam): ")
    assert found[1].text.endswith(", Ann Example2, 91002: Alloys")


def test_the_records_and_the_table_show_the_same() -> None:
    async def test() -> None:
        async with house(PAST, HERE, NEXT) as h:
            await h.until_count(3)

            rows = await h.shown.rows(10)

            assert rows is not None
            assert h.texts() == [row["id"] for row in rows.rows] == ["30003", "30002", "30001"]
            assert [row["number"] for row in rows.rows] == [1, 2, 3]
            assert set(rows.rows[0]) == set(Candidates.columns)
            assert rows.rows[0]["name"] == SITE.experiment(NEXT).name
            assert h.board.cell("CandidatesMessage").value == "3 candidates around now"
            assert h.board.cell("Candidate4").value == ""

    run(test)


def test_an_offset_in_days_shows_those_of_another_time_and_changes_nothing_else() -> None:
    async def test() -> None:
        far = visit(8, 30)
        async with house(PAST, HERE, NEXT, far) as h:
            await h.until_count(3)

            await h.put("ScheduleOffset", 30)
            await h.until_count(1)
            ahead = h.texts(), h.board.cell("CandidatesMessage").value
            await h.put("ScheduleOffset", -400)
            await h.until_count(0)
            with pytest.raises(BadValueError, match="3650 at most"):
                await h.put("ScheduleOffset", 4000)

            assert ahead == (["30008"], "1 candidate around +30 days from now")
            assert h.board.cell("ScheduleOffset").value == -400
            assert h.identity.current() is None

    run(test)


def test_while_those_of_another_time_are_looked_up_it_is_said_and_no_place_in_the_list_is_taken() -> None:
    async def test() -> None:
        async with house(PAST, HERE, NEXT, visit(8, 30)) as h:
            await h.until_count(3)

            put = asyncio.ensure_future(h.put("ScheduleOffset", 30))
            await asyncio.sleep(0)  # nothing is looked at before the loop has gone round
            cells = [h.board.cell(name) for name in ("Candidate1", "CandidatesMessage")]
            meanwhile = [(cell.value, cell.reading.alarm.severity) for cell in cells]
            with pytest.raises(
                BadValueError, match="number 2 is not known yet: they are being looked up; wait"
            ):
                h.shown.read("2")
            assert h.shown.read("30002") == "30002"
            await put
            await h.until_count(1)

            around = "which beamtimes there are around +30 days from now"
            words = f"{around} is not known yet: they are being looked up"
            assert meanwhile == [(words, Severity.INVALID)] * 2
            assert [cell.reading.alarm for cell in cells] == [QUIET] * 2
            assert cells[1].value == "1 candidate around +30 days from now"

    run(test)


def test_a_schedule_that_is_away_for_another_time_does_not_say_that_nobody_is_there() -> None:
    async def test() -> None:
        async with house(PAST, HERE, NEXT) as h:
            await h.until_count(3)
            h.schedule.error = ServiceUnavailableError("the schedule", "did not answer")

            await h.put("ScheduleOffset", 30)
            message = h.board.cell("CandidatesMessage")
            await until(lambda: "the schedule did not answer" in str(message.value))

            assert str(message.value).startswith(
                "which beamtimes there are around +30 days from now is not known"
            )
            assert "0 candidates" not in str(message.value)

    run(test)


@pytest.mark.parametrize("change", ["2026-03-08T12:00:00-05:00", "2026-11-01T12:00:00-06:00"])
def test_an_offset_is_in_days_of_24_hours_also_when_the_clocks_are_changed(change: str) -> None:
    async def test() -> None:
        moment = datetime.fromisoformat(change).astimezone(UTC)
        async with house(clock=lambda: moment) as h:
            await until(lambda: len(h.schedule.asked) == 1)

            await h.put("ScheduleOffset", -1)
            await until(lambda: len(h.schedule.asked) == 2)

            week, day = timedelta(days=7), timedelta(days=1)
            assert h.schedule.asked == [
                (moment - week, moment + week),
                (moment - day - week, moment - day + week),
            ]

    run(test)


def test_a_new_experiment_is_marked_without_asking_the_schedule_again() -> None:
    async def test() -> None:
        async with house(HERE, NEXT) as h:
            await h.until_count(2)

            h.identity.adopt(SITE.experiment(NEXT))
            await h.records.refresh()
            await until(lambda: "(current)" in str(h.board.cell("Candidate1").value))

            assert len(h.schedule.asked) == 1

    run(test)


def test_while_the_schedule_is_away_what_it_said_stays_and_is_alarmed() -> None:
    async def test() -> None:
        async with house(HERE, NEXT) as h:
            await h.until_count(2)
            h.schedule.error = ServiceUnavailableError("the schedule", "did not answer")
            h.shown._again_at = 0

            h.shown.lookout.soon()
            cell = h.board.cell("CandidateCount")
            await until(lambda: cell.reading.alarm.severity is Severity.INVALID)

            assert h.texts() == ["30003", "30002"]
            message = str(h.board.cell("CandidatesMessage").value)
            assert "not up to date: the schedule did not answer" in message

    run(test)


def test_a_schedule_without_a_list_is_no_alarm() -> None:
    async def test() -> None:
        async with house(HERE) as h:
            h.schedule.knows_no_list = True
            h.shown._again_at, h.shown._beamtimes = 0, None
            await h.until_count(0)

            message = h.board.cell("CandidatesMessage")
            assert message.reading.alarm.severity is Severity.NO_ALARM
            assert (
                message.value == "0 candidates around now; it does not say who is on beam: choose by number"
            )

    run(test)


def test_without_a_schedule_manual_experiments_can_be_chosen() -> None:
    async def test() -> None:
        async with house(scheduled=False) as h:
            made = replace(SITE.experiment(HERE), key="manual:1", source="manual")
            h.identity.adopt(made)
            h.shown.lookout.soon()
            await h.until_count(1)

            assert await h.put("ExperimentChoice", "1") == "manual:1"
            assert "names no schedule" in str(h.board.cell("CandidatesMessage").value)

    run(test)


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("aps:30002", "aps:30002"),
        (" 30002 ", "aps:30002"),
        ("91002", "aps:30002"),
        ("2", "aps:30002"),
        ("02", "aps:30002"),
        ("3", "aps:30001"),
        ("", ""),
        ("29999", "29999"),
        ("nsls2:pass-1", "nsls2:pass-1"),
    ],
)
def test_a_choice_becomes_a_key_at_once(typed: str, key: str) -> None:
    async def test() -> None:
        async with house(PAST, HERE, NEXT) as h:
            await h.until_count(3)

            assert await h.put("ExperimentChoice", typed) == key
            assert await h.put("HandoverChoice", typed) == key

    run(test)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("7", "there are 3 candidates, and no number 7"),
        ("x; touch y", "is no key or number of a beamtime"),
        ("../..", "is no key or number of a beamtime"),
        ("王", "is no key or number of a beamtime"),
        ("91001", "91001 means aps:30003 and aps:30001"),
    ],
)
def test_a_choice_of_nothing_or_of_two_is_refused_and_what_stood_stays(typed: str, sentence: str) -> None:
    async def test() -> None:
        async with house(PAST, HERE, replace(NEXT, proposal=PAST.proposal)) as h:
            await h.until_count(3)
            await h.put("ExperimentChoice", "30002")

            with pytest.raises(BadValueError, match=sentence):
                await h.put("ExperimentChoice", typed)

            assert h.board.cell("ExperimentChoice").value == "aps:30002"

    run(test)


def test_a_number_that_is_a_beamtime_and_a_place_is_refused() -> None:
    async def test() -> None:
        async with house(replace(PAST, id="1"), HERE, NEXT) as h:
            await h.until_count(3)

            with pytest.raises(BadValueError, match="1 means aps:1 and aps:30003; write the key"):
                await h.put("ExperimentChoice", "1")

    run(test)


def test_a_choice_that_nobody_presses_for_is_cleared() -> None:
    async def test() -> None:
        async with house(PAST, HERE, NEXT) as h:
            await h.until_count(3)
            h.shown.choice_s = 0.05

            await h.put("ExperimentChoice", "1")

            await until(lambda: h.board.cell("ExperimentChoice").value == "")

    run(test)


def test_a_later_choice_lives_its_own_time() -> None:
    async def test() -> None:
        async with house(PAST, HERE, NEXT) as h:
            await h.until_count(3)
            h.shown.choice_s = 0.05
            await h.put("ExperimentChoice", "1")
            await h.put("HandoverChoice", "1")
            h.shown.choice_s = 60
            await h.put("ExperimentChoice", "1")

            await until(lambda: h.board.cell("HandoverChoice").value == "")

            assert h.board.cell("ExperimentChoice").value == "aps:30003"

    run(test)
