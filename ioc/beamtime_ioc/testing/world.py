"""Where the effects of a run happen, and who counts them there."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from beamtime_ioc.model import Experiment, Site
from beamtime_ioc.ports import Outbox, Services


class Outside(Protocol):
    """The world of one run, in which nothing was made before. It must be picklable."""

    @property
    def prefix(self) -> str:
        """Of the site's records."""
        ...

    def open(self, state: Path, outbox: Outbox) -> tuple[Site, Services]:
        """The site and its clients, built in the process in which the handler runs.

        Parameters
        ----------
        state
            The state directory of that process.
        """
        ...

    def made(self) -> Mapping[str, int]:
        """How often each thing was made, out of the outside's own logs; nobody asks the handler.

        The words of a thing must be the same in every world, but for the world's directory and the
        experiment's name and key.
        """
        ...


class World(Protocol):
    """Gives each run an outside of its own."""

    def fresh(self, directory: Path) -> Outside:
        """An outside in which nothing was made.

        Parameters
        ----------
        directory
            An empty one, for whatever it keeps on the disk.
        """
        ...

    def experiment(self) -> Experiment | None:
        """What an action is pressed for when nobody says otherwise."""
        ...

    def counted_by(self, thing: str) -> str:
        """Which log knows how often a thing was made; a few words for a table."""
        ...


class LossyWorld(World, Protocol):
    """A world whose services can do the work and lose the reply."""

    def http_ports(self) -> Mapping[int, str]:
        """The services that are spoken to in HTTP: their names by port."""
        ...

    def mailed(self, made: Sequence[str]) -> Mapping[str, str]:
        """Which of these things are mails: the recipient by the thing."""
        ...

    def lose_next(self, service: str) -> None:
        """Let a service do the next thing that it is asked and say nothing."""
        ...

    def lose_mail(self, recipient: str) -> AbstractContextManager[None]:
        """Let the relay take the next mail to somebody and say nothing."""
        ...
