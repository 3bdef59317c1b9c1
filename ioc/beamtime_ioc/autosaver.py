"""Saves the settings soon after a change, and says when it cannot."""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.autosave import Autosave
from beamtime_ioc.board import Board
from beamtime_ioc.engine.thread import in_thread

log = logging.getLogger(__name__)

RETRY_S = 5.0


class Autosaver:
    """Follows the settings. Lives in the event loop; at most one thread writes, also on a disk that hangs.

    Parameters
    ----------
    delay_s
        From the first change to its writing: what changes meanwhile is written with it.
    """

    def __init__(self, board: Board, directory: Path, delay_s: float) -> None:
        self.autosave, self.delay_s, self.retry_s = Autosave(board, directory), delay_s, RETRY_S
        self._board = board
        self._changed = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._restored, self._trouble = "", ""

    def restore(self) -> None:
        """Set what was saved; before anybody is served, and before changes are followed."""
        self._restored = self.autosave.restore()
        for cell in self.autosave.values.values():
            cell.watchers.append(lambda _: self._changed.set())
        self._say()

    async def watch(self) -> None:
        """Save each change, without end."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(max(self.delay_s, self.retry_s) if self._trouble else self.delay_s)
            await self._save()

    async def flush(self, grace_s: float) -> None:
        """Save what has changed, at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._save()

    async def _save(self) -> None:
        """Return when nothing is left to be written, or it cannot be."""
        while self._writing is not None or self._changed.is_set():
            if self._writing is None:
                self._changed.clear()
                self._writing = asyncio.create_task(self._write(), name="autosave")
            await asyncio.shield(self._writing)
            if self._trouble:
                return

    async def _write(self) -> None:
        try:
            await in_thread("autosave", self.autosave.write, self.autosave.snapshot())
            trouble = ""
        except OSError as error:
            self._changed.set()
            trouble = (
                f"the settings cannot be saved in {self.autosave.path.parent}: {error.strerror or error}; "
                "make it writable, with room on its disk; it is tried again by itself"
            )
        finally:
            self._writing = None
        if trouble != self._trouble:
            log.log(logging.ERROR if trouble else logging.INFO, "autosave: %s", trouble or "works again")
        self._trouble = trouble
        self._say()

    def _say(self) -> None:
        sentence = self._trouble or self._restored
        severity = Severity.MAJOR if self._trouble else Severity.MINOR
        alarm = Alarm(severity, Status.STATE, sentence) if sentence else QUIET
        self._board.report("autosave", sentence, alarm)
