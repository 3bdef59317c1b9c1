"""The last good answer of the schedule, with its time: what is known while it cannot be asked."""

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import cast

from beamtime_ioc.errors import (
    ScheduleError,
    ScheduleStaleError,
    ServiceError,
    ServiceUnavailableError,
    WrongPasswordError,
)
from beamtime_ioc.model import Beamtime, Cycle, from_json, to_json
from beamtime_ioc.on_beam import on_beam
from beamtime_ioc.ports import Health, Schedule, Service

log = logging.getLogger(__name__)

FILE_NAME = "schedule.json"
FORMAT = 1
LONGEST_BYTES = 32 << 20
ONE_LOOK = timedelta(minutes=2)
"""Windows that touch and were asked for within this time are of one look."""


SLACK = timedelta(seconds=1)
"""Moments are asked for in whole seconds, so that one may lie before the answer that came just now."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One answer: all beamtimes of a window, and all cycles.

    Parameters
    ----------
    at
        When it was given.
    """

    at: datetime
    start: datetime
    end: datetime
    cycles: tuple[Cycle, ...] | None
    beamtimes: tuple[Beamtime, ...]


class KeptSchedule:
    """A schedule whose last good answer is kept, on the disk too.

    Every question goes to the schedule itself, and fails as that fails.

    Parameters
    ----------
    of
        Whose answers these are: those of another beamline or section of the site file do not count.
    clock
        The time now, in UTC.

    Attributes
    ----------
    failing_since
        When it began to fail; None while it answers.
    denied
        How it refused our password; None once it has answered.
    """

    def __init__(
        self,
        schedule: Schedule,
        directory: Path,
        of: object,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.schedule, self.path, self.clock = schedule, directory / FILE_NAME, clock
        self.early_min = schedule.early_min
        self.failing_since: datetime | None = None
        self.denied: WrongPasswordError | None = None
        self._of = sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()
        self._lock = threading.Lock()
        self._kept: Kept | None = None
        self._cycles: tuple[Cycle, ...] | None = None
        self._read = self._unwritable = False

    # -- port Schedule ----------------------------------------------------------------------

    def check(self) -> Health:
        if self.denied is not None:
            return Health(ok=False, sentence=str(self.denied))
        return self.schedule.check()

    def cycles(self) -> Sequence[Cycle] | None:
        with _Watch(self):
            cycles = self.schedule.cycles()
        with self._lock:
            self._cycles = None if cycles is None else tuple(cycles)
            return self._cycles

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        with _Watch(self):
            beamtimes = tuple(self.schedule.list_between(start, end))
        now = self.clock()
        with self._lock:
            self.failing_since = self.denied = None
            kept = self._kept
            if start <= now < end:
                kept = Kept(at=now, start=start, end=end, cycles=self._cycles, beamtimes=beamtimes)
            elif kept is not None and kept.end == start and abs(now - kept.at) < ONE_LOOK:
                kept = replace(kept, end=end, beamtimes=(*kept.beamtimes, *beamtimes))
            else:
                return beamtimes
            self._kept, self._read = kept, True
            self._write(kept)
        return beamtimes

    def by_id(self, key: str) -> Beamtime | None:
        try:
            found = self.schedule.by_id(key)
        except WrongPasswordError as error:
            self.denied = error
            raise
        if found is not None:  # to some keys nobody is asked
            self.denied = None
        return found

    # -- what is kept -----------------------------------------------------------------------

    def kept(self) -> Kept | None:
        """The last good answer, also from before a restart."""
        with self._lock:
            if not self._read:
                self._kept, self._read = self._load(), True
            return self._kept

    @property
    def answered(self) -> datetime | None:
        """When the last good answer came, as far as `kept` has read it; waits for nothing."""
        kept = self._kept
        return kept.at if kept is not None else None

    def _load(self) -> Kept | None:
        try:
            # A pipe would be waited for without end.
            with open(
                self.path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)
            ) as file:
                content = json.loads(file.read(LONGEST_BYTES))
            if content["format"] != FORMAT or content["of"] != self._of:
                return None
            kept = from_json(Kept, content["kept"])
            times = [kept.at, kept.start, kept.end, *(t for b in kept.beamtimes for t in (b.start, b.end))]
            times += [time for cycle in kept.cycles or () for time in (cycle.start, cycle.end)]
            if any(time.tzinfo is None for time in times):
                raise ValueError("a time has no zone")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
            log.warning(
                "the kept schedule %s is of no use, and is not used: %s", self.path, type(error).__name__
            )
            return None
        return kept

    def _write(self, kept: Kept) -> None:
        content = {"format": FORMAT, "of": self._of, "kept": to_json(kept)}
        half = self.path.with_suffix(".part")
        try:
            with os.fdopen(
                os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o600), "w"
            ) as file:
                file.write(json.dumps(content))  # several times as fast as json.dump
            half.replace(self.path)
        except OSError as error:
            if not self._unwritable:
                log.warning("the schedule cannot be kept at %s: %s", self.path, error.strerror)
            self._unwritable = True
        else:
            self._unwritable = False


def keep_answers(clients: Mapping[str, Service], directory: Path, of: object) -> Mapping[str, Service]:
    """The clients of a site by section, with a schedule whose answers are kept in a directory."""
    if "schedule" not in clients:
        return clients
    return {**clients, "schedule": KeptSchedule(cast(Schedule, clients["schedule"]), directory, of)}


class _Watch:
    """Notes when the schedule begins to fail."""

    def __init__(self, owner: KeptSchedule) -> None:
        self.owner = owner

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, ServiceError) and self.owner.failing_since is None:
            self.owner.failing_since = self.owner.clock()
        if isinstance(error, WrongPasswordError):
            self.owner.denied = error


class _Recorded:
    """A kept answer in the place of the schedule itself."""

    def __init__(self, kept: Kept, early_min: float) -> None:
        self.kept, self.early_min = kept, early_min

    def check(self) -> Health:
        return Health(ok=False, sentence="this is what was kept")

    def cycles(self) -> Sequence[Cycle] | None:
        return self.kept.cycles

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        return [b for b in self.kept.beamtimes if b.start < end and start < b.end]

    def by_id(self, key: str) -> Beamtime | None:
        return None


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What the schedule said earlier about a moment.

    Parameters
    ----------
    found
        Who is on beam by that; None where it names nobody, or several.
    """

    at: datetime
    sentence: str
    found: Beamtime | None = None


def earlier_answer(schedule: Schedule, moment: datetime) -> Earlier | None:
    """What a kept answer says about a moment; None if there is none, or if it does not reach so far."""
    kept = schedule.kept() if isinstance(schedule, KeptSchedule) else None
    if kept is None or not kept.start - SLACK <= moment < kept.end:
        return None
    at = clock_of(kept.at, moment)
    try:
        found = on_beam(_Recorded(kept, schedule.early_min), moment, schedule.early_min)
    except ScheduleError as error:
        return Earlier(at=kept.at, sentence=f"the schedule of {at} says: {error.sentence}")
    return Earlier(at=kept.at, sentence=f"the schedule of {at} names {found.key}", found=found)


def earlier_schedule(schedule: Schedule) -> tuple[datetime, Schedule] | None:
    """What is kept of a schedule, to be asked in its place, and when that was given; None if nothing is."""
    kept = schedule.kept() if isinstance(schedule, KeptSchedule) else None
    return None if kept is None else (kept.at, _Recorded(kept, schedule.early_min))


def require_good_password(schedule: Schedule) -> None:
    """Let nothing ask by itself with a password that was refused: only a press tries it again.

    Raises
    ------
    WrongPasswordError
        It was refused, and no press has been answered since.
    """
    if isinstance(schedule, KeptSchedule) and (denied := schedule.denied) is not None:
        raise WrongPasswordError(denied.sentence, advice=denied.advice)


def look_up(schedule: Schedule, moment: datetime) -> Beamtime:
    """The one user beamtime that is active at a moment.

    Raises
    ------
    ScheduleStaleError
        It does not answer, and what it said earlier is kept.
    NobodyOnBeamError, SeveralOnBeamError, NoCycleError
    ServiceUnavailableError, ServiceDeniedError, BadResponseError
    """
    try:
        return on_beam(schedule, moment, schedule.early_min)
    except ServiceUnavailableError as error:
        earlier = earlier_answer(schedule, moment)
        if earlier is None:
            raise
        raise ScheduleStaleError(
            f"{error.sentence}{since(schedule, moment)}; {earlier.sentence}",
            advice=f"{error.advice}; an earlier schedule changes nothing by itself",
        ) from error


def since(schedule: Schedule, moment: datetime) -> str:
    """Words to stand behind what is wrong: since when."""
    begin = schedule.failing_since if isinstance(schedule, KeptSchedule) else None
    return f" since {clock_of(begin, moment)}" if begin is not None else ""


def clock_of(time: datetime, moment: datetime) -> str:
    """A time in the zone of `moment`, with its day unless that is the same."""
    local = time.astimezone(moment.tzinfo)
    return f"{local:%H:%M}" if local.date() == moment.date() else f"{local:%a %Y-%m-%d %H:%M}"
