"""The runs that threads of this process work on, and those that they had to let go."""

import logging
import threading
from collections.abc import Mapping

from beamtime_ioc.errors import Kept, Stopping

log = logging.getLogger(__name__)


class AtWork:
    """A table that threads share.

    Attributes
    ----------
    stopping
        Set when the program ends: each run stops at its next step.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._cancels: dict[str, threading.Event] = {}
        self._ending: set[str] = set()
        self._kept: dict[str, Kept] = {}
        self._changed = threading.Condition()

    def begin(self, run_id: str) -> threading.Event:
        """A thread takes a run; the event says that it is to be aborted.

        Raises
        ------
        Stopping
            Another thread works on it.
        """
        with self._changed:
            if run_id in self._cancels:
                log.error("run %s was begun a second time while it is at work; let go", run_id)
                raise Stopping
            self._kept.pop(run_id, None)
            self._ending.discard(run_id)
            self._cancels[run_id] = event = threading.Event()
            return event

    def leave(self, run_id: str, *, ending: bool) -> None:
        """The handler has ended; `ending`: and its outcome is on its way to the disk."""
        with self._changed:
            self._cancels.pop(run_id, None)
            if ending:
                self._ending.add(run_id)
            self._changed.notify_all()

    def ended(self, run_id: str) -> None:
        """Its outcome is on the disk."""
        with self._changed:
            self._ending.discard(run_id)
            self._kept.pop(run_id, None)

    def keep(self, run_id: str, reason: Kept) -> None:
        """It cannot go on now and has not ended."""
        with self._changed:
            self._ending.discard(run_id)
            self._kept[run_id] = reason

    def cancel(self, run_id: str) -> bool:
        """Tell a run at work that it is aborted; False if none of our threads works on it."""
        with self._changed:
            event = self._cancels.get(run_id)
        if event is not None:
            event.set()
        return event is not None

    def live(self) -> frozenset[str]:
        """Those that nobody else needs to look after: at work, or with an end on its way to the disk."""
        with self._changed:
            return frozenset(self._cancels) | self._ending

    def working(self) -> frozenset[str]:
        """Those whose handler is at work."""
        with self._changed:
            return frozenset(self._cancels)

    def kept(self) -> Mapping[str, Kept]:
        """Those whose thread has let go, and why."""
        with self._changed:
            return dict(self._kept)

    def is_kept(self, run_id: str) -> bool:
        """Whether its thread has let go, and it does not go on by itself."""
        with self._changed:
            reason = self._kept.get(run_id)
        return reason is not None and not reason.by_itself

    def wait_idle(self, seconds: float) -> bool:
        """Whether no handler is at work any more."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._cancels, seconds)
