"""What the service sends, parsed once.

Unknown fields are ignored; a field that is missing or of another kind is an error that names it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

from beamtime_ioc.errors import BadResponseError
from beamtime_ioc.model import Beamtime, Person, one_line, people_of

SOURCE = "nsls2"

R = TypeVar("R", bound=BaseModel)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("is no text")


def _address(value: object) -> str:
    return "" if (address := _text(value)).lower() == "none" else address


Text = Annotated[str, BeforeValidator(_text)]
Id = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_text)]


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _User(_Reply):
    first_name: Text = ""
    last_name: Text = ""
    email: Annotated[str, BeforeValidator(_address)] = ""
    username: Text = ""
    is_pi: bool | None = None


class _Form(_Reply):
    saf_id: Text = ""


class _Proposal(_Reply):
    proposal_id: Id
    title: Text = ""
    type: Text = ""
    instruments: list[Text] | None
    cycles: list[Text] | None
    users: list[_User] | None
    safs: list[_Form] | None = None


class _ProposalReply(_Reply):
    proposal: _Proposal


class _CycleReply(_Reply):
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
    return _parse(_CycleReply, body, service).cycle


def parse_proposal(body: bytes, service: str) -> Proposal:
    """Read the reply of `proposal/{number}`."""
    given = _parse(_ProposalReply, body, service).proposal
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


def _parse(kind: type[R], body: bytes, service: str) -> R:
    try:
        return kind.model_validate_json(body)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
    # Outside of the except block: the library's own text quotes people's data.
    raise BadResponseError(
        f"{service} answered what its interface does not foresee: {where + ': ' if where else ''}{what}",
        advice="nothing was changed; look whether schedule.url is right, or tell its maintainers",
    )
