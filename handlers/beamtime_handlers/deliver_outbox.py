"""DeliverOutbox: the letters that a relay has put off, tried again or given up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from beamtime_ioc.action import Effect, Run, action
from beamtime_ioc.errors import BeamtimeError, NotVerifiedError
from beamtime_ioc.model import (
    Experiment,
    Json,
    Letter,
    OutboxRow,
    Waiting,
    counted,
    from_json,
    mailbox,
    one_line,
    to_json,
)
from beamtime_ioc.ports import Mail


@action("deliver-outbox", resource="mail", needs_experiment=False)
def deliver_outbox(
    run: Run, experiment: Experiment | None, *, now: bool = False, give_up: str | Sequence[str] = ()
) -> dict[str, Json]:
    """Try the letters again that were put off, of every experiment.

    Each waits longer after each try; after the last one it is undelivered.

    Parameters
    ----------
    now
        Also those whose time has not come.
    give_up
        Addresses, in a list or with commas between them: their letters that wait are given up, and none is
        sent now. Empty: none is given up.

    Returns
    -------
    dict
        How many letters are `accepted`, `failed` again, `unsure`, `given_up`, and `waiting` still.
    """
    mail = run.service(Mail)
    if give_up:
        return _give_up(run, mail, give_up.split(",") if isinstance(give_up, str) else give_up)
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
        "given_up": 0,
        "waiting": len(waiting.left_out),
    }


def _give_up(run: Run, mail: Mail, addresses: Sequence[str]) -> dict[str, Json]:
    found = run.step("letters that wait", lambda: to_json(_chosen(mail.put_off(), addresses)))
    chosen = from_json(_Chosen, found)
    run.effects(
        [
            Effect(
                f"letter to {row.to} given up",
                look=partial(mail.given_up, row),
                make=partial(mail.give_up, row, run.id),
                verify=partial(_check_given_up, mail, row),
                detail=partial(_detail, row),
            )
            for row in chosen.rows
        ]
    )
    wait = f"; {chosen.others} wait{'s' if chosen.others == 1 else ''}" if chosen.others else ""
    those = ", ".join(dict.fromkeys(row.to for row in chosen.rows))
    count = counted(len(chosen.rows), "letter")
    run.progress(1, f"{count} given up, nobody sends it any more: {those}{wait}")
    return {"accepted": 0, "failed": 0, "unsure": 0, "given_up": len(chosen.rows), "waiting": chosen.others}


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """The letters to some addresses, and how many others wait."""

    rows: tuple[OutboxRow, ...]
    others: int


def _chosen(rows: Sequence[OutboxRow], addresses: Sequence[str]) -> _Chosen:
    wanted = {mailbox(address) for address in addresses} - {""}
    for address in sorted(wanted - {mailbox(row.to) for row in rows}):
        raise BeamtimeError(
            f"no letter to {one_line(address)!r:.100} waits, so none was given up",
            advice="see the table Outbox for those that are deferred",
        )
    chosen = tuple(row for row in rows if mailbox(row.to) in wanted)
    return _Chosen(rows=chosen, others=len(rows) - len(chosen))


def _check_given_up(mail: Mail, row: OutboxRow) -> Json:
    if (found := mail.given_up(row)) is None:
        advice = "see the table Outbox what has become of it"
        raise NotVerifiedError(f"letter to {row.to}", wanted="given up", found="another state", advice=advice)
    return found


def _held(waiting: Waiting) -> Iterator[tuple[str, str]]:
    """A line for each reason: after a long outage hundreds may wait for the same one."""
    addresses: dict[str, list[str]] = {}
    for to, reason in waiting.left_out:
        addresses.setdefault(reason, []).append(to)
    for reason, those in addresses.items():
        more = f" and {len(those) - 1} more" if len(those) > 1 else ""
        yield f"letter to {those[0]}{more}", reason


def _detail(letter: Letter | OutboxRow, found: Json) -> str:
    of = f" of {letter.experiment}" if letter.experiment else ""
    return f'"{letter.subject}"{of}'


def _summary(letters: Sequence[Letter], accepted: int, left_out: int) -> str:
    wait = f"; {left_out} wait{'s' if left_out == 1 else ''}" if left_out else ""
    if not letters:
        return f"no letter is to be sent now{wait}"
    count = counted(len(letters), "letter")
    return f"{accepted} of {count} accepted by the relay{wait}"
