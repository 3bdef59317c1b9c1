"""A press that its client may have sent again by itself, since a kill has cut off the answer.

pvxs sends a put or a call without an answer again as soon as the server is back (`GPROp::disconnected` in its
`src/clientget.cpp`; seen with 1.5.3 and p4p 4.3.0, also with `wait=True`). On the wire it is a new one. libca
does not.
"""

import time
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from beamtime_ioc.errors import BusyError
from beamtime_ioc.model import Json, Who
from beamtime_ioc.progress import RunView
from beamtime_ioc.runrecord import RunRecord

SENDS_AGAIN = frozenset({"pva", "rpc"})
AGAIN_S = 60.0
"""pvxs looks for a server that has gone at least every 30 s."""


class SentAgain:
    """The runs that were open at the start: the first press like that of one of them begins no other.

    Parameters
    ----------
    clock
        In seconds; never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, tuple[float, RunRecord]] = {}

    def remember(self, record: RunRecord) -> None:
        """Its client may not have heard that it was taken, or how it ended."""
        if record.who.via in SENDS_AGAIN:
            self._open[record.action] = self._clock() + AGAIN_S, record

    def require_new(
        self, action: str, who: Who, arguments: Mapping[str, Json], last: RunView, zone: ZoneInfo
    ) -> None:
        """See that a press is another one than that of a run that was open at the start.

        Parameters
        ----------
        last
            The last run of the action.

        Raises
        ------
        BusyError
            It may be the same one, and that run has ended meanwhile; the next press is taken.
        """
        until, record = self._open.get(action, (0.0, None))
        if record is None:
            return
        if self._clock() >= until or last.run_id != record.id:
            del self._open[action]
            return
        pressed_by = record.who
        if (who.via, who.user, who.peer) != (pressed_by.via, pressed_by.user, pressed_by.peer):
            return
        if dict(arguments) != dict(record.arguments):
            return
        del self._open[action]
        raise BusyError(
            f"{who} pressed it at {record.pressed.astimezone(zone):%H:%M:%S}, and that run went on when "
            f"the IOC was back ({last.state}: {last.message}); a client may send a press again by itself",
            advice="press once more if you want another run",
        )
