"""What the service sends, parsed once."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Self

import pydantic
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from beamtime_handlers.clients.replies import Flag, Id, NotNone, Reply, Text, Time, parse
from beamtime_ioc.errors import BadResponseError
from beamtime_ioc.model import Beamtime, Cycle, Person, people_of

SOURCE = "aps"


class _Reply(Reply):
    model_config = ConfigDict(alias_generator=to_camel)


class _Period(_Reply):
    start_time: Time
    end_time: Time

    @pydantic.model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end_time < self.start_time:
            raise ValueError("endTime lies before startTime")
        return self


class _Run(_Period):
    run_name: Id


class _Experimenter(_Reply):
    badge: Text = ""
    first_name: Text = ""
    last_name: Text = ""
    institution: Text = ""
    email: NotNone = ""
    pi_flag: Flag = False


class _Proposal(_Reply):
    gup_id: Text = ""
    pup_id: Text = ""
    proposal_title: Text = ""
    experimenters: list[_Experimenter] | None = None


class _Beamtime(_Reply):
    beamtime_id: Id
    proposal: _Proposal | None = None


class _ActivityType(_Reply):
    activity_type_name: Text = ""


class _Activity(_Period):
    activity_id: Id
    activity_name: Text = ""
    activity_type: _ActivityType | None = None
    beamtime: _Beamtime | None = None
    experiment_id: Text = ""


class _Element(_Reply):
    schedule_name: Text = ""
    activities: list[_Activity] | None


def parse_cycles(body: bytes, service: str) -> list[Cycle]:
    """Read the reply of `run/getAllRuns`."""
    runs = parse(list[_Run], body, service)
    return [Cycle(name=run.run_name, start=run.start_time, end=run.end_time) for run in runs]


def parse_schedule(body: bytes, service: str, *, cycle: str, beamline: str) -> list[Beamtime]:
    """Read a reply of `schedule/findByRunNameAndScheduleName`: all activities of all its elements.

    Machine studies and the like, which have no proposal, come back without proposal and people.
    """
    elements = parse(list[_Element], body, service)
    for element in elements:
        if element.schedule_name and _sector(element.schedule_name) != _sector(beamline):
            raise BadResponseError(
                f"{service} answered with the schedule of {element.schedule_name}, asked for {beamline}",
                advice="look whether the key beamline of the site file is the service's name for it",
            )
    activities = [activity for element in elements for activity in element.activities or ()]
    return _joined(_beamtime(activity, cycle, beamline) for activity in activities)


def _sector(schedule_name: str) -> str:
    """`99-BM` of `99-BM-A,B`: the hutches may be written in several ways."""
    return "-".join(schedule_name.upper().replace(" ", "").split("-")[:2])


def _person(experimenter: _Experimenter) -> Person:
    return Person(
        first_name=experimenter.first_name,
        last_name=experimenter.last_name,
        email=experimenter.email,
        institution=experimenter.institution,
        badge=experimenter.badge,
        is_pi=experimenter.pi_flag,
    )


def _beamtime(activity: _Activity, cycle: str, beamline: str) -> Beamtime:
    proposal = activity.beamtime.proposal if activity.beamtime else None
    if activity.beamtime is None or proposal is None:
        kind = activity.activity_type.activity_type_name if activity.activity_type else ""
        key, title = f"activity-{activity.activity_id}", kind or activity.activity_name
        proposal = _Proposal()
    else:
        key, title = activity.beamtime.beamtime_id, proposal.proposal_title
    return Beamtime(
        source=SOURCE,
        id=key,
        start=activity.start_time,
        end=activity.end_time,
        proposal=proposal.gup_id or proposal.pup_id,
        title=title,
        esaf=activity.experiment_id,
        cycle=cycle,
        beamline=beamline,
        people=people_of(map(_person, proposal.experimenters or ())),
    )


def _joined(beamtimes: Iterable[Beamtime]) -> list[Beamtime]:
    """Make one of the activities of a beamtime that touch or overlap, unless their safety forms differ."""
    joined: list[Beamtime] = []
    for beamtime in sorted(beamtimes, key=lambda b: (b.id, b.start, b.end)):
        if joined and _continues(joined[-1], beamtime):
            last = joined[-1]
            joined[-1] = replace(last, end=max(last.end, beamtime.end), esaf=last.esaf or beamtime.esaf)
        else:
            joined.append(beamtime)
    return joined


def _continues(last: Beamtime, beamtime: Beamtime) -> bool:
    same_form = last.esaf == beamtime.esaf or not (last.esaf and beamtime.esaf)
    return last.id == beamtime.id and beamtime.start <= last.end and same_form
