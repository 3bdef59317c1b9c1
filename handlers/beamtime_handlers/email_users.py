"""EmailUsers: one letter to each person of the experiment."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePath
from typing import Any

from beamtime_ioc.action import Effect, Run, action
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Experiment, Json, Letter, Site, from_json, to_json
from beamtime_ioc.ports import Mail, Mailing


@action("email-users", resource="mail")
def email_users(
    run: Run, experiment: Experiment, *, unless_off: bool = False, only: Sequence[str] = ()
) -> dict[str, Json]:
    """Send each person of the experiment the letter that says where the data are.

    Parameters
    ----------
    unless_off
        Mail that is switched off is then no failure.
    only
        Addresses of those who shall have their letter now; empty: everybody who has none yet.

    Returns
    -------
    dict
        How many letters are `accepted` (`already` of them at an earlier press), `given_up` by a person,
        `failed`, `unsure` and `left_out`, and the `mode` of the mail.
    """
    mail = run.service(Mail)
    # The letters are remembered: a template that changes during a crash must not make another letter of one.
    composed = run.step("letters", partial(_compose, mail, experiment, run, only))
    mailing, began = from_json(Mailing, composed["mailing"]), str(composed["at"])
    if mailing.mode == "off":
        _refuse_or_hold(run, unless_off)
    for what, reason in mailing.warnings:
        run.hold(what, reason)
    for person, reason in mailing.left_out:
        run.hold(f"letter to {person.full_name}", reason)
    if run.preview:
        for line in mailing.said:
            run.step(line, _nothing)
    if not mailing.letters and mailing.mode != "off":
        raise _nobody(experiment)
    found = run.effects(
        [
            Effect(
                f"letter to {letter.to}",
                look=partial(mail.find, letter),
                make=partial(mail.send, letter),
                verify=partial(mail.sent, letter),
                detail=partial(_detail, mailing.mode, letter, run.site),
            )
            for letter in mailing.letters
        ],
        at_once=1,
        optional=True,
    )
    accepted: list[dict[str, Any]] = [row for row in found if row and row["state"] != "given up"]
    already = sum(str(row.get("at", began)) < began for row in accepted)
    failed = sum(row is None for row in found)
    given_up = sum(bool(row) for row in found) - len(accepted)
    unsure = len(found) - len(accepted) - given_up - failed
    if run.preview and mailing.letters:
        run.step(_counted(failed, len(accepted), given_up, unsure), _nothing)
    if mailing.letters:
        run.progress(1, _summary(mailing, accepted, already, given_up))
    return {
        "mode": mailing.mode,
        "accepted": len(accepted),
        "already": already,
        "given_up": given_up,
        "failed": failed,
        "unsure": unsure,
        "left_out": len(mailing.left_out),
    }


def _compose(mail: Mail, experiment: Experiment, run: Run, only: Sequence[str]) -> Json:
    mailing = mail.compose(experiment, run.site.places, run.id, only=only)
    return {"mailing": to_json(mailing), "at": datetime.now(UTC).isoformat()}


def _nothing() -> Json:
    return None


def _counted(new: int, have: int, given_up: int, unsure: int) -> str:
    """The last line of a preview: how many would be written to now."""
    counts = [(new, "new"), (have, f"already {'has' if have == 1 else 'have'} it")]
    counts += [(given_up, "given up"), (unsure, "unsure")]
    return "letters: " + ", ".join(f"{count} {word}" for count, word in counts if count)


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


def _nobody(experiment: Experiment) -> BeamtimeError:
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
    count = len(accepted)
    letters = f"{count} letter{'' if count == 1 else 's'}"
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
