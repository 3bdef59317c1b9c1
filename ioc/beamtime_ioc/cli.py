"""The command `beamtime`."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beamtime_ioc.cli_audit import audit
from beamtime_ioc.cli_crash import crash_test
from beamtime_ioc.cli_history import history
from beamtime_ioc.cli_options import (
    BAD_END,
    BAD_INPUT,
    EXIT_CODES,
    NO_ANSWER,
    PrefixOption,
    SiteArgument,
    SiteOption,
    button_name,
    connect,
    fail,
    log_to_stderr,
    parse_arguments,
)
from beamtime_ioc.cli_resolve import resolve
from beamtime_ioc.cli_screens import screens
from beamtime_ioc.cli_worker import worker
from beamtime_ioc.errors import BeamtimeError, NoAnswerError

if TYPE_CHECKING:
    from beamtime_ioc.client import Client

cli = typer.Typer(
    name="beamtime",
    help=f"Takes a beamline from who is on beam to data that are safe and shared. {EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
    gc.disable()  # it would look through all that is imported, again and again; the IOC enables it
    log_to_stderr(logging.DEBUG if verbose else logging.INFO)
    from beamtime_ioc.app import serve as serve_site
    from beamtime_ioc.faces.descriptors import raise_limit

    raise_limit()
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
    arm: Annotated[
        str,
        typer.Option(
            "--arm",
            help="For what cannot be undone: the name of the experiment that is meant.",
            show_default=False,
        ),
    ] = "",
    arg: Annotated[
        list[str] | None,
        typer.Option(
            "--arg",
            metavar="NAME=VALUE",
            help="An argument of the action, as JSON or as a text; may be given again.",
            show_default=False,
        ),
    ] = None,
    prefix: PrefixOption = "",
    site: SiteOption = None,
) -> None:
    """Press a button of a running IOC.

    Exit code 0: taken (with --wait: ended Done or Problems); 1: it ended otherwise; 2: refused, with the
    reason; 3: no IOC answers.
    """
    if wait + preview + abort > 1:
        fail("--wait, --preview and --abort exclude each other", BAD_INPUT)
    if arm and (preview or abort):
        fail("--arm is for a press", BAD_INPUT)
    if arg and abort:
        fail("--arg is for a press or a preview", BAD_INPUT)
    arguments = parse_arguments(arg or [])
    button = button_name(action)
    with connect(prefix, site) as client:
        try:
            if arm:
                client.write(f"{button}Arm", arm)
            _press(client, button, arguments, wait=wait, preview=preview, abort=abort)
        except NoAnswerError as error:
            known = client.buttons()  # raises too when it is the IOC that does not answer
            if button in known and error.name == f"{client.prefix}{button}Arm":
                fail(f"{button} needs no arm; press it without --arm", BAD_INPUT)
            if button in known:
                raise
            fail(f"there is no button {button}; there are {', '.join(known)}", BAD_INPUT)


def _press(
    client: "Client",
    button: str,
    arguments: Mapping[str, object],
    *,
    wait: bool,
    preview: bool,
    abort: bool,
) -> None:
    from beamtime_ioc.show import follow

    def begin() -> None:
        if arguments:
            client.call(button, arguments)
        else:
            client.press(button)

    if preview and arguments:
        typer.echo(client.call(button, arguments, preview=True))
    elif preview:
        client.press(f"{button}Preview", wait=True)
        typer.echo(client.read(f"{button}Plan"))
    elif abort:
        view = client.view(button)
        if view.state.ended:
            fail(f"{button} is not at work: {view.state}", BAD_INPUT)
        client.press(f"{button}Abort")
        typer.echo(f"{button}: abort asked")
    elif wait:
        view = follow(client, button, begin)
        if not view.state.ended_well:
            raise typer.Exit(BAD_END)
    else:
        begin()
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


cli.add_typer(history, name="history")
cli.command()(audit)
cli.command()(worker)
cli.command()(resolve)
cli.command()(crash_test)
cli.command()(screens)


@cli.command()
def export(
    directory: Annotated[Path, typer.Argument(help="Where the files are written.", show_default=False)],
    site: SiteOption = None,
    only_check: Annotated[
        bool, typer.Option("--check", help="Write nothing; name what is not as it would be written.")
    ] = False,
    only_screens: Annotated[
        bool, typer.Option("--screens", help="Only the screens, into medm/ and phoebus/ there.")
    ] = False,
) -> None:
    """Write what follows from the records: one flat .db, the .req for autosave, the two
    reference pages, the screens for MEDM and Phoebus.

    With --site the site's own records are in them. Exit code 1 if --check finds a difference, 2 if a file
    is wrong.
    """
    from beamtime_ioc.export import differing, write_all

    if only_check:
        faults = differing(directory, site, only_screens=only_screens)
        for fault in faults:
            typer.echo(fault)
        raise typer.Exit(BAD_END if faults else 0)
    for path in write_all(directory, site, only_screens=only_screens):
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


def _add_commands(wanted: str | None) -> None:
    """The sub-commands of installed packages: only the one that is called is imported, all for the help."""
    from beamtime_ioc.registry import load_commands

    for name, app in load_commands(wanted):
        cli.add_typer(app, name=name)


def main() -> None:
    """Run the command line; every failure is one line on stderr."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    own = {command.callback.__name__ for command in cli.registered_commands if command.callback}
    own |= {group.name for group in cli.registered_groups if group.name}
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
