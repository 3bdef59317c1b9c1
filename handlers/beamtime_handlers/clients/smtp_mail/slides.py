"""The slides that a beamline's log has made for a proposal, as TomoLog keeps their addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import yaml

from beamtime_handlers.clients.files import read_file
from beamtime_ioc.model import one_line

LONGEST_BYTES = 1_000_000
MEND = "the letters go without a link to slides"


@dataclass(frozen=True, kw_only=True)
class Slides:
    """Where they are.

    Parameters
    ----------
    day
        When they were made, as the file says it; a link of long ago is seen by it.
    warning
        Why there are none, if that is not as it should be.
    """

    link: str = ""
    day: str = ""
    warning: str = ""


def slides_of(history: Path, proposal: str) -> Slides:
    """The newest slides of a proposal; a file that cannot be read is a warning, and keeps no letter back.

    Parameters
    ----------
    history
        A YAML list of `{gup, date, presentation_url}`, as TomoLog writes it to `.tomolog`.
    """
    try:
        content = read_file(history, LONGEST_BYTES)
        if len(content) > LONGEST_BYTES:
            return Slides(warning=f"{history} is too long for a list of slides; {MEND}")
        entries: Any = yaml.safe_load(content.decode("utf-8"))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return Slides(warning=f"{history} cannot be read: {reason}; {MEND}")
    except (UnicodeError, yaml.YAMLError, ValueError, RecursionError):
        return Slides(warning=f"{history} is no YAML; {MEND}")
    if not isinstance(entries, list):
        return Slides(warning=f"{history} is no list of slides; {MEND}")
    if not proposal:
        return Slides()
    ours = [_slides(entry) for entry in cast("list[object]", entries) if _gup(entry) == proposal]
    good = [one for one in ours if one.link]
    if ours and not good:
        return Slides(warning=f"{history} has no web address for proposal {proposal}; {MEND}")
    return max(good, key=lambda one: one.day, default=Slides())


def _gup(entry: object) -> str:
    return str(cast("Mapping[str, object]", entry).get("gup", "")).strip() if isinstance(entry, dict) else ""


def _slides(entry: object) -> Slides:
    fields = cast("Mapping[str, object]", entry)
    day = fields.get("date", "")
    link = fields.get("presentation_url", "")
    return Slides(
        link=link if isinstance(link, str) and _is_web_address(link) else "",
        day=one_line(day.isoformat() if isinstance(day, date | datetime) else str(day), 40),
    )


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and text.isprintable() and " " not in text
