"""The schedule API's JSON, written from the timetable.

The names and the habits (two offset forms, trailing blanks, nulls) are those of captured replies of the APS
scheduling API. Deliberately not shared with the IOC.
"""

from datetime import datetime
from typing import Any

from beamtime_sim.people import Facility, Person, Visit
from beamtime_sim.timetable import Beamtime, Run, Timetable

Json = Any

_TYPES = {
    "general": ("G", "General User Proposal", "GUP", "GUP"),
    "staff": ("A", "APS Beamline Staff ", "APS Staff", "sector staff"),
    "rapid": ("R", "Rapid Access Proposal ", "RAP", "rapid-access"),
}


def replies(facility: Facility, timetable: Timetable) -> dict[str, Json]:
    """Return the API's basic replies by their path below the base: all runs, and one schedule a run."""
    schedules = {
        f"schedule/findByRunNameAndScheduleName/{run.name}/{facility.beamline}": _schedule(
            facility, run, timetable.within(run)
        )
        for run in timetable.runs
    }
    return {"run/getAllRuns": [_run(run) for run in timetable.runs], **schedules}


def offset_time(when: datetime, *, colon: bool = False) -> str:
    """Write a time as the API does: ``-0600``, at some places ``-06:00``."""
    return when.isoformat(timespec="seconds") if colon else when.strftime("%Y-%m-%dT%H:%M:%S%z")


def _run(run: Run) -> dict[str, Json]:
    return {
        "runId": run.number,
        "runName": run.name,
        "startTime": offset_time(run.start),
        "endTime": offset_time(run.end),
        "version": 0,
    }


def _schedule(facility: Facility, run: Run, beamtimes: tuple[Beamtime, ...]) -> list[dict[str, Json]]:
    # Two elements, as the API may send: a client that reads only the first misses every second beamtime,
    # the one at the anchor among them.
    return [
        {
            "scheduleId": 90_000 + run.number * 10 + part,
            "scheduleName": facility.beamline,
            "activities": [
                _activity(facility, 90_000 + run.number * 10 + part, beamtime)
                for beamtime in beamtimes
                if beamtime.number % 2 != part
            ],
        }
        for part in (0, 1)
    ]


def _activity(facility: Facility, schedule_id: int, beamtime: Beamtime) -> dict[str, Json]:
    visit, number = beamtime.visit, beamtime.number
    kind = _TYPES[visit.type][3]
    colon = number % 3 == 1
    return {
        "activityId": 10_000 + number,
        "scheduleId": schedule_id,
        "activityName": f"{_TYPES[visit.type][2]}-{visit.gup}",
        "startTime": offset_time(beamtime.start, colon=colon),
        "endTime": offset_time(beamtime.end, colon=colon),
        # Aware times of one zone subtract as wall clocks in Python: the stamps do not, over a clock change.
        "duration": int(beamtime.end.timestamp() - beamtime.start.timestamp()),
        "utilization": 100,
        "parentActivityId": None,
        "activityType": {
            "activityTypeId": 1,
            "activityTypeName": kind,
            "activityTypeDescription": kind,
            "systemActivityFlag": 0,
            "version": 1,
        },
        "beamtime": _beamtime(facility, beamtime),
        "experimentId": 8_800_050 + number if visit.esaf else None,
        "station": {**facility.station, "inactiveDate": None, "createdDate": None},
        "user": None,
        "activityComment": None,
        "version": 1,
    }


def _beamtime(facility: Facility, beamtime: Beamtime) -> dict[str, Json]:
    visit = beamtime.visit
    shifts = 3 * (visit.end - visit.start)
    return {
        "beamtimeId": 300_050 + beamtime.number,
        "beamlineFirst": visit.first_choice or facility.beamline,
        "beamlineSecond": facility.beamline if visit.first_choice else None,
        "grantedBeamline": facility.beamline,
        "proposal": _proposal(visit, shifts),
        "requestedDate": None,
        "actualShifts": None,
        "grantedShifts": shifts,
        "scheduledShifts": shifts,
        "equipment": None,
        "rapidAccessFlag": "Y" if visit.type == "rapid" else None,
        "declinedFlag": None,
        "preferredDates": [],
    }


def _proposal(visit: Visit, shifts: int) -> dict[str, Json]:
    letter, description, display, _ = _TYPES[visit.type]
    return {
        "gupId": visit.gup,
        "proposalTitle": visit.title,
        "proprietaryFlag": "Y" if visit.proprietary else "N",
        "pupId": None,
        "submittedDate": "2026-03-06T15:02:11-0600",
        "totalShiftsRequested": shifts,
        "mailInFlag": "Y" if visit.mail_in else "N",
        "proposalStatus": {"statusId": 2, "statusDesc": "SUBMITTED", "statusType": "BOTH"},
        "proposalType": {
            "typeId": letter,
            "typeDescription": description,
            "display": display,
            "inactiveFlag": None,
        },
        "experimenters": [_experimenter(person, visit.pi) for person in visit.people],
    }


def _experimenter(person: Person, pi: Person | None) -> dict[str, Json]:
    return {
        "gupExperimenterId": int(person.badge) - 900_100,
        "badge": person.badge,
        "firstName": person.first,
        "lastName": person.last,
        "institution": person.institution,
        "email": person.email,
        "piFlag": "Y" if person is pi else None,
    }
