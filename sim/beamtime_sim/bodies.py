"""The wrong and the unusual bodies that the knob ``schedule.body`` asks for."""

import copy
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from beamtime_sim.clock_change import CHANGES, stretched
from beamtime_sim.guests import let_join, take_place
from beamtime_sim.wire import Json

RAW = ("html", "garbage", "truncated", "empty", "no-bytes", "wrong-shape")
EDITED = ("nothing-active", "two-active", "no-pi", "no-email", "no-proposal")
BODIES = ("normal", *RAW, *EDITED)

_LOGIN_PAGE = b"""<!DOCTYPE html>
<html><head><title>Sign in</title></head>
<body><h1>Invented Single Sign-On</h1><form method="post"><input name="user"></form></body></html>
"""
# The next beamtime must not be near either: a client may look ahead for an early set-up.
_LOOK_AHEAD = timedelta(days=1)


def raw_body(kind: str, reply: Json) -> tuple[bytes, str]:
    """Return the bytes and the content type that stand in for a good reply.

    `html`: a sign-in page. `garbage`: not JSON, though the header says so. `truncated`: the first half of
    the good reply. `empty`: an empty list. `no-bytes`: nothing at all. `wrong-shape`: an object where a list
    belongs, null where an object does.
    """
    good = json.dumps(reply, ensure_ascii=False).encode()
    bodies: dict[str, tuple[bytes, str]] = {
        "html": (_LOGIN_PAGE, "text/html;charset=utf-8"),
        "garbage": (b"\x00\xff\xfe}{ not json \x07", "application/json"),
        "truncated": (good[: len(good) // 2], "application/json"),
        "empty": (b"[]", "application/json"),
        "no-bytes": (b"", "application/json"),
        "wrong-shape": (b'{"content": null}' if isinstance(reply, list) else b"null", "application/json"),
    }
    return bodies[kind]


@dataclass(frozen=True, kw_only=True)
class Edits:
    """What is to be changed in good replies.

    ``kind`` is one of `BODIES`. ``on_beam`` is the number of the guest experiment that has the place of the
    active one; ``late_colleague`` lets one more person join whoever is on beam; ``clock_change`` is one of
    `CHANGES`.
    """

    kind: str = "normal"
    pi_last_name: str | None = None
    on_beam: int | None = None
    late_colleague: bool = False
    clock_change: str = "never"


def edited_reply(edits: Edits, reply: Json, now: datetime) -> Json:
    """Return a copy of a good reply whose activities are changed.

    Replies without activities (runs, authorised beamlines) and a single activity come back as they are.
    """
    if not isinstance(reply, list):
        return cast("object", reply)
    items = copy.deepcopy(cast("list[Any]", reply))
    if any("activityId" in item for item in items):
        return _edited(edits, items, now)
    if any("activities" in item for item in items):
        return [{**item, "activities": _edited(edits, item["activities"], now)} for item in items]
    return items


def _edited(edits: Edits, activities: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    for activity in activities:
        if _touches(activity, now, now):
            if edits.on_beam is not None:
                take_place(activity, edits.on_beam)
            if edits.late_colleague:
                let_join(activity)
    if edits.clock_change in CHANGES:
        activities = stretched(activities, now, edits.clock_change)
    changed = _chosen(edits.kind, activities, now)
    for person in _people(changed):
        if edits.pi_last_name is not None and person["piFlag"] == "Y":
            person["lastName"] = edits.pi_last_name
        if edits.kind == "no-pi":
            person["piFlag"] = None
        if edits.kind == "no-email":
            person["email"] = None
    return changed


def _chosen(kind: str, activities: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    if kind == "nothing-active":
        return [activity for activity in activities if not _touches(activity, now, now + _LOOK_AHEAD)]
    if kind == "two-active":
        doubles = [_double(activity) for activity in activities if _touches(activity, now, now)]
        return [*activities, *doubles]
    if kind == "no-proposal":
        for activity in activities:
            if activity["beamtime"] is not None:
                activity["beamtime"]["proposal"] = None
    return activities


def _touches(activity: dict[str, Any], begin: datetime, end: datetime) -> bool:
    start, stop = (datetime.fromisoformat(activity[key]) for key in ("startTime", "endTime"))
    return start <= end and begin < stop


def _double(activity: dict[str, Any]) -> dict[str, Any]:
    double = copy.deepcopy(activity)
    double["activityId"] += 90_000
    double["activityName"] = "GUP-9100099"
    double["experimentId"] = 8_800_099
    if double["beamtime"] is not None:
        double["beamtime"]["beamtimeId"] += 90_000
        if double["beamtime"]["proposal"] is not None:
            double["beamtime"]["proposal"] |= {
                "gupId": 9_100_099,
                "proposalTitle": "On beam at the same time",
            }
    return double


def _people(activities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        person
        for activity in activities
        if activity["beamtime"] is not None and activity["beamtime"]["proposal"] is not None
        for person in activity["beamtime"]["proposal"]["experimenters"]
    ]
