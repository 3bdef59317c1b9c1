"""The current experiment as a structure, and its people as a table."""

from collections.abc import Callable, Mapping
from typing import Any

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.filled_table import Rows
from beamtime_ioc.identity import FIELDS, IdentityRecords
from beamtime_ioc.model import Person

PERSON: Mapping[str, Callable[[Person], Any]] = {
    "first": lambda p: p.first_name,
    "last": lambda p: p.last_name,
    "institution": lambda p: p.institution,
    "badge": lambda p: p.badge,
    "email": lambda p: p.email,
    "pi": lambda p: int(p.is_pi),
}
TEXTS = (
    *("key", "name", "proposal", "title", "esaf", "esaf_doi", "cycle", "beamline", "source", "start", "end"),
    "year_month",
)


class UsersSource:
    """Everybody on the current experiment, the PI first (source `users`)."""

    columns = tuple(PERSON)

    def __init__(self, identity: IdentityRecords) -> None:
        self.identity = identity

    async def rows(self, limit: int) -> Rows | None:
        experiment = self.identity.experiment
        if experiment is None:
            return None
        people = experiment.people
        rows = [{name: read(person) for name, read in PERSON.items()} for person in people[:limit]]
        return Rows(rows, _alarm(len(people), limit))

    def tell_changes(self, changed: Callable[[], None]) -> None:
        self.identity.followers.append(changed)


class ExperimentSource:
    """The current experiment with all its people (source `experiment`): one row."""

    columns = (*TEXTS, "open", "users", *(f"users.{name}" for name in PERSON))

    def __init__(self, identity: IdentityRecords) -> None:
        self.identity, self._users = identity, UsersSource(identity)

    async def rows(self, limit: int) -> Rows | None:
        experiment, users = self.identity.experiment, await self._users.rows(limit)
        if experiment is None or users is None:
            return None
        row = {name: FIELDS[name](experiment) for name in TEXTS}
        return Rows([{**row, "open": int(experiment.open), "users": users.rows}], users.alarm)

    def tell_changes(self, changed: Callable[[], None]) -> None:
        self.identity.followers.append(changed)


def _alarm(many: int, limit: int) -> Alarm:
    if many <= limit:
        return QUIET
    return Alarm(Severity.MINOR, Status.STATE, f"cut: the first {limit} of {many} people are shown")
