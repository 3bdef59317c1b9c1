"""The site file: errors name file, line, key, and what is allowed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from beamtime_ioc.app import Ioc
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
def site(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "site.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_one_port_is_not_enough_for_both_protocols(site) -> None:
    with pytest.raises(SiteFileError, match=":12: epics: ca_port and pva_port are both 5070; give each"):
        read_site_file(site(GOOD + "epics: {ca_port: 5070, pva_port: 5070}\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("twin: {addresses: a.example.org}", "twin.addresses: has to be a list, such as"),
        ("beamline: 7", "beamline: has to be a text; numbers and dates need quotes"),
    ],
)
def test_what_a_key_has_to_hold_is_said_in_words(site, text: str, words: str) -> None:
    key = text.partition(":")[0]
    rest = "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith(f"{key}:"))
    with pytest.raises(SiteFileError, match=words):
        read_site_file(site(rest + text + "\n"))


def test_a_good_file_gives_the_site(site) -> None:
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
            r"places\[1\].mod: unknown key; allowed are name, top, path, mode, group, marker, host",
        ),
        ('"2750"', '"0777"', 8, r"places\[1\].mode: never writable for all"),
        ('"2750"', '"rwx"', 8, r"places\[1\].mode: an octal mode"),
        ('"2750"', "2750", 8, r"places\[1\].mode: put it in quotes"),
        ("top: data/det1", "top: 7", 5, r"places\[0\].top"),
        ("  - name: ana1\n", "  - name: ana 1\n", 6, r"places\[1\].name"),
        ("beamline:", "database: 'postgresql://u:p@h/d'\nbeamline:", 2, "database: no password here"),
        ("beamline:", "database: 'mysql://u@h/d'\nbeamline:", 2, "database: only postgresql:// is known"),
        ("beamline:", "state: 'postgresql://u@h/d'\nbeamline:", 2, "state: a directory, .* at database:"),
        ("beamline:", "history: {keep_days: 0}\nbeamline:", 2, "history.keep_days: .* greater than"),
        ("beamline:", "prefix:", 2, "prefix: stands twice, first in line 1"),
        ("url:", "path: x\n  url:", 0, ""),
        ("America/Chicago", "[", 5, "no YAML"),
        (GOOD, "- a\n- b\n", 1, "should hold keys"),
        (GOOD, "", 1, "should hold keys"),
        ("beamline: ", "beamline: 7 #", 2, "beamline"),
        ('beamline: "99-BM-A,B"\n', "", 1, "beamline: is missing"),
        ("places:\n", 'experiment: {name: "{who}"}\nplaces:\n', 4, "experiment.name: unknown field {who}"),
        ("top: data/det1", "top: data/det1, user: bm99", 5, "user: and port: go with host:"),
        (
            "top: data/det1",
            "top: data/det1, existing: suffix",
            5,
            "existing: no directory gets -2 .*{beamtime}",
        ),
        ("top: data/det1", "top: data/det1, existing: adopt", 5, r"places\[0\].existing"),
        ("top: data/det1", "top: data/det1, mount: 7", 5, r"places\[0\].mount"),
        ("top: data/det1", "top: data/det1, host: det1", 5, "top: on another host is a full path"),
        ("top: data/det1", "top: /data/../etc, host: det1", 5, "top: on another host is a full path"),
        ("top: data/det1", "top: /data, host: det1, marker: ../x", 5, "marker: is a path below top"),
        (
            "top: data/det1",
            "top: /data, host: -oProxyCommand=x",
            5,
            r"places\[0\].host: a name or an address",
        ),
        ("top: data/det1", "top: /data, host: det1, user: -x", 5, r"places\[0\].user: a name of a user"),
        ("top: data/det1", "top: /data, host: det1, port: 0", 5, r"places\[0\].port: .* greater than"),
        ("top: data/det1", "top: data, siblings: [/rec]", 5, r"places\[0\].siblings\[0\]: letters, digits"),
        ("top: data/det1", "top: data, subdirectories: [../x]", 5, r"subdirectories\[0\]: letters, digits"),
        ("top: data/det1", "top: data, subdirectories: [raw/]", 5, r"subdirectories\[0\]: letters, digits"),
        ("top: data/det1", 'top: data, acl: ["o:x:rwx"]', 5, r"acl\[0\]: user or group, its name, and what"),
        ("top: data/det1", 'top: data, acl: ["g:x:rw"]', 5, r"acl\[0\]: user or group, its name, and what"),
        (
            "  - {name: det1,",
            '  - {path: "../{name}", name: det1,',
            5,
            r"places\[0\].path: .* does not lie below",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_line(site, old: str, new: str, line: int, words: str) -> None:
    path = site(GOOD.replace(old, new))
    if not words:  # a service's own section is checked by its own settings
        read_site_file(path)
        return

    with pytest.raises(SiteFileError, match=words) as caught:
        read_site_file(path).site()

    assert caught.value.path == path
    assert caught.value.line == line


def test_a_place_on_another_host_is_taken_as_it_is_written(site) -> None:
    far = "name: det1, host: det1.example.org, user: bm99, port: 2222, top: /local/data, siblings: [_rec]"
    more = "subdirectories: [raw, raw/dark], acl: ['g:bm99:rwx', 'user:det:r-x']"
    path = site(GOOD.replace("name: det1, top: data/det1", f"{far}, {more}"))

    place = read_site_file(path).site().places[0]

    assert (place.host, place.user, place.port) == ("det1.example.org", "bm99", 2222)
    assert str(place.top) == "/local/data"
    assert (place.siblings, place.subdirectories) == (("_rec",), ("raw", "raw/dark"))
    assert place.acl == ("group:bm99:rwx", "user:det:r-x")


def test_a_services_section_is_checked_by_its_own_settings(site) -> None:
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
def test_any_text_is_a_site_or_a_site_file_error(tmp_path_factory, text: str) -> None:
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
def test_a_file_that_would_take_for_ever_or_break_us_is_refused(site, text: str, words: str) -> None:
    with pytest.raises(SiteFileError, match=words):
        read_site_file(site(text))


# -- without the schedule -----------------------------------------------------------------------

ASKING = {"update-user-info": ("who is on beam",), "begin-beamtime": ("who is on beam",), "email-users": ()}


def test_a_step_that_is_open_may_go_on_and_every_other_is_closed(site) -> None:
    text = "without_schedule:\n  begin-beamtime: {who is on beam: open}\n"
    text += "  update-user-info: {who is on beam: closed}\n"

    file = read_site_file(site(GOOD + text))
    file.check_without_schedule(ASKING)

    assert file.site().goes_on("begin-beamtime", "who is on beam")
    assert not file.site().goes_on("update-user-info", "who is on beam")
    assert not file.site().goes_on("email-users", "who is on beam")


def test_where_nothing_is_said_every_step_is_closed(site) -> None:
    assert read_site_file(site(GOOD)).site().open_steps == frozenset()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("begin-beamtime: {who is on beam: maybe}", 13, "'open' or 'closed'"),
        ("begin-beamtime: {who is on beam: yes}", 13, "'open' or 'closed'"),
        (
            "begin-beamtime: {letters: open}",
            13,
            "no step of this name asks the schedule; these are: who is on",
        ),
        ("email-users: {letters: open}", 13, "those with one are: begin-beamtime, update-user-info"),
        ("nothing: {letters: open}", 13, "those with one are: begin-beamtime, update-user-info"),
        ("begin-beamtime: open", 13, "valid dictionary"),
    ],
)
def test_a_step_that_there_is_not_is_refused_with_its_line(site, text: str, line: int, words: str) -> None:
    with pytest.raises(SiteFileError, match=words) as caught:
        read_site_file(site(f"{GOOD}without_schedule:\n  {text}\n")).check_without_schedule(ASKING)

    assert caught.value.line == line


def test_what_an_ioc_says_of_its_files_can_be_typed_in_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site.yaml").write_text(
        'prefix: "99bm:Beamtime:"\nbeamline: "99-BM"\ntimezone: America/Chicago\n', encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)

    ioc = Ioc(Path("site.yaml"))

    assert ioc.file.resolve(Path("hosts/ssh_config")) == tmp_path / "hosts" / "ssh_config"
