"""Whether the schedule names another experiment than the records: looked at again and again, never silent."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter

from beamtime_ioc.action import Action
from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.bindings import STALE_STATES
from beamtime_ioc.board import Board
from beamtime_ioc.engine.thread import ask_in_thread
from beamtime_ioc.errors import (
    BeamtimeError,
    NobodyOnBeamError,
    NoCycleError,
    ScheduleError,
    ScheduleStaleError,
    ServiceError,
)
from beamtime_ioc.kept_schedule import KeptSchedule, clock_of, earlier_answer, look_up, require_good_password
from beamtime_ioc.lookout import spread
from beamtime_ioc.model import Beamtime, Experiment, Site, pi_of
from beamtime_ioc.on_beam import Outcome, outcome_of
from beamtime_ioc.ports import Identity, Schedule

log = logging.getLogger(__name__)

EVERY_S, AGE_S = 120.0, 10.0
NO_SCHEDULE = "the site file names no schedule"
NO, YES, UNKNOWN = range(len(STALE_STATES))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a look found.

    Parameters
    ----------
    stale
        Index into `STALE_STATES`.
    sentence
        What the schedule says, and what to do when that is not what the records say.
    """

    stale: int
    sentence: str
    alarm: Alarm = QUIET
    found: Beamtime | None = None
    outcome: Outcome = Outcome.ACTIVE


def judge(current: Experiment | None, found: Beamtime, moment: datetime) -> Verdict:
    """Hold the current experiment against the beamtime that the schedule names.

    Parameters
    ----------
    moment
        Of the look, in the site's zone, in which the sentence gives its times.
    """
    start, end = (clock_of(time, moment) for time in (found.start, found.end))
    pi = pi_of(found.people)
    who = pi.full_name if pi else "no PI"
    if current is not None and current.key == found.key:
        return Verdict(stale=NO, sentence=f"{_name(found)}, {who}, {start} to {end}", found=found)
    held = f"still say {_held(current)}" if current else "say nobody yet"
    sentence = (
        f"the schedule names {_name(found)}, {who}, from {start}; these records {held}; "
        "press UpdateUserInfo or BeginBeamtime"
    )
    alarm = Alarm(Severity.MINOR, Status.STATE, sentence)
    return Verdict(stale=YES, sentence=sentence, alarm=alarm, found=found)


def look(schedule: Schedule, identity: Identity, moment: datetime, last: Beamtime | None = None) -> Verdict:
    """Ask the schedule and the state database; blocks as these do.

    Parameters
    ----------
    last
        What the schedule named a moment ago: it is not asked again if that is the current experiment by now.

    Raises
    ------
    StateError
        The current experiment cannot be read.
    """
    if isinstance(schedule, KeptSchedule):
        schedule.kept()  # read from the disk in this thread, not in the loop
    current = identity.current()
    if last is not None and current is not None and current.key == last.key:
        return judge(current, last, moment)
    try:
        require_good_password(schedule)
        found = look_up(schedule, moment)
    except ScheduleStaleError as error:
        return _judge_earlier(schedule, identity, moment, error)
    except (NobodyOnBeamError, NoCycleError) as error:  # it names no other: the records may stay as they are
        return Verdict(stale=NO, sentence=error.sentence, outcome=outcome_of(error))
    except ScheduleError as error:
        alarm = Alarm(Severity.INVALID, Status.STATE, str(error))
        return Verdict(stale=UNKNOWN, sentence=error.sentence, alarm=alarm, outcome=outcome_of(error))
    return judge(identity.current(), found, moment)  # it may be another by now


def _judge_earlier(
    schedule: Schedule, identity: Identity, moment: datetime, error: ScheduleStaleError
) -> Verdict:
    """Hold the current experiment against what is kept of the schedule."""
    earlier, current = earlier_answer(schedule, moment), identity.current()
    sentence, stale = error.sentence, NO
    if earlier is not None and earlier.found is not None:
        judged = judge(current, earlier.found, moment)
        sentence, stale = f"{judged.sentence}; {error.sentence}", judged.stale
    alarm = Alarm(Severity.MINOR, Status.STATE, sentence)
    return Verdict(stale=stale, sentence=sentence, alarm=alarm, outcome=Outcome.STALE)


def rules(site: Site, actions: Mapping[str, Action]) -> str:
    """Which steps may go on while the schedule cannot be asked, and which end their run."""
    steps = sorted((action.name, step) for action in actions.values() for step in action.schedule_steps)

    def named(going_on: bool) -> str:
        mine = groupby((each for each in steps if site.goes_on(*each) is going_on), key=itemgetter(0))
        return ", ".join(f"{name} ({', '.join(step for _, step in group)})" for name, group in mine) or "none"

    return f"open without the schedule: {named(True)}; closed: {named(False)}"


class ScheduleWatch:
    """Shows what the schedule says beside what the records say. Lives in the event loop.

    Parameters
    ----------
    actions
        Of those that ask the schedule it is shown whether they may go on without it.
    clock
        The time now, in UTC.
    """

    def __init__(
        self,
        board: Board,
        site: Site,
        schedule: Schedule | None,
        identity: Identity,
        *,
        actions: Mapping[str, Action] | None = None,
        every_s: float = EVERY_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.board, self.site, self.schedule, self.identity = board, site, schedule, identity
        self.every_s, self.clock = every_s, clock
        self._told = asyncio.Event()
        self._ask = False
        self._sentence = ""
        board.report("without-schedule", rules(site, actions or {}))

    async def watch(self) -> None:
        """Look without end: now, whenever it is told to, and every `every_s` or so."""
        if self.schedule is None:
            self.board.report("schedule-says", NO_SCHEDULE)
            self.board.report("identity-stale", UNKNOWN, Alarm(Severity.INVALID, Status.UDF, NO_SCHEDULE))
            return
        last: Beamtime | None = None
        while True:
            self._told.clear()
            last = await self._look(self.schedule, last)
            if not await self._told_within(spread(self.every_s)) or self._ask:
                last, self._ask = None, False

    def tell(self, *, ask: bool = False) -> None:
        """Let it look at once: the current experiment has changed; or, to `ask`, a press did not end well."""
        self._ask |= ask
        self._told.set()

    async def _told_within(self, seconds: float) -> bool:
        """Whether it was told to look meanwhile; the age of the last answer is shown as it grows."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, AGE_S)):
                    await self._told.wait()
                return True
            self._show_age()
        return False

    async def _look(self, schedule: Schedule, last: Beamtime | None) -> Beamtime | None:
        moment = self.clock().astimezone(self.site.zone)
        try:
            verdict = await ask_in_thread("who is on beam", look, schedule, self.identity, moment, last)
        except BeamtimeError as error:
            self._show_unknown(error)
            return None
        self._say(verdict.sentence)
        self._show_outcome(verdict.outcome, verdict.sentence)
        self.board.report("schedule-says", verdict.sentence, verdict.alarm)
        self.board.report("identity-stale", verdict.stale, verdict.alarm)
        return verdict.found

    def _show_outcome(self, outcome: Outcome, sentence: str) -> None:
        # How bad it is, the record file says.
        self.board.report("schedule-outcome", list(Outcome).index(outcome), Alarm(message=sentence))
        self._show_age()

    def _show_age(self) -> None:
        answered = self.schedule.answered if isinstance(self.schedule, KeptSchedule) else None
        if answered is not None:
            self.board.report("schedule-age", max(0.0, (self.clock() - answered).total_seconds()))

    def _show_unknown(self, error: BeamtimeError) -> None:
        """What it said last stays to be read; that it is old, the alarm says."""
        sentence = f"who is on beam is not known: {error.sentence}"
        self._say(sentence)
        outcome = outcome_of(error) if isinstance(error, ServiceError) else Outcome.UNKNOWN
        self._show_outcome(outcome, str(error))
        alarm = Alarm(Severity.INVALID, Status.COMM, sentence)
        if (cell := self.board.report_cell("schedule-says")) is not None:
            cell.show(cell.value, alarm)
        self.board.report("identity-stale", UNKNOWN, alarm)

    def _say(self, sentence: str) -> None:
        if sentence != self._sentence:
            self._sentence = sentence
            log.info("schedule: %s", sentence)


def _name(beamtime: Beamtime) -> str:
    return f"{beamtime.id} (proposal {beamtime.proposal})" if beamtime.proposal else beamtime.id


def _held(experiment: Experiment) -> str:
    ident = experiment.key.partition(":")[2] or experiment.key
    return f"{ident} ({experiment.name})"
