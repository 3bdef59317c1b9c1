"""What the service sends, parsed once."""

from dataclasses import dataclass
from datetime import datetime

from beamtime_handlers.clients.replies import Id, NotNone, Reply, Text, parse
from beamtime_ioc.model import Beamtime, Person, people_of

SOURCE = "nsls2"


class _User(Reply):
    first_name: Text = ""
    last_name: Text = ""
    email: NotNone = ""
    username: Text = ""
    is_pi: bool | None = None


class _Form(Reply):
    saf_id: Text = ""


class _Proposal(Reply):
    proposal_id: Id
    title: Text = ""
    type: Text = ""
    instruments: list[Text] | None
    cycles: list[Text] | None
    users: list[_User] | None
    safs: list[_Form] | None = None


class _ProposalReply(Reply):
    proposal: _Proposal


class _CycleReply(Reply):
    cycle: Id


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One proposal, without dates."""

    number: str
    type: str
    instruments: tuple[str, ...]
    cycles: tuple[str, ...]
    title: str
    form: str
    people: tuple[Person, ...]

    def beamtime(self, *, start: datetime, end: datetime, cycle: str, beamline: str) -> Beamtime:
        """The proposal on beam from `start` to `end`."""
        return Beamtime(
            source=SOURCE,
            id=self.number,
            start=start,
            end=end,
            proposal=self.number,
            title=self.title,
            esaf=self.form,
            cycle=cycle,
            beamline=beamline,
            people=self.people,
        )


def parse_cycle(body: bytes, service: str) -> str:
    """Read the reply of `facility/{facility}/cycles/current`."""
    return parse(_CycleReply, body, service).cycle


def parse_proposal(body: bytes, service: str) -> Proposal:
    """Read the reply of `proposal/{number}`."""
    given = parse(_ProposalReply, body, service).proposal
    people = [
        Person(
            first_name=user.first_name,
            last_name=user.last_name,
            email=user.email,
            badge=user.username,
            is_pi=bool(user.is_pi),
        )
        for user in given.users or ()
    ]
    return Proposal(
        number=given.proposal_id,
        type=given.type,
        instruments=tuple(filter(None, given.instruments or ())),
        cycles=tuple(filter(None, given.cycles or ())),
        title=given.title,
        form=next((form.saf_id for form in given.safs or () if form.saf_id), ""),
        people=people_of(people),
    )
