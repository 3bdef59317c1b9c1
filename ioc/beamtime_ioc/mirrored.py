"""One record of another IOC that follows one of ours. Lives in the thread of the Channel Access client."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum

from beamtime_ioc.errors import BadValueError
from beamtime_ioc.foreign import Fitted, Shown, fit_text
from beamtime_ioc.links import SILENT_S, Channel, Links
from beamtime_ioc.model import one_line
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

ANSWER_S, RETRY_S = 10.0, 60.0
"""How long a request may take, and after what time a failure is tried again."""
LONGEST = 80
"""Characters of a value in a sentence."""
WHO = "find who writes there"


class MirrorState(StrEnum):
    """How a mirror stands; the order is that of `MirrorState`, which shows the worst."""

    OFF = "Off"
    OK = "Ok"
    WAITING = "Waiting"
    CUT = "Cut"
    CHANGED = "Changed"
    FAILED = "Failed"
    ABSENT = "Not there"


class Mirrored:
    """Reads the target; writes what it should show, unless it does; reads again.

    Attributes
    ----------
    wanted
        None until there is a current experiment: then nothing is written.
    """

    def __init__(
        self, record: str, target: str, links: Links, changed: Callable[[], None], now: Callable[[], datetime]
    ) -> None:
        self.record, self.links, self._changed, self._now = record, links, changed, now
        self.channel: Channel = links.channel(target, self._on_change)
        self.wanted: str | None = None
        self.found = ""
        self.state, self.message, self._since = MirrorState.WAITING, "not looked at yet", now()
        self._told: object = None
        self._round = 0
        """Counts the requests: an answer that comes when a later one was sent is nobody's."""
        self._asked: float | None = None
        self._writing = self._again = False
        self._settled = time.monotonic()
        self._forget()

    def _forget(self) -> None:
        """Begin anew: with another text, or with an IOC that has come back."""
        self._was_there = self._spoiled = False
        self._rewritten = ""
        self._drop()

    @property
    def row(self) -> Mapping[str, Value]:
        """For the table."""
        return {
            "target": self.channel.name,
            "wanted": self.wanted or "",
            "found": self.found,
            "state": self.state.value,
            "since": self._since.isoformat(timespec="seconds"),
            "message": self.message,
        }

    def want(self, text: str) -> None:
        """Let the target show this from now on."""
        if text != self.wanted:
            self.wanted = text
            self._forget()
            self._begin()

    def tick(self, *, others_answer: bool, optional: bool) -> None:
        """Look at the clock.

        Parameters
        ----------
        others_answer
            Whether other records of the same IOC do.
        optional
            Whether it may be missing there.
        """
        now = time.monotonic()
        if self._asked is not None and now - self._asked > ANSWER_S:
            self._fail(f"did not answer within {ANSWER_S:g} s; look at its IOC")
        if self.channel.shape is None:
            self._show_silence(
                missing=others_answer and now - self.channel.since > SILENT_S, optional=optional
            )
        elif self.state is MirrorState.FAILED and now - self._settled > RETRY_S:
            self._spoiled = False
            self._begin()

    def _show_silence(self, *, missing: bool = False, optional: bool = False) -> None:
        if missing and optional:
            self._show(MirrorState.ABSENT, "its IOC has no such record")
        elif missing:
            text = (
                "no record answers under this name, others of its IOC do; correct mirrors: in the site file"
            )
            self._show(MirrorState.FAILED, text)
        elif self.wanted is None:
            self._show(MirrorState.WAITING, "no experiment is known yet: nothing is written")
        else:
            died = ", it went away while it was written" if self._writing else ""
            self._show(MirrorState.WAITING, f"does not answer{died}; it is written when its IOC is back")

    def _on_change(self, channel: Channel) -> None:
        """It has come, gone, shows another value, or lets us write now."""
        if channel.shape is None:
            self.found = ""
            self._show_silence()
            writing = self._writing
            self._forget()
            self._writing = writing
        else:
            self._begin()  # the monitor may tell of a time before our write: it is read again

    # -- one look -----------------------------------------------------------------------------

    def _begin(self) -> None:
        if self.channel.shape is None:
            return
        if self._asked is not None:
            self._again = True
            return
        if self.wanted is None:
            self._show_silence()
            return
        try:
            fit = fit_text(self.wanted, self.channel.shape)
        except BadValueError as error:
            self.found = self.channel.shown.text if self.channel.shown else ""
            self._fail(str(error))
            return
        mine, self._writing = self._next_round(), False
        self.links.read(self.channel, lambda trouble, found: self._on_read(mine, fit, trouble, found))

    def _next_round(self) -> int:
        self._round += 1
        self._asked = time.monotonic()
        return self._round

    def _drop(self) -> None:
        self._round += 1
        self._asked, self._again, self._writing = None, False, False

    def _on_read(self, mine: int, fit: Fitted, trouble: str, found: Shown | None) -> None:
        if mine != self._round:
            return
        if trouble or found is None:
            self._fail(f"cannot be read: {trouble}; look at its IOC")
            return
        self.found = found.text
        if fit.stands(found):
            self._settle(fit)
        elif self._spoiled:
            self._fail(self.message)
        elif self.channel.shape is None or not self.channel.shape.writable:
            self._fail(f"is read-only for us, and shows {_word(found.text)}; let this host write there")
        elif self._was_there and self._rewritten:
            self._done()
            text = (
                f"was written again, and changed elsewhere to {_word(found.text)} once more; left so: {WHO}"
            )
            self._show(MirrorState.CHANGED, text)
        else:
            if self._was_there:
                self._rewritten = found.text or "nothing"
                log.warning(
                    "mirror %s: changed elsewhere to %r: written again", self.channel.name, found.text
                )
            mine, self._writing = self._next_round(), True
            self.links.write(self.channel, fit, lambda trouble, _: self._on_written(mine, fit, trouble))

    def _on_written(self, mine: int, fit: Fitted, trouble: str) -> None:
        if mine != self._round:
            return
        if trouble:
            self._fail(f"refused to be written ({trouble}); look whether it is disabled there (DISP)")
            return
        mine = self._next_round()
        self.links.read(self.channel, lambda trouble, found: self._on_verified(mine, fit, trouble, found))

    def _on_verified(self, mine: int, fit: Fitted, trouble: str, found: Shown | None) -> None:
        if mine != self._round:
            return
        self.found = found.text if found else ""
        if found is None or not fit.stands(found):
            self._spoiled = True  # written again at once it might go round for ever
            what = trouble or f"shows {_word(self.found)} after {_word(fit.shown.text)} was written"
            self._fail(f"{what}; look what its IOC makes of it")
            return
        log.info("mirror %s: written %r, read back", self.channel.name, fit.shown.text)
        self._settle(fit)

    def _settle(self, fit: Fitted) -> None:
        self._was_there = True
        self._done()
        if self._rewritten:
            text = f"was changed elsewhere to {_word(self._rewritten)}, and written again: {WHO}"
            self._show(MirrorState.CHANGED, text)
        elif fit.is_cut:
            text = f"cut to {len(fit.shown.raw)} bytes: {_word(fit.shown.text)}; our own record has the whole"
            self._show(MirrorState.CUT, text)
        else:
            self._show(MirrorState.OK, "")

    def _fail(self, sentence: str) -> None:
        self._done()
        self._show(MirrorState.FAILED, sentence)

    def _done(self) -> None:
        again, self._settled = self._again, time.monotonic()
        self._drop()
        if again:
            self.links.call(self._begin)

    def _show(self, state: MirrorState, message: str) -> None:
        if state is not self.state:
            self._since = self._now()
            level = logging.WARNING if state is MirrorState.FAILED else logging.INFO
            log.log(level, "mirror %s: %s %s", self.channel.name, state, message)
        self.state, self.message = state, message
        told = state, message, self.found, self.wanted
        if told != self._told:
            self._told = told
            self._changed()


def _word(text: str) -> str:
    return f"'{one_line(text, LONGEST)}'"
