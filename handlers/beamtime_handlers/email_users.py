"""EmailUsers: one letter to each person of the experiment."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePath
from typing import Any

from beamtime_ioc.action import Effect, Run, action
from beamtime_ioc.errors import BeamtimeError, OutcomeUnknownError
from beamtime_ioc.model import (
    NO_COPY,
    Experiment,
    Json,
    Letter,
    Mailing,
    Site,
    counted,
    from_json,
    one_line,
    to_json,
)
from beamtime_ioc.ports import Mail


@action("email-users", resource="mail")
def email_users(
    run: Run,
    experiment: Experiment,
    *,
    unless_off: bool = False,
    only: str | Sequence[str] = (),
    again: str = "",
) -> dict[str, Json]:
    """Send each person of the experiment the letter that says where the data are.

    Parameters
    ----------
    unless_off
        Mail that is switched off is then no failure.
    only
        Addresses of those who shall have their letter now, in a list or with commas between them; empty:
        everybody who has none yet.
    again
        A word of the operator's own, such as a reason: who has had the letter gets it once more. With the
        same word nobody gets it a third time.

    Returns
    -------
    dict
        How many letters are `accepted` (`already` of them at an earlier press), `given_up` by a person,
        `failed`, `unsure` and `left_out`, and the `mode` of the mail.
    """
    mail, again = run.service(Mail), one_line(again)
    asked = only.split(",") if only and isinstance(only, str) else only
    # The letters are remembered: a template that changes during a crash must not make another letter of one.
    composed = run.step("letters", partial(_compose, mail, experiment, run, asked, again))
    mailing, began = from_json(Mailing, composed["mailing"]), str(composed["at"])
    if mailing.mode == "off":
        _refuse_or_hold(run, unless_off)
    for what, reason in mailing.warnings:
        run.hold(what, reason)
    for person, reason in mailing.left_out:
        run.hold(f"letter to {person.full_name}", reason)
    find = mail.find
    if run.preview:
        find = mail.finder(mailing.letters)
        for line in (*_counted(mailing, find, again), *mailing.said):
            run.step(line, _nothing)
    if not mailing.letters and mailing.mode != "off":
        raise _nobody(experiment, again)
    found = run.effects(
        [
            Effect(
                f"letter to {letter.to}",
                look=partial(find, letter),
                make=partial(mail.send, letter),
                verify=partial(mail.sent, letter),
                detail=partial(_detail, mailing.mode, letter, run.site),
            )
            for letter in mailing.letters
        ],
        at_once=1,
        optional=True,
    )
    return _told(run, mailing, found, began)


def _told(run: Run, mailing: Mailing, found: Sequence[Any], began: str) -> dict[str, Json]:
    """Say what has become of the letters, and give it in numbers."""
    accepted: list[dict[str, Any]] = [row for row in found if row and row["state"] != "given up"]
    now = [row for row in accepted if str(row.get("at", began)) >= began]
    failed = sum(row is None for row in found)
    given_up = sum(bool(row) for row in found) - len(accepted)
    already = len(accepted) - len(now)
    for address, reason in _uncopied(now).items():
        run.hold(f"copy to {address}", f"{reason}; correct `mail.bcc` in the site file")
    if mailing.letters:
        run.progress(1, _summary(mailing, accepted, already, given_up))
    return {
        "mode": mailing.mode,
        "accepted": len(accepted),
        "already": already,
        "given_up": given_up,
        "failed": failed,
        "unsure": len(found) - len(accepted) - given_up - failed,
        "left_out": len(mailing.left_out),
    }


def _compose(mail: Mail, experiment: Experiment, run: Run, only: Sequence[str], again: str) -> Json:
    mailing = mail.compose(experiment, run.site.places, run.id, only=only, again=again)
    return {"mailing": to_json(mailing), "at": datetime.now(UTC).isoformat()}


def _counted(mailing: Mailing, find: Callable[[Letter], Json], again: str) -> Iterator[str]:
    """What a preview says before all letters: how many there are of each kind."""
    if mailing.mode == "test":
        return
    states = Counter(_state_of(letter, find) for letter in mailing.letters)
    new, had = states.pop("", 0), "written" if mailing.mode == "dry-run" else "accepted"
    already = f"{states.pop(had, 0)} already {'mailed' if had == 'accepted' else had}"
    others = "".join(f", {count} {state}" for state, count in states.items())
    without = sum("@" not in person.email for person, _ in mailing.left_out)
    left_out = f", {len(mailing.left_out) - without} left out" if len(mailing.left_out) > without else ""
    kind = "once more" if again else "new"
    letters = f"{counted(len(mailing.letters), 'letter')}: {new} {kind}, {already}{others}"
    yield f"{letters}; {without} without address{left_out}"


def _uncopied(sent: Sequence[dict[str, Any]]) -> Mapping[str, str]:
    """Each address that got no copy of a letter, with the relay's reason."""
    told = (copy.partition(": ") for row in sent for copy in str(row.get("answer", "")).split(NO_COPY)[1:])
    return {address: reason for address, _, reason in told}


def _state_of(letter: Letter, find: Callable[[Letter], Json]) -> str:
    try:
        found = find(letter)
    except OutcomeUnknownError:
        return "in doubt"
    return str(found["state"]) if isinstance(found, dict) else ""


def _nothing() -> Json:
    return None


def _detail(mode: str, letter: Letter, site: Site, found: Json) -> str:
    """What a preview says of one letter: what it is, or why nobody sends it."""
    if not isinstance(found, dict):
        how = {"dry-run": ", as a file: nobody is mailed", "test": ", to the contact alone"}
        return f'"{letter.subject}"{how.get(mode, "")}'
    at = found.get("at")
    when = f" on {datetime.fromisoformat(str(at)).astimezone(site.zone):%Y-%m-%d %H:%M}" if at else ""
    return f"{found['state']}{when}"


def _refuse_or_hold(run: Run, unless_off: bool) -> None:
    if not unless_off:
        raise BeamtimeError("mail is off", advice="write another `mail.mode` into the site file")
    run.hold("letters", "mail is off")


def _nobody(experiment: Experiment, again: str) -> BeamtimeError:
    if again and experiment.people:
        return BeamtimeError(
            f"nobody on {experiment.name} can have the letter again",
            advice="see the held lines for why; press EmailUsers without `again` for those who have had none",
        )
    count = len(experiment.people)
    if not count:
        return BeamtimeError(
            f"nobody is on {experiment.name}, so there is nobody to write to",
            advice="see whether the schedule names its people; then press UpdateUserInfo, then EmailUsers",
        )
    who = "the only person" if count == 1 else f"none of the {count} people"
    has = "has no address" if count == 1 else "has an address"
    return BeamtimeError(
        f"{who} on {experiment.name} {has} that can be used",
        advice="see the held lines for why; write the PI's address into UserEmail, then press EmailUsers",
    )


def _summary(mailing: Mailing, accepted: Sequence[dict[str, Any]], already: int, given_up: int) -> str:
    """What is true now: who has a letter, whenever it was sent."""
    letters = counted(len(accepted), "letter")
    without = f"; {len(mailing.left_out)} left out" if mailing.left_out else ""
    match mailing.mode:
        case "dry-run":
            where = f" to {PurePath(accepted[0]['file']).parent}" if accepted else ""
            return f"dry run: {letters} written{where}, nobody was mailed{without}"
        case "test":
            return f"test: {letters} to {mailing.letters[0].to} accepted by the relay, no user was mailed"
        case _:
            before = f", {already} of them at an earlier press" if already else ""
            never = f"; {given_up} given up" if given_up else ""
            return f"{letters} accepted by the relay{before}{never}{without}"
