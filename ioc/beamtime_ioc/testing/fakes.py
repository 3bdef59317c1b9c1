"""Ports held in memory."""

from dataclasses import replace
from datetime import UTC, datetime

from beamtime_ioc.errors import OutcomeUnknownError
from beamtime_ioc.model import Experiment, Letter, Naming
from beamtime_ioc.ports import OutboxRow


class MemoryIdentity:
    """A current experiment without a database."""

    def __init__(self, experiment: Experiment | None = None) -> None:
        self.experiment = experiment
        self.at: datetime | None = None
        self.namings: dict[str, Naming] = {}

    def current(self) -> Experiment | None:
        return self.experiment

    def adopt(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.namings.setdefault(experiment.key, experiment.naming)

    def first_naming(self, key: str) -> Naming | None:
        return self.namings.get(key)

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
    """

    def __init__(self) -> None:
        self.rows: dict[str, OutboxRow] = {}

    def find(self, key: str) -> OutboxRow | None:
        return self.rows.get(key)

    def claim(self, letter: Letter) -> None:
        row = self.rows.get(letter.key)
        if row is not None and row.state not in ("refused", "deferred"):
            raise OutcomeUnknownError(f"the letter to {letter.to} may have been sent")
        self.rows[letter.key] = OutboxRow(
            key=letter.key, to=letter.to, state="sending", answer="", at=datetime.now(UTC)
        )

    def settle(self, key: str, state: str, answer: str) -> None:
        self.rows[key] = replace(self.rows[key], state=state, answer=answer)
