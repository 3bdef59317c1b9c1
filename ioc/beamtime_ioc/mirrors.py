"""Records of other IOCs that follow the current experiment, gathered by IOC and for the screen."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from beamtime_ioc.links import Links
from beamtime_ioc.mirrored import Mirrored, MirrorState
from beamtime_ioc.neighbours import MirrorSettings
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

COLUMNS = ("target", "wanted", "found", "state", "since", "message")
SENTENCES = 4

TOMOSCAN: Mapping[str, str] = {
    name: name
    for name in (
        *("UserName", "UserLastName", "UserInstitution", "UserBadge", "UserEmail"),
        *("ProposalNumber", "ProposalTitle", "ESAFNumber", "ESAFDOINumber"),
        *("ExperimentYearMonth", "UserInfoUpdate"),
    )
}
"""Our records, and those of a TomoScan that show the same; not every version has all."""

WORST_FIRST = (
    MirrorState.FAILED,
    MirrorState.WAITING,
    MirrorState.CHANGED,
    MirrorState.CUT,
    MirrorState.OK,
)


class Mirrors:
    """All mirrors of a site. Works in the client's thread; `shown` and `follow` are for any.

    Parameters
    ----------
    changed
        Called in the client's thread when what is shown may have become other.
    now
        The time at the beamline.
    """

    def __init__(
        self,
        settings: Sequence[MirrorSettings],
        links: Links,
        changed: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        self.links, self._changed, self._now = links, changed, now
        self._lock = threading.Lock()  # over what is shown
        self._shown: tuple[MirrorState, str, Sequence[Mapping[str, Value]]] = (
            MirrorState.OFF,
            "no mirrors in the site file",
            (),
        )
        self.groups = [self._group(one) for one in settings]
        if self.groups:
            links.ticks.append(self._tick)
            self._show()

    def _group(self, settings: MirrorSettings) -> "MirrorGroup":
        prefix = settings.tomoscan or settings.prefix
        records = TOMOSCAN if settings.tomoscan else settings.records
        mirrored = [
            Mirrored(name, prefix + there, self.links, self._show, self._now)
            for name, there in records.items()
        ]
        return MirrorGroup(prefix, mirrored, optional=bool(settings.tomoscan))

    def follow(self, values: Mapping[str, str]) -> None:
        """Let them show these texts, by the names of our records; from any thread."""
        if self.groups:
            self.links.call(lambda: self._follow(values))

    def _follow(self, values: Mapping[str, str]) -> None:
        for group in self.groups:
            for one in group.mirrored:
                if one.record in values:
                    one.want(values[one.record])

    def _tick(self) -> None:
        for group in self.groups:
            group.tick()

    @property
    def shown(self) -> tuple[MirrorState, str, Sequence[Mapping[str, Value]]]:
        """The worst state, the message, and a row for each record."""
        with self._lock:
            return self._shown

    def _show(self) -> None:
        every = [one for group in self.groups for one in group.mirrored]
        state = next((bad for bad in WORST_FIRST if any(one.state is bad for one in every)), MirrorState.OK)
        said = dict.fromkeys(
            sentence for bad in WORST_FIRST[:-1] for group in self.groups for sentence in group.sentences(bad)
        )
        message = "\n".join(list(said)[:SENTENCES])
        if len(said) > SENTENCES:
            message += f"\nand {len(said) - SENTENCES} more: see the table Mirrors"
        shown = state, message or _well(every), [one.row for one in every]
        with self._lock:
            self._shown = shown
        self._changed()


def _well(every: Sequence[Mirrored]) -> str:
    there = sum(one.state is MirrorState.OK for one in every)
    return f"{there} records of other IOCs show the current experiment" if there else "nothing is mirrored"


class MirrorGroup:
    """The records of one IOC.

    Parameters
    ----------
    optional
        A record that is not there while others of the IOC are is no trouble.
    """

    def __init__(self, prefix: str, mirrored: Sequence[Mirrored], *, optional: bool) -> None:
        self.prefix, self.mirrored, self.optional = prefix, mirrored, optional

    @property
    def answers(self) -> bool:
        return any(one.channel.shape is not None for one in self.mirrored)

    def tick(self) -> None:
        answers = self.answers
        for one in self.mirrored:
            one.tick(others_answer=answers, optional=self.optional)

    def sentences(self, state: MirrorState) -> Sequence[str]:
        """What its records in this state have to say; an IOC that is away, once."""
        found = [one for one in self.mirrored if one.state is state]
        if found and state is MirrorState.WAITING:
            if found[0].wanted is None:
                return [f"no experiment is known yet: nothing is written to {self.who}; press UpdateUserInfo"]
            if not self.answers:
                return [f"{self.who} {found[0].message}: start it, or look at its host"]
        return [f"{one.channel.name}: {one.message}" for one in found]

    @property
    def who(self) -> str:
        return self.prefix or self.mirrored[0].channel.name
