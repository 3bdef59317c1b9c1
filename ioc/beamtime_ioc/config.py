"""The site file: read once, checked with line marks, never written."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar, cast
from zoneinfo import ZoneInfo, available_timezones

import pydantic
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from beamtime_ioc.errors import SiteFileError
from beamtime_ioc.model import Beamtime, Person, Place, Site

S = TypeVar("S", bound=BaseModel)
Location = tuple[str | int, ...]

DEEPEST = 20
LONGEST_BYTES = 1_000_000


def _quoted(value: Any) -> Any:
    if isinstance(value, int):
        raise ValueError('put it in quotes, such as "2770"')
    return value


def _mode(text: str) -> str:
    try:
        number = int(text, 8)
    except ValueError:
        raise ValueError('an octal mode in quotes such as "2770"') from None
    if not 0o700 <= number <= 0o7777 or number & 0o002:
        raise ValueError("never writable for all, and at least the owner may enter: such as 2770")
    return text


def _zone(text: str) -> str:
    if text not in available_timezones():
        raise ValueError(f"{text!r} is no time zone; one is America/Chicago")
    return text


def _prefix(text: str) -> str:
    if not text.endswith(":") or not text.isascii() or any(c.isspace() or c in "\"'$(){}.," for c in text):
        raise ValueError("letters, digits and colons, ending in a colon, such as 99bm:Beamtime:")
    return text


def _no_nul(text: Any) -> Any:
    if isinstance(text, str) and ("\0" in text or len(text) > 1000):
        raise ValueError("a text of at most 1000 characters without NUL")
    return text


SitePath = Annotated[Path, BeforeValidator(_no_nul)]
SiteText = Annotated[str, BeforeValidator(_no_nul)]


class Part(BaseModel):
    """A section of the site file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PlaceSettings(Part):
    """A directory tree where each experiment gets a directory."""

    name: str = Field(description="short name for screens, such as det1", pattern=r"^[A-Za-z0-9_-]{1,20}$")
    top: SitePath = Field(description="top directory; must exist, is never made")
    path: str = Field(
        Place.path,
        description="template of the directory below top; fields: start, end, name, pi, proposal, cycle",
    )
    mode: Annotated[str, BeforeValidator(_quoted), AfterValidator(_mode)] = Field(
        f"{Place.mode:o}", description="octal mode of what is made, in quotes"
    )
    group: SiteText = Field("", description="group of what is made; empty: as the system gives it")
    marker: SiteText = Field("", description="file below top that says that the right disk is mounted")


class ExperimentSettings(Part):
    """How experiments are named."""

    name: str = Field(
        Site.experiment_name,
        description="template of start, end, pi, pi_first, proposal, beamtime, cycle; each made safe",
    )
    names: Literal["safe"] = Field("safe", description="rule that makes names safe for paths")


class EpicsSettings(Part):
    """Ports and interfaces; the environment (EPICS_CAS_*, EPICS_PVAS_*) wins over these."""

    ca_port: int | None = Field(
        None, description="Channel Access port (UDP search and TCP)", ge=1024, le=65535
    )
    pva_port: int | None = Field(None, description="PVAccess port (UDP search and TCP)", ge=1024, le=65535)
    interfaces: list[str] = Field(default_factory=list[str], description="addresses to listen on; empty: all")


class Frame(Part):
    """What is not a service."""

    prefix: Annotated[str, AfterValidator(_prefix)] = Field(description="of all records; ends in a colon")
    beamline: str = Field(description="as the schedule names it, such as 99-BM-A,B", min_length=1)
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        description="of the facility: names, months, messages"
    )
    state: SitePath = Field(Path("state"), description="directory of the state database; on a local disk")
    access: SitePath | None = Field(
        None, description="access file (ACF); without one everybody reads, nobody writes"
    )
    records: list[Path] = Field(
        default_factory=list[Path], description="substitutions or .db files of the site's own"
    )
    places: list[PlaceSettings] = Field(default_factory=list[PlaceSettings], description="see places")
    experiment: ExperimentSettings = Field(
        default_factory=lambda: ExperimentSettings.model_validate({}), description="see experiment"
    )
    epics: EpicsSettings = Field(
        default_factory=lambda: EpicsSettings.model_validate({}), description="see epics"
    )

    @pydantic.field_validator("places")
    @classmethod
    def _names_differ(cls, places: list[PlaceSettings]) -> list[PlaceSettings]:
        names = [place.name for place in places]
        if len(set(names)) < len(names):
            raise ValueError("each place needs a name of its own")
        return places


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
                top=PurePosixPath(self.resolve(place.top).resolve()),
                path=place.path,
                mode=int(place.mode, 8),
                group=place.group,
                marker=place.marker,
            )
            for place in frame.places
        ]
        site = Site(
            prefix=frame.prefix,
            beamline=frame.beamline,
            zone=ZoneInfo(frame.timezone),
            places=tuple(places),
            experiment_name=frame.experiment.name,
        )
        self._try_templates(site)
        return site

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
        _refuse_aliases(path, text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise SiteFileError(path, 1, "should hold keys such as prefix: and places:")
        _mark(node, (), lines, path)
        document = cast(dict[Any, Any], loader.construct_document(node))  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SiteFileError(path, line, f"no YAML: {error.problem}") from error
    except RecursionError:
        raise SiteFileError(path, 0, "no YAML: it is nested too deep") from None
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


def _refuse_aliases(path: Path, text: str) -> None:
    """Aliases can make a short file endless, and no site needs them."""
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise SiteFileError(path, line, f"*{event.anchor}: write the value out")


def _mark(node: yaml.Node, at: Location, lines: dict[Location, int], path: Path) -> None:
    if len(at) > DEEPEST:
        raise SiteFileError(path, node.start_mark.line + 1, f"{dotted(at[:3])}...: is nested too deep")
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
        elif kind == "missing":
            text = "is missing"
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
