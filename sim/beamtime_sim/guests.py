"""Who comes by a knob: experiments without end (``schedule.on_beam``), and a late colleague."""

from typing import Any

DOMAINS = ("example.edu", "example.org")
LATE_ADDRESS = "nima.nachzuegler@example.edu"


def guest_addresses(number: int) -> tuple[str, str]:
    """Return the addresses of the two people of a guest experiment: its leader, and another one."""
    leader, other = (f"guest.{number}.{role}@{domain}" for role, domain in zip("ab", DOMAINS, strict=True))
    return leader, other


def guest_beamtime_id(number: int) -> int:
    """Return the beamtime id of a guest experiment; those of the timetable are far below."""
    return 400_000_000 + number


def take_place(activity: dict[str, Any], number: int) -> None:
    """Let a guest experiment have the time of an activity: its own ids, proposal and people.

    An activity that nobody has is left alone.
    """
    if activity["beamtime"] is None or activity["beamtime"]["proposal"] is None:
        return
    activity |= {
        "activityId": 900_000_000 + number,
        "activityName": f"GUP-{800_000_000 + number}",
        "experimentId": 700_000_000 + number,
    }
    activity["beamtime"] |= {"beamtimeId": guest_beamtime_id(number)}
    activity["beamtime"]["proposal"] |= {
        "gupId": 800_000_000 + number,
        "proposalTitle": f"Guest experiment {number}",
        "experimenters": [
            _guest(number, place, email) for place, email in enumerate(guest_addresses(number))
        ],
    }


def let_join(activity: dict[str, Any]) -> None:
    """Add the late colleague to the people of an activity; one that nobody has is left alone."""
    if activity["beamtime"] is None or activity["beamtime"]["proposal"] is None:
        return
    activity["beamtime"]["proposal"]["experimenters"].append(
        {
            "gupExperimenterId": 99,
            "badge": "900199",
            "firstName": "Nima",
            "lastName": "Nachzügler",
            "institution": "Example University",
            "email": LATE_ADDRESS,
            "piFlag": None,
        }
    )


def _guest(number: int, place: int, email: str) -> dict[str, Any]:
    badge = 2 * number + place
    return {
        "gupExperimenterId": 600_000_000 + badge,
        "badge": str(500_000_000 + badge),
        "firstName": ("Gundel", "Gast")[place],
        "lastName": f"Guest{number}",
        "institution": "Example University",
        "email": email,
        "piFlag": None if place else "Y",
    }
