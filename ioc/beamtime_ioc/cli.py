"""The command `beamtime`."""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from beamtime_ioc.errors import BeamtimeError, NoAnswerError

if TYPE_CHECKING:
    from beamtime_ioc.client import Client
    from beamtime_ioc.journal import RunRecord

EXIT_CODES = (
    "Exit codes: 0 done; 1 it did not end well; 2 a file, an option or the state is wrong; 3 no answer."
)
BAD_END, BAD_INPUT, NO_ANSWER = 1, 2, 3

cli = typer.Typer(
    name="beamtime",
    help=f"Takes a beamline from who is on beam to data that are safe and shared. {EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SiteArgument = Annotated[Path, typer.Argument(metavar="SITE.yaml", help="The site file.", show_default=False)]
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


def fail(text: str, code: int) -> NoReturn:
    typer.echo(f"beamtime: {text}", err=True)
    raise typer.Exit(code)


@cli.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Say the version and end.")] = False,
) -> None:  # pyright: ignore[reportUnusedFunction]
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"beamtime-ioc {version_of('beamtime-ioc')}")
        raise typer.Exit


@cli.command()
def serve(
    site: SiteArgument,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log also what is only for developers.")
    ] = False,
) -> None:
    """Serve a site's records until SIGTERM or Ctrl-C.

    Prints one line `READY prefix=... ca=PORT pva=PORT` (search ports) when every record answers
    and presses are taken. The log goes to stderr. Exit code 0 after SIGTERM, 2 if it cannot start.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for name in ("asyncio", "caproto", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from beamtime_ioc.app import serve as serve_site

    asyncio.run(serve_site(site, lambda line: typer.echo(line)))


@cli.command()
def check(site: SiteArgument) -> None:
    """Check a site file, and whether each service answers; nothing is changed.

    One line per thing that was looked at. Exit code 0 if all is well, 1 if a service or a directory is
    not, 2 if the site file itself is wrong.
    """
    from beamtime_ioc.check import check_site

    well = True
    for ok, sentence in check_site(site):
        typer.echo(f"{'ok   ' if ok else 'FAULT'} {sentence}")
        well &= ok
    if not well:
        raise typer.Exit(BAD_END)


@cli.command()
def press(
    action: Annotated[str, typer.Argument(help="BeginBeamtime or begin-beamtime.", show_default=False)],
    wait: Annotated[bool, typer.Option("--wait", help="Show the progress and return at the end.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only show what it would do.")] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Ask the running action to end at its next step.")
    ] = False,
    prefix: PrefixOption = "",
    site: SiteOption = None,
) -> None:
    """Press a button of a running IOC.

    Exit code 0: taken (with --wait: ended Done or Problems); 1: it ended otherwise; 2: refused, with the
    reason; 3: no IOC answers.
    """
    if wait + preview + abort > 1:
        fail("--wait, --preview and --abort exclude each other", BAD_INPUT)
    button = button_name(action)
    with connect(prefix, site) as client:
        try:
            _press(client, button, wait=wait, preview=preview, abort=abort)
        except NoAnswerError:
            known = client.buttons()  # raises too when it is the IOC that does not answer
            if button in known:
                raise
            fail(f"there is no button {button}; there are {', '.join(known)}", BAD_INPUT)


def _press(client: "Client", button: str, *, wait: bool, preview: bool, abort: bool) -> None:
    from beamtime_ioc.show import follow

    if preview:
        client.press(f"{button}Preview", wait=True)
        typer.echo(client.read(f"{button}Plan"))
    elif abort:
        view = client.view(button)
        if view.state.ended:
            fail(f"{button} is not at work: {view.state}", BAD_INPUT)
        client.press(f"{button}Abort")
        typer.echo(f"{button}: abort asked")
    elif wait:
        view = follow(client, button)
        if not view.state.ended_well:
            raise typer.Exit(BAD_END)
    else:
        client.press(button)
        view = client.view(button)
        typer.echo(f"{button}: run {view.run_id} {view.state}")


@cli.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing, until Ctrl-C.")] = False,
    prefix: PrefixOption = "",
    site: SiteOption = None,
) -> None:
    """Show whose experiment it is and how each action stands. Exit code 3: no IOC answers."""
    from beamtime_ioc.show import show_status

    with connect(prefix, site) as client:
        show_status(client, watch=watch)


@cli.command()
def history(
    site: SiteOption = None,
    state: Annotated[Path | None, typer.Option("--state", help="State directory, instead of --site.")] = None,
    action: Annotated[str, typer.Option("--action", help="Only this action.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of the newest.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List past and present runs, newest first; reads only, also while the IOC runs.

    Times are UTC. Exit code 2: no state directory there.
    """
    from beamtime_ioc.config import read_site_file
    from beamtime_ioc.journal import reading
    from beamtime_ioc.store import is_held

    if state is None:
        if site is None:
            fail(
                "name the site file by --site (or BEAMTIME_SITE), or the state directory by --state",
                BAD_INPUT,
            )
        file = read_site_file(site)
        state = file.resolve(file.frame.state)
    with reading(state) as journal:
        alive = is_held(state)
        for record in journal.last(limit, action_name(action) if action else None):
            if as_json:
                typer.echo(json.dumps(_as_json(record), ensure_ascii=False))
            else:
                typer.echo(_as_line(record, "" if alive else WITHOUT_IOC))


WITHOUT_IOC = "waits for the next start of the IOC"


def _as_line(record: "RunRecord", unended: str = "") -> str:
    name = record.experiment.name if record.experiment else "-"
    message = record.message if record.state.ended else unended
    return (
        f"{record.pressed:%Y-%m-%d %H:%M:%SZ}  {record.id}  {record.action:<18}  {record.state:<8}  "
        f"{record.seconds:7.1f} s  {name}  {record.who}  {message}"
    ).rstrip()


def _as_json(record: "RunRecord") -> dict[str, Any]:
    return {
        "run": record.id,
        "action": record.action,
        "state": record.state,
        "who": str(record.who),
        "experiment": record.experiment.key if record.experiment else None,
        "message": record.message,
        "advice": record.advice,
        "pressed": record.pressed.isoformat(),
        "ended": record.ended.isoformat() if record.ended else None,
    }


@cli.command()
def export(
    directory: Annotated[Path, typer.Argument(help="Where the files are written.", show_default=False)],
    site: SiteOption = None,
) -> None:
    """Write what follows from the records: one flat .db, the .req for autosave, the two
    reference pages.

    With --site the site's own records are in them. Exit code 2 if a file is wrong.
    """
    from beamtime_ioc.export import write_all

    for path in write_all(directory, site):
        typer.echo(path)


@cli.command()
def demo(
    stay: Annotated[
        bool, typer.Option("--stay", help="Go on serving, and say what to type elsewhere.")
    ] = False,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Where the facility lives; default: a new temporary directory."),
    ] = None,
) -> None:
    """Start the facility in a box and an IOC, press BeginBeamtime, and look what came of it.

    Exit code 0: directories and letters were found; 1: something is missing.
    """
    from beamtime_ioc.demo import run_demo

    raise typer.Exit(run_demo(directory, stay=stay, say=typer.echo))


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


def _add_commands(wanted: str | None) -> None:
    """The sub-commands of installed packages: only the one that is called is imported, all for the help."""
    from beamtime_ioc.registry import load_commands

    for name, app in load_commands(wanted):
        cli.add_typer(app, name=name)


def main() -> None:
    """Run the command line; every failure is one line on stderr."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    own = {command.callback.__name__ for command in cli.registered_commands if command.callback}
    try:
        if not words or words[0] not in own:
            _add_commands(words[0] if words else None)
        cli()
    except NoAnswerError as error:
        code, text = NO_ANSWER, str(error)
    except BeamtimeError as error:
        code, text = BAD_INPUT, str(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code, text = 0, ""
    except KeyboardInterrupt:
        code, text = 130, ""
    else:
        code, text = 0, ""
    if text:
        print(f"beamtime: {text}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
