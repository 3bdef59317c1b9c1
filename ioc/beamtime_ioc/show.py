"""A running IOC on a terminal."""

import threading

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
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


def follow(client: Client, button: str, console: Console | None = None) -> RunView:
    """Press, show each step as it comes, and return how it ended.

    Raises
    ------
    BeamtimeError
        The press was refused.
    """
    console = console or Console()
    before = client.view(button).run_id
    answer: list[BeamtimeError | None] = []

    def wait_for_the_end() -> None:
        try:
            client.press(button, wait=True)
            answer.append(None)
        except BeamtimeError as error:
            answer.append(error)

    waiting = threading.Thread(target=wait_for_the_end, daemon=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    shown: dict[int, StepLine] = {}
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(button, total=100)
        waiting.start()
        for view in client.watch(button, repeat_s=0.2):
            if view.run_id != before:
                bar.update(task, completed=view.percent, description=view.step or button)
                _print_steps(bar.console, view, shown)
                if view.state.ended:
                    break
            elif answer:
                break
        waiting.join(client.timeout_s)
        bar.update(task, description=button)
    refusal = answer[0] if answer else None
    view = client.view(button)
    if view.run_id == before and refusal is not None:
        raise refusal
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
    with Live(_table(client), console=console, auto_refresh=False) as live:
        while True:
            pause.wait(1)  # a person looks at it
            live.update(_table(client), refresh=True)


def _table(client: Client) -> Table:
    table = Table(title=client.prefix, show_header=False, title_style="bold")
    for label, suffix in IDENTITY:
        table.add_row(label, escape(one_line(str(client.read(suffix)))), "")
    table.add_section()
    for button in client.buttons():
        view = client.view(button)
        colour = COLOURS.get(view.state, "white")
        percent = f" {view.percent:.0f}%" if not view.state.ended else ""
        table.add_row(button, f"[{colour}]{view.state}[/]{percent}", escape(one_line(view.message)))
    return table
