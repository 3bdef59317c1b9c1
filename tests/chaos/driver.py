"""Presses the buttons of an IOC that is killed meanwhile: each round on an experiment of its own."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from p4p.client.thread import Disconnected

from beamtime_ioc.client import Address, Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.journal import reading
from beamtime_ioc.model import RunState
from box_house import PREFIX, Box
from chaos.count import GOOD, Kind
from chaos.lives import ChaosError, Lives

BEGIN_SHARE, HANDOVER_SHARE, END_SHARE = 0.2, 0.2, 0.5
"""Of the rounds: they are one long press. The others are UpdateUserInfo, then four buttons side by side, and
after some of these EndBeamtime."""
SIDE_BY_SIDE = (Kind.DIRECTORIES, Kind.LETTERS, Kind.NOTE, Kind.COPY)
PRESS_S, END_S, ANSWER_S, LOOK_S = 90.0, 180.0, 2.0, 0.02


@dataclass(frozen=True, kw_only=True)
class Press:
    """A press that was accepted; `run_id` is empty if no run was found for it.

    Parameters
    ----------
    ends
        The number of the experiment that was current before, if it is a handover.
    """

    kind: Kind
    number: int
    run_id: str
    ends: int | None = None


class Driver:
    """A person at a screen who never gives up, and never presses twice for the same thing.

    Parameters
    ----------
    wanted
        How many actions.
    """

    def __init__(self, box: Box, lives: Lives, chance: Random, wanted: int) -> None:
        self.box, self.lives, self.chance, self.wanted = box, lives, chance, wanted
        self.presses: list[Press] = []
        self.lost_answers = 0
        self._client: Client | None = None
        self._life = -1

    def work(self) -> Iterator[int]:
        """Press until as many actions as wanted have ended; gives their number after each round.

        Raises
        ------
        ChaosError
            The IOC takes no press any more, a run does not end, or the IOC does not come back.
        """
        number = 0
        while (left := self.wanted - len(self.presses)) > 0:
            number += 1
            self.box.set(schedule__on_beam=number)
            turn = self.chance.random()
            if turn < BEGIN_SHARE or number == 1:
                self._together(number, Kind.BEGIN)
            elif turn < BEGIN_SHARE + HANDOVER_SHARE:
                self._together(number, Kind.HANDOVER)
            elif self._together(number, Kind.UPDATE):
                well = self._together(number, *SIDE_BY_SIDE[: left - 1])
                if well and left > len(SIDE_BY_SIDE) + 1 and self.chance.random() < END_SHARE:
                    self._together(number, Kind.END)
            yield len(self.presses)

    def close(self) -> None:
        if self._client is not None:
            self._client.__exit__(None, None, None)
            self._client = None

    # -- a round ----------------------------------------------------------------------------

    def _together(self, number: int, *kinds: Kind) -> bool:
        """Press, then wait for the ends; True if all ended well."""
        before = len(self.presses)
        for kind in kinds:
            ends = number - 1 if kind is Kind.HANDOVER else None  # each round makes its own the current one
            press = Press(kind=kind, number=number, run_id=self._press(kind), ends=ends)
            self.presses.append(press)
        ends = [self._wait_for_end(press) for press in self.presses[before:]]
        return set(ends) <= set(GOOD)

    def _press(self, kind: Kind) -> str:
        before, deadline = self._newest(kind), time.monotonic() + PRESS_S
        answered, refusal = False, BaseException("")
        while time.monotonic() < deadline:
            if (newest := self._newest(kind)) != before:
                self.lost_answers += not answered
                return newest
            if answered:
                return ""  # it said yes, and has nothing written down
            try:
                self._connected().press(kind)
                answered = True
            except (BeamtimeError, Disconnected) as error:
                # Refused, or killed before the answer came: only what is written down says which.
                refusal = error
                time.sleep(LOOK_S)
        raise ChaosError(f"no press of {kind} was taken within {PRESS_S:g} s: {refusal}")

    def _wait_for_end(self, press: Press) -> RunState | None:
        if not press.run_id:
            return None
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            try:
                view = self._connected().view(press.kind)
            except (BeamtimeError, Disconnected):
                continue
            if view.run_id == press.run_id and view.state.ended:
                return view.state
            time.sleep(LOOK_S)
        raise ChaosError(f"{press.kind} (run {press.run_id}) did not end within {END_S:g} s")

    # -- how it is reached ------------------------------------------------------------------

    def _connected(self) -> Client:
        """A client of the present life: an older one would look for the IOC more and more seldom."""
        self.lives.wait_until_up()
        if self._client is None or self._life != self.lives.number:
            self.close()
            self._life = self.lives.number
            address = Address(prefix=PREFIX, port=self.lives.ioc.pva, interfaces=("127.0.0.1",))
            self._client = Client(address, timeout_s=ANSWER_S)
        return self._client

    def _newest(self, kind: Kind) -> str:
        self.lives.wait_until_up()
        with reading(self.lives.state) as journal:
            runs = journal.last(1, kind.action)
        return runs[0].id if runs else ""
