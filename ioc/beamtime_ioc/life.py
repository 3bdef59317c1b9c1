"""The program's own life: heartbeat, settings, twins, and what the service manager hears of it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from beamtime_ioc.autosaver import Autosaver
from beamtime_ioc.board import Board
from beamtime_ioc.frame import AutosaveSettings, TwinSettings
from beamtime_ioc.instance import Instance
from beamtime_ioc.notify import Supervisor
from beamtime_ioc.starts import count_start
from beamtime_ioc.store import Store
from beamtime_ioc.twin import Found, Twin
from beamtime_ioc.vitals import Vitals

AUTOSAVE_GRACE_S = 2.0


class Life:
    """What the program does for itself, from before anybody is served to the end. Lives in the event loop.

    Parameters
    ----------
    directory
        Of the saved settings.
    look
        Everybody who serves our `Instance` record; asked in a thread.
    """

    def __init__(
        self,
        board: Board,
        zone: ZoneInfo,
        store: Store,
        *,
        directory: Path,
        autosave: AutosaveSettings,
        twin: TwinSettings,
        look: Callable[[], Sequence[Found]],
    ) -> None:
        self.supervisor = Supervisor()
        self.vitals = Vitals(board, zone, start_count=count_start(store))
        self.autosaver = Autosaver(board, directory, autosave.delay_s)
        self.autosaver.restore()
        self.twin = Twin(
            board,
            zone,
            Instance.own(),
            look if twin.search_s else None,
            search_s=twin.search_s,
            every_s=twin.every_s,
        )

    def begin(
        self, stack: AsyncExitStack, *, ca: Callable[[], tuple[int, int]], pva: Callable[[], int]
    ) -> None:
        """Begin to beat, to follow the settings and to count the clients, until the stack is left."""
        work: dict[str, Coroutine[Any, Any, None]] = {
            "heartbeat": self.vitals.beat(),
            "latency of the loop": self.vitals.listen(),
            "use": self.vitals.weigh(ca, pva),
            "autosave": self.autosaver.watch(),
        }
        for name, coroutine in work.items():
            stack.callback(asyncio.create_task(coroutine, name=name).cancel)

    async def be_alone(self, end: asyncio.Event) -> bool:
        """Return when no other IOC with this prefix goes before us; False if the end comes first."""
        clear, ended = asyncio.create_task(self.twin.clear()), asyncio.create_task(end.wait())
        try:
            while not clear.done():
                await asyncio.wait({clear, ended}, timeout=1, return_when=asyncio.FIRST_COMPLETED)
                if self.twin.held:
                    if ended.done():
                        return False
                    self.supervisor.ready(self.twin.held)  # it serves, and says why it takes no press
                    self.supervisor.alive(self.twin.held)
                elif ended.done():
                    await clear
            await clear
            return True
        finally:
            clear.cancel()
            ended.cancel()

    def on_answer(self, works: bool) -> None:
        """The engine has answered: also one that cannot work lives, and a new start would not mend it."""
        self.supervisor.alive(self.twin.held)
        if works:
            self.vitals.wind_up()

    def ending(self) -> None:
        """The engine is stopped."""
        self.supervisor.stopping()
        self.vitals.stop()

    async def end(self) -> None:
        """Save the last settings."""
        await self.autosaver.flush(AUTOSAVE_GRACE_S)
