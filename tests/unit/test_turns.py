"""Many things to do at once, in turns of the event loop."""

import asyncio
import time

from beamtime_ioc.faces.turns import SLICE_S, Turns


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_what_else_is_due_comes_between_and_the_order_stays() -> None:
    done: list[int] = []
    between: list[int] = []

    async def many() -> None:
        turns, loop = Turns(), asyncio.get_running_loop()

        def act(number: int) -> None:
            busy(SLICE_S / 2)
            done.append(number)

        for number in range(40):
            loop.call_soon(turns.do, lambda number=number: act(number))
        while len(done) < 40:
            await asyncio.sleep(0)
            between.append(len(done))

    asyncio.run(many())

    assert done == list(range(40))
    steps = [after - before for before, after in zip([0, *between], between, strict=False)]
    assert max(steps) <= 3


def test_one_alone_is_done_at_once() -> None:
    async def one() -> list[int]:
        done: list[int] = []
        Turns().do(lambda: done.append(1))
        return done

    assert asyncio.run(one()) == [1]
