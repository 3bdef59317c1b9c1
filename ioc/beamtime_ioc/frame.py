"""What a site file says that belongs to no service: the keys, what is allowed, and what they mean."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field

from beamtime_ioc.boxcontrol import BoxSettings
from beamtime_ioc.databaseurl import DatabaseUrl
from beamtime_ioc.model import Place, Site
from beamtime_ioc.neighbours import ConsumerSettings, InterlockSettings, MirrorSettings
from beamtime_ioc.part import Part


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


def _directory(text: Any) -> Any:
    if isinstance(text, str) and "://" in text:
        raise ValueError("a directory, for audit and exports too; the URL of PostgreSQL stands at database:")
    return text


def _database(text: str) -> str:
    if text:
        DatabaseUrl.parse(text)
    return text


def _host(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,253}", text):
        raise ValueError("a name or an address of a computer, such as det1.example.org")
    return text


def _user(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}", text):
        raise ValueError("a name of a user, such as bm99")
    return text


def _ending(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", text):
        raise ValueError("letters, digits, dots, hyphens and underscores, such as _rec")
    return text


def _inside(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}){0,3}", text):
        raise ValueError("letters, digits, dots, hyphens and underscores, such as raw or raw/dark")
    return text


def _entry(text: str) -> str:
    found = re.fullmatch(r"(u|user|g|group):([A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}):([r-][w-][x-])", text)
    if found is None:
        raise ValueError("user or group, its name, and what it may, such as g:bm99:rwx or u:det:r-x")
    return f"{'user' if found[1].startswith('u') else 'group'}:{found[2]}:{found[3]}"


def _existing(value: Any) -> Any:
    if value == "suffix":
        raise ValueError(
            "no directory gets -2 behind its name: an experiment has one name, the same everywhere; with "
            "{beamtime} in name: of experiment: each beamtime has its own. What can be said is fail or reuse"
        )
    return value


SitePath = Annotated[Path, BeforeValidator(_no_nul)]
SiteText = Annotated[str, BeforeValidator(_no_nul)]


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
    host: Annotated[str, AfterValidator(_host)] = Field(
        "", description="where it is, as ssh names it; empty: on this computer. Needs hosts: {backend: ssh}"
    )
    user: Annotated[str, AfterValidator(_user)] = Field(
        "", description="who logs in there; empty: as ssh has it"
    )
    port: int | None = Field(None, description="port of ssh there; empty: as ssh has it", ge=1, le=65535)
    siblings: list[Annotated[str, AfterValidator(_ending)]] = Field(
        default_factory=list[str],
        description="what stands beside the directory, by what follows its name, such as _rec",
    )
    subdirectories: list[Annotated[str, AfterValidator(_inside)]] = Field(
        default_factory=list[str], description="what is made inside the directory, such as raw or raw/dark"
    )
    acl: list[Annotated[str, AfterValidator(_entry)]] = Field(
        default_factory=list[str],
        description="access list of what is made and of what comes into it, by setfacl, such as g:bm99:rwx",
    )
    mount: bool = Field(False, description="true: top must be a mount point, or nothing is made below it")
    existing: Annotated[Literal["fail", "reuse"], BeforeValidator(_existing)] = Field(
        "fail",
        description="what becomes of a directory that stands already, holds files and does not say whose it "
        "is. fail: a conflict. reuse: it is taken for the experiment. One that says so is never taken",
    )

    @pydantic.model_validator(mode="after")
    def _on_a_host(self) -> "PlaceSettings":
        if not self.host and (self.user or self.port):
            raise ValueError("user: and port: go with host:")
        if self.host and (not str(self.top).startswith("/") or ".." in self.top.parts):
            raise ValueError("top: on another host is a full path, such as /local/data")
        if self.host and (self.marker.startswith("/") or ".." in Path(self.marker).parts):
            raise ValueError("marker: is a path below top")
        return self


class ExperimentSettings(Part):
    """How experiments are named."""

    name: str = Field(
        Site.experiment_name,
        description="template of start, end, pi, pi_first, proposal, beamtime, cycle; each made safe",
    )
    names: Literal["safe", "legacy"] = Field(
        "safe",
        description="rule that makes names safe for paths: safe; legacy for directories with DMagic's names",
    )


class ScheduleSettings(Part):
    """Actions that are pressed by the clock."""

    every_min: float = Field(
        description="time between two presses in min; they count from midnight of 2000-01-01 at the beamline",
        ge=0.05,
        le=1440,
    )
    action: str = Field(
        description="what is pressed: the name of an action that has a button, one schedule each"
    )
    preview: bool = Field(False, description="true: write the plan only, change nothing")


class HistorySettings(Part):
    """How long past runs are kept."""

    keep_days: int = Field(
        730, description="age in days at which a past run is exported and deleted", ge=1, le=36500
    )


class WatchSettings(Part):
    """How often services and places are looked at; the looks change nothing."""

    every_s: float = Field(
        30,
        description="time between two looks in s, each up to a tenth longer: not all IOCs ask at once",
        ge=5,
        le=3600,
    )
    schedule_s: float | None = Field(
        None,
        description="the same for the schedule: its lamp, who is on beam, the candidates; without it four "
        "times every_s",
        ge=5,
        le=3600,
    )

    @property
    def asks_s(self) -> float:
        """Time between two questions to the schedule."""
        return 4 * self.every_s if self.schedule_s is None else self.schedule_s


class EpicsSettings(Part):
    """Ports and interfaces; the environment (EPICS_CAS_*, EPICS_PVAS_*) wins over these."""

    ca_port: int | None = Field(
        None, description="Channel Access port (UDP search and TCP)", ge=1024, le=65535
    )
    pva_port: int | None = Field(None, description="PVAccess port (UDP search and TCP)", ge=1024, le=65535)
    interfaces: list[str] = Field(default_factory=list[str], description="addresses to listen on; empty: all")

    @pydantic.model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.ca_port is not None and self.ca_port == self.pva_port:
            raise ValueError(f"ca_port and pva_port are both {self.ca_port}; give each a port of its own")
        return self


class AutosaveSettings(Part):
    """Where the settings are kept: records with `info(autosaveFields, ...)`."""

    directory: SitePath | None = Field(
        None, description="directory of the saved settings; without it autosave/ in the directory at state"
    )
    delay_s: float = Field(
        5.0,
        description="from a change to its writing in s; what changes meanwhile is written too",
        gt=0,
        le=3600,
    )


class TwinSettings(Part):
    """The look for another IOC that has the same prefix."""

    search_s: float = Field(
        2.0,
        description="how long each look waits for answers in s; presses are refused until the first has "
        "ended. On loopback alone 0.3 s are enough and never exceeded; 0: never look",
        ge=0,
        le=60,
    )
    every_s: float = Field(60.0, description="time between two looks in s", ge=1, le=86400)
    addresses: list[str] = Field(
        default_factory=list[str],
        description="where to look besides the own networks and EPICS_CA_ADDR_LIST: addresses, such as "
        "192.0.2.255 or host1:5064",
    )


class Frame(Part):
    """What is not a service."""

    prefix: Annotated[str, AfterValidator(_prefix)] = Field(description="of all records; ends in a colon")
    beamline: str = Field(description="as the schedule names it, such as 99-BM-A,B", min_length=1)
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        description="of the facility: names, months, messages"
    )
    state: Annotated[SitePath, BeforeValidator(_directory)] = Field(
        Path("state"), description="directory of the state: database, audit, exports; on a local disk"
    )
    database: Annotated[str, AfterValidator(_database)] = Field(
        "",
        description="PostgreSQL that holds the state database, for several hosts, such as "
        "postgresql://beamtime@db.example.org/beamtime?passfile=/etc/beamtime/pgpass; "
        "empty: a file in the directory at state",
    )
    history: HistorySettings = Field(
        default_factory=lambda: HistorySettings.model_validate({}), description="see history"
    )
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
    schedules: list[ScheduleSettings] = Field(
        default_factory=list[ScheduleSettings], description="see schedules"
    )
    without_schedule: dict[str, dict[str, Literal["open", "closed"]]] = Field(
        default_factory=dict[str, dict[str, Literal["open", "closed"]]],
        description="whether a step of an action may go on when the schedule cannot be asked: open or "
        "closed, such as {begin-beamtime: {who is on beam: open}}; what is not named is closed",
    )
    watch: WatchSettings = Field(
        default_factory=lambda: WatchSettings.model_validate({}), description="see watch"
    )
    mirrors: list[MirrorSettings] = Field(default_factory=list[MirrorSettings], description="see mirrors")
    interlocks: list[InterlockSettings] = Field(
        default_factory=list[InterlockSettings], description="see interlocks"
    )
    consumers: list[ConsumerSettings] = Field(
        default_factory=list[ConsumerSettings], description="see consumers"
    )
    epics: EpicsSettings = Field(
        default_factory=lambda: EpicsSettings.model_validate({}), description="see epics"
    )
    autosave: AutosaveSettings = Field(
        default_factory=lambda: AutosaveSettings.model_validate({}), description="see autosave"
    )
    twin: TwinSettings = Field(
        default_factory=lambda: TwinSettings.model_validate({}), description="see twin"
    )
    sim: BoxSettings | None = Field(
        None, description="see sim; without it there is no record of a fault: so for a beamline"
    )

    @pydantic.field_validator("places")
    @classmethod
    def _names_differ(cls, places: list[PlaceSettings]) -> list[PlaceSettings]:
        names = [place.name for place in places]
        if len(set(names)) < len(names):
            raise ValueError("each place needs a name of its own")
        return places

    @pydantic.field_validator("schedules")
    @classmethod
    def _one_schedule_each(cls, schedules: list[ScheduleSettings]) -> list[ScheduleSettings]:
        actions = [schedule.action for schedule in schedules]
        for action in actions:
            if actions.count(action) > 1:
                raise ValueError(f"{action} stands twice; an action has one schedule")
        return schedules
