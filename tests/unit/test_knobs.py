"""The knobs of the box and their records: each has the other, and what goes to and fro stays the same."""

import json
from collections.abc import Sequence

import pytest

from beamtime_ioc.errors import BadValueError, RecordFileError
from beamtime_ioc.knobs import meant, none_of, shown
from beamtime_ioc.model import Json
from beamtime_ioc.records import Kind, RecordSet, load_records
from beamtime_ioc.records import shipped as shipped_files
from beamtime_ioc.values import Value, check
from beamtime_sim.knobs import Knobs, choices

RECORDS = load_records(shipped_files(training=True), prefix="99bm:Beamtime:")
BY_KNOB = {one.knob: one for one in RECORDS.records.values() if one.knob}


def default_of(knob: str) -> Json:
    """As it comes over HTTP: tuples are lists."""
    return json.loads(json.dumps(Knobs().values()[knob]))


def put(knob: str, value: object) -> tuple[Value, Json]:
    """Put a value to a knob's record; what the record shows then, and what the box has."""
    record, box = BY_KNOB[knob], Knobs()
    box.set(knob, meant(record, check(record, value), default_of(knob)))
    has = json.loads(json.dumps(box.values()[knob]))
    return shown(record, has), has


def test_every_knob_of_the_box_has_a_record_and_every_record_a_knob() -> None:
    assert sorted(BY_KNOB) == sorted(Knobs().values())


def test_without_training_there_is_no_record_of_a_box() -> None:
    beamline = load_records(shipped_files(), prefix="99bm:Beamtime:")

    assert [one.suffix for one in RECORDS.records.values() if one.suffix.startswith("Sim")]
    assert not [one.suffix for one in beamline.records.values() if one.suffix.startswith("Sim")]
    assert not [one.suffix for one in beamline.records.values() if one.group == "training"]


@pytest.mark.parametrize("knob", BY_KNOB)
def test_a_knob_is_named_as_its_record_is_written_by_staff_and_shows_its_default(knob: str) -> None:
    record = BY_KNOB[knob]
    words = knob.removesuffix("_bytes_per_s").removesuffix("_s").replace(".", "_").split("_")

    assert record.suffix.lower() == "sim" + "".join(words)
    assert (record.asg, record.writable, record.group) == ("staff", True, "training")
    assert shown(record, default_of(knob)) == check(record, shown(record, default_of(knob)))


@pytest.mark.parametrize("knob", [knob for knob, one in BY_KNOB.items() if one.kind is Kind.STATES])
def test_every_state_is_one_that_the_box_has(knob: str) -> None:
    states = BY_KNOB[knob].states

    for index, state in enumerate(states):
        assert put(knob, state) == put(knob, index)
        assert put(knob, state)[0] == index


@pytest.mark.parametrize(("knob", "words"), choices().items())
def test_every_word_that_the_box_allows_is_a_state_of_its_record(knob: str, words: Sequence[str]) -> None:
    assert list(BY_KNOB[knob].states) == list(words)


def test_every_menu_of_words_is_a_choice_of_the_box() -> None:
    assert sorted(choices()) == sorted(knob for knob, one in BY_KNOB.items() if one.type == "mbbo")


@pytest.mark.parametrize(
    "knob", [knob for knob, one in BY_KNOB.items() if one.kind in (Kind.FLOAT, Kind.INTEGER)]
)
def test_the_limits_of_a_number_are_those_of_the_box(knob: str) -> None:
    record = BY_KNOB[knob]
    low, high = record.number("DRVL"), record.number("DRVH")

    for end in (low, high):
        showed, has = put(knob, end)
        assert showed == end
        assert has == (default_of(knob) if end == none_of(record) else end)


@pytest.mark.parametrize("knob", [knob for knob in BY_KNOB if none_of(BY_KNOB[knob]) is not None])
def test_one_value_takes_a_knob_back(knob: str) -> None:
    none = none_of(BY_KNOB[knob])
    assert none is not None

    assert put(knob, none) == (shown(BY_KNOB[knob], default_of(knob)), default_of(knob))


@pytest.mark.parametrize(
    ("knob", "typed", "has", "showed"),
    [
        ("schedule.delay_s", "2.5", 2.5, 2.5),
        ("schedule.delay_s", 0, 0.0, 0.0),
        ("schedule.status", 503, 503, 503),
        ("schedule.fail_times", 0, 0, 0),
        ("schedule.body", "html", "html", 1),
        ("schedule.hang", "On", True, 1),
        ("schedule.pi_last_name", '["no", "list"]', '["no", "list"]', '["no", "list"]'),
        ("schedule.pi_last_name", "null", "null", "null"),
        ("schedule.pi_last_name", "7", "7", "7"),
        ("schedule.pi_last_name", "O'Brien; rm -rf / $(id)\n../..", "O'Brien; rm -rf / $(id)\n../..", None),
        ("schedule.pi_last_name", "Łukasik 李 \u202e", "Łukasik 李 \u202e", None),
        ("mail.refuse", "*", ["*"], "*"),
        ("mail.refuse", "A@Example.org, b@example.edu", ["a@example.org", "b@example.edu"], None),
        ("mail.refuse", '["a@example.org"]', ["a@example.org"], "a@example.org"),
        ("mail.grey", "*=2", {"*": 2}, "*=2"),
        ("mail.grey", "a@example.org,b@example.org=3", {"a@example.org": 3, "b@example.org": 3}, None),
        (
            "mail.grey",
            '{"a@example.org": 1, "b@example.org": 2}',
            {"a@example.org": 1, "b@example.org": 2},
            None,
        ),
        ("mail.hang", "data", "data", 2),
        ("mail.drop", 0, "never", 0),
    ],
)
def test_what_is_put_reaches_the_box_and_is_shown_so_that_it_can_be_put_again(
    knob: str, typed: object, has: Json, showed: Value | None
) -> None:
    first, found = put(knob, typed)

    assert found == has
    assert showed is None or first == showed
    assert put(knob, first) == (first, has)


@pytest.mark.parametrize("text", ["[", "{", '{"a@example.org": }', "[" * 100_000])
def test_half_a_list_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadValueError, match="SimMailGrey: the text is no JSON; write it like"):
        meant(BY_KNOB["mail.grey"], text, {})


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("schedule.delay_s", None),
        ("schedule.delay_s", "2"),
        ("schedule.delay_s", True),
        ("schedule.hang", 1),
        ("schedule.hang", None),
        ("schedule.body", "of another version"),
        ("schedule.body", None),
        ("schedule.status", 2**31),
        ("schedule.status", 5.5),
        ("schedule.status", True),
        ("mail.refuse", 5),
    ],
)
def test_what_a_record_cannot_show_is_said(knob: str, value: Json) -> None:
    with pytest.raises(ValueError, match="cannot show"):
        shown(BY_KNOB[knob], value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('knob, "one.two"', 'knob, "One"', '"One" is no knob of a box'),
        ('none, "3"', 'none, "three"', 'beamtime:none, "three" is no number'),
        ('field(ASG, "staff")', "", "beamtime:knob needs an access group"),
        ("longout", "longin", "nobody can turn a knob in a longin"),
        ('info(beamtime:knob, "one.two")', "", "beamtime:none belongs to a record with beamtime:knob"),
        ('"one.two"', '"schedule.delay_s"', "the knob schedule.delay_s belongs to"),
    ],
)
def test_a_knob_that_is_declared_wrong_is_told_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, old: str, new: str, words: str
) -> None:
    own = tmp_path_factory.mktemp("own") / "own.db"
    text = (
        'record(longout, "$(P)$(R)Own") {\n    field(ASG, "staff")\n    info(beamtime:knob, "one.two")\n'
        '    info(beamtime:none, "3")\n}\n'
    )
    own.write_text(text)
    load_own(own)

    own.write_text(text.replace(old, new))

    with pytest.raises(RecordFileError, match=rf"own.db:1: .*{words}"):
        load_own(own)


def load_own(path: object) -> RecordSet:
    return load_records([*shipped_files(training=True), path], prefix="99bm:Beamtime:")  # type: ignore[list-item]


def test_a_knob_without_a_box_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(RecordFileError, match=r"a knob needs a box; add sim: {url: ...} to the site file"):
        RECORDS.check_knobs(training=False)
    RECORDS.check_knobs(training=True)
