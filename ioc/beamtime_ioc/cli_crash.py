"""`beamtime crash-test`: kill -9 at every edge of an action, against the facility in a box."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beamtime_ioc.cli_options import BAD_END, BAD_INPUT, action_name, fail

if TYPE_CHECKING:
    from beamtime_ioc.testing.matrix import Matrix


def crash_test(
    action: Annotated[str, typer.Argument(help="An installed action, your own too.", show_default=False)],
    after: Annotated[
        list[str] | None,
        typer.Option("--after", help="An action to press before it, to its end; may be given again."),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Where the box lives and what is left is kept; default: a temporary one."),
    ] = None,
) -> None:
    """Kill an action at every edge, and lose every reply, and count what was made.

    Starts the facility in a box. The action runs once to learn its edges; then once for each edge, in a
    process that kills itself exactly there and another one that goes on; then once for each reply that can
    be lost. Each time in a fresh directory, for an experiment of its own. Exit code 0: each effect was made
    once, or is in doubt and says so; 1: not so; 2: there is no such action, or it does not even end well
    without a kill.
    """
    from beamtime_ioc.testing.box_world import BoxWorld
    from beamtime_ioc.testing.crash_matrix import crash_matrix, lost_replies

    name, before = action_name(action), [action_name(each) for each in after or ()]
    own = Path(tempfile.mkdtemp(prefix="beamtime-crash-")) if directory is None else directory
    if directory is not None and directory.exists() and any(directory.iterdir()):
        # A site file that lies there could name services that are no simulation.
        fail(f"{directory} is not empty; name a directory that does not exist yet", BAD_INPUT)
    well = False
    try:
        with BoxWorld.started(own / "box") as world:
            killed = crash_matrix(name, world=world, after=before, directory=own / "killed")
            well = _show(killed, f"{name}, killed at each of {len(killed.endings)} edges")
            typer.echo(f"{killed.ms_per_edge / 1000:.2f} s an edge\n")
            silent = lost_replies(name, world=world, after=before, directory=own / "lost")
            well &= _show(silent, f"{name}, with each of {len(silent.endings)} replies lost")
    finally:
        if directory is None and well:
            shutil.rmtree(own)
    if not well:
        typer.echo(f"state, logs and what was made, by edge: {own}")
        raise typer.Exit(BAD_END)


def _show(matrix: "Matrix", heading: str) -> bool:
    typer.echo(f"{heading}\n{matrix.table()}")
    for failure in matrix.failures:
        typer.echo(f"FAILED {failure}")
    if not matrix.failures:
        typer.echo("no failures")
    return not matrix.failures
