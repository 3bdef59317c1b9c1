"""Which letters that were put off may be tried again, and when; and whether a refused password may."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from beamtime_handlers.clients.smtp_mail.recipients import reason_against
from beamtime_handlers.clients.smtp_mail.relay import LATER
from beamtime_handlers.clients.smtp_mail.settings import Settings
from beamtime_ioc.errors import BeamtimeError, DeferredError, WrongPasswordError
from beamtime_ioc.model import Letter, OutboxRow, Waiting

LONGEST_WAIT = timedelta(hours=4)


class Presses:
    """How long each press has sent letters, as far as this process knows.

    Parameters
    ----------
    longest_s
        After that it begins no other one.
    """

    remembered = 100

    def __init__(self, longest_s: float) -> None:
        self.longest_s = longest_s
        self._began: dict[str, float] = {}

    def require_time(self, run_id: str) -> None:
        """Let a letter go if its press has time left; the first one begins the time.

        Raises
        ------
        DeferredError
            It has none.
        """
        now = time.monotonic()
        if now - self._began.setdefault(run_id, now) > self.longest_s:
            raise DeferredError(
                f"this press has sent letters for {self.longest_s:g} s, and begins no more", advice=LATER
            )
        while len(self._began) > self.remembered:
            del self._began[next(iter(self._began))]


class RefusedPassword:
    """A password that the relay refused: each press tries it once more, and nothing else does.

    An account may be locked after some wrong ones.
    """

    def __init__(self) -> None:
        self._error: WrongPasswordError | None = None
        self._run_id = ""

    def require_another(self, run_id: str = "") -> None:
        """Let a press try, or a look if nothing was refused.

        Raises
        ------
        WrongPasswordError
            It was refused in this press; or, to a look, in whichever.
        """
        if self._error is not None and run_id in ("", self._run_id):
            raise WrongPasswordError(self._error.sentence, advice=self._error.advice)

    def note(self, error: BeamtimeError, run_id: str = "") -> None:
        """Remember it if it is one of these."""
        if isinstance(error, WrongPasswordError):
            self._error, self._run_id = error, run_id

    def forget(self) -> None:
        """The relay has let us in."""
        self._error = None


def next_try(settings: Settings, tries: int, now: datetime) -> datetime | None:
    """When a letter that was put off may be tried again; None: that was the last of its tries.

    Parameters
    ----------
    tries
        How many there have been. Who presses again after the last one begins a new row of tries.
    """
    turn = (tries - 1) % settings.tries + 1
    if turn == settings.tries:
        return None
    return now + min(LONGEST_WAIT, timedelta(minutes=settings.retry_min) * 2 ** min(turn - 1, 20))


def waiting(
    settings: Settings,
    contact: str,
    rows: Iterable[tuple[OutboxRow, Letter | None]],
    now: datetime,
    *,
    at_once: bool,
) -> Waiting:
    """Part the deferred letters into those that may go now and those that may not, with the reason.

    What the site file says now counts, not what it said when a letter was written.

    Parameters
    ----------
    contact
        The address that gets letters in mode test.
    now
        In the zone of the beamline: times in the reasons are in it.
    """
    letters: list[Letter] = []
    left_out: list[tuple[str, str]] = []
    for row, letter in rows:
        reason = _why_not(settings, contact, row, now, at_once=at_once)
        if letter is None:
            left_out.append((row.to, "its text was not kept; press EmailUsers for its experiment"))
        elif reason:
            left_out.append((row.to, reason))
        elif len(letters) == settings.limit:
            left_out.append((row.to, f"goes with the next press: `mail.limit` is {settings.limit}"))
        else:
            letters.append(letter)
    return Waiting(letters=tuple(letters), left_out=tuple(left_out))


def _why_not(settings: Settings, contact: str, row: OutboxRow, now: datetime, *, at_once: bool) -> str:
    if settings.mode in ("off", "dry-run"):
        return f"waits while `mail.mode` is {settings.mode}"
    if row.to.lower() != contact.lower():
        if settings.mode == "test":
            return "waits while `mail.mode` is test"
        if reason := reason_against(row.to, settings.allow):
            return reason
    if row.due is not None and row.due > now and not at_once:
        due = row.due.astimezone(now.tzinfo)
        return f"is tried again from {due:%Y-%m-%d %H:%M} on"
    return ""
