"""What stands in a `beamtime-metadata-ID.json`, parsed once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pydantic
from pydantic import AliasChoices, Field

from beamtime_handlers.clients.replies import Id, NotNone, Reply
from beamtime_ioc.model import Beamtime, Person, local_time, parse_time, people_of

SOURCE = "desy"


def _names(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class _Person(Reply):
    first_name: NotNone = Field("", validation_alias=_names("firstname", "firstName"))
    last_name: NotNone = Field("", validation_alias=_names("lastname", "lastName"))
    email: NotNone = ""
    institute: NotNone = ""
    user_id: NotNone = Field("", validation_alias=_names("userId", "userid"))
    account: NotNone = Field("", validation_alias=_names("username", "account"))

    @pydantic.model_validator(mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        # People of the door's database are listed by their accounts alone.
        return {"username": value} if isinstance(value, str) else value


class Metadata(Reply):
    """The whole file; unknown fields are ignored."""

    id: Id = Field(validation_alias=_names("beamtimeId", "beamtime-id"))
    beamline: NotNone = ""
    start: NotNone = Field("", validation_alias=_names("event-start", "eventStart"))
    end: NotNone = Field("", validation_alias=_names("event-end", "eventEnd"))
    proposal: NotNone = Field("", validation_alias=_names("proposalId", "proposal-id"))
    title: NotNone = ""
    pi: _Person | None = None
    applicant: _Person | None = None
    users: dict[str, list[_Person]] | None = None

    def beamtime(self, zone: ZoneInfo, seen: datetime, now: datetime) -> Beamtime:
        """The beamtime that goes on while the file is there.

        Parameters
        ----------
        zone
            Of the times in the file, which carry none.
        seen
            Time of the file: the start where the file says none.
        now
            Where the file is still there though its end is over, or says none, the beamtime ends at the next
            midnight.

        Raises
        ------
        ValueError
            A time cannot be read.
        """
        # Of an hour that comes twice, the whole is meant.
        start = parse_time(self.start, zone, fold=0) if self.start else seen
        end = parse_time(self.end, zone, fold=1) if self.end else now
        if end <= max(now, start):
            end = _midnight_after(max(now, start), zone)
        return Beamtime(
            source=SOURCE,
            id=self.id,
            start=start,
            end=end,
            proposal=self.proposal,
            title=self.title,
            beamline=self.beamline,
            people=self._people(),
        )

    def _people(self) -> tuple[Person, ...]:
        users = [user for part in (self.users or {}).values() for user in part]
        listed = [_person(self.pi, is_pi=True), _person(self.applicant), *map(_person, users)]
        return people_of(_one_each([person for person in listed if person != Person(is_pi=person.is_pi)]))


def _person(given: _Person | None, *, is_pi: bool = False) -> Person:
    if given is None:
        return Person()
    return Person(
        first_name=given.first_name,
        last_name=given.last_name,
        email=given.email,
        institution=given.institute,
        badge=given.account or given.user_id,
        is_pi=is_pi,
    )


def _one_each(people: Sequence[Person]) -> list[Person]:
    """The PI is mostly the applicant too, and may stand among the users by the account alone."""
    known: dict[str, Person] = {}
    for person in people:
        key = person.badge.lower() or f"{person.first_name} {person.last_name} {person.email}".lower()
        if key not in known or (not known[key].last_name and person.last_name):
            known[key] = replace(person, is_pi=person.is_pi or (key in known and known[key].is_pi))
    return list(known.values())


def _midnight_after(moment: datetime, zone: ZoneInfo) -> datetime:
    following = moment.astimezone(zone).replace(tzinfo=None) + timedelta(days=1)
    return local_time(following.replace(hour=0, minute=0, second=0, microsecond=0), zone, fold=1)
