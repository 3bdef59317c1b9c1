"""What an API in the manner of NSLS-II answers: the same invented proposals, by their numbers only.

The paths and names are those of public code that uses the API. Deliberately not shared with the IOC.
"""

from datetime import datetime
from typing import Any

from beamtime_sim.schedule import Answer, Schedule

BASE = ["v1"]


def answer(schedule: Schedule, segments: list[str], now: datetime) -> Answer:
    """Answer one GET.

    Parameters
    ----------
    segments
        The path below `v1`, cut at the slashes and then percent-decoded.
    now
        What the facility's clock shows: it decides which cycle is the current one.
    """
    match segments:
        case ["facility", "nsls2", "cycles", "current"]:
            names = [run["runName"] for run in schedule.answer(["run", "getCurrentRun"], now).body]
            return Answer(200, {"facility": "nsls2", "cycle": names[-1] if names else None})
        case ["proposal", number]:
            found = _proposals(schedule).get(number)
            if found is None:
                return Answer(404, {"detail": f"Proposal {number} not found"})
            return Answer(200, {"proposal": found})
        case _:
            return Answer(404, {"detail": "Not Found"})


def _proposals(schedule: Schedule) -> dict[str, dict[str, Any]]:
    """All proposals by number, each with every cycle and beamline in which it is scheduled."""
    found: dict[str, dict[str, Any]] = {}
    for run in schedule.runs:
        for beamline in schedule.beamlines:
            path = ["schedule", "findByRunNameAndScheduleName", run["runName"], beamline]
            elements = schedule.answer(path, datetime.fromisoformat(run["startTime"])).body
            for activity in (a for element in elements for a in element["activities"]):
                beamtime: dict[str, Any] | None = activity["beamtime"]
                proposal: dict[str, Any] | None = beamtime["proposal"] if beamtime else None
                if proposal is not None:
                    _note(found, proposal, activity["experimentId"], run["runName"], beamline)
    return found


def _note(
    found: dict[str, dict[str, Any]], given: dict[str, Any], form: int | None, cycle: str, beamline: str
) -> None:
    number = str(given["gupId"])
    known = found.setdefault(
        number,
        {
            "proposal_id": number,
            "data_session": f"pass-{number}",
            "title": given["proposalTitle"],
            "type": given["proposalType"]["typeDescription"],
            "pass_type_id": "300001",
            "instruments": [],
            "cycles": [],
            "users": [_user(person) for person in given["experimenters"]],
            "safs": [],
            "slack_channels": [],
            "last_updated": "2026-01-02T03:04:05.678901",
        },
    )
    if cycle not in known["cycles"]:
        known["cycles"].append(cycle)
    if beamline not in known["instruments"]:
        known["instruments"].append(beamline)
    if form is not None and not known["safs"]:
        known["safs"].append({"saf_id": str(form), "status": "APPROVED", "instruments": [beamline]})


def _user(person: dict[str, Any]) -> dict[str, Any]:
    return {
        "first_name": person["firstName"],
        "last_name": person["lastName"],
        "email": person["email"],
        "bnl_id": person["badge"],
        "username": f"u{person['badge']}",
        "is_pi": person["piFlag"] == "Y",
        "orcid": None,
        "globus_username": None,
    }
