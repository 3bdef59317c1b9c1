"""The current experiment does not change while another IOC is busy, or while nobody knows whether it is."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.audit import AuditEntry, Deed
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Board, Cell
from beamtime_ioc.errors import BusyError
from beamtime_ioc.foreign import Shown
from beamtime_ioc.links import Links
from beamtime_ioc.model import Who, one_line
from beamtime_ioc.neighbours import InterlockSettings
from beamtime_ioc.nudge import Nudge
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

COLUMNS = ("pv", "value", "idle", "state", "since", "message")
OVERRIDE_S = 600.0
ADVICE = "wait for its end, or let staff write 1 to InterlockOverride"
UNKNOWN_ADVICE = "start its IOC or look at its host, or let staff write 1 to InterlockOverride"


class InterlockState(StrEnum):
    """How the locks stand; the order is that of `InterlockOk`, which shows the worst."""

    UNKNOWN = "Unknown"
    OK = "Ok"
    BUSY = "Busy"
    UNREACHABLE = "Unreachable"
    OVERRIDDEN = "Overridden"
    NONE = "None configured"


ALARMS = {
    InterlockState.UNKNOWN: Severity.INVALID,
    InterlockState.BUSY: Severity.MINOR,
    InterlockState.UNREACHABLE: Severity.MAJOR,
    InterlockState.OVERRIDDEN: Severity.MINOR,
}


class Interlock:
    """One record of another IOC, and when it is idle."""

    def __init__(
        self,
        settings: InterlockSettings,
        links: Links,
        changed: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        self.settings, self.links, self._now = settings, links, now
        self.channel = links.channel(settings.pv, lambda _: changed())
        self._told, self._since = InterlockState.UNKNOWN, now()

    @property
    def why(self) -> str:
        return f" ({self.settings.why})" if self.settings.why else ""

    def look(self) -> tuple[InterlockState, str]:
        """How it stands, and a sentence unless it is idle; from what the monitor has brought, at once."""
        shown = self.channel.shown  # None from the moment on when its IOC is gone
        if self.channel.sought and not self.links.trouble:
            return InterlockState.UNKNOWN, f"{self.settings.pv} has not answered yet"
        if self.links.trouble or self.channel.shape is None:
            return (
                InterlockState.UNREACHABLE,
                f"{self.settings.pv} does not answer; nobody knows whether it is idle",
            )
        if shown is None:
            return InterlockState.UNKNOWN, f"{self.settings.pv} has not told its value yet"
        if any(is_idle(shown, value) for value in self.settings.idle):
            return InterlockState.OK, ""
        return (
            InterlockState.BUSY,
            f"not while {self.settings.pv} is busy{self.why}: it says {_word(shown.text)}",
        )

    def row(self) -> Mapping[str, Value]:
        """For the table; a state that is new is logged, and `since` begins."""
        state, sentence = self.look()
        if state is not self._told:
            self._told, self._since = state, self._now()
            log.info("interlock %s: %s", self.settings.pv, sentence or state)
        shown = self.channel.shown
        return {
            "pv": self.settings.pv,
            "value": shown.text if shown else "",
            "idle": ", ".join(map(str, self.settings.idle)),
            "state": state.value,
            "since": self._since.isoformat(timespec="seconds"),
            "message": sentence,
        }


def is_idle(shown: Shown, value: str | float) -> bool:
    """Whether a record shows one of the values at which it is idle: a number, or a text or label."""
    if isinstance(value, str):
        return shown.text.strip() == value.strip()
    return shown.number == value


def _word(text: str) -> str:
    return one_line(text, 60) or "nothing"


class Interlocks:
    """All of them, and the override of the staff. A `Guard`; lives in the event loop."""

    def __init__(
        self,
        settings: Sequence[InterlockSettings],
        links: Links,
        board: Board,
        audit: Auditor,
        now: Callable[[], datetime],
    ) -> None:
        self.board, self.audit, self._now = board, audit, now
        self.rows_changed: list[Callable[[], None]] = []
        nudge = Nudge(self.show)
        self.locks = [Interlock(one, links, nudge, now) for one in settings]
        if self.locks:
            links.ticks.append(nudge)
        self.override_s = OVERRIDE_S
        self._overriding: asyncio.TimerHandle | None = None
        self._override = self._bind()
        self.show()

    # -- what is asked before the experiment changes --------------------------------------------

    def refusal(self) -> BusyError | None:
        """Why it may not change now, whatever the override says."""
        for lock in self.locks:
            state, sentence = lock.look()
            if state is not InterlockState.OK:
                return BusyError(sentence, advice=ADVICE if state is InterlockState.BUSY else UNKNOWN_ADVICE)
        return None

    def require(self) -> None:
        refusal = self.refusal()
        if refusal is not None and self._overriding is None:
            raise refusal

    def passed(self, who: Who, what: str, run: str = "") -> None:
        """The override is for one change."""
        if self._overriding is not None:
            refusal = self.refusal()
            reason = f"although {refusal.sentence}" if refusal else "nothing was locked"
            self._note(who, what, f"override used: {reason}", run)
            self._end_override()

    # -- the override -----------------------------------------------------------------------------

    def _bind(self) -> Cell | None:
        record = self.board.records.ask("override")
        if record is None:
            return None
        cell = self.board.cells[record.name]

        async def hook(_cell: Cell, value: Value, who: Who) -> None:
            self._switch(who, on=bool(value))

        cell.hook = hook
        cell.refused = lambda who, error: self.audit.refused("", who, error, "override")
        return cell

    def _switch(self, who: Who, *, on: bool) -> None:
        if on:
            if self._overriding is not None:
                self._overriding.cancel()
            self._overriding = asyncio.get_running_loop().call_later(self.override_s, self._expire)
            self._note(who, "", f"override on, for {self.override_s / 60:g} min or one change")
        elif self._overriding is not None:
            self._note(who, "", "override off")
            self._end_override()
        self.show()

    def _expire(self) -> None:
        self._note(Who(via="local", user="beamtime-ioc"), "", "override off: its time is over")
        self._end_override()

    def _end_override(self) -> None:
        if self._overriding is not None:
            self._overriding.cancel()
            self._overriding = None
        self.show()

    def _note(self, who: Who, action: str, text: str, run: str = "") -> None:
        log.warning("interlocks: %s, by %s", text, who)
        self.audit.note(AuditEntry(what=Deed.OVERRIDE, who=who, action=action, run=run, text=text))

    # -- what is shown ----------------------------------------------------------------------------

    def show(self) -> None:
        """Let the records and the table follow."""
        state, sentence = self._state()
        alarm = Alarm(ALARMS[state], Status.STATE, sentence) if state in ALARMS else QUIET
        self.board.report("interlock-ok", list(InterlockState).index(state), alarm)
        self.board.report("interlock-message", sentence, alarm)
        if self._override is not None:
            self._override.show(int(self._overriding is not None))
        for changed in self.rows_changed:
            changed()

    def _state(self) -> tuple[InterlockState, str]:
        if not self.locks:
            return InterlockState.NONE, (
                "none configured: nothing keeps the experiment from changing during a scan; "
                "name records at interlocks: in the site file"
            )
        looks = [lock.look() for lock in self.locks]
        wrong = [sentence for _, sentence in looks if sentence]
        if self._overriding is not None:
            said = "; ".join(["overridden by staff for one change", *wrong])
            return InterlockState.OVERRIDDEN, said
        for state in (InterlockState.UNREACHABLE, InterlockState.UNKNOWN, InterlockState.BUSY):
            if any(found is state for found, _ in looks):
                return state, "; ".join(wrong)
        return InterlockState.OK, "the experiment may change: " + ", ".join(
            f"{lock.settings.pv} is idle" for lock in self.locks
        )

    # -- the table --------------------------------------------------------------------------------

    async def rows(self, limit: int) -> Sequence[Mapping[str, Value]]:
        return [lock.row() for lock in self.locks[:limit]]

    def tell_changes(self, changed: Callable[[], None]) -> None:
        self.rows_changed.append(changed)
