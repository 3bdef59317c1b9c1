"""Actions that are pressed by the clock, as the site file says, and their switches."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from beamtime_ioc.audit import AuditEntry, Deed
from beamtime_ioc.board import Cell
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BeamtimeError, RefusedError
from beamtime_ioc.frame import ScheduleSettings
from beamtime_ioc.model import Who
from beamtime_ioc.runner import Runner
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

CLOCK = Who(via="schedule", user="beamtime-ioc")
LONGEST_SLEEP_MS = 1000
RESTART_S = 1.0
"""The wall clock is looked at so often: it may be set, and a computer may sleep."""
NO_SCHEDULE = "no schedule in the site file"


class Switches(Protocol):
    """Remembers; `switches.py` has the real one."""

    def all(self) -> Mapping[str, bool]: ...

    def remember(self, name: str, *, on: bool) -> None: ...


class DueTimes:
    """When a schedule is due: each whole period since midnight of 2000-01-01 at the beamline.

    Summer time does not shift them. One due time gives one press, and so do many that went by at once,
    as while the computer slept; what was due before the start is not caught up. A clock set back by up to a
    period waits for the first due time that was not pressed yet; set back further, its readings count
    again. Two presses are half a period of real time apart, whatever the clock does.

    Parameters
    ----------
    now, real
        Readings of the wall clock (since 1970) and of one that nobody sets, in ms, as everywhere below.
    """

    def __init__(self, period: int, zone: ZoneInfo, now: int, real: int) -> None:
        self.period = period
        self.origin = 1000 * int(datetime(2000, 1, 1, tzinfo=zone).timestamp())
        self._last, self._pressed = self._passed(now), real - period

    def next(self, now: int) -> int:
        """The due time that is waited for."""
        return max(self._passed(now), self._last) + self.period

    def take(self, now: int, real: int) -> bool:
        """Whether to press now; asked again at once, it says no."""
        passed = self._passed(now)
        if passed < self._last - self.period:
            self._last = passed
        if passed <= self._last:
            return False
        self._last = passed
        if 2 * (real - self._pressed) < self.period:
            return False
        self._pressed = real
        return True

    def _passed(self, now: int) -> int:
        """The latest due time that is not after `now`."""
        return now - (now - self.origin) % self.period


class Schedule:
    """One schedule of the site file at work."""

    def __init__(self, settings: ScheduleSettings, zone: ZoneInfo, *, on: bool) -> None:
        self.settings, self.zone, self.on = settings, zone, on
        self.refusal = ""
        self.begin()

    def begin(self) -> None:
        """Wait for the next due time from now on."""
        period = round(60_000 * self.settings.every_min)
        self.due = DueTimes(period, self.zone, _now(), _real())

    def clock(self, moment: int) -> str:
        """A time as people at the beamline read it: `10:20`, with seconds where there are any."""
        local = datetime.fromtimestamp(moment // 1000, self.zone)
        return f"{local:%H:%M:%S}" if self.due.period % 60_000 else f"{local:%H:%M}"

    @property
    def text(self) -> str:
        """What is shown of it."""
        minutes = self.settings.every_min
        every = f"every {minutes:g} min" if minutes >= 1 else f"every {60 * minutes:g} s"
        every += ", preview" if self.settings.preview else ""
        if not self.on:
            return f"off; {every}"
        return f"{every}; next at {self.clock(self.due.next(_now()))}{self.refusal}"


class Schedules:
    """Presses what is due, and answers the switches. Lives in the event loop.

    Attributes
    ----------
    schedules
        By action.
    """

    def __init__(self, settings: Sequence[ScheduleSettings], runner: Runner, switches: Switches) -> None:
        self.runner, self.switches = runner, switches
        remembered = switches.all()
        self.schedules = {
            one.action: Schedule(one, runner.workshop.site.zone, on=remembered.get(_name(one.action), True))
            for one in settings
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped = False
        self._switching = asyncio.Lock()
        for action in runner.panel.rows:
            if (switch := self._cell(action, "schedule")) is not None:
                self._bind(switch, action)
            self._show(action)

    def start(self) -> None:
        """Begin; what was due before is not caught up."""
        for action, schedule in self.schedules.items():
            schedule.begin()
            self._begin(action, schedule)

    def stop(self) -> None:
        """Press no more."""
        self._stopped = True
        for task in self._tasks.values():
            task.cancel()

    def _begin(self, action: str, schedule: Schedule) -> None:
        if not self._stopped:
            task = asyncio.create_task(self._follow(action, schedule), name=_name(action))
            task.add_done_callback(lambda done: self._broke(action, schedule, done))
            self._tasks[action] = task

    def _broke(self, action: str, schedule: Schedule, task: asyncio.Task[None]) -> None:
        """A mistake of ours, or a broken database: a schedule that says `next at` goes on."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("schedule of %s: not pressed: %r", action, error, exc_info=error)
        kind = type(error).__name__
        schedule.refusal = f"; failed at {schedule.clock(_now())}: {kind} in the IOC: see its log"
        # Not at once: what is broken may be so still, and it shows the text itself.
        asyncio.get_running_loop().call_later(RESTART_S, self._begin, action, schedule)

    async def _follow(self, action: str, schedule: Schedule) -> None:
        self._show(action)
        while True:
            if schedule.due.take(_now(), _real()) and schedule.on:
                await self._press(action, schedule)
            self._show(action)
            now = _now()
            await asyncio.sleep(min(schedule.due.next(now) - now, LONGEST_SLEEP_MS) / 1000)

    async def _press(self, action: str, schedule: Schedule) -> None:
        press = self.runner.previews.preview if schedule.settings.preview else self.runner.press
        try:
            await press(action, CLOCK)
        except BeamtimeError as error:
            log.info("schedule of %s: not pressed: %s", action, error)
            schedule.refusal = f"; refused at {schedule.clock(_now())}: {error}"
        else:
            schedule.refusal = ""

    def _bind(self, switch: Cell, action: str) -> None:
        async def hook(_cell: Cell, value: Value, who: Who) -> None:
            await self._switch(action, who, on=bool(value))

        switch.hook = hook
        switch.refused = lambda who, error: self.runner.audit.refused(action, who, error, "schedule")

    async def _switch(self, action: str, who: Who, *, on: bool) -> None:
        schedule = self.schedules.get(action)
        if schedule is None:
            if on:
                button = self.runner.panel.rows[action].button.suffix
                error = RefusedError(
                    f"the site file has no schedule for {button}",
                    advice=f"add {{every_min: 10, action: {action}}} under schedules: there, and start again",
                )
                self.runner.panel.refuse(action, str(error))
                self.runner.audit.refused(action, who, error, "schedule")
                raise error
            return
        async with self._switching:  # the row and the record must agree on who was last
            await in_thread(f"switch of {action}", _remember, self.switches, action, on)
            word = "on" if on else "off"
            log.info("schedule of %s: switched %s by %s", action, word, who)
            self.runner.audit.note(AuditEntry(what=Deed.SCHEDULE, who=who, action=action, text=word))
            schedule.on, schedule.refusal = on, ""
            self._show(action)

    def _show(self, action: str) -> None:
        schedule = self.schedules.get(action)
        if (switch := self._cell(action, "schedule")) is not None:
            switch.show(int(schedule is not None and schedule.on))
        if (text := self._cell(action, "schedule-text")) is not None:
            text.show(schedule.text if schedule else NO_SCHEDULE)

    def _cell(self, action: str, part: str) -> Cell | None:
        record = self.runner.panel.rows[action].parts.get(part)
        return self.runner.board.cells[record.name] if record else None


def _name(action: str) -> str:
    return f"schedule of {action}"


def _remember(switches: Switches, action: str, on: bool) -> None:
    switches.remember(_name(action), on=on)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _real() -> int:
    return time.monotonic_ns() // 1_000_000
