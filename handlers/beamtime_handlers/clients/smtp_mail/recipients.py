"""Who of an experiment can get a letter, and why somebody cannot."""

from collections.abc import Sequence
from dataclasses import dataclass

from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Address, Person, mailbox, one_line

NO_ADDRESS = ("", "none", "null", "n/a", "-")


@dataclass(frozen=True, kw_only=True)
class Recipients:
    """Everybody of an experiment, parted into who gets a letter and who does not."""

    chosen: tuple[tuple[Person, str], ...]
    """Each with the address as the schedule gives it."""
    left_out: tuple[tuple[Person, str], ...]
    """Each with the reason."""


def choose(people: Sequence[Person], allow: Sequence[str], only: Sequence[str] = ()) -> Recipients:
    """Everybody with a usable address; each mailbox once, however its address is written.

    Parameters
    ----------
    allow
        Domains, in small letters, with those below them; empty allows all.
    only
        Addresses of those who are asked for, written in any way; empty asks for all.

    Raises
    ------
    BeamtimeError
        Nobody has an address that is asked for.
    """
    wanted = {mailbox(address) for address in only}
    for address in sorted(wanted - {mailbox(person.email) for person in people}):
        raise BeamtimeError(
            f"nobody has the address {one_line(address, 100)!r}",
            advice="see the table Users for the addresses; nobody was mailed",
        )
    chosen: dict[str, tuple[Person, str]] = {}
    left_out: list[tuple[Person, str]] = []
    for person in people:
        text, box = person.email.strip(), mailbox(person.email)
        reason = reason_against(text, allow)
        if wanted and box not in wanted:
            reason = "was not asked for"
        first = chosen.get(box)
        if reason:
            left_out.append((person, reason))
        elif first is None:
            chosen[box] = (person, text)
        elif first[0].full_name != person.full_name:
            left_out.append((person, f"has the same address as {first[0].full_name}, who gets one letter"))
    return Recipients(chosen=tuple(chosen.values()), left_out=tuple(left_out))


def reason_against(text: str, allow: Sequence[str]) -> str:
    """Why this address gets no letter; empty if it may get one."""
    if text.lower() in NO_ADDRESS:
        return "has no e-mail address"
    address = Address.parse(text) if text.isprintable() else None
    if address is None:
        return f"{text!r} is not an e-mail address"
    domain = address.domain.lower()
    if allow and not any(domain == one or domain.endswith(f".{one}") for one in allow):
        return f"{text} is not in a domain of `mail.allow`"
    return ""
