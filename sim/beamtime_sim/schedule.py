"""What the schedule server answers to each path, before any knob changes it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from beamtime_sim.errors import ScheduleError
from beamtime_sim.people import load_facility
from beamtime_sim.timetable import timetable
from beamtime_sim.wire import Json, replies

_FIRST_YEAR, _LAST_YEAR = 1990, 2200
_SCHEDULE = "schedule/findByRunNameAndScheduleName"


@dataclass(frozen=True)
class Answer:
    """A status and the JSON that goes with it."""

    status: int
    body: Json


class Schedule:
    """Replies by path below the base, and the other endpoints derived from them.

    ``replies`` must hold ``run/getAllRuns``; each ``schedule/findByRunNameAndScheduleName/{run}/{beamline}``
    in it is the schedule of one run. A path that stands in it is answered as it stands there. Keys that begin
    with an underscore are notes.
    """

    def __init__(self, replies: Mapping[str, Json]) -> None:
        if not isinstance(replies.get("run/getAllRuns"), list):
            raise ScheduleError("schedule data needs the key 'run/getAllRuns' with a list of runs")
        self._replies = {path: body for path, body in replies.items() if not path.startswith("_")}
        self.runs: list[dict[str, Any]] = self._replies["run/getAllRuns"]
        keys = (path.split("/", 3) for path in self._replies if path.startswith(f"{_SCHEDULE}/"))
        self.beamlines = sorted({key[3] for key in keys})

    @classmethod
    def around(cls, anchor: date) -> "Schedule":
        """Return the shipped facility's schedule, with somebody on beam during the whole anchor day.

        Raises
        ------
        ScheduleError
            The anchor lies too far away for a calendar around it.
        """
        if not _FIRST_YEAR <= anchor.year <= _LAST_YEAR:
            raise ScheduleError(f"the anchor {anchor} must lie between {_FIRST_YEAR} and {_LAST_YEAR}")
        facility = load_facility()
        return cls(replies(facility, timetable(facility, anchor)))

    @classmethod
    def from_file(cls, path: Path) -> "Schedule":
        """Read replies by path from one JSON file."""
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def answer(self, segments: list[str], now: datetime) -> Answer:
        """Answer one GET.

        Parameters
        ----------
        segments
            The path below the base, cut at the slashes and then percent-decoded.
        now
            What the facility's clock shows.
        """
        if (path := "/".join(segments)) in self._replies:
            return Answer(200, self._replies[path])
        match segments:
            case ["run", "getCurrentRun"]:
                return Answer(200, self._runs_at(now))
            case ["run", "getRunByDateTime", text]:
                return self._run_by_time(text)
            case ["schedule", "findByRunNameAndScheduleName", _, beamline]:
                return Answer(200, []) if self._serves(beamline) else _forbidden(beamline)
            case ["activity", "findByRunNameAndBeamlineId", run, beamline]:
                if not self._serves(beamline):
                    return _forbidden(beamline)
                elements = self._replies.get(f"{_SCHEDULE}/{run}/{beamline}", [])
                return Answer(200, [a for a in _activities(elements) if _is_listed(a, beamline)])
            case ["activity", "findByActivityId", number]:
                return self._activity(number)
            case ["userBeamlineAuthorizedEdit", "getAuthorizedBeamlines"]:
                return Answer(200, [{"beamline": beamline} for beamline in self.beamlines])
            case _:
                return Answer(404, _error(404, "Not Found", f"No endpoint {path}"))

    def _serves(self, beamline: str) -> bool:
        return beamline in self.beamlines or not self.beamlines

    def _runs_at(self, when: datetime) -> list[dict[str, Any]]:
        return [run for run in self.runs if _contains(run, when)]

    def _run_by_time(self, text: str) -> Answer:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            when = None
        if when is None or when.tzinfo is None:
            return Answer(500, _error(500, "Internal Server Error", f"Unparseable date: {text}"))
        return Answer(200, self._runs_at(when))

    def _activity(self, number: str) -> Answer:
        for path, elements in self._replies.items():
            if path.startswith(f"{_SCHEDULE}/"):
                for activity in _activities(elements):
                    if str(activity["activityId"]) == number:
                        return Answer(200, activity)
        return Answer(404, _error(404, "Not Found", f"No activity {number}"))


def _activities(elements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [activity for element in elements for activity in element["activities"]]


def _contains(span: dict[str, Any], when: datetime) -> bool:
    return datetime.fromisoformat(span["startTime"]) <= when < datetime.fromisoformat(span["endTime"])


def _is_listed(activity: dict[str, Any], beamline: str) -> bool:
    # The API's activity endpoint misses beamtimes whose first choice is another beamline, and those that
    # are on the schedule while their activity is not finalised yet.
    beamtime: dict[str, Any] | None = activity["beamtime"]
    if beamtime is None or activity["experimentId"] is None:
        return False
    return beamtime.get("beamlineFirst") in (None, beamline)


def _forbidden(beamline: str) -> Answer:
    return Answer(403, _error(403, "Forbidden", f"User not authorized for beamline Id : {beamline}"))


def _error(status: int, error: str, message: str) -> dict[str, Json]:
    return {"status": status, "error": error, "message": message}
