"""DeliverOutbox: the letters that a relay has put off, tried again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from beamtime_ioc.action import Effect, Run, action
from beamtime_ioc.model import Experiment, Json, Letter, Waiting, counted, from_json, to_json
from beamtime_ioc.ports import Mail


@action("deliver-outbox", resource="mail", needs_experiment=False)
def deliver_outbox(run: Run, experiment: Experiment | None, *, now: bool = False) -> dict[str, Json]:
    """Try the letters again that were put off, of every experiment.

    Each waits longer after each try; after the last one it is undelivered.

    Parameters
    ----------
    now
        Also those whose time has not come.

    Returns
    -------
    dict
        How many letters are `accepted`, `failed` again, `unsure`, and `waiting` still.
    """
    mail = run.service(Mail)
    found = run.step("letters that wait", lambda: to_json(mail.waiting(at_once=now)))
    waiting = from_json(Waiting, found)
    for what, reason in _held(waiting):
        run.hold(what, reason)
    # A doubt belongs to the run that sends a letter, not to that which was put off.
    letters = [replace(letter, run_id=run.id) for letter in waiting.letters]
    rows = run.effects(
        [
            Effect(
                f"letter to {letter.to}",
                look=partial(mail.find, letter),
                make=partial(mail.send, letter),
                verify=partial(mail.sent, letter),
                detail=partial(_detail, letter),
            )
            for letter in letters
        ],
        at_once=1,
        optional=True,
    )
    accepted, failed = sum(map(bool, rows)), sum(row is None for row in rows)
    run.progress(1, _summary(letters, accepted, len(waiting.left_out)))
    return {
        "accepted": accepted,
        "failed": failed,
        "unsure": len(rows) - accepted - failed,
        "waiting": len(waiting.left_out),
    }


def _held(waiting: Waiting) -> Iterator[tuple[str, str]]:
    """A line for each reason: after a long outage hundreds may wait for the same one."""
    addresses: dict[str, list[str]] = {}
    for to, reason in waiting.left_out:
        addresses.setdefault(reason, []).append(to)
    for reason, those in addresses.items():
        more = f" and {len(those) - 1} more" if len(those) > 1 else ""
        yield f"letter to {those[0]}{more}", reason


def _detail(letter: Letter, found: Json) -> str:
    of = f" of {letter.experiment}" if letter.experiment else ""
    return f'"{letter.subject}"{of}'


def _summary(letters: Sequence[Letter], accepted: int, left_out: int) -> str:
    wait = f"; {left_out} wait{'s' if left_out == 1 else ''}" if left_out else ""
    if not letters:
        return f"no letter is to be sent now{wait}"
    count = counted(len(letters), "letter")
    return f"{accepted} of {count} accepted by the relay{wait}"
