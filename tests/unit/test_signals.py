"""A signal to the IOC does what it should while its loop can hardly be woken."""

import asyncio
import os
import signal
import threading
from collections.abc import Generator

import pytest

from beamtime_ioc.signals import on_signal

MORE_WAKES_THAN_ITS_SOCKET_HOLDS = 100_000


@pytest.fixture
def number() -> Generator[signal.Signals, None, None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_comes_while_more_wakes_of_the_loop_wait_than_its_socket_holds(
    number: signal.Signals,
) -> None:
    async def flooded() -> None:
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        on_signal(number, came.set)
        for _ in range(MORE_WAKES_THAN_ITS_SOCKET_HOLDS):
            loop.call_soon_threadsafe(lambda: None)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(10):
            await came.wait()

    asyncio.run(flooded())


def test_each_of_several_signals_comes_to_a_loop_at_rest(number: signal.Signals) -> None:
    async def at_rest() -> int:
        count, came = 0, asyncio.Event()

        def on_each() -> None:
            nonlocal count
            count += 1
            came.set()

        on_signal(number, on_each)
        for _ in range(3):
            came.clear()
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
            async with asyncio.timeout(10):
                await came.wait()
        return count

    assert asyncio.run(at_rest()) == 3
