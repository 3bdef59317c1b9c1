"""`beamtime resolve`: answer one thing that may or may not have happened."""

import json
from typing import Annotated

import typer

from beamtime_ioc.cli_options import BAD_INPUT, PrefixOption, SiteOption, connect, fail, require_text
from beamtime_ioc.model import Answer


def resolve(
    run: Annotated[str, typer.Argument(help="The run's number, or the end of it.", show_default=False)],
    step: Annotated[
        str,
        typer.Argument(
            help="The doubt's step or its number in `history show`; `run`: all of it, to give it up.",
            show_default=False,
        ),
    ],
    answer: Annotated[str, typer.Argument(help=f"One of: {', '.join(Answer)}.", show_default=False)],
    prefix: PrefixOption = "",
    site: SiteOption = None,
) -> None:
    """Answer what may or may not have happened, so that it is unsure no more.

    "it happened": it counts as done. "do it again": a new run does what is missing. "give up": it is left
    as it is, and no later press does it.

    beamtime resolve 4f66b5 1 "it happened"

    Exit code 0: the IOC took the answer; 2: refused, with the reason; 3: no IOC answers.
    """
    if answer not in list(Answer):
        fail(f"{answer!r} is no answer; these are: {', '.join(Answer)}", BAD_INPUT)
    require_text(run, step)
    text = json.dumps({"run": run, "step": step, "answer": answer}, ensure_ascii=False)
    with connect(prefix, site) as client:
        client.write("Resolve", text)
    typer.echo(f"{run}: {step}: {answer}")
