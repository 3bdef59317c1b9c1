"""``beamtime sim``: start the facility in a box, and turn the knobs of one that runs.

Exit codes: 0 done; 2 a directory, file, port or knob is wrong; 3 the box does not answer. One line on stderr
says which.
"""

import json
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from beamtime_sim.errors import BoxError, NobodyAnswersError, SimError

app = typer.Typer(
    help="The facility in a box: a schedule, mail, errands and data places, with knobs that make them fail.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

WRONG, NO_ANSWER = 2, 3

Directory = Annotated[
    str | None, typer.Option("--dir", metavar="DIR", help="The box's directory; made if it is missing.")
]
Anchor = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d"],
        help="The day on which the first invented group is on beam. Default: as before, today for a new box.",
    ),
]

Local = Annotated[
    bool,
    typer.Option("--local", help="The places are directories of this computer, not hosts reached by ssh."),
]


@app.callback(invoke_without_command=True)
def sim(
    context: typer.Context, directory: Directory = None, anchor: Anchor = None, local: Local = False
) -> None:
    """Start the box in the foreground; it ends with Ctrl-C or SIGTERM.

    One line goes to stdout when everything answers: READY site=DIR/site.yaml.
    """
    context.obj = directory
    if context.invoked_subcommand is None:
        _serve(_required(directory), None if anchor is None else anchor.date(), local)


@app.command("set", context_settings={"ignore_unknown_options": True})  # a value may be -1
def set_knob(
    context: typer.Context,
    knob: Annotated[str, typer.Argument(metavar="KNOB", help="Such as schedule.delay_s; see `show`.")],
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="JSON or a plain word; `default` takes the knob back.")
    ],
    directory: Directory = None,
) -> None:
    """Turn one knob of a running box: beamtime sim set schedule.delay_s 5.

    Without --dir it is the box of BEAMTIME_SITE, or else the one demo that runs.
    """
    values = _ask(context, directory, "PUT", "/knobs", {knob: _parsed(value)})
    typer.echo(f"{knob} = {_shown(values[knob])}")


@app.command()
def show(context: typer.Context, directory: Directory = None) -> None:
    """Show the knobs, how often each service was asked, and the mails of a running box."""
    # Not at the top: the main command mounts this module at every start, for whatever it is asked.
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    state = _ask(context, directory, "GET", "/")
    knobs = Table("knob", "value", "what it may be", box=None, pad_edge=False)
    for name, value in state["knobs"].items():
        knobs.add_row(name, f"[bold]{escape(_shown(value))}[/]", escape(state["allowed"][name]))
    counts = ", ".join(f"{count} {word}" for word, count in state["mail_counts"].items())
    console = Console()
    console.print(knobs)
    errands = ", ".join(f"{count} {word}" for word, count in state["errands"].items())
    hosts = ", ".join(f"{count['commands']} commands on {name}" for name, count in state["hosts"].items())
    console.print(
        f"\nschedule: {state['requests']} requests   mail: {counts}   errands: {errands}", highlight=False
    )
    console.print(f"hosts: {hosts or 'none, the places are directories of this computer'}", highlight=False)
    for mail in state["mails"]:
        line = f"  {Path(mail['path']).name}  {mail['subject']}"
        console.print(escape(line), highlight=False, soft_wrap=True)


@app.command()
def reset(context: typer.Context, directory: Directory = None) -> None:
    """Take every knob of a running box back to its default."""
    _ask(context, directory, "DELETE", "/knobs")
    typer.echo("every knob is at its default")


def _serve(given: str, anchor: date | None, local: bool) -> None:
    with _signals() as come:
        box = _box(Path(given), anchor, local)
        try:
            box.start()
        except SimError as error:
            _fail(error)
        for note in box.notes:
            typer.echo(note, err=True)
        typer.echo(f"READY site={given.rstrip('/') or '/'}/site.yaml")
        come.recv(1)
        box.stop()


@contextmanager
def _signals() -> Generator[socket.socket]:
    """A socket that can be read once SIGTERM or SIGINT came.

    An Event that a handler sets can deadlock with its wait. To block the signals would do, but commands on
    the hosts would inherit that. The handlers are there because a shell starts a background process with
    SIGINT ignored.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)
    come, told = socket.socketpair()
    with come, told:
        told.setblocking(False)
        before = signal.set_wakeup_fd(told.fileno())
        handlers = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
        try:
            yield come
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)


def _box(directory: Path, anchor: date | None, local: bool) -> Any:
    try:
        from beamtime_sim.box import Box
    except ModuleNotFoundError as error:
        _fail(BoxError(f"the box needs {error.name}; install it with: pip install 'beamtime-ioc[sim]'"))
    return Box(directory, anchor, local=local)


def _ask(context: typer.Context, directory: str | None, method: str, path: str, body: object = None) -> Any:
    from beamtime_sim.remote import ask
    from beamtime_sim.settings import Settings
    from beamtime_sim.which_box import KEPT, box_meant

    try:
        given = Path(directory or context.obj or box_meant(os.environ))
    except BoxError as error:
        _fail(error)
    settings = given / KEPT
    if not settings.exists():
        _fail(BoxError(f"{given} holds no box; start one with: beamtime sim --dir {given}"))
    try:
        port = Settings.read(settings).ports["control"]
        return ask(port, method, path, body)
    except NobodyAnswersError as error:
        _fail(BoxError(f"{error}; start the box with: beamtime sim --dir {given}"), NO_ANSWER)
    except SimError as error:
        _fail(error)


def _required(directory: str | None) -> str:
    if directory is None:
        raise typer.BadParameter("say which directory: --dir DIR", param_hint="--dir")
    return directory


def _parsed(text: str) -> Any:
    if text == "default":
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shown(value: object) -> str:
    """So that it can be typed again."""
    if value is None:
        return "default"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fail(error: SimError, code: int = WRONG) -> NoReturn:
    typer.echo(f"beamtime sim: {error}", err=True)
    raise typer.Exit(code)
