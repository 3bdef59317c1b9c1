"""A run that was gone through once without a kill, and what its repetitions need."""

import shutil
import tempfile
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from beamtime_ioc.action import Action
from beamtime_ioc.engine.engine import Order, new_run_id
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Experiment, Json, Who
from beamtime_ioc.registry import load_actions
from beamtime_ioc.testing.edges import Edge
from beamtime_ioc.testing.fork_server import ForkServer, Preparation, words_for
from beamtime_ioc.testing.job import Job, Lived
from beamtime_ioc.testing.losing import Loss
from beamtime_ioc.testing.matrix import OWN_COUNT, WELL, Ending, Matrix, Thing, judge
from beamtime_ioc.testing.world import World

THIS_RUN = "this-run"
"""Stands in titles for the run's id."""

CLAIMED = ("claim",)
MADE = ("make", "write")


@contextmanager
def trial(
    action: Action | str,
    world: World,
    *,
    experiment: Experiment | None,
    arguments: Mapping[str, Json] | None,
    actions: Sequence[Action],
    after: Sequence[str],
    directory: Path | None,
    http_ports: Collection[int] = (),
) -> Generator["Trial"]:
    """Start the fork server and learn the run; the parameters are those of `crash_matrix`.

    Parameters
    ----------
    http_ports
        Calls that go there are listed.
    """
    given = [*actions, *([] if isinstance(action, str) else [action])]
    found = action if isinstance(action, Action) else _installed(action, given)
    for name in after:
        _installed(name, given)
    own = Path(tempfile.mkdtemp(prefix="beamtime-crash-")) if directory is None else directory
    own.mkdir(parents=True, exist_ok=True)
    try:
        outside = world.fresh(_empty(own / "prepared"))
        preparation = Preparation(
            actions=tuple(map(words_for, given)), state=own / "prepared" / "state", outside=outside
        )
        with ForkServer(preparation) as server:
            yield Trial(
                found,
                world,
                server,
                experiment=experiment or world.experiment(),
                arguments=arguments or {},
                after=tuple(after),
                directory=own,
                http_ports=frozenset(http_ports),
            )
    finally:
        if directory is None:
            shutil.rmtree(own)


def _installed(name: str, given: Sequence[Action]) -> Action:
    known = {**load_actions(), **{action.name: action for action in given}}
    if name not in known:
        raise BeamtimeError(
            f"there is no action {name}; there are {', '.join(sorted(known))}",
            advice="install the package that has it",
        )
    return known[name]


def _empty(directory: Path) -> Path:
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    return directory


class Trial:
    """One action in one world.

    Attributes
    ----------
    edges
        Those of the run without a kill, in order.
    things
        What that run made, once each.
    calls
        Its HTTP calls, as port, method and path.

    Raises
    ------
    BeamtimeError
        The run does not end well, or it makes something not exactly once.
    """

    def __init__(
        self,
        action: Action,
        world: World,
        server: ForkServer,
        *,
        experiment: Experiment | None,
        arguments: Mapping[str, Json],
        after: tuple[str, ...],
        directory: Path,
        http_ports: frozenset[int],
    ) -> None:
        self.action, self.world, self.directory, self.server = action, world, directory, server
        self._experiment, self._arguments, self._http_ports = experiment, arguments, http_ports
        self._number, self._after = 0, after
        (lived,) = server.go_through([self.job(learns=True)], 1)
        self.edges = lived.passed[0]
        self.calls, self.things = self._learn(lived)

    def _learn(self, lived: Lived) -> tuple[Sequence[tuple[int, str]], Sequence[Thing]]:
        what = f"{self.action.name} without any kill"
        if lived.ended is None:
            raise BeamtimeError(f"{what}: {lived.fault}", advice="mend the handler first")
        outcome = lived.ended.outcome
        if outcome.state not in WELL:
            raise BeamtimeError(f"{what} ended {outcome.state}: {outcome.message}", advice="mend that first")
        things = list(self._things(lived, lived.ended.causes))
        if wrong := judge(things, Ending(edge="", lived=lived)):
            raise BeamtimeError(f"{what}: {wrong[0].sentence}", advice="mend that first")
        return lived.ended.calls, things

    def _things(self, lived: Lived, causes: Mapping[str, str]) -> Sequence[Thing]:
        claimed = {edge.title for edge in lived.passed[0] if edge.what in CLAIMED}
        made = dict.fromkeys(edge.title for edge in lived.passed[0] if edge.what in MADE)
        outside = {causes.get(name, name): name for name in lived.made}
        titles = dict.fromkeys(edge.title for edge in lived.passed[0])
        order = [title for title in titles if title in made or title in outside]
        order += [title for title in outside if title not in titles]
        things: list[Thing] = []
        for title in order:
            names = [name for name in lived.made if causes.get(name, name) == title]
            by = [(name, self.world.counted_by(name)) for name in names] or [(title, OWN_COUNT)]
            things += [
                Thing(name=name, title=title, counted_by=log, may_be_unsure=title in claimed)
                for name, log in by
            ]
        return things

    def job(
        self,
        *,
        deaths: tuple[frozenset[str], ...] = (),
        loss: Loss | None = None,
        learns: bool = False,
    ) -> Job:
        """A repetition in a fresh outside, for an experiment of its own."""
        number, self._number = self._number, self._number + 1
        directory = _empty(self.directory / f"{number:03}")
        experiment, plain = self._experiment, [(str(directory), "")]
        if experiment is not None:
            own = {"key": f"{experiment.key}-{number:03}", "name": f"{experiment.name}-{number:03}"}
            plain += [(own["key"], experiment.key), (own["name"], experiment.name)]
            experiment = replace(experiment, **own)
        order = Order(
            id=new_run_id(),
            action=self.action.name,
            resource=self.action.resource,
            who=Who(via="local", user="crash-test"),
            experiment=experiment,
            arguments=self._arguments,
            queue=self.action.queue,
        )
        return Job(
            number=number,
            directory=directory,
            order=order,
            outside=self.world.fresh(directory),
            plain=(*plain, (order.id, THIS_RUN)),
            after=self._after,
            deaths=deaths,
            loss=loss,
            http_ports=self._http_ports,
            learns=learns,
        )

    def deaths(self, edge: Edge, *, in_recovery: bool) -> tuple[frozenset[str], ...]:
        """Where lives end: the first at the edge, the second, if it shall, at the next one behind it."""
        first = (frozenset([str(edge)]),)
        behind = self.edges[self.edges.index(edge) + 1 :]
        return (*first, frozenset(map(str, behind))) if in_recovery and behind else first

    def matrix(self, endings: Sequence[Ending], began: float) -> Matrix:
        failures = [failure for ending in endings for failure in judge(self.things, ending)]
        return Matrix(
            action=self.action.name,
            things=self.things,
            endings=endings,
            failures=failures,
            seconds=time.monotonic() - began,
        )
