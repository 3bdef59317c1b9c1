"""`beamtime worker`: the actions of one queue, on another host."""

from typing import Annotated

import typer

from beamtime_ioc.cli_options import SiteArgument, log_to_stderr


def worker(
    site: SiteArgument,
    queue: Annotated[str, typer.Option("--queue", help="What it works on, as @action(queue=...) names it.")],
    name: Annotated[
        str,
        typer.Option("--name", help="Of this worker, the same after a restart; default: host:queue."),
    ] = "",
) -> None:
    """Do the actions of one queue on this host, until SIGTERM or Ctrl-C; needs PostgreSQL.

    Prints one line `READY worker=NAME queue=QUEUE`. The log goes to stderr. Exit code 0 after SIGTERM; 1 when
    it lost its name with the connection to the database (start it again); 2 if it cannot start.
    """
    log_to_stderr()
    from beamtime_ioc.worker import work

    raise typer.Exit(work(site, queue, name, typer.echo))
