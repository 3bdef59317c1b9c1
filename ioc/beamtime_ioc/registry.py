"""What is installed: actions, services and sub-commands, found by their entry points."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from beamtime_ioc.action import Action
from beamtime_ioc.config import SiteFile, line_of
from beamtime_ioc.errors import BeamtimeError, SiteFileError
from beamtime_ioc.ports import ServiceModule

ACTIONS, SERVICES, COMMANDS = "beamtime.handlers", "beamtime.services", "beamtime.commands"


def load_actions() -> Mapping[str, Action]:
    """All installed actions by name.

    Raises
    ------
    BeamtimeError
        An entry point names something that is no action, or cannot be imported.
    """
    actions: dict[str, Action] = {}
    for point in entry_points(group=ACTIONS):
        loaded = _load(point)
        if not isinstance(loaded, Action) or loaded.name != point.name:
            raise BeamtimeError(
                f"the entry point {point.name} = {point.value} is no action of that name",
                advice=f'decorate the handler with @action("{point.name}", ...)',
            )
        _check_arguments(loaded)
        _check_arm(loaded)
        actions[point.name] = loaded
    _check_queues(actions.values())
    return actions


def _check_arguments(action: Action) -> None:
    try:
        inspect.signature(action.handler).bind(None, None)
    except TypeError as error:
        raise BeamtimeError(
            f"the handler of {action.name} cannot be called with a run and an experiment: {error}",
            advice="begin it with def handler(run, experiment), and give any other argument a default",
        ) from error


def _check_arm(action: Action) -> None:
    if action.needs_arm and not action.needs_experiment:
        raise BeamtimeError(
            f"{action.name} has to be armed and needs no experiment: nothing can arm it",
            advice="leave out irreversible= and armed=, or needs_experiment=",
        )


def _check_queues(actions: Iterable[Action]) -> None:
    """Runs of one resource never overlap: only one queue can see to that."""
    queues: dict[str, Action] = {}
    for action in actions:
        other = queues.setdefault(action.resource, action)
        if other.queue != action.queue:
            raise BeamtimeError(
                f"{action.name} and {other.name} have the resource {action.resource} and different queues",
                advice="give both the same queue=, or resources of their own",
            )
        if action.queue and action.exclusive:
            raise BeamtimeError(
                f"{action.name} is exclusive and has a queue: only the IOC knows what else runs",
                advice="leave out queue= or exclusive=",
            )


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise BeamtimeError(
            f"the entry point {point.name} = {point.value} cannot be loaded: {error}",
            advice=f"install {point.dist.name if point.dist else 'its package'} again",
        ) from error


def load_services(file: SiteFile) -> Iterator[tuple[str, ServiceModule]]:
    """The module for each service's section of a site file.

    Raises
    ------
    SiteFileError
        A section that no installed package knows, or an unknown backend.
    """
    points = {point.name: point for point in entry_points(group=SERVICES)}
    backends: dict[str, list[str]] = {}
    for name in sorted(points):
        section, _, backend = name.partition(".")
        backends.setdefault(section, []).append(backend)
    for section, content in file.sections.items():
        known = backends.get(section)
        line = line_of(file.lines, (section,))
        if known is None:
            allowed = ", ".join([*type(file.frame).model_fields, *sorted(backends)])
            raise SiteFileError(file.path, line, f"unknown key {section!r}; allowed are {allowed}")
        backend = content.get("backend")
        if backend not in known:
            line = line_of(file.lines, (section, "backend"))
            what = "is missing" if backend is None else f"{backend!r} is unknown"
            raise SiteFileError(file.path, line, f"{section}.backend: {what}; allowed are {', '.join(known)}")
        yield section, cast(ServiceModule, _load(points[f"{section}.{backend}"]))


def load_commands(wanted: str | None = None) -> Iterator[tuple[str, Any]]:
    """The typer apps of installed packages, such as `sim`: the wanted one, or all."""
    for point in entry_points(group=COMMANDS):
        if wanted in (None, point.name):
            yield point.name, _load(point)
