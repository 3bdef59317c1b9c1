"""A word from another thread to the event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

PAUSE_S = 0.05


class Nudge:
    """Calls something in the event loop soon after it was asked to, once for many askings.

    Made in the event loop; called from any thread.
    """

    def __init__(self, do: Callable[[], None]) -> None:
        self._do, self._loop = do, asyncio.get_running_loop()
        self._due = False

    def __call__(self) -> None:
        if not self._due:
            self._due = True
            with suppress(RuntimeError):  # the loop has ended: nobody looks any more
                self._loop.call_soon_threadsafe(self._loop.call_later, PAUSE_S, self._run)

    def _run(self) -> None:
        self._due = False  # before: what changes from now on is looked at again
        self._do()
