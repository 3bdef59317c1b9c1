"""Names that reach a path: the same everywhere, and never more than a name."""

import re
import time
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.model import Beamtime, Experiment, Person, Place, SafeName, Site, one_line

SAFE = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")
TABLE = {
    "Müller-Łukasik": "Muller_Lukasik",
    "Mu\u0308ller-Łukasik": "Muller_Lukasik",
    "O'Brien": "OBrien",
    "O\u2019Brien": "OBrien",
    "García López": "Garcia_Lopez",
    "Ørsted": "Orsted",
    "Straße": "Strasse",
    "Nguyễn": "Nguyen",
    "王": "Wang",
    "小明": "XiaoMing",
    "Иванов": "Ivanov",
    "Smith, Jr.": "Smith_Jr",
    "de la Cruz": "de_la_Cruz",
    "-rf": "rf",
    "../../etc": "etc",
    "x; touch y": "x_touch_y",
    "": "unknown",
    None: "unknown",
    "..": "unknown",
    "CON": "unknown",
    "com1": "unknown",
    "LPT9": "unknown",
    "van der Berg": "van_der_Berg",
    "Łoś": "Los",
    "李": "Li",
    "Παπαδόπουλος": "Papadopoylos",
    "; touch x": "touch_x",
    "x; touch PWNED; #": "x_touch_PWNED",
    "../..": "unknown",
    "$(reboot)`id`": "reboot_id",
    "a\nb\tc\0d": "a_b_c_d",
    "   ": "unknown",
    "n" * 300: "n" * 40,
    "n" * 39 + " " + "m" * 300: "n" * 39,
    "con" + "-" * 50: "unknown",
    "\ud800": "unknown",
}

site = Site(prefix="99bm:Beamtime:", beamline="99-BM-A,B", zone=ZoneInfo("America/Chicago"))
begin = datetime(2026, 11, 20, 14, tzinfo=UTC)
texts = st.text(max_size=400)


def beamtime_of(last_name: str = "Lastname", proposal: str = "9100001", **fields: str) -> Beamtime:
    people = (Person(first_name="Firstname", last_name=last_name, is_pi=True),)
    end = datetime(2026, 11, 23, 14, tzinfo=UTC)
    return Beamtime(
        source="aps", id="300011", start=begin, end=end, proposal=proposal, people=people, **fields
    )


def place_of(path: str = "{start:%Y-%m}/{name}", top: str = "/data") -> Place:
    return Place(name="det1", top=PurePosixPath(top), path=path)


@pytest.mark.parametrize(("text", "name"), TABLE.items(), ids=range(len(TABLE)))
def test_each_name_of_the_table_becomes_its_safe_form(text: str | None, name: str) -> None:
    assert SafeName.of(text) == name


@given(texts)
def test_any_text_becomes_a_short_name_of_ascii_letters_and_digits(text: str) -> None:
    name = SafeName.of(text)

    assert SAFE.fullmatch(name)
    assert len(name) <= 40


@given(texts)
def test_a_safe_name_stays_as_it_is(text: str) -> None:
    name = SafeName.of(text)

    assert SafeName.of(name) == name


@given(texts)
def test_a_name_is_the_same_on_every_computer_however_it_was_typed(text: str) -> None:
    forms = {SafeName.of(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}

    assert forms == {SafeName.of(unicodedata.normalize("NFC", text))}


@pytest.mark.parametrize(
    ("last_name", "name"),
    [
        ("O'Brien", "2026-11-OBrien-9100001"),
        ("van der Berg", "2026-11-van_der_Berg-9100001"),
        ("王", "2026-11-Wang-9100001"),
        ("Łoś", "2026-11-Los-9100001"),
        ("; touch x", "2026-11-touch_x-9100001"),
        ("../..", "2026-11-unknown-9100001"),
        ("n" * 300, f"2026-11-{'n' * 40}-9100001"),
        ("", "2026-11-unknown-9100001"),
    ],
)
def test_the_experiment_is_named_after_its_month_its_pi_and_its_proposal(last_name: str, name: str) -> None:
    assert site.experiment(beamtime_of(last_name)).name == name


def test_the_name_of_an_experiment_can_be_split_at_its_hyphens() -> None:
    experiment = site.experiment(beamtime_of("Müller-Łukasik", "GUP-91-00"))

    assert experiment.name.split("-") == ["2026", "11", "Muller_Lukasik", "GUP_91_00"]


def test_the_month_is_that_of_the_start_where_the_beamline_stands() -> None:
    evening = replace(beamtime_of(), start=datetime(2026, 12, 1, 3, tzinfo=UTC))

    experiment = site.experiment(evening)

    assert (experiment.name[:7], experiment.year_month) == ("2026-11", "2026-11")
    assert place_of().path_for(experiment) == PurePosixPath("/data/2026-11/2026-11-Lastname-9100001")


def test_a_beamtime_over_the_end_of_a_month_stays_in_the_month_of_its_start() -> None:
    long = replace(beamtime_of(), end=datetime(2026, 12, 4, 14, tzinfo=UTC))

    assert place_of().path_for(site.experiment(long)).parts[2] == "2026-11"


def test_an_experiment_without_a_proposal_is_named_after_its_beamtime() -> None:
    assert site.experiment(beamtime_of(proposal="")).name == "2026-11-Lastname-300011"


def test_every_name_a_template_may_use_is_filled() -> None:
    wide = replace(site, experiment_name="{cycle}-{pi}-{pi_first}-{proposal}-{beamtime}-{end:%d}")

    experiment = wide.experiment(beamtime_of(cycle="2026-3"))

    assert experiment.name == "2026-3-Lastname-Firstname-9100001-300011-23"


@pytest.mark.parametrize(
    ("cycle", "clean"),
    [("2026-3", "2026-3"), ("", "unknown"), ("../..", "unknown"), ("-rf", "rf"), ("a/b", "a_b")],
)
def test_a_cycle_keeps_its_hyphen_and_nothing_else(cycle: str, clean: str) -> None:
    experiment = site.experiment(beamtime_of(cycle=cycle))

    path = place_of("{cycle}/{name}").path_for(experiment)

    assert path == PurePosixPath("/data", clean, "2026-11-Lastname-9100001")


@pytest.mark.parametrize(
    "template", ["{pie}/{name}", "{}", "{0}", "{pi.upper}", "{name", "{pi:>9}", "{name!x}"]
)
def test_a_template_with_an_unknown_field_is_refused(template: str) -> None:
    experiment = site.experiment(beamtime_of())

    with pytest.raises(ValueError, match=r".+"):
        place_of(template).path_for(experiment)


def test_the_refusal_of_a_field_says_which_are_allowed() -> None:
    with pytest.raises(
        ValueError, match=r"unknown field \{pie\}; allowed are cycle, end, name, pi, proposal, start"
    ):
        place_of("{pie}").path_for(site.experiment(beamtime_of()))


@pytest.mark.parametrize("template", ["../{name}", "{name}/..", "/etc/{name}", "", "a/../../b", "."])
def test_a_template_that_leaves_the_top_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="does not lie below the top directory"):
        place_of(template).path_for(site.experiment(beamtime_of()))


@pytest.mark.parametrize("top", ["/data", "/data of the beamline/O'Brien", "/daten/übung", "/data/new\nline"])
def test_the_top_stays_as_the_site_wrote_it(top: str) -> None:
    path = place_of("{name}", top).path_for(site.experiment(beamtime_of()))

    assert path == PurePosixPath(top, "2026-11-Lastname-9100001")


@given(last=texts, proposal=texts, cycle=texts, title=texts)
def test_no_text_of_a_schedule_leaves_the_top_or_adds_a_level(
    last: str, proposal: str, cycle: str, title: str
) -> None:
    experiment = site.experiment(beamtime_of(last, proposal, cycle=cycle, title=title))

    path = place_of("{cycle}/{start:%Y-%m}/{pi}-{proposal}/{name}").path_for(experiment)

    levels = path.relative_to("/data").parts
    assert len(levels) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", level) and len(level) < 120 for level in levels)


@given(last=texts)
def test_the_title_and_the_people_keep_their_letters(last: str) -> None:
    experiment: Experiment = site.experiment(beamtime_of(last, title=f"On {last}"))

    assert (experiment.pi.last_name, experiment.title) == (last, f"On {last}")


def test_of_a_text_without_end_only_the_beginning_is_looked_at() -> None:
    endless = "a\n" * 20_000_000
    begun = time.process_time()

    assert one_line(endless, 200) == ("a " * 100)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("safe \u2066then\u2069 \u202alater", "safe then later"),
        ("\u202e \u2067", ""),
        ("می\u200cخواهم", "می\u200cخواهم"),  # what joins letters belongs to them
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_no_sign_turns_the_direction_of_a_line(text: str, line: str) -> None:
    assert one_line(text) == line
