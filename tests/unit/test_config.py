"""The site file: errors name file, line, key, and what is allowed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from beamtime_ioc.config import read_site_file
from beamtime_ioc.errors import SiteFileError

GOOD = """\
prefix: "99bm:Beamtime:"
beamline: "99-BM-A,B"
timezone: America/Chicago
places:
  - {name: det1, top: data/det1}
  - name: ana1
    top: /data/99BM
    mode: "2750"
schedule:
  backend: aps
  url: http://127.0.0.1:1/
"""


@pytest.fixture
def site(tmp_path: Path):  # type: ignore[no-untyped-def]
    def write(text: str) -> Path:
        path = tmp_path / "site.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_good_file_gives_the_site(site) -> None:  # type: ignore[no-untyped-def]
    path = site(GOOD)

    file = read_site_file(path)

    assert file.frame.prefix == "99bm:Beamtime:"
    places = file.site().places
    assert [(place.name, str(place.top), place.mode) for place in places] == [
        ("det1", str(path.parent.resolve() / "data/det1"), 0o2770),
        ("ana1", "/data/99BM", 0o2750),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("name: ana1", "name: det1", 4, "places: each place needs a name of its own"),
        ("timezone:", "timezon:", 3, "unknown key 'timezon'"),
        ("America/Chicago", "Chicago", 3, "timezone: 'Chicago' is no time zone; one is America/Chicago"),
        ("99bm:Beamtime:", "99bm", 1, "ending in a colon"),
        (
            "mode:",
            "mod:",
            8,
            r"places\[1\].mod: unknown key; allowed are name, top, path, mode, group, marker",
        ),
        ('"2750"', '"0777"', 8, r"places\[1\].mode: never writable for all"),
        ('"2750"', '"rwx"', 8, r"places\[1\].mode: an octal mode"),
        ('"2750"', "2750", 8, r"places\[1\].mode: put it in quotes"),
        ("top: data/det1", "top: 7", 5, r"places\[0\].top"),
        ("  - name: ana1\n", "  - name: ana 1\n", 6, r"places\[1\].name"),
        ("beamline:", "prefix:", 2, "prefix: stands twice, first in line 1"),
        ("url:", "path: x\n  url:", 0, ""),
        ("America/Chicago", "[", 5, "no YAML"),
        (GOOD, "- a\n- b\n", 1, "should hold keys"),
        (GOOD, "", 1, "should hold keys"),
        ("beamline: ", "beamline: 7 #", 2, "beamline"),
        ('beamline: "99-BM-A,B"\n', "", 1, "beamline: is missing"),
        ("places:\n", 'experiment: {name: "{who}"}\nplaces:\n', 4, "experiment.name: unknown field {who}"),
        (
            "  - {name: det1,",
            '  - {path: "../{name}", name: det1,',
            5,
            r"places\[0\].path: .* does not lie below",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_line(site, old: str, new: str, line: int, words: str) -> None:  # type: ignore[no-untyped-def]
    path = site(GOOD.replace(old, new))
    if not words:  # a service's own section is checked by its own settings
        read_site_file(path)
        return

    with pytest.raises(SiteFileError, match=words) as caught:
        read_site_file(path).site()

    assert caught.value.path == path
    assert caught.value.line == line


def test_a_services_section_is_checked_by_its_own_settings(site) -> None:  # type: ignore[no-untyped-def]
    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid")
        backend: str
        url: str
        timeout_s: float = 1

    file = read_site_file(site(GOOD + "  timeout: 3\n"))

    with pytest.raises(
        SiteFileError, match=r"schedule\.timeout: unknown key; allowed are backend, url, timeout_s"
    ) as caught:
        file.section("schedule", Settings)

    assert caught.value.line == 12


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SiteFileError, match="cannot be read"):
        read_site_file(tmp_path / "absent.yaml")
    with pytest.raises(SiteFileError, match="no UTF-8"):
        read_site_file(binary)


@given(st.text(max_size=200) | st.text("prefix:{}[]-\n \t\"'&*!|>%@`#,?", max_size=80))
def test_any_text_is_a_site_or_a_site_file_error(tmp_path_factory, text: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")

    with pytest.raises(SiteFileError):
        read_site_file(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [*a]\n", r"1: \*a: write the value out"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("a: " + "[" * 50 + "]" * 50, "nested too deep"),
        (GOOD + "mail:\n", "12: mail: is empty; it should hold keys"),
        (GOOD.replace("top: /data/99BM", 'top: "a\\0b"'), "without NUL"),
        ("# " + "x" * 1_000_001, "too long"),
    ],
)
def test_a_file_that_would_take_for_ever_or_break_us_is_refused(site, text: str, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SiteFileError, match=words):
        read_site_file(site(text))
