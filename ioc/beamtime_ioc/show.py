"""A running IOC on a terminal."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from beamtime_ioc.client import Client
from beamtime_ioc.errors import NoAnswerError
from beamtime_ioc.model import one_line
from beamtime_ioc.progress import RunView, StepLine

COLOURS = {
    "Done": "green",
    "Problems": "yellow",
    "Unsure": "red",
    "Failed": "red",
    "Stuck": "red",
    "Aborted": "yellow",
    "Running": "cyan",
    "Queued": "cyan",
    "Aborting": "yellow",
}
SILENT = "the IOC does not answer; what was begun goes on at its next start, and this waits for it"
IDENTITY = (
    ("Experiment", "ExperimentName"),
    ("Key", "ExperimentKey"),
    ("PI", "UserLastName"),
    ("E-mail", "UserEmail"),
    ("Title", "ProposalTitle"),
    ("Start", "ProposalStart"),
    ("End", "ProposalEnd"),
    ("Looked up", "UserInfoUpdate"),
    ("Engine", "EngineState"),
)


def follow(
    client: Client, button: str, press: Callable[[], object], console: Console | None = None
) -> RunView:
    """Press, show each step as it comes, and return how it ended.

    Parameters
    ----------
    press
        Returns when the press is written down.

    Raises
    ------
    BeamtimeError
        The press was refused.
    """
    console = console or Console()
    press()
    view = client.view(button)
    run_id = view.run_id
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    shown: dict[int, StepLine] = {}
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(button, total=100)
        for view in client.watch(button, silent=lambda: bar.console.print(SILENT)):
            if view.run_id != run_id:
                continue
            bar.update(task, completed=view.percent, description=view.step or button)
            _print_steps(bar.console, view, shown)
            if view.state.ended:
                break
        bar.update(task, description=button)
    colour = COLOURS.get(view.state, "white")
    text = f"[{colour}]{view.state}[/]: {escape(one_line(view.message))}"
    console.print(text, highlight=False, soft_wrap=True)
    return view


def _print_steps(console: Console, view: RunView, shown: dict[int, StepLine]) -> None:
    for index, line in enumerate(view.steps):
        if not line.state.ended or shown.get(index) == line:
            continue
        shown[index] = line
        reason = f": {line.reason}" if line.reason else ""
        text = f"  {line.state:<15} {one_line(line.name + reason)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def show_status(client: Client, *, watch: bool) -> None:
    """Print whose experiment it is and how each action stands."""
    console = Console()
    if not watch:
        console.print(_table(client))
        return
    pause = threading.Event()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            try:
                shown = _table(client)
            except NoAnswerError as error:
                shown = Group(
                    f"{client.prefix}  {datetime.now().astimezone():%H:%M:%S}  still looking", str(error)
                )
            live.update(shown, refresh=True)
            pause.wait(1)  # a person looks at it


def _table(client: Client) -> Group:
    whose = Table.grid(padding=(0, 2))
    for label, suffix in IDENTITY:
        whose.add_row(label, escape(one_line(str(client.read(suffix)))))
    if trouble := one_line(str(client.read("EngineMessage"))):
        whose.add_row("", f"[yellow]{escape(trouble)}[/]")
    if doubts := int(client.read("UnsureCount")):
        whose.add_row("In doubt", f"[red]{doubts}[/], see [bold]beamtime history[/]")
    services = client.rows("Services")
    if any(row["service"] == "sim" for row in services):
        said = one_line(str(client.read("SimMessage"))).removeprefix("training: ")
        whose.add_row("Training", f"[yellow]{escape(said)}[/]")
    for label, trouble in _troubles(client, services):
        whose.add_row(escape(label), f"[red]{escape(one_line(trouble))}[/]")
    actions = Table(show_header=False, box=box.SIMPLE)
    actions.add_column(no_wrap=True)
    actions.add_column(no_wrap=True)
    actions.add_column(overflow="fold")
    for button in client.buttons():
        view = client.view(button)
        colour = COLOURS.get(view.state, "white")
        percent = f" {view.percent:.0f}%" if not view.state.ended else ""
        actions.add_row(button, f"[{colour}]{view.state}[/]{percent}", escape(one_line(view.message)))
    return Group(_head(client), whose, actions)


def _troubles(client: Client, services: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each service that is down with its sentence, and what keeps the experiment from changing."""
    for row in services:
        if row["reachable"] == "Down" and row["service"] != "sim":
            yield str(row["service"]).capitalize(), str(row["sentence"])
    if client.read("InterlockOk") in ("Busy", "Unreachable", "Overridden"):
        yield "Interlock", str(client.read("InterlockMessage"))


def _head(client: Client) -> str:
    return f"[bold]{client.prefix}[/]  {datetime.now().astimezone():%H:%M:%S}"
