"""How old runs leave the database: once a night, into files first, and never lost between the two."""

import asyncio
import json
import logging
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from beamtime_ioc.action import Run
from beamtime_ioc.journal import Journal, RunRecord
from beamtime_ioc.retention import KeptRuns, Retention, last_night, next_night, read_kept
from engine_house import DEADLINE_S, LocalBench, State, quick

CHICAGO, HELSINKI = ZoneInfo("America/Chicago"), ZoneInfo("Europe/Helsinki")
KEEP = timedelta(days=730)


def work(run: Run) -> None:
    run.step("who is on beam", lambda: "Zoë")
    run.effect("directory", look=lambda: None, make=lambda: None, verify=lambda: 1)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[LocalBench]:
    state = State(kind="sqlite", directory=tmp_path / "state")
    begun = LocalBench(state, [quick("go", work)], {})
    yield begun
    begun.stop()


def retention(line: LocalBench, keep: timedelta = KEEP) -> Retention:
    return Retention(line.engine, line.journal, line.store.directory, keep=keep, zone=CHICAGO)


def later(years: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=365 * years)


def runs(line: LocalBench, count: int) -> list[str]:
    ids = [line.submit("go") for _ in range(count)]
    for run_id in ids:
        line.end_of(run_id)
    return ids


def files(line: LocalBench) -> list[Path]:
    return sorted((line.store.directory / "history").glob("*.jsonl"))


# -- when ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "zone", [CHICAGO, HELSINKI, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/Scoresbysund")]
)
def test_there_is_one_night_in_each_day_of_the_year_also_when_the_clock_is_changed(zone: ZoneInfo) -> None:
    moment, nights = datetime(2026, 1, 1, 12, tzinfo=zone).astimezone(UTC), list[datetime]()
    while len(nights) < 400:
        night = next_night(moment, zone)
        assert last_night(night, zone) == night
        assert last_night(night - timedelta(seconds=1), zone) < night
        nights.append(night)
        moment = night

    days = [night.astimezone(zone).date() for night in nights]
    assert [(second - first).days for first, second in pairwise(days)] == [1] * 399
    hours = {night.astimezone(zone).hour for night in nights}
    assert 3 in hours
    assert hours <= {3, 4}  # 4 where the clock jumps over the hour of 3


def test_where_the_hour_comes_twice_it_is_done_once() -> None:
    autumn = datetime(
        2026, 10, 25, 0, 0, tzinfo=UTC
    )  # in Helsinki 03:00 summer time, an hour later 03:00 again

    nights = {last_night(autumn + timedelta(minutes=minutes), HELSINKI) for minutes in range(0, 180, 5)}

    assert len(nights) == 2  # the one of the day before, and one


@pytest.mark.parametrize(
    ("last", "due"),
    [
        (None, True),
        ("2026-11-19T10:00", True),  # a night was missed
        ("2026-11-20T09:15", False),  # 03:15 at the beamline
        ("2026-11-20T09:14", True),
        ("2026-11-20T11:00", False),
        ("2026-11-21T11:00", False),
        ("2031-01-01T00:00", True),  # by a clock that was wrong
        ("nonsense", True),
    ],
)
def test_it_is_done_soon_after_a_start_if_the_last_night_was_missed(
    tmp_path: Path, last: str | None, due: bool
) -> None:
    journal = Journal(sa.create_engine("sqlite://"))
    watching = Retention(DiesBeforeDeleting(journal, ()), journal, tmp_path, keep=KEEP, zone=CHICAGO)  # type: ignore[arg-type]
    if last is not None:
        watching.kept.directory.mkdir()
        (watching.kept.directory / "last").write_text(last + ("+00:00" if last[0].isdigit() else ""))

    assert watching.is_due(datetime(2026, 11, 20, 12, tzinfo=UTC)) is due


# -- what ---------------------------------------------------------------------------------------------------


def test_what_is_old_is_in_a_private_file_with_all_that_was_known_and_no_more_in_the_database(
    line: LocalBench,
) -> None:
    ids = runs(line, 3)
    before = {record.id: (record, list(line.journal.steps(record.id))) for record in line.journal.last(10)}

    young = retention(line).retire(later(1.9))
    count = retention(line).retire(later(2.1))

    assert (young, count, line.journal.last(10)) == (0, 3, [])
    (path,) = files(line)
    assert path.name == f"{ids[0]}_{ids[-1]}.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {record.id: (record, list(steps)) for record, steps in read_kept(path)} == before
    assert [json.loads(text)["run"] for text in path.read_text().splitlines()] == ids
    assert not list(path.parent.glob("*.tmp"))
    assert line.end_of(line.submit("go")).state == "Done"


class DiesBeforeDeleting:
    """An engine whose program ends when the runs are written out and not yet deleted."""

    def __init__(self, journal: Journal, ids: Sequence[str]) -> None:
        self.journal, self.ids = journal, ids

    def retire(self, before: datetime, keep: Callable[[Sequence[RunRecord]], None]) -> int:
        keep([record for record in map(self.journal.run, self.ids) if record is not None])
        raise KeyboardInterrupt


def test_a_crash_between_writing_and_deleting_only_writes_the_same_file_again(line: LocalBench) -> None:
    ids = runs(line, 3)
    dying = retention(line)
    dying.engine = DiesBeforeDeleting(line.journal, ids)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        dying.retire(later(2.1))
    first = {path.name: path.read_text() for path in files(line)}

    retention(line).retire(later(2.1))

    assert {path.name: path.read_text() for path in files(line)} == first
    assert len(first) == 1


def test_a_file_whose_runs_are_all_in_a_later_one_goes_and_no_other(line: LocalBench) -> None:
    ids = runs(line, 4)
    kept = KeptRuns(line.store.directory / "history", line.journal)
    records = [record for record in map(line.journal.run, ids) if record is not None]
    kept.keep(records[:2])
    (kept.directory / f"{ids[0]}_of-another.jsonl").write_text("")
    kept.keep([records[0], records[3]])
    names = [path.name for path in files(line)]

    kept.keep(records[:3])

    assert f"{ids[0]}_{ids[1]}.jsonl" in names
    assert [path.name for path in files(line)] == [f"{ids[0]}_{ids[2]}.jsonl", f"{ids[0]}_{ids[3]}.jsonl"]


def test_what_cannot_be_written_stays_in_the_database_and_the_log_says_so(
    line: LocalBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = runs(line, 2)
    (line.store.directory / "history").touch()  # where the directory should be
    watching = retention(line, keep=timedelta(seconds=-60))

    async def watch() -> None:
        task = asyncio.create_task(watching.watch())
        end = time.monotonic() + DEADLINE_S
        while "could not be put aside" not in caplog.text:
            assert time.monotonic() < end, caplog.text
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with caplog.at_level(logging.ERROR):
        asyncio.run(watch())

    assert [record.id for record in line.journal.last(10)] == ids[::-1]


@pytest.mark.parametrize("said", [b"2020-01-01", b"2026-11-20T11:00", b"\xff\xfe", b"\0", b"[]", b""])
def test_a_note_of_the_last_time_that_says_none_counts_as_absent(line: LocalBench, said: bytes) -> None:
    watching = retention(line)
    watching.kept.directory.mkdir()
    (watching.kept.directory / "last").write_bytes(said)

    assert watching.last() is None
    assert watching.is_due(datetime.now(UTC))


@pytest.mark.parametrize(
    "error", [KeyError("id"), TypeError("None"), ValueError("damaged"), OSError(5, "Input/output error")]
)
def test_whatever_is_damaged_is_logged_and_looked_at_again_later(
    line: LocalBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    watching = retention(line)
    threads, tries = list[int](), list[int]()
    monkeypatch.setattr("beamtime_ioc.retention.RETRY_S", 0.01)

    def look() -> datetime | None:
        threads.append(threading.get_ident())
        return None

    def retire(before: datetime, keep: object) -> int:
        tries.append(1)
        raise error

    monkeypatch.setattr(watching, "last", look)
    monkeypatch.setattr(watching.engine, "retire", retire)

    async def watch() -> None:
        task = asyncio.create_task(watching.watch())
        end = time.monotonic() + DEADLINE_S
        while len(tries) < 3:
            assert time.monotonic() < end, caplog.text
            assert not task.done(), task
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(watch())

    assert "old runs could not be put aside, they stay where they are" in caplog.text
    assert threading.get_ident() not in threads


def test_it_is_done_by_itself_after_a_start_and_remembered(line: LocalBench) -> None:
    ids = runs(line, 2)
    watching = retention(line, keep=timedelta(seconds=-60))

    async def watch() -> None:
        task = asyncio.create_task(watching.watch())
        end = time.monotonic() + DEADLINE_S
        while watching.last() is None:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(watch())

    (path,) = files(line)
    assert [record.id for record, _ in read_kept(path)] == ids
    assert line.journal.last(10) == []
    assert not retention(line).is_due(datetime.now(UTC))
