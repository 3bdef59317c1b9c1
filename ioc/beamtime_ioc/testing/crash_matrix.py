"""kill -9 at every edge of a handler, and every reply lost: what is made how often is counted outside."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from beamtime_ioc.action import Action
from beamtime_ioc.model import Experiment, Json
from beamtime_ioc.testing.edges import Edge
from beamtime_ioc.testing.job import Lived
from beamtime_ioc.testing.losing import Loss
from beamtime_ioc.testing.matrix import Ending, Matrix
from beamtime_ioc.testing.trial import Trial, trial
from beamtime_ioc.testing.world import LossyWorld, World

Keep = Callable[[Edge], bool]


def crash_matrix(
    action: Action | str,
    *,
    world: World,
    experiment: Experiment | None = None,
    arguments: Mapping[str, Json] | None = None,
    actions: Sequence[Action] = (),
    after: Sequence[str] = (),
    directory: Path | None = None,
    at_once: int | None = None,
    only: Keep = lambda _: True,
    in_recovery: bool = False,
) -> Matrix:
    """Run an action once to learn its edges, then once for each edge with the process killed exactly there.

    A second process then goes on from the same state directory. Each edge has an outside and, in name and
    key, an experiment of its own.

    Parameters
    ----------
    action
        Or the name of an installed one.
    world
        Builds the clients, and counts what was made in the outside's own logs.
    experiment
        What the action is pressed for; the world's, if it is not said.
    actions
        What the action calls and is not installed.
    after
        Names of actions that are pressed before it, each to its end, for the same experiment.
    directory
        Keeps state, logs and what was made, by edge; a temporary one, removed at the end, if it is not said.
    at_once
        How many edges at a time; as many as there are processors, if it is not said.
    only
        Which edges, if not all.
    in_recovery
        Kill the second process, too, at the next edge that it passes, and let a third one end it.

    Raises
    ------
    BeamtimeError
        Without any kill the run does not end well, or makes something not exactly once.
    """
    with trial(
        action,
        world,
        experiment=experiment,
        arguments=arguments,
        actions=actions,
        after=after,
        directory=directory,
    ) as learned:
        edges = [edge for edge in learned.edges if only(edge)]
        jobs = [learned.job(deaths=learned.deaths(edge, in_recovery=in_recovery)) for edge in edges]
        names = {job.number: str(edge) for job, edge in zip(jobs, edges, strict=True)}
        began = time.monotonic()
        found = learned.server.go_through(jobs, at_once or os.cpu_count() or 1)
        endings = [Ending(edge=names[lived.number], lived=_see_killed(lived)) for lived in found]
        return learned.matrix(sorted(endings, key=lambda ending: ending.lived.number), began)


def lost_replies(
    action: Action | str,
    *,
    world: LossyWorld,
    experiment: Experiment | None = None,
    arguments: Mapping[str, Json] | None = None,
    actions: Sequence[Action] = (),
    after: Sequence[str] = (),
    directory: Path | None = None,
) -> Matrix:
    """Run an action once to learn its calls, then once for each with exactly this reply lost.

    Lost is what comes back of each `make` and `once`, of each HTTP call, and of each mail; the work has been
    done. A run that then ends Failed and says so is pressed once more. The parameters are those of
    `crash_matrix`; an edge of this matrix is a call.
    """
    with trial(
        action,
        world,
        experiment=experiment,
        arguments=arguments,
        actions=actions,
        after=after,
        directory=directory,
        http_ports=world.http_ports(),
    ) as learned:
        began = time.monotonic()
        endings: list[Ending] = []
        for loss in _losses(learned, world):
            job = learned.job(loss=loss)
            with world.lose_mail(loss.recipient) if loss.recipient else nullcontext():
                endings += [
                    Ending(edge=loss.words, lived=lived) for lived in learned.server.go_through([job], 1)
                ]
        return learned.matrix(endings, began)


def _losses(learned: Trial, world: LossyWorld) -> Iterator[Loss]:
    made = dict.fromkeys(edge.title for edge in learned.edges if edge.what in ("make", "write"))
    for title in made:
        yield Loss(words=f"reply of make: {title}", title=title)
    ports = world.http_ports()
    for number, (port, call) in enumerate(learned.calls, 1):
        words = f"reply of call {number}: {ports[port]} {call}"
        yield Loss(words=words, call=number, lose=partial(world.lose_next, ports[port]))
    for thing, recipient in world.mailed([thing.name for thing in learned.things]).items():
        yield Loss(words=f"reply of the relay: {thing}", recipient=recipient)


def _see_killed(lived: Lived) -> Lived:
    """The program must come by the edge again; if not, its steps differ from run to run."""
    if lived.kills or lived.fault:
        return lived
    return replace(
        lived, ended=None, fault="it did not pass this edge again; its steps differ from run to run"
    )
