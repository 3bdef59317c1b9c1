"""What the sub-commands share: options, exit codes, the log, and how to reach an IOC."""

import json
import logging
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from beamtime_ioc.client import Client

EXIT_CODES = (
    "Exit codes: 0 done; 1 it did not end well; 2 a file, an option or the state is wrong; 3 no answer."
)
BAD_END, BAD_INPUT, NO_ANSWER = 1, 2, 3

SiteArgument = Annotated[
    Path,
    typer.Argument(metavar="SITE.yaml", envvar="BEAMTIME_SITE", help="The site file.", show_default=False),
]
PrefixOption = Annotated[
    str,
    typer.Option("--prefix", envvar="BEAMTIME_PREFIX", help="Prefix of the records, such as 99bm:Beamtime:"),
]
SiteOption = Annotated[
    Path | None,
    typer.Option(
        "--site", envvar="BEAMTIME_SITE", help="Site file: gives prefix, ports and state directory."
    ),
]


StateOption = Annotated[Path | None, typer.Option("--state", help="State directory, instead of --site.")]


SinceOption = Annotated[
    str, typer.Option("--since", help="Only from then on: 2026-11-01, 2026-11-01T08:30, 10h, 3d; in UTC.")
]
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def log_to_stderr(level: int = logging.INFO) -> None:
    """Set the log up; of other programs' parts only what is wrong."""
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for name in ("asyncio", "caproto", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def state_of(site: Path | None, state: Path | None) -> tuple[Path, str]:
    """The state directory that the options name, and the URL of its database if it is on PostgreSQL."""
    from beamtime_ioc.config import read_site_file

    if state is not None:
        return state, ""
    if site is None:
        fail("name the site file by --site (or BEAMTIME_SITE), or the state directory by --state", BAD_INPUT)
    file = read_site_file(site)
    return file.resolve(file.frame.state), file.frame.database


def fail(text: str, code: int) -> NoReturn:
    typer.echo(f"beamtime: {text}", err=True)
    raise typer.Exit(code)


def require_text(*words: str) -> None:
    """See that words of the command line are text: neither a database nor a record takes other bytes."""
    for word in words:
        if not word.isascii() and any("\ud800" <= c <= "\udfff" for c in word):
            fail(f"{word!a:.60} is no text; write it in UTF-8", BAD_INPUT)


def moment_of(text: str) -> datetime:
    """A day, a moment, or a span before now, such as `10h`; without a zone it is UTC."""
    try:
        if span := re.fullmatch(r"(\d{1,6})\s*([smhdw])", text.strip()):
            return datetime.now(UTC) - timedelta(**{UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        fail(f"--since {text}: no time; write 2026-11-01, 2026-11-01T08:30, 10h or 3d", BAD_INPUT)


def button_name(action: str) -> str:
    """`begin-beamtime` as the record's name, `BeginBeamtime`."""
    return "".join(word[:1].upper() + word[1:] for word in action.split("-"))


def action_name(button: str) -> str:
    """`BeginBeamtime` as the action's name, `begin-beamtime`."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in button).lstrip("-")


def connect(prefix: str, site: Path | None) -> "Client":
    """A client of the IOC that the options name."""
    from beamtime_ioc.client import Address, Client
    from beamtime_ioc.config import read_site_file

    if site is not None:
        frame = read_site_file(site).frame
        address = Address(
            prefix=prefix or frame.prefix, port=frame.epics.pva_port, interfaces=tuple(frame.epics.interfaces)
        )
    elif prefix:
        address = Address(prefix=prefix)
    else:
        fail("name the IOC by --prefix (or BEAMTIME_PREFIX), or by --site (or BEAMTIME_SITE)", BAD_INPUT)
    return Client(address)


def parse_arguments(words: Sequence[str]) -> dict[str, object]:
    """`position=4`, `note=wet`: each value as JSON, or as the text that it is."""
    found: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            fail(f"--arg {word}: write NAME=VALUE, such as --arg position=4", BAD_INPUT)
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found
