"""Signals that reach the loop however busy it is."""

import asyncio
import signal
from collections.abc import Callable


def on_signal(number: int, do: Callable[[], None]) -> None:
    """Do something in the running loop each time a signal comes; main thread only.

    Not `add_signal_handler`: its signals go through the socket that also wakes the loop for
    `call_soon_threadsafe`, and are lost while it is full; hundreds of monitors that end at once fill it.
    """
    loop = asyncio.get_running_loop()
    signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(do))
