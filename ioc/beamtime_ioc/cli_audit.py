"""`beamtime audit`: who pressed what, when, from where, and how it ended."""

import json
from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import typer

from beamtime_ioc.cli_options import (
    BAD_INPUT,
    SinceOption,
    SiteOption,
    StateOption,
    fail,
    moment_of,
    state_of,
)

if TYPE_CHECKING:
    from beamtime_ioc.audit import AuditEntry


def audit(
    site: SiteOption = None,
    state: StateOption = None,
    since: SinceOption = "",
    who: Annotated[
        str, typer.Option("--who", help="Only where the user, host or address has this text in it.")
    ] = "",
    record: Annotated[
        str, typer.Option("--record", help="Only puts to records whose name has this text in it.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Tell who pressed what, when, from where and how it ended, oldest first; reads only, also while the
    IOC runs.

    Times are UTC. A damaged line is reported on stderr, and the rest is told. Exit code 2: no state
    directory there, or it cannot be read.
    """
    from beamtime_ioc.audit import AuditLog, DamagedLine

    directory, _ = state_of(site, state)
    if not directory.is_dir():
        fail(f"there is no state directory {directory}; start the IOC once, or check state:", BAD_INPUT)
    for entry in AuditLog(directory).read(moment_of(since) if since else None):
        if isinstance(entry, DamagedLine):
            typer.echo(f"beamtime: {entry}", err=True)
        elif _is_by(entry, who) and record.casefold() in entry.record.casefold():
            typer.echo(json.dumps(entry.as_json()) if as_json else _as_line(entry))


def _is_by(entry: "AuditEntry", text: str) -> bool:
    who = entry.who
    return any(text.casefold() in field.casefold() for field in (who.user, who.claim, who.peer))


def _as_line(entry: "AuditEntry") -> str:
    at = entry.at.astimezone(UTC)
    fields = (
        f"{at:%Y-%m-%d %H:%M:%SZ}",
        f"{entry.what:<8}",
        f"{entry.action:<18}",
        entry.run or "-",
        entry.experiment or "-",
        str(entry.who),
        *([f"{entry.record}: {entry.old or '-'} -> {entry.new or '-'}"] if entry.record else []),
        entry.text,
    )
    return _printable("  ".join(fields)).rstrip()


def _printable(text: str) -> str:
    """What clients sent moves no cursor of a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
