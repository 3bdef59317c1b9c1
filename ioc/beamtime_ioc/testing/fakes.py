"""Ports held in memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from beamtime_ioc.errors import OutcomeUnknownError
from beamtime_ioc.model import (
    GIVEN_UP,
    MANUAL,
    MAY_BE_SENT,
    Experiment,
    Letter,
    Naming,
    OutboxRow,
    SafetyForm,
)
from beamtime_ioc.ports import Health


class MemoryIdentity:
    """A current experiment without a database."""

    def __init__(self, experiment: Experiment | None = None) -> None:
        self.experiment = experiment
        self.at: datetime | None = None
        self.namings: dict[str, Naming] = {}
        self.closings: dict[str, datetime] = {}
        self._manuals: dict[str, Experiment] = {}

    def current(self) -> Experiment | None:
        return self._read(self.experiment) if self.experiment else None

    def adopt(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.namings.setdefault(experiment.key, experiment.naming)
        if experiment.key.startswith(MANUAL):
            self._manuals[experiment.key] = experiment

    def first_naming(self, key: str) -> Naming | None:
        return self.namings.get(key)

    def named(self, name: str) -> Sequence[str]:
        return sorted(key for key, one in self.namings.items() if one.name.lower() == name.lower())

    def closed(self, key: str) -> datetime | None:
        return self.closings.get(key)

    def close(self, key: str, at: datetime, run_id: str) -> None:
        self.closings.setdefault(key, at)

    def reopen(self, key: str) -> None:
        self.closings.pop(key, None)

    def manual(self, key: str) -> Experiment | None:
        return self._read(self._manuals[key]) if key in self._manuals else None

    def manuals(self) -> Sequence[Experiment]:
        return [self._read(self._manuals[key]) for key in sorted(self._manuals)]

    def _read(self, experiment: Experiment) -> Experiment:
        is_open = experiment.key not in self.closings
        return experiment if experiment.open is is_open else replace(experiment, open=is_open)

    def looked_up(self) -> datetime | None:
        return self.at

    def note_look_up(self, at: datetime) -> None:
        self.at = at


class MemoryOutbox:
    """An outbox without a database.

    Attributes
    ----------
    rows
        By key.
    letters
        By key: the texts of those that are not accepted.
    """

    def __init__(self) -> None:
        self.rows: dict[str, OutboxRow] = {}
        self.letters: dict[str, Letter] = {}

    def find(self, key: str) -> OutboxRow | None:
        return self.rows.get(key)

    def find_all(self, keys: Collection[str]) -> Mapping[str, OutboxRow]:
        return {key: self.rows[key] for key in keys if key in self.rows}

    def claim(self, letter: Letter) -> None:
        row = self.rows.get(letter.key)
        if row is not None and row.state not in MAY_BE_SENT:
            raise OutcomeUnknownError(f"the letter to {letter.to} may have been sent", claim=letter.key)
        self.letters[letter.key] = letter
        self.rows[letter.key] = OutboxRow(
            key=letter.key,
            to=letter.to,
            state="sending",
            answer="",
            at=datetime.now(UTC),
            tries=row.tries + 1 if row else 1,
            experiment=letter.experiment,
            subject=letter.subject,
            run_id=letter.run_id,
        )

    def settle(self, key: str, state: str, answer: str, *, due: datetime | None = None) -> None:
        if self.rows[key].state in ("sending", "unsure"):
            self.rows[key] = replace(self.rows[key], state=state, answer=answer, due=due)
        if state == "accepted":
            self.letters.pop(key, None)

    def give_up(self, key: str, answer: str, run_id: str) -> None:
        if self.rows[key].state == "deferred":
            now = datetime.now(UTC)
            self.rows[key] = replace(self.rows[key], state=GIVEN_UP, answer=answer, at=now, run_id=run_id)

    def waiting(self) -> Sequence[tuple[OutboxRow, Letter | None]]:
        rows = sorted(self.rows.values(), key=lambda row: row.at)
        return [(row, self.letters.get(row.key)) for row in rows if row.state == "deferred"]


class MemoryEsaf:
    """Safety forms without a service.

    Attributes
    ----------
    error
        Raised by each question while it is set.
    asked
        The numbers, in their order.
    """

    def __init__(self, *forms: SafetyForm) -> None:
        self.forms = {form.number: form for form in forms}
        self.error: Exception | None = None
        self.asked: list[str] = []

    def check(self) -> Health:
        return Health(ok=self.error is None, sentence=str(self.error or f"{len(self.forms)} forms"))

    def find(self, number: str) -> SafetyForm | None:
        self.asked.append(number)
        if self.error is not None:
            raise self.error
        return self.forms.get(number)
