"""What `beamtime export` writes."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.export import installed_sections, write_all
from beamtime_ioc.frame import Frame
from beamtime_ioc.sitepage import site_page


class Corner(BaseModel):
    """A corner of a *house*."""

    name: str = Field(description="what people call it")


class House(BaseModel):
    """A house."""

    corners: list[Corner] = Field(default_factory=list[Corner])
    doors: int = Field(1, ge=1, description="how many | at least one")
    width: float | None = Field(None, gt=0)


class Mode(BaseModel):
    """A service."""

    backend: Literal["a"] = Field("a", description="one kind")
    mode: Literal["off", "on"] = Field("off", description="off: nothing. on: all of it.")


def rows(page: str) -> dict[str, list[str]]:
    """The cells behind each key."""
    lines = (line[2:].removesuffix(" |").split(" | ") for line in page.splitlines() if line.startswith("| `"))
    return {cells[0].strip("`"): cells[1:] for cells in lines}


def test_each_key_of_a_site_file_stands_on_its_page() -> None:
    sections = installed_sections()

    page = site_page(Frame, sections)

    keys = {key for model in (Frame, *sections.values()) for key in model.model_fields}
    assert keys <= set(rows(page))
    assert all(f"### `{section}`, `backend: {backend}`" in page for section, backend in map(split, sections))


def split(name: str) -> tuple[str, str]:
    section, _, backend = name.partition(".")
    return section, backend


def test_a_key_is_shown_with_its_type_its_default_and_its_meaning() -> None:
    page = site_page(House, {"light.a": Mode})

    assert rows(page) == {
        "corners": ["list of sections", "", "See [`corners`](#corners)."],
        "name": ["text", "must be given", "What people call it."],
        "doors": ["whole number, at least 1", "`1`", "How many \\| at least one."],
        "width": ["number, more than 0", "", ""],
        # The client is chosen by it: the model's own default would never count.
        "backend": ["`a`", "must be given", "One kind."],
        "mode": ["`off` or `on`", "`off`", "off: nothing. on: all of it."],
    }
    assert "A corner of a \\*house\\*." in page


def test_the_records_of_a_site_are_exported_with_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "own.db").write_text(
        'record(longin, "$(P)$(R)Cats") { field(DESC, "Cats on the floor") info(beamtime:group, "cats") }\n'
    )
    site = tmp_path / "site.yaml"
    site.write_text('prefix: "9:B:"\nbeamline: 9-B\ntimezone: UTC\nrecords: [own.db]\n')

    paths = write_all(tmp_path / "new" / "directory", site)

    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    flat = [name for name in texts if not name.endswith((".adl", ".bob"))]
    assert flat == ["beamtime.db", "beamtime_settings.req", "records.md", "site-file.md"]
    assert {"beamtime.adl", "beamtime.bob"} <= texts.keys()
    assert 'record(longin, "$(P)$(R)Cats")' in texts["beamtime.db"]
    assert "#controlPV $(P)$(R)BeginBeamtime\n" in texts["beamtime_settings.req"]
    assert "| `Cats` | longin | LONG | int | IOC | Cats on the floor |" in texts["records.md"]


def test_where_nothing_can_be_written_a_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()

    with pytest.raises(BeamtimeError, match=r"a-file cannot be written: .*; name another directory"):
        write_all(tmp_path / "a-file", None)
