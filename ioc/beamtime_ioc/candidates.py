"""Who can be chosen: the beamtimes around today, or around another day, on records and a table."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board, Cell, Found
from beamtime_ioc.chosen import MOST, Candidate, candidates, listed
from beamtime_ioc.errors import BadValueError, BeamtimeError, ScheduleError
from beamtime_ioc.filled_table import Rows
from beamtime_ioc.identity import IdentityRecords
from beamtime_ioc.kept_schedule import require_good_password
from beamtime_ioc.lookout import Look, Lookout
from beamtime_ioc.model import KEY, Beamtime, Who, counted
from beamtime_ioc.ports import Schedule
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

CHOICE = "choice"
"""Name of the argument that is a choice, in whatever action."""

CHOICE_S = 600.0
FURTHEST_DAYS = 3650


@dataclass(frozen=True, kw_only=True)
class _Seen:
    offset_days: float
    found: Sequence[Candidate]
    trouble: str = ""
    note: str = ""
    """Of a schedule that has no list."""
    unknown: bool = False
    """The schedule has never said what there is around that day."""


class Candidates:
    """Shows them, and reads choices by them (source `candidates` of a table). Lives in the event loop.

    Parameters
    ----------
    schedule
        None where the site has none: then only experiments that no schedule knows can be chosen.
    every_s
        Between two looks at what can be chosen.
    schedule_s
        A schedule that has answered is asked again after so long.
    clock
        The time now, in UTC.

    Attributes
    ----------
    choice_s
        How long a choice that nobody presses for stands.
    """

    columns = ("number", "key", "id", "state", "name", "pi", "proposal", "title", "start", "end")

    def __init__(
        self,
        board: Board,
        schedule: Schedule | None,
        identity: IdentityRecords,
        *,
        every_s: float,
        schedule_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.board, self.schedule, self.identity, self.clock = board, schedule, identity, clock
        self.choice_s = CHOICE_S
        self.found: Sequence[Candidate] = ()
        self._seen: _Seen | None = None
        self._alarm = QUIET
        self._unknown = False
        self._offset_days = 0.0
        self._beamtimes: tuple[float, Sequence[Beamtime]] | None = None
        self._again_at = 0.0
        self._changed: list[Callable[[], None]] = []
        self._expiries: dict[str, asyncio.TimerHandle] = {}
        self._cells = {word: board.cells[one.name] for word, one in board.records.reports("candidates")}
        self.schedule_s = schedule_s
        self.lookout = Lookout("candidates", self._look, self._told, every_s=every_s)
        identity.followers.append(self.lookout.soon)
        if (record := board.records.ask("schedule-offset")) is not None:
            board.cells[record.name].hook = self._put_offset
        for cell in board.cells.values():
            if cell.record.argument is not None and cell.record.argument[1] == CHOICE:
                cell.hook = self._put_choice

    def start(self) -> Sequence[asyncio.Task[None]]:
        """Begin to look; the task, to be cancelled at the end."""
        return [asyncio.create_task(self.lookout.watch(), name="candidates")]

    # -- what is looked at, in a thread -----------------------------------------------------------

    def _look(self) -> _Seen:
        """The schedule first; without its answer what it said before, of the same days, is shown still."""
        offset, site = self._offset_days, self.identity.site
        # Days are added in UTC: on the clocks of the beamline, not all of them are equally long.
        moment = (self.clock() + timedelta(days=offset)).astimezone(site.zone)
        known, trouble, note = self._known(offset), "", ""
        if self.schedule is not None and (known is None or time.monotonic() >= self._again_at):
            try:
                require_good_password(self.schedule)
                known = listed(self.schedule, moment)
                self._beamtimes, self._again_at = (offset, known), time.monotonic() + self.schedule_s
            except ScheduleError as error:
                note = error.sentence
            except BeamtimeError as error:
                trouble = str(error)
        found = candidates(known or (), self.identity.identity, site, moment)
        unknown = bool(trouble) and known is None
        return _Seen(offset_days=offset, found=found, trouble=trouble, note=note, unknown=unknown)

    def _known(self, offset: float) -> Sequence[Beamtime] | None:
        return self._beamtimes[1] if self._beamtimes and self._beamtimes[0] == offset else None

    def _told(self, look: Look[_Seen]) -> None:
        if look.late:
            self._show(Alarm(Severity.INVALID, Status.TIMEOUT, "the schedule does not answer"))
        elif look.seen is None:
            self._show(Alarm(Severity.INVALID, Status.COMM, str(look.error)))
        elif look.seen.offset_days != self._offset_days:
            self.lookout.soon()  # another day was asked for meanwhile
        else:
            self._seen, self.found = look.seen, look.seen.found
            self._unknown = look.seen.unknown
            trouble = look.seen.trouble
            self._show(Alarm(Severity.INVALID, Status.COMM, trouble) if trouble else QUIET)

    # -- what is shown ----------------------------------------------------------------------------

    def _show(self, alarm: Alarm) -> None:
        self._alarm = alarm
        values: dict[str, Value] = {str(n): "" for n in range(1, MOST + 1)}
        values |= {str(n): one.text for n, one in enumerate(self.found, 1)}
        values |= {"count": len(self.found), "message": self._sentence()}
        if self._unknown and not self.found:  # an empty list would say that there is nobody
            values["1"] = self._sentence()
        for word, cell in self._cells.items():
            cell.show(values[word], alarm)
        for changed in self._changed:
            changed()

    def _sentence(self) -> str:
        days = f"{self._offset_days:+g} days from now" if self._offset_days else "now"
        if self._unknown:
            return f"which beamtimes there are around {days} is not known yet: {self._alarm.message}"
        many = f"{counted(len(self.found), 'candidate')} around {days}"
        if self.schedule is None:
            return f"{many}; the site file names no schedule"
        if self._seen is not None and self._seen.note:
            return f"{many}; {self._seen.note}: choose by number"
        return f"{many}; not up to date: {self._alarm.message}" if self._alarm.message else many

    async def rows(self, limit: int) -> Rows | None:
        if self._seen is None and not self._alarm.severity:
            return None
        return Rows([self._row(n, one) for n, one in enumerate(self.found[:limit], 1)], self._alarm)

    def _row(self, number: int, one: Candidate) -> Found:
        experiment = one.experiment
        return {
            "number": number,
            "key": one.key,
            "id": one.number,
            "state": ", ".join(one.state),
            "name": experiment.name,
            "pi": experiment.pi.full_name if experiment.people else "",
            "proposal": experiment.proposal,
            "title": experiment.title,
            "start": experiment.start.isoformat(timespec="seconds"),
            "end": experiment.end.isoformat(timespec="seconds"),
        }

    def tell_changes(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)

    # -- what clients put -------------------------------------------------------------------------

    async def _put_offset(self, cell: Cell, value: Value, who: Who) -> None:
        days = float(value)
        if abs(days) > FURTHEST_DAYS:
            raise BadValueError(
                f"{cell.record.suffix} is in days, {FURTHEST_DAYS} at most", advice="write fewer"
            )
        cell.set(value)
        if days != self._offset_days:
            self._offset_days = days
            self.found, self._unknown = (), True  # a place in the list means nothing until it is the new one
            self._show(Alarm(Severity.INVALID, Status.UDF, "they are being looked up"))
            self.lookout.soon()

    async def _put_choice(self, cell: Cell, value: Value, who: Who) -> None:
        """A place in the list becomes the key at once: the list may be another when the button is pressed."""
        key = self.read(str(value))
        if (before := self._expiries.pop(cell.name, None)) is not None:
            before.cancel()
        if key:
            loop = asyncio.get_running_loop()
            self._expiries[cell.name] = loop.call_later(self.choice_s, self._expire, cell, key)
        cell.set(key)

    def _expire(self, cell: Cell, key: str) -> None:
        if cell.value == key:
            log.info("%s: the choice %s was not used", cell.name, key)
            cell.set("")

    def read(self, text: str) -> str:
        """The key that a choice means: a key, a beamtime's or a proposal's number, or a place in the list.

        What is not in the list is left as it is: the schedule may know it all the same.

        Raises
        ------
        BadValueError
            It means several, or cannot mean any.
        """
        text = text.strip()
        if not text:
            return ""
        meant = [one.key for one in self.found if text in (one.key, one.number, one.experiment.proposal)]
        place = int(text) if text.isascii() and text.isdecimal() and len(text) <= 2 else 0
        if 1 <= place <= len(self.found):
            meant.append(self.found[place - 1].key)
        unique = list(dict.fromkeys(meant))
        if len(unique) > 1:
            raise BadValueError(
                f"{text} means {' and '.join(unique)}", advice="write the key of the one that is meant"
            )
        if not unique and not KEY.fullmatch(text):
            raise BadValueError(
                f"{text[:40]!r} is no key or number of a beamtime", advice="write one of Candidates"
            )
        if not unique and 1 <= place <= MOST and self._unknown:
            raise BadValueError(
                f"which candidate is number {place} is not known yet: {self._alarm.message}",
                advice="wait until they are shown, or write a key",
            )
        if not unique and 1 <= place <= MOST:
            raise BadValueError(
                f"there are {len(self.found)} candidates, and no number {place}",
                advice="write one of these, or a key",
            )
        return unique[0] if unique else text
