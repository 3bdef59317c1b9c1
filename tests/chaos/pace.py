"""How long the services of the box take: so long that enough kills fall into the actions."""

from box_house import Box
from chaos.lives import Lives
from chaos.site import COPY_BYTES

KILLS_AIMED_AT = 24
FASTEST_S, SLOWEST_S = 0.8, 20.0
"""Bounds of what the services take of a round, in s."""


class Pace:
    """Slower services where fewer kills came than should, quicker ones where more did.

    Parameters
    ----------
    wanted
        How many actions there will be.
    """

    def __init__(self, box: Box, lives: Lives, wanted: int) -> None:
        self.box, self.lives, self.wanted = box, lives, wanted
        self._round_s = 1.0
        self._set()

    def follow(self, done: int) -> None:
        """After so many actions: are the kills ahead or behind?"""
        behind = self.lives.number < KILLS_AIMED_AT * done / self.wanted
        round_s = self._round_s * (1.4 if behind else 0.7)
        self._round_s = min(SLOWEST_S, max(FASTEST_S, round_s))
        self._set()

    def _set(self) -> None:
        delay_s = self._round_s / 4
        self.box.set(
            schedule__delay_s=delay_s,
            mail__delay_s=delay_s,
            errands__delay_s=delay_s,
            errands__rate_bytes_per_s=COPY_BYTES / self._round_s,
        )
