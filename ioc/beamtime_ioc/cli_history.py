"""`beamtime history`: past and present runs, as a list or one by one."""

import json
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beamtime_ioc.cli_options import (
    BAD_INPUT,
    SinceOption,
    SiteOption,
    StateOption,
    action_name,
    fail,
    moment_of,
    require_text,
    state_of,
)

if TYPE_CHECKING:
    from beamtime_ioc.journal import Journal
    from beamtime_ioc.runrecord import RunRecord

WITHOUT_IOC = "waits for the next start of the IOC"
PART_OF_RUN = re.compile(r"[0-9a-f-]{1,27}")
MOST = 2**31 - 1
"""What a database takes as a number of rows."""
HEADINGS = ("Pressed", "Run", "Action", "State", "Took", "Experiment", "Who", "Message")

history = typer.Typer(rich_markup_mode=None)
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@history.callback(invoke_without_command=True)
def list_runs(
    context: typer.Context,
    site: SiteOption = None,
    state: StateOption = None,
    action: Annotated[str, typer.Option("--action", help="Only this action.")] = "",
    who: Annotated[
        str, typer.Option("--who", help="Only who pressed: a part of account, computer or protocol.")
    ] = "",
    since: SinceOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST, help="How many of the newest.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List past and present runs, newest first; reads only, also while the IOC runs.

    Times are UTC. Exit code 2: no state database there.
    """
    if context.invoked_subcommand:
        return
    require_text(action, who)
    first = moment_of(since) if since else None
    with _journal(site, state) as (journal, alive):
        from beamtime_ioc.runjson import short_json

        name = action_name(action) if action else None
        records = journal.last(limit, name, who=who, since=first)
        if as_json:
            for record in records:
                typer.echo(json.dumps(short_json(record), ensure_ascii=False))
        elif records:
            typer.echo(_table([HEADINGS, *(_cells(record, alive) for record in records)]))


@history.command("show")
def show_run(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's number, or the end of it.", show_default=False)],
    site: SiteOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one run: who pressed what, each step with its time, how it ended, and what is in doubt.

    Exit code 2: there is no such run, or more than one.
    """
    if not PART_OF_RUN.fullmatch(run):
        fail(f"{run!a:.60} is no run's number, nor the end of one; `beamtime history` lists them", BAD_INPUT)
    above = context.parent.params if context.parent else {}
    with _journal(site or above.get("site"), state or above.get("state")) as (journal, alive):
        from beamtime_ioc.runjson import whole_json
        from beamtime_ioc.runpage import run_page

        record = _only(journal.find(run), run)
        steps = journal.steps(record.id)
        if as_json:
            typer.echo(json.dumps(whole_json(record, steps), ensure_ascii=False))
        else:
            typer.echo(run_page(record, steps, "" if alive else WITHOUT_IOC))


@contextmanager
def _journal(site: Path | None, state: Path | None) -> "Generator[tuple[Journal, bool], None, None]":
    """The history that the options name, and whether an IOC works on it."""
    from beamtime_ioc.journal import reading
    from beamtime_ioc.store import is_held

    directory, database = state_of(site, state)
    with reading(directory, database) as journal:
        yield journal, is_held(directory)


def _only(found: "Sequence[RunRecord]", part: str) -> "RunRecord":
    if not found:
        fail(f"there is no run {part}; `beamtime history` lists them", BAD_INPUT)
    if len(found) > 1:
        fail(f"{part} is the end of {len(found)} runs, such as {found[0].id}: write more of it", BAD_INPUT)
    return found[0]


def _cells(record: "RunRecord", alive: bool) -> Sequence[str]:
    return (
        f"{record.pressed:%Y-%m-%d %H:%M:%SZ}",
        record.id,
        record.action,
        record.state.value,
        f"{record.seconds:.1f} s",
        record.experiment.name if record.experiment else "-",
        str(record.who),
        record.message if record.state.ended or alive else WITHOUT_IOC,
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; durations stand at the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    took = HEADINGS.index("Took")
    return "\n".join(
        "  ".join(
            [
                *(
                    cell.rjust(width) if column == took else cell.ljust(width)
                    for column, (cell, width) in enumerate(zip(row[:-1], widths, strict=True))
                ),
                row[-1],
            ]
        ).rstrip()
        for row in rows
    )
