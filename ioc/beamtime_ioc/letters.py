"""Letters to the users, and what became of each."""

from dataclasses import dataclass
from datetime import datetime

from beamtime_ioc.people import Person


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message to one person.

    Parameters
    ----------
    key
        Of experiment, template and address: what is accepted under a key is never sent again.
    """

    key: str
    to: str
    name: str
    subject: str
    text: str
    html: str = ""
    message_id: str = ""
    run_id: str = ""
    experiment: str = ""
    """Name of the experiment, for those who look into the outbox."""


@dataclass(frozen=True, kw_only=True)
class Mailing:
    """Who would get a letter, and who cannot, with the reason."""

    letters: tuple[Letter, ...]
    left_out: tuple[tuple[Person, str], ...] = ()
    mode: str = "dry-run"
    """`off`, `dry-run`, `test` or `live`."""
    said: tuple[str, ...] = ()
    """What all letters say that a preview shows, such as the data link."""
    warnings: tuple[tuple[str, str], ...] = ()
    """What the letters do without, and why."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Letters that a relay has put off.

    Parameters
    ----------
    letters
        May be tried now.
    left_out
        Address and reason of those that may not.
    """

    letters: tuple[Letter, ...]
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """One letter's fate.

    Parameters
    ----------
    state
        `sending`, `accepted`, `refused`, `deferred` or `unsure`; `undelivered` after the last of many tries;
        `given up` by a person.
    answer
        What the relay said, such as `250 2.0.0 Ok`.
    tries
        How often it was begun.
    due
        When a deferred one may be tried again; None: at once.
    experiment, subject
        As the letter had them; empty in rows of an earlier version.
    """

    key: str
    to: str
    state: str
    answer: str
    at: datetime
    tries: int = 1
    due: datetime | None = None
    experiment: str = ""
    subject: str = ""
    run_id: str = ""


NO_COPY = "; no copy to "
"""In the answer of a letter that was accepted, before each address that got no copy of it, and the reason."""

MAY_BE_SENT = ("refused", "deferred", "undelivered")
"""The states in which a letter may be claimed again."""

GIVEN_UP = "given up"
"""The state of a letter that a person has given up."""

HAS_ENDED = ("accepted", GIVEN_UP)
"""The states in which nothing more becomes of a letter: the relay took it, or a person has given it up."""
