"""Letters once more, for those who have had theirs and ask for another."""

from collections.abc import Mapping, Sequence

from beamtime_handlers.clients.smtp_mail.writing import another
from beamtime_ioc.model import HAS_ENDED, MAY_BE_SENT, Letter, OutboxRow, Person


def once_more(
    word: str, written: Sequence[tuple[Person, Letter]], rows: Mapping[str, OutboxRow]
) -> tuple[list[Letter], list[tuple[Person, str]]]:
    """The same letters as others: with the same word nobody gets a third one.

    Parameters
    ----------
    written
        Each reader with the letter that everybody gets once.
    rows
        What became of these letters, by key.

    Returns
    -------
    tuple
        The letters of those who have had theirs, and who has not, with the reason.
    """
    letters: list[Letter] = []
    left_out: list[tuple[Person, str]] = []
    for person, letter in written:
        row = rows.get(letter.key)
        if row is None or row.state in MAY_BE_SENT:
            left_out.append((person, "has had no letter yet: press EmailUsers without `again`"))
        elif row.state in HAS_ENDED:
            letters.append(another(letter, "again", word))
        else:
            left_out.append((person, "may have had the letter: answer with Resolve first"))
    return letters, left_out
