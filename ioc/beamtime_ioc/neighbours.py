"""What a site file says of other IOCs: which follow ours, which lock it, and which write files."""

import re
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field

from beamtime_ioc.part import Part

LONGEST_NAME = 80


def _pv(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_:.;<>\[\]{}/#+-]*", text) or len(text) > LONGEST_NAME:
        raise ValueError(f"{text!r} is no name of a record; one is 99bm:TomoScan:StartScan")
    return text


def _names(records: dict[str, str]) -> dict[str, str]:
    for target in records.values():
        if not _pv(target):
            raise ValueError("the name of the record there is missing")
    return records


def _not_yes_or_no(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError('YAML reads Off, On, No and Yes as no texts: put it in quotes, such as "Off"')
    return value


def _absolute(directories: dict[str, str]) -> dict[str, str]:
    for there, here in directories.items():
        if not re.match(r"/|[A-Za-z]:|\\\\", there) or not here.startswith("/"):
            raise ValueError(f"{there!r}: {here!r} is no pair of full paths: there, and on this computer")
    return directories


PvName = Annotated[str, AfterValidator(_pv)]


class MirrorSettings(Part):
    """Records of another IOC that show the current experiment as ours do."""

    tomoscan: PvName = Field(
        "", description="prefix of a TomoScan, such as 99bm:TomoScan: - those of its records that it has"
    )
    prefix: PvName = Field("", description="prefix of any other IOC; its records stand at records")
    records: Annotated[dict[str, str], AfterValidator(_names)] = Field(
        default_factory=dict[str, str],
        description="our identity records and those there, without prefix: {UserLastName: Surname}",
    )

    @pydantic.model_validator(mode="after")
    def _one_form(self) -> "MirrorSettings":
        if bool(self.tomoscan) == bool(self.records) or (self.tomoscan and self.prefix):
            raise ValueError("either tomoscan: alone, or records: with the prefix: before their names")
        return self


class InterlockSettings(Part):
    """A record of another IOC that must be idle when the current experiment changes."""

    pv: PvName = Field(description="record that is looked at, such as 99bm:TomoScan:StartScan", min_length=1)
    idle: list[Annotated[int | float | str, BeforeValidator(_not_yes_or_no)]] = Field(
        description="values, or labels of states, at which the experiment may change: [0, Done]", min_length=1
    )
    why: str = Field(
        "", description="what it means when it is not idle, such as: a scan runs", max_length=200
    )


class ConsumerSettings(Part):
    """A detector or scan IOC that writes files, and the place where they should go."""

    area_detector: PvName = Field(
        "", description="prefix of an areaDetector file plugin or camera: FilePath_RBV, FilePathExists_RBV"
    )
    tomoscan: PvName = Field("", description="prefix of a TomoScan: FilePath, FilePathExists")
    path: PvName = Field("", description="record with the path, where neither of the two fits")
    exists: PvName = Field("", description="record that says 1 when that path exists there; may be left out")
    name: str = Field("", description="short name for screens; empty: the record's", max_length=40)
    place: str = Field(description="name of the place (see places) where its files should go")
    map: Annotated[dict[str, str], AfterValidator(_absolute)] = Field(
        default_factory=dict[str, str],
        description="directories as that IOC sees them, and as this computer does: {/mnt/data: /data}",
    )

    @property
    def pvs(self) -> tuple[str, str]:
        """The record with the path, and the one that says whether it exists; empty without one."""
        if self.area_detector:
            return f"{self.area_detector}FilePath_RBV", f"{self.area_detector}FilePathExists_RBV"
        if self.tomoscan:
            return f"{self.tomoscan}FilePath", f"{self.tomoscan}FilePathExists"
        return self.path, self.exists

    @pydantic.model_validator(mode="after")
    def _one_form(self) -> "ConsumerSettings":
        if sum(map(bool, (self.area_detector, self.tomoscan, self.path))) != 1:
            raise ValueError("needs one of area_detector, tomoscan and path")
        if self.exists and not self.path:
            raise ValueError("exists: goes with path:")
        return self
