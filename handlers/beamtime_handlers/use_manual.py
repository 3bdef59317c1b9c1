"""UseManual: an experiment that no schedule knows, such as commissioning."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field

from beamtime_ioc.action import Run, action
from beamtime_ioc.adoption import adopt, namesakes
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import (
    MANUAL,
    Beamtime,
    Experiment,
    Json,
    Person,
    Site,
    from_json,
    one_line,
    to_json,
    typed_address,
)
from beamtime_ioc.ports import Identity

LASTS = timedelta(days=1)
YEARS = range(2000, 2100)
HOW = "write it as 2026-11-20 08:00"


def _moment(text: str) -> datetime | None:
    """The time that was typed, with a zone if one was; None for an empty text."""
    text = text.strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time; {HOW}") from None
    if moment.year not in YEARS:
        raise ValueError(f"{text[:40]!r} is not in this century; {HOW}")
    return moment


def _time(text: str) -> str:
    _moment(text)
    return text.strip()


def _name(text: str) -> str:
    if not (clean := one_line(text)):
        raise ValueError("no name; write the PI's last name, or such as Commissioning")
    return clean


Name = Annotated[str, AfterValidator(_name), Field(validate_default=True)]
Time = Annotated[str, AfterValidator(_time)]
Text = Annotated[str, AfterValidator(one_line)]
Email = Annotated[str, AfterValidator(typed_address)]


@action("use-manual", resource="identity", exclusive=True, needs_experiment=False)
def use_manual(
    run: Run,
    experiment: Experiment | None,
    *,
    name: Name = "",
    first_name: Text = "",
    institution: Text = "",
    badge: Text = "",
    email: Email = "",
    proposal: Text = "",
    title: Text = "",
    esaf: Text = "",
    start: Time = "",
    end: Time = "",
) -> Json:
    """Make what was typed the current experiment, with a key of its own.

    Parameters
    ----------
    name
        Last name of the PI, or what it is for; it stands in the experiment's name.
    start
        As `2026-11-20 08:00`, at the beamline unless it has an offset; empty: now.
    end
        The same; empty: a day after the start.

    Returns
    -------
    Json
        The new experiment.
    """
    identity = run.service(Identity)
    pi = Person(
        first_name=first_name,
        last_name=name,
        institution=institution,
        badge=badge,
        email=email,
        is_pi=True,
    )
    typed = partial(
        Beamtime,
        source=MANUAL.rstrip(":"),
        id=run.id,
        proposal=proposal,
        title=title,
        esaf=esaf,
        people=(pi,),
    )
    # What is empty means now: it must be the same after a crash.
    found = run.step("what was typed", partial(_made_of, identity, run.site, typed, start, end))
    new = from_json(Experiment, found)
    adopt(run, identity, new)
    times = f"{new.start:%a %Y-%m-%d %H:%M} to {new.end:%a %Y-%m-%d %H:%M}"
    run.progress(1.0, f"{new.name}, {times}; ScheduleSays alarms while the schedule names somebody else")
    return to_json(new)


def _made_of(identity: Identity, site: Site, typed: Callable[..., Beamtime], start: str, end: str) -> Json:
    begins = _at(site.zone, "ManualStart", start) or datetime.now(UTC).replace(microsecond=0)
    ends = _at(site.zone, "ManualEnd", end) or begins.astimezone(UTC) + LASTS
    if ends <= begins:
        raise BeamtimeError("it ends before it begins", advice="correct ManualStart or ManualEnd")
    new = replace(site.experiment(typed(start=begins, end=ends)), source="manual")
    if others := namesakes(identity, new):
        raise BeamtimeError(
            f"{new.name} is the name of {others[0]} already",
            advice="choose that one by ExperimentChoice, or write another ManualName or ManualProposal",
        )
    return to_json(new)


def _at(zone: tzinfo, record: str, text: str) -> datetime | None:
    """The time that was typed, in the beamline's zone where it says none."""
    try:
        moment = _moment(text)
    except ValueError as error:
        raise BeamtimeError(f"{record}: {error}") from None
    if moment is None or moment.tzinfo is not None:
        return moment
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        raise BeamtimeError(
            f"{record}: the clock is changed at {text}",
            advice=f"write the offset too, such as {first.isoformat(' ', 'minutes')}",
        )
    return first
