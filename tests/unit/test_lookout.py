"""What is looked at again and again, whoever waits for it."""

import asyncio

import pytest

from beamtime_ioc.lookout import Look, Lookout
from watch_house import run, until


@pytest.mark.parametrize("turns", range(6))
def test_it_ends_when_it_is_told_to_also_in_the_moment_in_which_it_would_look(turns: int) -> None:
    async def body() -> None:
        looks: list[Look[int]] = []
        lookout = Lookout("a thing", lambda: 1, looks.append, every_s=60)
        task = asyncio.create_task(lookout.watch())
        await until(lambda: looks)

        lookout.soon()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=2)

        assert task.cancelled()

    run(body)
