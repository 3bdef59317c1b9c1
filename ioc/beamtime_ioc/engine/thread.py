"""Blocking work beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from beamtime_ioc.engine.workshop import fault
from beamtime_ioc.errors import BeamtimeError

T = TypeVar("T")


async def in_thread(name: str, work: Callable[..., T], *arguments: Any) -> T:
    """Run blocking work in a thread that does not keep the process alive: a disk may hang for ever."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def tell(value: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(T, value))

    def body() -> None:
        try:
            value, error = work(*arguments), None
        except Exception as caught:
            value, error = None, caught
        with suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(tell, value, error)

    threading.Thread(target=body, name=name, daemon=True).start()
    return await future


async def ask_in_thread(name: str, work: Callable[..., T], *arguments: Any) -> T:
    """As `in_thread`, for work of a client: a site's own may fail as nobody foresaw.

    Raises
    ------
    BeamtimeError
        Whatever went wrong, in words.
    """
    try:
        return await in_thread(name, work, *arguments)
    except BeamtimeError:
        raise
    except Exception as error:
        sentence, advice = fault(name, error)
        raise BeamtimeError(sentence, advice=advice) from error
