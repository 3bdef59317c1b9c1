"""``beamtime sim``: start the facility in a box, and turn the knobs of one that runs.

Exit codes: 0 done; 2 a directory, file, port or knob is wrong; 3 the box does not answer. One line on stderr
says which.
"""

import json
import signal
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


@app.callback(invoke_without_command=True)
def sim(context: typer.Context, directory: Directory = None, anchor: Anchor = None) -> None:
    """Start the box in the foreground; it ends with Ctrl-C or SIGTERM.

    One line goes to stdout when everything answers: READY site=DIR/site.yaml.
    """
    context.obj = directory
    if context.invoked_subcommand is None:
        _serve(_required(directory), None if anchor is None else anchor.date())


@app.command("set")
def set_knob(
    context: typer.Context,
    knob: Annotated[str, typer.Argument(metavar="KNOB", help="Such as schedule.delay_s; see `show`.")],
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="JSON or a plain word; `default` takes the knob back.")
    ],
    directory: Directory = None,
) -> None:
    """Turn one knob of a running box: beamtime sim set mail.refuse 'ren.obrien@example.org' --dir DIR."""
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
    console.print(
        f"\nschedule: {state['requests']} requests   mail: {counts}   errands: {errands}", highlight=False
    )
    for mail in state["mails"]:
        line = f"  {Path(mail['path']).name}  {mail['subject']}"
        console.print(escape(line), highlight=False, soft_wrap=True)


@app.command()
def reset(context: typer.Context, directory: Directory = None) -> None:
    """Take every knob of a running box back to its default."""
    _ask(context, directory, "DELETE", "/knobs")
    typer.echo("every knob is at its default")


def _serve(given: str, anchor: date | None) -> None:
    # Blocked in all threads and waited for in this one: an Event set by a handler can deadlock with its wait.
    # The handlers are there because a shell starts a background process with SIGINT ignored.
    signals = (signal.SIGTERM, signal.SIGINT)
    handlers = {number: signal.signal(number, lambda _number, _frame: None) for number in signals}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        box = _box(Path(given), anchor)
        try:
            box.start()
        except SimError as error:
            _fail(error)
        for note in box.notes:
            typer.echo(note, err=True)
        typer.echo(f"READY site={given.rstrip('/') or '/'}/site.yaml")
        signal.sigwait(signals)
        box.stop()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _box(directory: Path, anchor: date | None) -> Any:
    try:
        from beamtime_sim.box import Box
    except ModuleNotFoundError as error:
        _fail(BoxError(f"the box needs {error.name}; install it with: pip install 'beamtime-ioc[sim]'"))
    return Box(directory, anchor)


def _ask(context: typer.Context, directory: str | None, method: str, path: str, body: object = None) -> Any:
    from beamtime_sim.remote import ask
    from beamtime_sim.settings import Settings

    given = Path(_required(directory or context.obj))
    settings = given / "sim.yaml"
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
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fail(error: SimError, code: int = WRONG) -> NoReturn:
    typer.echo(f"beamtime sim: {error}", err=True)
    raise typer.Exit(code)
