"""`beamtime screens`: opens the operators' screens with the program that is installed."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from beamtime_ioc.cli_options import BAD_INPUT, PrefixOption, SiteOption, fail

START = "beamtime"
PROGRAMS = {"medm": ("medm",), "phoebus": ("phoebus", "phoebus.sh", "css")}


def screens(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[SITE.yaml]", help="The site file; the same as --site.", show_default=False),
    ] = None,
    medm: Annotated[bool, typer.Option("--medm", help="With MEDM; else with what is installed.")] = False,
    phoebus: Annotated[bool, typer.Option("--phoebus", help="With Phoebus.")] = False,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Of screens that `beamtime export` wrote for a site.", show_default=False),
    ] = None,
    prefix: PrefixOption = "",
    site: SiteOption = None,
) -> None:
    """Open the operators' screens.

    The prefix comes from --prefix or the site file. The screens of a site with records of its own are written
    first, into the user's cache. Exit code 2: neither program is installed; then the command is said that
    would have been run.
    """
    from beamtime_ioc.screens.opening import opening

    site = file or site
    kinds = [kind for kind, wanted in (("medm", medm), ("phoebus", phoebus)) if wanted] or list(PROGRAMS)
    found = [(kind, path) for kind in kinds for name in PROGRAMS[kind] if (path := shutil.which(name))]
    kind, program = found[0] if found else (kinds[0], PROGRAMS[kinds[0]][0])
    if directory is None and site is not None:
        directory = _own_screens(site, kind)
    words, environment = opening(kind, program, prefix, site, directory)
    if not found:
        missing = "neither medm nor phoebus" if len(kinds) > 1 else kinds[0]
        verb = "can" if len(kinds) > 1 else "cannot"
        told = shlex.join(["env", *(f"{name}={value}" for name, value in environment.items()), *words])
        fail(f"{missing} {verb} be found; install one, or run elsewhere: {told}", BAD_INPUT)
    subprocess.Popen(words, env={**os.environ, **environment}, start_new_session=True)
    typer.echo(f"{START}: {shlex.join(words)}")


def _own_screens(site: Path, kind: str) -> Path | None:
    """The screens of a site with records of its own or a box, written anew; None: those of the program."""
    from beamtime_ioc.config import read_site_file
    from beamtime_ioc.export import write_all

    frame = read_site_file(site).frame
    if not frame.records and frame.sim is None:
        return None
    name = "".join(letter if letter.isalnum() else "-" for letter in frame.prefix)
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beamtime-ioc" / name
    write_all(directory, site, only_screens=True)
    return directory / kind
