"""The audit: each line stands on the disk or is known not to, and none harms another."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit_house import DEADLINE_S, entries, on_small_disk
from beamtime_ioc.audit import AuditEntry, AuditLog, DamagedLine, Deed
from beamtime_ioc.auditor import KEPT_DENIED, KEPT_LINES, Auditor
from beamtime_ioc.errors import AuditError, NotAllowedError, RefusedError, StateError
from beamtime_ioc.journal import RunRecord
from beamtime_ioc.model import RunState, Who
from beamtime_ioc.pace import KEYS, Pace

WHO = Who(via="ca", user="operator", peer="127.0.0.1", claim="console")


def entry(what: Deed = Deed.PRESS, run: str = "1", text: str = "", at: datetime | None = None) -> AuditEntry:
    return AuditEntry(
        what=what,
        who=WHO,
        action="email-users",
        run=run,
        experiment="aps:300011",
        text=text,
        at=at or datetime.now(UTC),
    )


def this_month(state: Path) -> Path:
    return AuditLog(state).path_of(datetime.now(UTC))


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), DEADLINE_S)


def test_a_line_says_who_did_what_when_from_where_and_is_read_back_alike(tmp_path: Path) -> None:
    at = datetime(2026, 11, 20, 23, 30, 0, 123456, tzinfo=UTC)
    written = entry(text="Done: 3 letters", at=at)

    AuditLog(tmp_path).write(written)

    line = json.loads((tmp_path / "audit" / "2026-11.jsonl").read_text())
    assert line == {
        "at": "2026-11-20T23:30:00.123456+00:00",
        "what": "press",
        "user": "operator",
        "host": "console",
        "peer": "127.0.0.1",
        "via": "ca",
        "action": "email-users",
        "run": "1",
        "experiment": "aps:300011",
        "text": "Done: 3 letters",
    }
    assert entries(tmp_path) == [written]


def test_a_month_in_utc_is_a_file_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    chicago = datetime.fromisoformat("2026-11-30T19:00:00-06:00")

    log.write(entry(at=chicago))

    (path,) = (tmp_path / "audit").iterdir()
    assert path.name == "2026-12.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@example(text="a\x7f\x9b\u202e\n", user="\ud800\r")
@given(text=st.text(), user=st.text(st.characters(exclude_categories=[])))
def test_whatever_a_client_sends_is_one_line_of_printable_ascii(text: str, user: str) -> None:
    line = AuditEntry(what=Deed.REFUSED, who=Who(via="ca", user=user), action="a", text=text).as_line()

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["user"] == user[:196] + (" ..." if len(user) > 200 else user[196:])


def test_a_text_without_end_is_cut(tmp_path: Path) -> None:
    long = "x" * 1_000_000

    AuditLog(tmp_path).write(
        AuditEntry(what=Deed.REFUSED, who=Who(via="ca", user=long), action="a", text=long)
    )

    assert this_month(tmp_path).stat().st_size < 5000
    assert [found.text[-5:] for found in entries(tmp_path)] == ["x ..."]


@pytest.mark.parametrize(
    "damage", [b'{"at": "2026-11-', b"\xff\xfe\x00", b"[1, 2]\n", b'{"at": 3}\n', b"x" * 300_000, b"[" * 9000]
)
def test_a_damaged_line_is_reported_with_its_place_and_harms_no_other(tmp_path: Path, damage: bytes) -> None:
    log = AuditLog(tmp_path)
    log.write(entry(run="1"))
    with this_month(tmp_path).open("ab") as file:
        file.write(damage)

    log.write(entry(run="2"))

    first, damaged, second = log.read()
    assert isinstance(first, AuditEntry)
    assert isinstance(second, AuditEntry)
    assert (first.run, second.run) == ("1", "2")
    assert isinstance(damaged, DamagedLine)
    assert f"{this_month(tmp_path)}:2: this line is damaged" in str(damaged)


def test_a_line_that_was_written_twice_is_told_once(tmp_path: Path) -> None:
    log, again = AuditLog(tmp_path), entry()

    for written in (again, again, entry(Deed.END)):
        log.write(written)

    assert [found.what for found in entries(tmp_path)] == [Deed.PRESS, Deed.END]


def test_lines_that_were_written_twice_together_are_told_once_in_both_directions(tmp_path: Path) -> None:
    log, together = AuditLog(tmp_path), [entry(Deed.PUT, run=str(number)) for number in range(3)]

    for _ in range(2):
        log.write(*together)

    assert [found.run for found in entries(tmp_path)] == ["0", "1", "2"]
    assert [found.run for found in log.last(10)] == ["2", "1", "0"]


def test_reading_begins_at_a_moment_and_leaves_other_files_alone(tmp_path: Path) -> None:
    log, now = AuditLog(tmp_path), datetime(2026, 11, 20, tzinfo=UTC)
    for days in (70, 40, 2, 1):
        log.write(entry(run=str(days), at=now - timedelta(days=days)))
    (tmp_path / "audit" / "notes.txt").write_text("of somebody\n")
    (tmp_path / "audit" / "2026-09.jsonl").write_text("damaged\n")

    found = list(log.read(now - timedelta(days=1)))

    assert [one.run for one in found if isinstance(one, AuditEntry)] == ["1"]
    assert not [one for one in found if isinstance(one, DamagedLine)]


def test_where_there_is_no_audit_yet_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert list(AuditLog(tmp_path).read()) == []


FILL = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from beamtime_ioc.audit import AuditEntry, AuditLog, Deed
from beamtime_ioc.errors import AuditError
from beamtime_ioc.model import Who
state = Path(sys.argv[1])
log, written, refused = AuditLog(state), [], []
for number in range(1000):
    at = datetime(2026, 11, 20, tzinfo=UTC)
    entry = AuditEntry(what=Deed.PRESS, who=Who(via="ca"), action="a", run=str(number), text="x" * 700, at=at)
    try:
        log.write(entry)
        written.append(entry.run)
    except AuditError as error:
        refused.append(str(error))
        if len(refused) == 2:
            break
print(refused[0])
found = list(log.read())
print([one.run for one in found if isinstance(one, AuditEntry)] == written, len(written) > 20)
print([type(one).__name__ for one in found].count("DamagedLine") <= 1)
"""


def test_on_a_full_disk_the_write_fails_in_words_and_every_earlier_line_stands(tmp_path: Path) -> None:
    said = on_small_disk(tmp_path, FILL).splitlines()

    assert "the audit cannot be written: " in said[0]
    assert "2026-11.jsonl: No space left on device; look at its disk" in said[0]
    assert said[1:] == ["True True", "True"]


AFTER_FULL = """
import os, sys
from pathlib import Path
from beamtime_ioc.audit import AuditEntry, AuditLog, DamagedLine, Deed
from beamtime_ioc.errors import AuditError
from beamtime_ioc.model import Who
state = Path(sys.argv[1])
log = AuditLog(state)
def entry(run):
    return AuditEntry(what=Deed.PRESS, who=Who(via="ca"), action="a", run=run, text="x" * 1900)
log.write(entry("first"))
filler = open(state / "filler", "wb", buffering=0)
try:
    while True:
        filler.write(b"x" * 4096)
except OSError:
    pass
failed = 0
while failed < 3:
    try:
        log.write(entry("more"))
    except AuditError:
        failed += 1
os.truncate(state / "filler", 0)
log.write(entry("last"))
found = list(log.read())
print(found[-1].run, sum(isinstance(one, DamagedLine) for one in found), found[0].run)
"""


def test_after_space_is_freed_the_next_line_is_whole_though_the_one_before_was_torn(tmp_path: Path) -> None:
    said = on_small_disk(tmp_path, AFTER_FULL)

    assert said.split() == ["last", "1", "first"]


KEEP_WRITING = """
import sys
from pathlib import Path
from beamtime_ioc.audit import AuditEntry, AuditLog, Deed
from beamtime_ioc.model import Who
log = AuditLog(Path(sys.argv[1]))
number = 0
while True:
    log.write(AuditEntry(what=Deed.PRESS, who=Who(via="ca"), action="a", run=f"{sys.argv[2]}.{number}"))
    print(number, flush=True)
    number += 1
"""


def test_kill_9_in_a_loop_of_writes_loses_no_line_that_was_said_to_stand(tmp_path: Path) -> None:
    told: list[str] = []
    for turn in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", KEEP_WRITING, str(tmp_path), str(turn)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert child.stdout is not None
        for _ in range(20 + turn):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        told += [f"{turn}.{number}" for number in range(20 + turn)]
        child.stdout.close()

    found = {one.run for one in AuditLog(tmp_path).read() if isinstance(one, AuditEntry)}

    assert found >= set(told)


def test_a_directory_that_may_not_be_written_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir(mode=0o500)

    with pytest.raises(AuditError) as refused:
        AuditLog(tmp_path).write(entry())

    assert "Permission denied" in str(refused.value)
    assert "this user may write there" in refused.value.advice


def test_a_file_that_is_a_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    this_month(tmp_path).symlink_to("/dev/zero")

    with pytest.raises(AuditError, match="is no file"):
        list(AuditLog(tmp_path).read())


# -- the writer beside the event loop --------------------------------------------------------------------


class GatedLog(AuditLog):
    """An audit on a disk that hangs until it is let go."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.go, self.reached = threading.Event(), threading.Event()

    def write(self, *entries: AuditEntry) -> None:
        self.reached.set()
        assert self.go.wait(DEADLINE_S)
        super().write(*entries)


def test_a_press_is_on_the_disk_when_it_is_taken(tmp_path: Path) -> None:
    async def test() -> None:
        auditor = Auditor(AuditLog(tmp_path))

        await auditor.press(entry())

        assert [found.what for found in entries(tmp_path)] == [Deed.PRESS]
        assert auditor.trouble == ""
        auditor.close()

    run(test)


def test_on_a_disk_that_hangs_a_press_is_refused_and_the_loop_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        log = GatedLog(tmp_path)
        auditor = Auditor(log, limit_s=0.3)
        first = asyncio.create_task(auditor.press(entry(run="first")))
        await asyncio.to_thread(log.reached.wait, DEADLINE_S)
        turns = 0
        waiting = asyncio.create_task(auditor.press(entry(run="waiting")))
        while not waiting.done():
            await asyncio.sleep(0.005)
            turns += 1
        for press in (first, waiting):
            with pytest.raises(RefusedError, match=r"did not answer within 0\.3 s, so nothing was begun"):
                await press
        trouble = auditor.trouble
        log.go.set()
        assert await auditor.flush(DEADLINE_S)

        assert turns > 10
        assert "its disk has not answered for" in trouble
        # The one that was inside the disk may stand; the one behind it was withdrawn in time.
        assert [found.run for found in entries(tmp_path)] == ["first"]
        auditor.close()

    run(test)


def test_what_cannot_be_written_is_kept_in_order_and_a_press_is_refused_meanwhile(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "audit").mkdir()
        this_month(tmp_path).symlink_to("/dev/full")
        auditor = Auditor(AuditLog(tmp_path))

        auditor.note(entry(Deed.END, run="1"))
        auditor.note(entry(Deed.ABORT, run="2"))
        with pytest.raises(
            RefusedError, match="No space left on device, so nothing was begun; look at its disk"
        ):
            await auditor.press(entry(run="3"))
        trouble = auditor.trouble
        this_month(tmp_path).unlink()
        auditor.tick()
        await until(lambda: auditor.trouble == "")
        await auditor.press(entry(run="4"))

        assert "No space left on device" in trouble
        assert [(found.what, found.run) for found in entries(tmp_path)] == [
            (Deed.END, "1"),
            (Deed.ABORT, "2"),
            (Deed.PRESS, "4"),
        ]
        auditor.close()

    run(test)


def test_a_flood_of_refusals_on_a_bad_disk_is_bounded_and_drops_no_end_of_a_run(tmp_path: Path) -> None:
    async def test() -> None:
        log = GatedLog(tmp_path)
        auditor = Auditor(log)
        for number in range(3 * KEPT_LINES):
            auditor.note(entry(Deed.REFUSED, run=f"{number}"))
        auditor.note(entry(Deed.END, run="the end"))
        log.go.set()
        assert await auditor.flush(DEADLINE_S)

        found = entries(tmp_path)
        assert len(found) == KEPT_LINES + 1
        assert found[-1].what is Deed.END
        auditor.close()

    run(test)


def test_what_nobody_waits_for_is_gathered_and_a_press_takes_it_along_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beamtime_ioc.auditor.GATHER_S", 3600.0)

    async def test() -> None:
        auditor = Auditor(AuditLog(tmp_path))
        for number in range(40):
            auditor.note(entry(Deed.PUT, run=f"{number}"))
        assert entries(tmp_path) == []

        await auditor.press(entry(run="pressed"))

        assert [found.run for found in entries(tmp_path)] == [*map(str, range(40)), "pressed"]
        auditor.close()

    run(test)


NOT_YOURS = NotAllowedError("visitor may not write EmailUsers", advice="ask the beamline")


def test_somebody_without_rights_fills_one_line_in_ten_seconds_and_the_next_one_counts_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]

    async def test() -> None:
        auditor = Auditor(AuditLog(tmp_path))
        monkeypatch.setattr(auditor, "_denied", Pace(lambda: now[0]))
        for number in range(500):
            auditor.refused("email-users", replace(WHO, user=f"invented {number}"), NOT_YOURS)
        auditor.refused("email-users", WHO, NOT_YOURS, "abort")
        auditor.refused("email-users", replace(WHO, peer="192.0.2.8"), NOT_YOURS)
        auditor.refused("email-users", WHO, RefusedError("not ready", advice="wait"))
        now[0] += 10.5
        auditor.refused("email-users", WHO, NOT_YOURS)
        auditor.refused("email-users", WHO, NOT_YOURS)
        assert await auditor.flush(DEADLINE_S)

        words = "visitor may not write EmailUsers; ask the beamline"
        assert [found.text for found in entries(tmp_path)] == [
            words,
            f"abort: {words}",
            words,
            "not ready; wait",
            f"{words}; 499 more like it since the last line",
        ]
        auditor.close()

    run(test)


def test_on_a_bad_disk_those_without_rights_push_no_line_of_an_operator_out(tmp_path: Path) -> None:
    async def test() -> None:
        log = GatedLog(tmp_path)
        auditor = Auditor(log)
        for number in range(3 * KEPT_LINES):
            auditor.refused("email-users", replace(WHO, peer=f"192.0.2.{number}"), NOT_YOURS)
        operators = [Deed.ABORT, Deed.RESOLVE, Deed.SCHEDULE, Deed.PREVIEW] * (KEPT_LINES // 4)
        for deed in operators:
            auditor.note(entry(deed))
        log.go.set()
        assert await auditor.flush(DEADLINE_S)

        found = [one.what for one in entries(tmp_path)]
        assert found.count(Deed.REFUSED) == KEPT_DENIED
        assert [deed for deed in found if deed is not Deed.REFUSED] == operators
        auditor.close()

    run(test)


def record(run_id: str, state: RunState) -> RunRecord:
    now = datetime.now(UTC)
    return RunRecord(
        id=run_id,
        action="email-users",
        state=state,
        who=WHO,
        experiment=None,
        message="3 letters",
        advice="",
        pressed=now,
        ended=now if state.ended else None,
    )


def test_at_the_start_the_ends_that_an_earlier_life_could_not_write_are_written_once(tmp_path: Path) -> None:
    async def test() -> None:
        now, log = datetime.now(UTC), AuditLog(tmp_path)
        last_month = now.replace(day=1) - timedelta(days=1)
        log.write(entry(run="ended last month", at=last_month))
        for name in ("ended", "told", "open", "lost", "refused"):
            log.write(entry(run=name))
        log.write(entry(Deed.END, run="told", text="Done: 3 letters"))
        log.write(entry(Deed.REFUSED, run="refused", text="the disk"))
        journal = {name: record(name, RunState.DONE) for name in ("ended last month", "ended", "told")}
        journal["open"] = record("open", RunState.DONE)  # it ends while the audit is looked through

        for life in ("first life", "second life"):
            auditor = Auditor(log)
            auditor.catch_up({"open"}, journal.get)
            await auditor.press(entry(run=life))
            auditor.close()

        ends = {found.run: found.text for found in entries(tmp_path) if found.what is Deed.END}
        assert len([found for found in entries(tmp_path) if found.what is Deed.END]) == len(ends) == 5
        assert ends.pop("first life") == "not begun: the journal has no such run"  # told by the second
        assert ends.pop("lost") == "not begun: the journal has no such run"
        assert ends.pop("told") == "Done: 3 letters"
        assert set(ends) == {"ended last month", "ended"}
        assert all(text.startswith("Done: 3 letters (ended 20") for text in ends.values())

    run(test)


def test_an_audit_that_cannot_be_read_at_the_start_is_a_trouble_until_it_can(tmp_path: Path) -> None:
    async def test() -> None:
        log = AuditLog(tmp_path)
        log.write(entry(run="ended"))
        path = this_month(tmp_path)
        path.chmod(0o000)
        auditor = Auditor(log)
        auditor.catch_up(set(), {"ended": record("ended", RunState.DONE)}.get)
        await until(lambda: auditor.trouble)
        with pytest.raises(RefusedError, match="Permission denied"):
            await auditor.press(entry(run="of this life"))
        path.chmod(0o600)
        await auditor.press(entry(run="of this life"))
        auditor.tick()
        await until(lambda: auditor.trouble == "")
        assert await auditor.flush(DEADLINE_S)

        found = [(one.what, one.run) for one in entries(tmp_path)]
        assert found.count((Deed.END, "ended")) == 1
        assert (Deed.END, "of this life") not in found
        auditor.close()

    run(test)


def test_whoever_invents_a_thousand_names_shares_a_line_and_takes_nobody_s_place() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert pace.take("known", 10) == 0
    for number in range(2 * KEYS):
        pace.take(number, 10)

    known, invented = pace.take("known", 10), pace.take("one more", 10)
    now = 10.0

    assert (known, invented) == (None, None)
    assert pace.take("known", 10) == 1
    assert pace.take("one more", 10) == 0


@pytest.mark.parametrize("error", [KeyError("state"), ValueError("no such state"), TypeError("None")])
def test_a_damaged_row_of_the_journal_stops_no_press_and_is_a_trouble(
    tmp_path: Path, error: Exception
) -> None:
    async def test() -> None:
        log = AuditLog(tmp_path)
        log.write(entry(run="damaged"))

        def look(run_id: str) -> RunRecord | None:
            raise error

        auditor = Auditor(log)
        auditor.catch_up(set(), look)
        await auditor.press(entry(run="1"))
        auditor.tick()
        await auditor.press(entry(run="2"))

        assert auditor.trouble == f"ends of earlier runs are not audited yet: {error!r}"
        assert [found.run for found in entries(tmp_path)] == ["damaged", "1", "2"]
        auditor.close()

    run(test)


def test_while_the_journal_cannot_be_read_presses_are_taken_and_the_missing_ends_come_later(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        log, readable = AuditLog(tmp_path), threading.Event()
        log.write(entry(run="ended"))

        def look(run_id: str) -> RunRecord | None:
            if not readable.is_set():
                raise StateError("the state database is locked", advice="end the other program")
            return record(run_id, RunState.DONE)

        auditor = Auditor(log)
        auditor.catch_up(set(), look)
        await auditor.press(entry(run="of this life"))
        trouble = auditor.trouble
        readable.set()
        auditor.tick()
        await until(lambda: auditor.trouble == "")
        assert await auditor.flush(DEADLINE_S)

        assert trouble.startswith("ends of earlier runs are not audited yet: the state database is locked")
        assert [(one.what, one.run) for one in entries(tmp_path)] == [
            (Deed.PRESS, "ended"),
            (Deed.PRESS, "of this life"),
            (Deed.END, "ended"),
        ]
        auditor.close()

    run(test)
