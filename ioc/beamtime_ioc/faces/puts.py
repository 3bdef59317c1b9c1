"""A put on its way from a client to a Cell, whatever the protocol."""

import logging

from beamtime_ioc.board import Cell, Ending
from beamtime_ioc.errors import BeamtimeError, NotAllowedError, RefusedError
from beamtime_ioc.faces.seldom import Seldom
from beamtime_ioc.model import Who, one_line

log = logging.getLogger(__name__)

VALUE_LIMIT = 200
DENIED_PERIOD_S = 10.0
WRONG_PERIOD_S = 1.0
"""A person is slower and finds each mistake in the log; a program that runs wild does not fill it."""

_denied, _wrong = Seldom(log), Seldom(log)


async def accept(cell: Cell, value: object, who: Who, caution: str = "") -> Ending | None:
    """Ask the Cell, and log a refusal in one line.

    Returns
    -------
    Ending or None
        To be awaited by a client that waits.

    Raises
    ------
    RefusedError
        Nothing was changed. A mistake in the hook is one too: the client learns its kind, the log the rest.
    """
    try:
        return await cell.put(value, who, caution)
    except RefusedError as error:
        log_refusal(cell.name, value, who, error)
        raise
    except BeamtimeError as error:
        log_refusal(cell.name, value, who, error)
        raise RefusedError(error.args[0]) from error
    except Exception as error:  # a mistake of ours must not leave the client without an answer
        log.exception("put to %s by %s: failed", cell.name, who)
        raise RefusedError(
            f"{cell.name}: {type(error).__name__} in the IOC",
            advice="see its log; nothing is known of the outcome",
        ) from error


def log_refusal(name: str, value: object, who: Who, error: BeamtimeError) -> None:
    """One line per computer, record and period, with the number of others; longer for who has no rights."""
    sent = one_line(str(value), VALUE_LIMIT)
    words = f"put {sent!r} to {name} by {who} refused: {one_line(str(error))}"
    if isinstance(error, NotAllowedError):
        _denied.line(logging.INFO, f"{who.peer} {name}", DENIED_PERIOD_S, words)
    else:
        _wrong.line(logging.INFO, f"{who.peer} {name}", WRONG_PERIOD_S, words)


def waits_for_end(cell: Cell, *, client_waits: bool) -> bool:
    """Whether the answer to a put stands for the end of the run, not for its beginning."""
    return client_waits and cell.record.completion == "finished"
