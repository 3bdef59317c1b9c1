"""The operators' screens: out of the records, readable by MEDM and Phoebus, looked through beforehand."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from beamtime_ioc.errors import BeamtimeError, RecordFileError
from beamtime_ioc.export import differing, forms
from beamtime_ioc.records import RecordSet, db_dir, load_records, shipped
from beamtime_ioc.screens.actionblock import screen_of
from beamtime_ioc.screens.adl import COLOURS, write_adl
from beamtime_ioc.screens.bob import write_bob
from beamtime_ioc.screens.layout import read_screens
from beamtime_ioc.screens.lint import lint
from beamtime_ioc.screens.opening import opening
from beamtime_ioc.screens.widgets import (
    Bar,
    Bound,
    Box,
    Choice,
    Entry,
    Glow,
    Grid,
    Link,
    Press,
    Reading,
    Screen,
    Widget,
    Words,
)

PREFIX = "P:R:"
HERE = Box(10, 10, 200, 20)
SITE_ROWS = """
file action.template {
    pattern { ACTION, NAME, VERB, DESC } { "purge-buffer", "PurgeBuffer", "Purge", "Take the buffer away" }
}
file arm.template { pattern { ACTION, NAME } { "purge-buffer", "PurgeBuffer" } }
"""


@pytest.fixture(scope="module")
def records() -> RecordSet:
    return load_records(shipped(), prefix=PREFIX)


def read_adl(text: str) -> list[tuple[str, dict[str, str]]]:
    """Each widget of a file with its keys, those within flattened; a bracket too many is an error."""
    found: list[tuple[str, dict[str, str]]] = []
    depth, keys = 0, dict[str, str]()
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.endswith("{"):
            depth += 1
            if depth == 1:
                keys = {}
                found.append((line[:-1].strip().strip('"'), keys))
        elif line == "}":
            depth -= 1
            assert depth >= 0
        elif "=" in line:
            name, _, value = line.partition("=")
            keys[name] = value.strip('"')
    assert depth == 0
    return found


def test_the_shipped_screens_are_what_the_records_say_and_have_no_fault(records: RecordSet) -> None:
    assert lint(read_screens(records), records) == []
    assert differing(db_dir().parent, None) == []


def test_every_screen_has_its_title_and_the_main_one_an_operators_width(records: RecordSet) -> None:
    screens = {screen.name: screen for screen in read_screens(records)}

    assert all(screen.title for screen in screens.values())
    assert 500 <= screens["beamtime"].width <= 700
    assert all(screen.height <= 1000 for screen in screens.values())


def test_what_medm_reads_has_its_colours_its_places_and_texts_as_text(records: RecordSet) -> None:
    for screen in read_screens(records, tables=False):
        blocks = read_adl(write_adl(screen))

        assert [name for name, _ in blocks[:3]] == ["file", "display", "color map"]
        assert blocks[0][1]["name"] == f"{screen.name}.adl"
        assert (int(blocks[1][1]["width"]), int(blocks[1][1]["height"])) == (screen.width, screen.height)
        for kind, keys in blocks[3:]:
            if kind in ("text update", "text entry"):
                suffix = keys["chan"].removeprefix("$(P)$(R)")
                assert (keys.get("format") == "string") is (records.by_suffix(suffix).type == "waveform")
            if kind == "message button":
                assert "release_msg" not in keys
    assert len(COLOURS) == len(set(COLOURS)) == 65
    assert all(re.fullmatch("[0-9a-f]{6}", colour) for colour in COLOURS)


def test_what_phoebus_reads_is_xml_with_the_same_channels(records: RecordSet) -> None:
    without_tables = {screen.name: screen for screen in read_screens(records, tables=False)}
    for screen in read_screens(records):
        root = ET.fromstring(write_bob(screen).encode())
        blocks = read_adl(write_adl(without_tables[screen.name]))
        medm = {keys["chan"] for _, keys in blocks if "chan" in keys}
        # What Phoebus wraps, MEDM shows by its lines.
        medm = {re.sub(r"Line\d+$", "", name) for name in medm}

        shown = {found.text for found in root.iterfind(".//pv_name") if found.text} - {"$(pv_name)"}
        assert root.findtext("name") == screen.title
        of_ca = {name for name in shown if not name.startswith("pva://")}
        assert {re.sub(r"Line\d+$", "", name) for name in of_ca} == medm
        for widget in root.iterfind("widget[@type='textupdate']"):
            suffix = widget.findtext("pv_name", "").removeprefix("$(P)$(R)")
            assert (widget.findtext("format") == "6") is (records.by_suffix(suffix).type == "waveform")


def test_a_sites_own_button_appears_by_itself_and_what_cannot_be_undone_asks(tmp_path: Path) -> None:
    own = tmp_path / "own.substitutions"
    own.write_text(SITE_ROWS)
    records = load_records([*shipped(), own], prefix=PREFIX)
    screens = read_screens(records)
    main = next(screen for screen in screens if screen.name == "beamtime")

    bound = {getattr(widget, "channel", "") for widget in main.widgets}
    root = ET.fromstring(write_bob(main).encode())

    assert lint(screens, records) == []
    assert {"PurgeBuffer", "PurgeBufferState", "PurgeBufferMessageLine1", "PurgeBufferArm"} <= bound
    asking = [
        one.findtext("text") for one in root.iterfind("widget") if one.find("confirm_message") is not None
    ]
    assert asking == ["Purge Buffer"]


@pytest.mark.parametrize("tables", [True, False])
def test_a_site_with_a_box_has_its_faults_on_a_screen_and_no_other_site(
    records: RecordSet, *, tables: bool
) -> None:
    training = load_records(shipped(training=True), prefix=PREFIX)
    screens = {screen.name: screen for screen in read_screens(training, tables=tables)}
    without = {screen.name: screen for screen in read_screens(records, tables=tables)}

    shown = {getattr(widget, "channel", "") for widget in screens["beamtime_training"].widgets}
    main = screens["beamtime"].widgets

    assert lint(list(screens.values()), training) == []
    assert {one.suffix for one in training.records.values() if one.knob} | {"SimReset", "SimMessage"} <= shown
    assert "beamtime_training" in {widget.screen for widget in main if isinstance(widget, Link)}
    assert "SimMessage" in {getattr(widget, "channel", "") for widget in main}
    assert screens["beamtime"].height <= 1020
    assert set(screens) - set(without) == {"beamtime_training"}
    assert not [one for one in without["beamtime"].widgets if "Sim" in getattr(one, "channel", "")]


FAULTS: dict[str, tuple[Widget, str]] = {
    "channel": (Reading(box=HERE, channel="NoSuchRecord"), "there is no record NoSuchRecord"),
    "table": (Grid(box=HERE, channel="NoSuchTable"), "there is no table NoSuchTable"),
    "text as number": (Reading(box=HERE, channel="UserName"), "UserName is text, unlike on the screen"),
    "number as text": (Reading(box=HERE, channel="UserCount", text=True), "UserCount is no text"),
    "entry of a report": (Entry(box=HERE, channel="QueueLength"), "written by the IOC only"),
    "entry of states": (Entry(box=HERE, channel="EmailUsersResolve"), "a menu for it, no entry"),
    "menu of a text": (Choice(box=HERE, channel="UserName"), "has no states: no menu for it"),
    "button": (
        Press(box=HERE, channel="EmailUsers", label="Go", state="Go"),
        "EmailUsers has no state 'Go' to press",
    ),
    "bar": (Bar(box=HERE, channel="EmailUsersState"), "no bar for it"),
    "link": (Link(box=HERE, label="Home", screen="nowhere"), "opens nowhere, which is no screen"),
    "outside": (Words(box=Box(650, 10, 100, 20), text="far"), "stands outside the display"),
    "above": (Words(box=Box(10, -5, 100, 20), text="high"), "stands outside the display"),
    "tiny": (Words(box=Box(10, 10, 100, 5), text="x"), "is too small to see"),
    "long": (Words(box=Box(10, 10, 50, 20), text="much too long for it"), "does not fit into its 50 pixels"),
    "macro": (Reading(box=HERE, channel="$(X)State"), "there is no record $(X)State"),
    "structure": (Grid(box=HERE, channel="Experiment"), "Experiment is a structure, and no table"),
    "lines": (
        Reading(box=replace(HERE, height=40), channel="UserName", text=True, lines=1, views=True),
        "there is no record UserNameLine1",
    ),
    "short state": (
        Reading(box=replace(HERE, width=40), channel="EmailUsersState", alarm=True),
        "EmailUsersState: its state 'Queued' does not fit into 40 pixels",
    ),
    "short menu": (
        Choice(box=replace(HERE, width=110), channel="EmailUsersResolve"),
        "EmailUsersResolve: its state 'it happened' does not fit into 90 pixels",
    ),
    "short number": (Reading(box=replace(HERE, width=30), channel="UserCount"), "no number fits into 30"),
    "glow": (Glow(box=HERE, channel="UserName"), "UserName has no states: nothing shines for it"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_lint_finds(records: RecordSet, fault: str) -> None:
    widget, words = FAULTS[fault]
    screen = Screen(name="one", title="One", width=700, height=100, widgets=(widget,))

    found = lint([screen], records)

    assert len(found) == 1
    assert found[0].startswith("one: ")
    assert words in found[0]


def test_the_lint_finds_what_lies_over_another(records: RecordSet) -> None:
    two = (Words(box=HERE, text="one"), Words(box=replace(HERE, x=100), text="two"))
    screen = Screen(name="one", title="One", width=700, height=100, widgets=two)

    assert lint([screen], records) == ["one: words 'one' lies over words 'two'"]


def test_a_long_message_is_shown_line_by_line_in_medm_and_wrapped_in_phoebus(records: RecordSet) -> None:
    screen = next(one for one in read_screens(records) if one.name == "beamtime_begin_beamtime")

    updates = [keys for kind, keys in read_adl(write_adl(screen)) if kind == "text update"]
    places = {keys["chan"].removeprefix("$(P)$(R)BeginBeamtime"): int(keys["y"]) for keys in updates}
    root = ET.fromstring(write_bob(screen).encode())
    wrapped = {one.findtext("pv_name"): one.findtext("wrap_words") for one in root.iterfind("widget")}

    lines = [places[f"MessageLine{number}"] for number in (1, 2, 3, 4)]
    assert lines == list(range(lines[0], lines[0] + 4 * 18, 18))
    assert "Message" not in places
    assert wrapped["$(P)$(R)BeginBeamtimeMessage"] == "true"


def test_the_main_screen_shows_whole_lines_of_what_happened_and_what_to_do(records: RecordSet) -> None:
    main = next(screen for screen in read_screens(records) if screen.name == "beamtime")

    shown = {widget.channel: widget.lines for widget in main.widgets if isinstance(widget, Reading)}

    assert shown["BeginBeamtimeMessageLine1"] == shown["BeginBeamtimeMessageLine2"] == 1
    assert shown["BeginBeamtimeAdviceLine1"] == shown["BeginBeamtimeAdviceLine2"] == 1
    assert not {"BeginBeamtimeMessage", "BeginBeamtimeAdvice"} & shown.keys()
    assert (shown["ScheduleSays"], shown["EngineMessage"]) == (3, 2)


def test_a_frame_is_seen_around_an_action_at_work(records: RecordSet) -> None:
    main = next(screen for screen in read_screens(records) if screen.name == "beamtime")

    frames = [keys for _, keys in read_adl(write_adl(main)) if "vis" in keys]
    root = ET.fromstring(write_bob(main).encode())

    elsewhere = (
        "EndBeamtime",
        "Handover",
        "SelectExperiment",
        "UseManual",
        "ReopenExperiment",
        "DeliverOutbox",
    )
    suffixes = [row.button.suffix for row in records.actions() if row.button.suffix not in elsewhere]
    buttons = [f"$(P)$(R){suffix}" for suffix in suffixes]
    assert [keys["chan"] for keys in frames] == buttons
    assert {(keys["vis"], keys["fill"]) for keys in frames} == {("if not zero", "outline")}
    assert [rule.findtext("pv_name") for rule in root.iterfind("widget/rules/rule")] == buttons


def test_each_action_has_a_screen_with_all_that_stands_beside_its_button(tmp_path: Path) -> None:
    own = tmp_path / "own.substitutions"
    own.write_text(SITE_ROWS)
    records = load_records([*shipped(), own], prefix=PREFIX)
    screens = {screen.name: screen for screen in read_screens(records)}

    for row in records.actions():
        shown = {one.channel for one in screens[screen_of(row)].widgets if isinstance(one, Bound)}
        assert {row.button.suffix, *(record.suffix for record in row.parts.values())} == shown
        assert any(
            isinstance(one, Link) and one.screen == screen_of(row)
            for name in (
                "beamtime",
                "beamtime_change",
                "beamtime_choice",
                "beamtime_manual",
                "beamtime_outbox",
            )
            for one in screens[name].widgets
        )


def test_a_service_of_a_sites_own_gets_its_lamp_and_its_sentence(tmp_path: Path) -> None:
    own = tmp_path / "own.substitutions"
    own.write_text('file service.template { pattern { SERVICE, NAME } { "runs", "Runs" } }')
    records = load_records([*shipped(), own], prefix=PREFIX)

    screens = read_screens(records)

    shown = {one.name: {getattr(widget, "channel", "") for widget in one.widgets} for one in screens}
    assert lint(screens, records) == []
    assert "RunsService" in shown["beamtime"] & shown["beamtime_services"]
    assert "RunsServiceMessage" in shown["beamtime_services"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("[{fields: [{record: NoSuch}]}]", "one: there is no record NoSuch"),
        ("[{poem: all}]", "poem is no row; these are fields, "),
        ("[{table: {name: NoSuch, height: 9}}]", "there is no table NoSuch"),
        ("[", "is no layout of screens"),
    ],
)
def test_a_wrong_layout_is_named(records: RecordSet, tmp_path: Path, rows: str, words: str) -> None:
    layout = tmp_path / "screens.yaml"
    layout.write_text(f"one: {{title: One, width: 600, rows: {rows}}}")

    with pytest.raises(RecordFileError, match=re.escape(words)):
        read_screens(records, layout)


def test_a_record_with_a_question_mark_may_be_missing(records: RecordSet, tmp_path: Path) -> None:
    layout = tmp_path / "screens.yaml"
    rows = '[{fields: [{record: "Later?"}, {record: UserName}]}]'
    layout.write_text(f"one: {{title: One, width: 600, rows: {rows}}}")

    (screen,) = read_screens(records, layout)

    assert [one.channel for one in screen.widgets if isinstance(one, Entry)] == ["UserName"]


def changed(name: str, change: Callable[[str], str], directory: Path) -> Path:
    for file, text in forms(None).items():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(change(text) if file == name else text)
    return directory


def test_a_check_names_the_file_that_differs_and_the_one_that_is_missing(tmp_path: Path) -> None:
    here = changed("medm/beamtime.adl", lambda text: text.replace("Preview", "Peek"), tmp_path)
    (here / "phoebus/beamtime_audit.bob").unlink()

    found = differing(here, None)

    assert len(found) == 2
    assert "medm/beamtime.adl differs from the records" in found[0]
    assert "phoebus/beamtime_audit.bob is missing" in found[1]


def test_medm_and_phoebus_are_opened_with_the_macros_of_the_prefix() -> None:
    words, environment = opening("medm", "medm", "99bm:Beamtime:", None, None)
    assert words[:4] == ["medm", "-x", "-macro", "P=99bm:,R=Beamtime:"]
    assert words[4].endswith("medm/beamtime.adl")
    assert environment["EPICS_DISPLAY_PATH"].split(":")[0] == str(Path(words[4]).parent)

    words, _ = opening("phoebus", "phoebus.sh", "99bm:Beamtime:", None, None)
    assert words[:2] == ["phoebus.sh", "-resource"]
    assert words[2].endswith("phoebus/beamtime.bob?P=99bm%3A&R=Beamtime%3A")
    with pytest.raises(BeamtimeError, match="the prefix is not known; name it by --prefix or --site"):
        opening("medm", "medm", "", None, None)


@pytest.mark.parametrize(("program", "end"), [("medm", ".adl"), ("phoebus", ".bob")])
def test_every_screen_stands_in_the_docs_as_a_picture(program: str, end: str) -> None:
    checkout = Path(__file__).parents[2]
    page = (checkout / "docs" / "reference" / "screens.md").read_text(encoding="utf-8")
    screens = {path.stem for path in (checkout / program).glob(f"*{end}")}
    drawn = {path.stem for path in (checkout / "docs" / "images" / program).glob("*.png")}

    assert screens == drawn
    assert all(f"](../images/{program}/{name}.png)" in page for name in screens)
