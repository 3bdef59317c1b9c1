"""The site file: read once, checked with line marks, never written."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

import pydantic
import yaml
from pydantic import BaseModel

from beamtime_ioc.errors import SiteFileError
from beamtime_ioc.frame import Frame
from beamtime_ioc.model import Beamtime, Person, Place, Site

S = TypeVar("S", bound=BaseModel)
Location = tuple[str | int, ...]

DEEPEST = 20
LONGEST_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class SiteFile:
    """A site file that was read.

    Attributes
    ----------
    sections
        The services' sections as they stand; `section` checks them.
    """

    path: Path
    frame: Frame
    sections: Mapping[str, Mapping[str, Any]]
    lines: Mapping[Location, int]

    @property
    def directory(self) -> Path:
        return self.path.parent

    def resolve(self, path: Path) -> Path:
        """A path of the file: relative ones start at the file."""
        return self.directory / path.expanduser()

    def section(self, name: str, settings: type[S]) -> S:
        """A service's section, checked by its own settings.

        Raises
        ------
        SiteFileError
            File, line, key, and what is allowed.
        """
        return _validated(settings, self.sections.get(name, {}), self.path, self.lines, (name,))

    def site(self) -> Site:
        frame = self.frame
        places = [
            Place(
                name=place.name,
                top=PurePosixPath(place.top if place.host else self.resolve(place.top).resolve()),
                path=place.path,
                mode=int(place.mode, 8),
                group=place.group,
                marker=place.marker,
                names=frame.experiment.names,
                host=place.host,
                user=place.user,
                port=place.port,
                siblings=tuple(place.siblings),
                subdirectories=tuple(place.subdirectories),
                acl=tuple(place.acl),
                mount=place.mount,
                existing=place.existing,
            )
            for place in frame.places
        ]
        site = Site(
            prefix=frame.prefix,
            beamline=frame.beamline,
            zone=ZoneInfo(frame.timezone),
            places=tuple(places),
            experiment_name=frame.experiment.name,
            open_steps=frozenset(
                (action, step)
                for action, steps in frame.without_schedule.items()
                for step, rule in steps.items()
                if rule == "open"
            ),
            names=frame.experiment.names,
        )
        self._try_templates(site)
        return site

    def check_schedules(self, buttons: Collection[str], armed: Collection[str] = ()) -> None:
        """See that each schedule presses a button that there is, and none that has to be armed.

        Parameters
        ----------
        buttons
            The names of the actions that have one.
        armed
            Those that have to be.

        Raises
        ------
        SiteFileError
            With its line, and the names that are allowed.
        """
        for index, schedule in enumerate(self.frame.schedules):
            if schedule.action not in buttons:
                allowed = ", ".join(sorted(buttons)) or "none"
                text = f"no button presses the action {schedule.action!r}; these are: {allowed}"
                raise self._wrong(("schedules", index, "action"), text)
            if schedule.action in armed and not schedule.preview:
                text = f"{schedule.action} has to be armed: a person presses it; preview: true is allowed"
                raise self._wrong(("schedules", index, "action"), text)

    def check_without_schedule(self, asking: Mapping[str, Collection[str]]) -> None:
        """See that what is said of a step without the schedule is said of one that there is.

        Parameters
        ----------
        asking
            The steps of each action that ask the schedule.

        Raises
        ------
        SiteFileError
            With its line, and the names that are allowed.
        """
        for action, steps in self.frame.without_schedule.items():
            if not asking.get(action):
                allowed = ", ".join(sorted(name for name, names in asking.items() if names)) or "none"
                text = f"no step of this action asks the schedule; those with one are: {allowed}"
                raise self._wrong(("without_schedule", action), text)
            for step in steps:
                if step not in asking[action]:
                    text = f"no step of this name asks the schedule; these are: {', '.join(asking[action])}"
                    raise self._wrong(("without_schedule", action, step), text)

    def check_neighbours(self, shown: Collection[str]) -> None:
        """See that each mirror has something to show to another IOC, and each consumer a place.

        Parameters
        ----------
        shown
            The names of the identity records.

        Raises
        ------
        SiteFileError
            With its line, and the names that are allowed.
        """
        for index, mirror in enumerate(self.frame.mirrors):
            if (mirror.tomoscan or mirror.prefix).startswith(self.frame.prefix):
                raise self._wrong(("mirrors", index), "is our own prefix; name that of another IOC")
            for name in mirror.records:
                if name not in shown:
                    text = f"no identity record has this name; these are: {', '.join(sorted(shown))}"
                    raise self._wrong(("mirrors", index, "records", name), text)
        places = [place.name for place in self.frame.places]
        for index, consumer in enumerate(self.frame.consumers):
            if consumer.place not in places:
                text = f"there is no place {consumer.place!r}; these are: {', '.join(places) or 'none'}"
                raise self._wrong(("consumers", index, "place"), text)

    def _try_templates(self, site: Site) -> None:
        now = datetime(2026, 1, 31, 8, tzinfo=site.zone)
        person = Person(first_name="Zoë", last_name="Example", is_pi=True)
        try:
            experiment = site.experiment(
                Beamtime(source="example", id="1", start=now, end=now, people=(person,))
            )
        except ValueError as error:
            raise self._wrong(("experiment", "name"), str(error)) from error
        for index, place in enumerate(site.places):
            try:
                place.path_for(experiment)
            except ValueError as error:
                raise self._wrong(("places", index, "path"), str(error)) from error

    def _wrong(self, location: Location, text: str) -> SiteFileError:
        return SiteFileError(self.path, line_of(self.lines, location), f"{dotted(location)}: {text}")


def dotted(location: Location) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def line_of(lines: Mapping[Location, int], location: Location) -> int:
    """The line of a key, or of the nearest key above it."""
    while location and location not in lines:
        location = location[:-1]
    return lines.get(location, 0)


def read_site_file(path: Path) -> SiteFile:
    """Read and check a site file; services' sections are checked when they are asked for.

    Raises
    ------
    SiteFileError
        Cannot be read; no YAML; unknown or double key, wrong type or value, with its line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_BYTES + 1)
        if len(content) > LONGEST_BYTES:
            raise SiteFileError(path, 0, "is no site file: it is too long")
        text = content.decode("utf-8")
    except OSError as error:
        raise SiteFileError(path, 0, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SiteFileError(path, 0, "is no UTF-8 text") from error
    lines: dict[Location, int] = {}
    try:
        _refuse_endless(path, text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise SiteFileError(path, 1, "should hold keys such as prefix: and places:")
        _mark(node, (), lines, path)
        document = cast(dict[Any, Any], loader.construct_document(node))  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SiteFileError(path, line, f"no YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2026-02-30 looks like a date
        raise SiteFileError(path, 0, f"no YAML: {error}") from error
    frame = {key: value for key, value in document.items() if key in Frame.model_fields}
    sections = {key: value for key, value in document.items() if key not in Frame.model_fields}
    for key, value in sections.items():
        if isinstance(key, str) and value is None:
            raise SiteFileError(path, line_of(lines, (key,)), f"{key}: is empty; it should hold keys")
        if not isinstance(value, dict) or not isinstance(key, str):
            allowed = ", ".join(Frame.model_fields)
            text = f"unknown key {key!r}; allowed are {allowed}, and a section for each service"
            raise SiteFileError(path, line_of(lines, (key,)), text)
    return SiteFile(
        path=path,
        frame=_validated(Frame, frame, path, lines, ()),
        sections=cast(Mapping[str, Mapping[str, Any]], sections),
        lines=lines,
    )


def _refuse_endless(path: Path, text: str) -> None:
    """Aliases and depth can make a short file take for ever, and no site needs them."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise SiteFileError(path, line, f"*{event.anchor}: write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise SiteFileError(path, line, "is nested too deep")


def _mark(node: yaml.Node, at: Location, lines: dict[Location, int], path: Path) -> None:
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in cast(list[tuple[yaml.Node, yaml.Node]], node.value):
            here = (*at, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                raise SiteFileError(path, line, f"{dotted(here)}: stands twice, first in line {lines[here]}")
            lines[here] = line
            _mark(value, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(cast(list[yaml.Node], node.value)):
            _mark(item, (*at, index), lines, path)


PLAIN = {
    "missing": "is missing",
    "string_type": "has to be a text; numbers and dates need quotes",
    "list_type": "has to be a list, such as [one, another]",
    "tuple_type": "has to be a list, such as [one, another]",
    "frozen_set_type": "has to be a list, such as [one, another]",
    "model_type": "has to be keys with their values",
    "model_attributes_type": "has to be keys with their values",
}
"""What is wrong with a value, in words for whoever writes YAML."""


def _validated(
    settings: type[S], content: Mapping[str, Any], path: Path, lines: Mapping[Location, int], at: Location
) -> S:
    try:
        return settings.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        location: Location = (*at, *first["loc"])
        kind, text = first["type"], first["msg"]
        text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if kind == "extra_forbidden":
            text = f"unknown key; allowed are {', '.join(_allowed(settings, first['loc']))}"
        elif kind in PLAIN:
            text = PLAIN[kind]
        more = len(error.errors()) - 1
        text = f"{dotted(location)}: {text}" + (f" (and {more} more)" if more else "")
        raise SiteFileError(path, line_of(lines, location), text) from None


def _allowed(settings: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys that are allowed where an unknown one stands."""
    model: type[BaseModel] = settings
    for part in location[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            inner = [annotation, *getattr(annotation, "__args__", ())]
            model = next(
                (kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), model
            )
    return list(model.model_fields)
