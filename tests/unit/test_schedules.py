"""Actions that are pressed by the clock: when they are due, their switches, and what is shown of them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.action import Action, Run, action
from beamtime_ioc.audit import AuditEntry, AuditLog, Deed
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board
from beamtime_ioc.config import read_site_file
from beamtime_ioc.engine.inline import InlineEngine
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import RefusedError, SiteFileError
from beamtime_ioc.frame import ScheduleSettings
from beamtime_ioc.model import Experiment, RunState, Who
from beamtime_ioc.records import db_dir, load_records
from beamtime_ioc.runner import Runner
from beamtime_ioc.schedules import DueTimes, Schedules
from beamtime_ioc.store import Store
from beamtime_ioc.switches import StoredSwitches
from beamtime_ioc.testing import MemoryIdentity
from beamtime_ioc.testing.run import TEST_SITE

CHICAGO = ZoneInfo("America/Chicago")
OPERATOR = Who(via="ca", user="operator", peer="127.0.0.1")
MINUTE, HOUR, DEADLINE_S = 60_000, 3_600_000, 5

# -- when they are due --------------------------------------------------------------------------

periods = st.integers(3000, 1440 * MINUTE)
moments = st.integers(ms_early := 1_577_836_800_000, ms_early + 20 * 365 * 24 * HOUR)  # 2020 to 2040
zones = st.sampled_from([CHICAGO, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/Havana"), ZoneInfo("UTC")])


def ms(text: str, zone: ZoneInfo = CHICAGO) -> int:
    """A local time, such as `2026-11-01 01:20`, in ms since 1970."""
    return 1000 * int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


@dataclass
class Clock:
    """A clock that somebody sets, one that nobody sets, and a schedule that is asked at every tick."""

    due: DueTimes
    now: int
    real: int = 0
    pressed: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """The due time of each press, and its real time."""

    def go(self, real: int, step: int, jump: int = 0) -> None:
        """Let a time go by, in steps, behind a jump of the wall clock."""
        self.now += jump
        end = self.real + real
        while True:
            self.ask()
            if self.real >= end:
                break
            tick = min(step, end - self.real)
            self.now, self.real = self.now + tick, self.real + tick

    def ask(self) -> None:
        if self.due.take(self.now, self.real):
            self.pressed.append((self.now - (self.now - self.due.origin) % self.due.period, self.real))
        assert self.due.next(self.now) > self.now
        assert not self.due.take(self.now, self.real)


@given(periods, zones, moments, moments)
def test_the_next_due_time_is_at_most_a_period_away(
    period: int, zone: ZoneInfo, start: int, now: int
) -> None:
    due = DueTimes(period, zone, min(start, now), 0)

    wait = due.next(max(start, now)) - max(start, now)

    assert 0 < wait <= period


@given(periods, moments, st.integers(1, 50), st.integers(1, 100))
def test_while_nobody_sets_the_clock_each_due_time_is_pressed_once(
    period: int, start: int, many: int, steps: int
) -> None:
    clock = Clock(DueTimes(period, CHICAGO, start, 0), start)

    clock.go(many * period, max(1, period // steps))

    first = clock.pressed[0][0]
    assert start < first <= start + period
    assert [due for due, _ in clock.pressed] == [first + n * period for n in range(len(clock.pressed))]
    assert many - 1 <= len(clock.pressed) <= many


jumps = st.lists(st.tuples(st.floats(-0.95, 40), st.floats(0, 3)), max_size=12)


@given(periods, moments, jumps)
def test_no_due_time_is_pressed_twice_while_the_clock_is_set_back_by_less_than_a_period(
    period: int, start: int, jumps: Sequence[tuple[float, float]]
) -> None:
    clock = Clock(DueTimes(period, CHICAGO, start, 0), start)
    highest = start

    for jump, periods_after in jumps:
        # Less than a period behind the latest that it ever showed.
        by = max(int(jump * period), highest - period + 1 - clock.now)
        clock.go(int(periods_after * period), max(1, period // 7), jump=by)
        highest = max(highest, clock.now)

    dues = [due for due, _ in clock.pressed]
    assert len(dues) == len(set(dues))
    assert start not in dues


@given(periods, moments, st.lists(st.tuples(st.floats(-1000, 1000), st.floats(0, 2)), max_size=20))
def test_however_the_clock_is_set_there_is_no_storm_of_presses(
    period: int, start: int, jumps: Sequence[tuple[float, float]]
) -> None:
    clock = Clock(DueTimes(period, CHICAGO, start, 0), start)

    for jump, periods_after in jumps:
        clock.go(int(periods_after * period), max(1, period // 7), jump=int(jump * period))

    times = [real for _, real in clock.pressed]
    assert all(2 * (later - earlier) >= period for earlier, later in pairwise(times))


@given(periods, moments, st.floats(-1000, 1000), st.floats(0, 3))
def test_however_the_clock_is_set_it_presses_again_within_three_periods(
    period: int, start: int, jump: float, before: float
) -> None:
    clock = Clock(DueTimes(period, CHICAGO, start, 0), start)
    clock.go(int(before * period), max(1, period // 7))
    then = clock.real

    clock.go(3 * period, max(1, period // 7), jump=int(jump * period))

    assert any(then < real for _, real in clock.pressed)


@pytest.mark.parametrize(
    ("night", "hours"), [("2026-03-08", 23), ("2026-11-01", 25)], ids=["an hour less", "an hour more"]
)
def test_a_night_when_summer_time_begins_or_ends_has_a_press_every_ten_minutes_of_it(
    night: str, hours: int
) -> None:
    start = ms(f"{night} 00:00")
    end = ms((datetime.fromisoformat(night) + timedelta(days=1)).strftime("%Y-%m-%d 00:00"))
    clock = Clock(DueTimes(10 * MINUTE, CHICAGO, start, 0), start)

    clock.go(end - start, MINUTE)

    assert [due for due, _ in clock.pressed] == list(range(start + 10 * MINUTE, end + 1, 10 * MINUTE))
    assert len(clock.pressed) == 6 * hours


def test_full_hours_are_those_of_the_beamline() -> None:
    kolkata = ZoneInfo("Asia/Kolkata")  # half an hour beside the others
    now = ms("2026-11-20 10:17", kolkata)

    due = DueTimes(60 * MINUTE, kolkata, now, 0)

    assert due.next(now) == ms("2026-11-20 11:00", kolkata)


def test_after_a_night_of_sleep_one_press_stands_for_all_that_were_missed() -> None:
    evening, morning = ms("2026-11-20 22:05"), ms("2026-11-21 08:03")
    clock = Clock(DueTimes(10 * MINUTE, CHICAGO, evening, 0), evening)

    clock.go(0, MINUTE, jump=morning - evening)  # the clock that nobody sets stands still meanwhile
    clock.go(20 * MINUTE, MINUTE)

    assert [due for due, _ in clock.pressed] == [
        ms("2026-11-21 08:00"),
        ms("2026-11-21 08:10"),
        ms("2026-11-21 08:20"),
    ]


def test_a_start_right_behind_a_due_time_does_not_press_for_it_again() -> None:
    before = Clock(DueTimes(10 * MINUTE, CHICAGO, ms("2026-11-20 10:15"), 0), ms("2026-11-20 10:15"))
    before.go(5 * MINUTE, 1000)
    again = Clock(DueTimes(10 * MINUTE, CHICAGO, before.now, 0), before.now)

    again.go(10 * MINUTE, 1000)

    assert [due for due, _ in before.pressed] == [ms("2026-11-20 10:20")]
    assert [due for due, _ in again.pressed] == [ms("2026-11-20 10:30")]


# -- the site file ------------------------------------------------------------------------------

HEAD = 'prefix: "99bm:Beamtime:"\nbeamline: 99-BM\ntimezone: America/Chicago\nschedules:\n'


def site_file(directory: Path, *rows: str) -> Path:
    path = directory / "site.yaml"
    path.write_text(HEAD + "".join(f"  - {row}\n" for row in rows), encoding="utf-8")
    return path


def test_a_site_file_has_schedules(tmp_path: Path) -> None:
    path = site_file(tmp_path, "{every_min: 10, action: update-user-info, preview: true}")

    file = read_site_file(path)

    file.check_schedules(["update-user-info"])
    assert file.frame.schedules == [ScheduleSettings(every_min=10, action="update-user-info", preview=True)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{every_min: 0, action: a}", r"schedules\[1\].every_min: .*greater than or equal to 0.05"),
        ("{every_min: 1441, action: a}", r"schedules\[1\].every_min: .*less than or equal to 1440"),
        ("{every_min: .nan, action: a}", r"schedules\[1\].every_min: "),
        ("{every_min: soon, action: a}", r"schedules\[1\].every_min: .*a valid number"),
        ("{every_min: 5}", r"schedules\[1\].action: is missing"),
        (
            "{every_min: 5, every: 5, action: a}",
            r"schedules\[1\].every: unknown key; allowed are every_min, action, preview",
        ),
        ("{every_min: 5, action: a, preview: maybe}", r"schedules\[1\].preview: .*a valid boolean"),
        ("{every_min: 5, action: a}", r"no button presses the action 'a'; these are: begin-beamtime, email"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_its_line(tmp_path: Path, row: str, words: str) -> None:
    path = site_file(tmp_path, "{every_min: 5, action: email-users}", row)

    with pytest.raises(SiteFileError, match=words) as caught:
        read_site_file(path).check_schedules(["email-users", "begin-beamtime"])

    assert caught.value.line == 6


def test_an_action_has_one_schedule(tmp_path: Path) -> None:
    row = "{every_min: 5, action: email-users}"

    with pytest.raises(SiteFileError, match="schedules: email-users stands twice") as caught:
        read_site_file(site_file(tmp_path, row, row))

    assert caught.value.line == 4


def test_a_switch_is_remembered_by_the_next_process(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", "99bm:Beamtime:")
    switches = StoredSwitches(store)
    for name, on in (("a", False), ("b", False), ("b", True)):
        switches.remember(name, on=on)
    store.close()

    again = Store(tmp_path / "state", "99bm:Beamtime:")

    assert StoredSwitches(again).all() == {"a": False, "b": True}
    again.close()


# -- at work ------------------------------------------------------------------------------------


class OpenGate:
    def require(self, group: str, who: Who) -> None: ...


class MemorySwitches:
    def __init__(self, **on: bool) -> None:
        self.on = dict(on)

    def all(self) -> Mapping[str, bool]:
        return self.on

    def remember(self, name: str, *, on: bool) -> None:
        self.on[name] = on


START = datetime(2026, 11, 20, 8, tzinfo=UTC)
EXPERIMENT = Experiment(key="aps:1", name="2026-11-X-1", start=START, end=START + timedelta(days=3))
NAMES = ("update-user-info", "create-directories", "email-users", "begin-beamtime")


@dataclass
class House:
    board: Board
    runner: Runner
    schedules: Schedules

    def value(self, suffix: str) -> object:
        return self.board.cell(suffix).value

    async def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.005)

        await asyncio.wait_for(wait(), DEADLINE_S)


@asynccontextmanager
async def open_house(
    directory: Path,
    *settings: ScheduleSettings,
    bodies: Mapping[str, Callable[[Run], object]] | None = None,
    switches: MemorySwitches | None = None,
    experiment: Experiment | None = EXPERIMENT,
    own: Path | None = None,
) -> AsyncIterator[House]:
    def make(name: str) -> Action:
        def handler(run: Run, experiment: Experiment | None) -> object:
            return (bodies or {}).get(name, lambda _: None)(run)

        return action(name, resource="mail", needs_experiment=name != "update-user-info")(handler)

    files = [db_dir() / "beamtime.substitutions", *([own] if own else [])]
    board = Board(load_records(files, prefix="99bm:Beamtime:"), OpenGate())
    names = [*NAMES, *(one.action for one in settings if one.action not in NAMES)]
    workshop = Workshop(actions={name: make(name) for name in names}, services={}, site=TEST_SITE)
    audit = Auditor(AuditLog(directory))
    runner = Runner(board, workshop, MemoryIdentity(experiment), audit)
    runner.engine = engine = InlineEngine(workshop)
    engine.start(runner)
    schedules = Schedules(settings, runner, switches or MemorySwitches())
    schedules.start()
    yield House(board, runner, schedules)
    schedules.stop()
    engine.stop(DEADLINE_S)
    assert await audit.flush(DEADLINE_S)
    audit.close()


MakeHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def house(tmp_path: Path) -> MakeHouse:
    return partial(open_house, tmp_path)


def every(seconds: float, name: str = "update-user-info", *, preview: bool = False) -> ScheduleSettings:
    """Oftener than a site file may say."""
    return ScheduleSettings.model_construct(every_min=seconds / 60, action=name, preview=preview)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))  # type: ignore[arg-type]


def test_a_schedule_presses_its_button_again_and_again(house: MakeHouse) -> None:
    async def test() -> None:
        async with house(every(0.2)) as h:
            runs: set[object] = set()
            h.board.cell("UpdateUserInfoRunId").watchers.append(lambda reading: runs.add(reading.value))

            await h.until(lambda: len(runs) >= 3)

            assert h.value("UpdateUserInfoStartedBy") == "the schedule of the site file"
            assert h.value("UpdateUserInfoSchedule") == 1
            assert str(h.value("UpdateUserInfoScheduleText")).startswith("every 0.2 s; next at ")

    run(test)


def test_a_preview_schedule_writes_the_plan_and_starts_no_run(house: MakeHouse) -> None:
    async def test() -> None:
        runs: list[int] = []
        bodies = {
            "update-user-info": lambda run: run.effect(
                "it", look=lambda: None, make=lambda: runs.append(1), verify=lambda: None
            )
        }
        async with house(every(0.2, preview=True), bodies=bodies) as h:
            await h.until(lambda: "would make: it" in str(h.value("UpdateUserInfoPlan")))

            assert h.value("UpdateUserInfoRunId") == ""
            assert runs == []
            assert ", preview; next at " in str(h.value("UpdateUserInfoScheduleText"))

    run(test)


def test_a_plan_by_the_clock_leaves_what_was_refused_to_a_person(house: MakeHouse) -> None:
    async def test() -> None:
        async with house(every(0.2, preview=True)) as h:
            with pytest.raises(RefusedError):
                await h.board.cell("UpdateUserInfoAbort").put(1, OPERATOR)
            looking = list[object]()
            h.board.cell("UpdateUserInfoPreview").watchers.append(
                lambda reading: looking.append(reading.value)
            )
            await h.until(lambda: looking[-4:].count(1) == 2)  # one whole look at least since the refusal

            assert "refused" not in str(h.value("UpdateUserInfoPlan"))
            assert str(h.value("UpdateUserInfoMessage")).startswith("refused: UpdateUserInfo does not run")

    run(test)


def test_what_is_due_while_the_last_run_goes_on_is_refused_and_shown_and_not_repeated_sooner(
    house: MakeHouse,
) -> None:
    async def test() -> None:
        go, runs = threading.Event(), list[int]()

        def body(run: Run) -> None:
            runs.append(1)
            go.wait(DEADLINE_S)

        async with house(every(0.3), bodies={"update-user-info": body}) as h:
            text = h.board.cell("UpdateUserInfoScheduleText")
            await h.until(lambda: "refused at " in str(text.value))
            shown, message = str(text.value), str(h.value("UpdateUserInfoMessage"))
            ran_meanwhile = len(runs)
            go.set()
            await h.until(lambda: len(runs) >= 2 and "refused" not in str(text.value))

            assert "UpdateUserInfo runs since" in shown
            assert message.startswith("refused: UpdateUserInfo runs since")
            assert ran_meanwhile == 1

    run(test)


def test_a_mistake_in_a_press_is_logged_and_shown_and_the_schedule_goes_on(
    house: MakeHouse, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with house(every(0.2)) as h:
            text, press = h.board.cell("UpdateUserInfoScheduleText"), h.runner.press
            tries: list[int] = []

            async def broken(action: str, who: Who) -> object:
                tries.append(1)
                if len(tries) < 3:
                    raise KeyError("what nobody thought of")
                return await press(action, who)

            monkeypatch.setattr(h.runner, "press", broken)
            await h.until(lambda: "failed at " in str(text.value))
            shown = str(text.value)
            await h.until(lambda: h.value("UpdateUserInfoRunId") and "failed" not in str(text.value))

            assert "next at " in shown
            assert "KeyError in the IOC: see its log" in shown
            assert caplog.text.count("schedule of update-user-info: not pressed: KeyError") == 2

    run(test)


def test_without_an_experiment_the_refusal_is_shown_and_the_schedule_goes_on(house: MakeHouse) -> None:
    async def test() -> None:
        async with house(every(0.2, "create-directories"), experiment=None) as h:
            text = h.board.cell("CreateDirectoriesScheduleText")
            posts: list[str] = []
            text.watchers.append(lambda reading: posts.append(str(reading.value)))

            await h.until(lambda: len(posts) >= 2 and "refused at " in posts[-1])

            assert h.value("CreateDirectoriesRunId") == ""

    run(test)


def test_switched_off_it_does_not_press_and_switched_on_it_does_again(
    house: MakeHouse, tmp_path: Path
) -> None:
    async def test() -> None:
        switches = MemorySwitches()
        async with house(every(0.2), switches=switches) as h:
            switch = h.board.cell("UpdateUserInfoSchedule")

            await switch.put("Off", OPERATOR)
            await h.until(lambda: not h.runner.active)
            off, text = h.value("UpdateUserInfoRunId"), h.value("UpdateUserInfoScheduleText")
            due = h.schedules.schedules["update-user-info"].due
            later = due.next(0) + 2 * due.period
            await h.until(lambda: due.next(0) > later)  # two due times have gone by
            still = h.value("UpdateUserInfoRunId")
            remembered = dict(switches.on)
            await switch.put(1, OPERATOR)
            await h.until(lambda: h.value("UpdateUserInfoRunId") not in ("", off))

            assert text == "off; every 0.2 s"
            assert still == off
            assert remembered == {"schedule of update-user-info": False}
            assert switches.on == {"schedule of update-user-info": True}
        audited = [
            (entry.who, entry.action, entry.text)
            for entry in AuditLog(tmp_path).read()
            if isinstance(entry, AuditEntry) and entry.what is Deed.SCHEDULE
        ]
        assert audited == [
            (OPERATOR, "update-user-info", "off"),
            (OPERATOR, "update-user-info", "on"),
        ]

    run(test)


def test_what_was_switched_off_starts_off(house: MakeHouse) -> None:
    async def test() -> None:
        switches = MemorySwitches(**{"schedule of update-user-info": False})

        async with house(every(600), switches=switches) as h:
            assert h.value("UpdateUserInfoSchedule") == 0
            assert h.value("UpdateUserInfoScheduleText") == "off; every 10 min"

    run(test)


def test_where_the_site_file_has_no_schedule_on_is_refused_with_advice(house: MakeHouse) -> None:
    async def test() -> None:
        switches = MemorySwitches()
        async with house(every(600), switches=switches) as h:
            switch = h.board.cell("EmailUsersSchedule")

            with pytest.raises(RefusedError, match=r"no schedule for EmailUsers; add .*action: email-users"):
                await switch.put("On", OPERATOR)
            await switch.put("Off", OPERATOR)

            assert (switch.value, switches.on) == (0, {})
            assert h.value("EmailUsersScheduleText") == "no schedule in the site file"
            assert "no schedule for EmailUsers" in str(h.value("EmailUsersMessage"))

    run(test)


def test_a_sites_own_action_without_records_for_it_is_pressed_all_the_same(
    house: MakeHouse, tmp_path: Path
) -> None:
    own = tmp_path / "own.substitutions"
    own.write_text('file action.template { { ACTION="copy-home", NAME=CopyHome, VERB=Copy, DESC=Copy } }')

    async def test() -> None:
        async with house(every(0.2, "copy-home"), own=own) as h:
            await h.until(lambda: h.value("CopyHomeState") == list(RunState).index(RunState.DONE))

            assert h.value("CopyHomeStartedBy") == "the schedule of the site file"

    run(test)
