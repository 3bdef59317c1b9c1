"""What a record says, and what of a file is not accepted."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.records import Kind, Record, RecordSet, load_records, split_prefix

PREFIX = "99bm:Beamtime:"
Load = Callable[[str], RecordSet]
NEEDED: Mapping[str, Mapping[str, str]] = {
    "waveform": {"FTVL": "CHAR", "NELM": "8"},
    **{kind: {"ZNAM": "Off", "ONAM": "On"} for kind in ("bo", "bi", "busy")},
    **{kind: {"ZRST": "A"} for kind in ("mbbo", "mbbi")},
}
"""Without these a record of the type is refused."""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], RecordSet]:
    """Load one file of records."""

    def load(text: str) -> RecordSet:
        file = tmp_path / "site.db"
        file.write_text(text, encoding="utf-8")
        return load_records([file], prefix=PREFIX)

    return load


def as_lines(fields: Mapping[str, str]) -> str:
    return "\n".join(f'field({name}, "{text}")' for name, text in fields.items())


def only(found: RecordSet) -> Record:
    (record,) = found.records.values()
    return record


def test_each_record_type_has_its_kind_and_its_writer(load: Load) -> None:
    expected = {
        "waveform": (Kind.TEXT, True),
        "stringout": (Kind.STRING, True),
        "stringin": (Kind.STRING, False),
        "bo": (Kind.STATES, True),
        "busy": (Kind.STATES, True),
        "bi": (Kind.STATES, False),
        "mbbo": (Kind.STATES, True),
        "mbbi": (Kind.STATES, False),
        "longout": (Kind.INTEGER, True),
        "longin": (Kind.INTEGER, False),
        "ao": (Kind.FLOAT, True),
        "ai": (Kind.FLOAT, False),
    }

    found = load(
        "\n".join(f"record({kind}, {kind}) {{ {as_lines(NEEDED.get(kind, {}))} }}" for kind in expected)
    )

    assert {record.type: (record.kind, record.writable) for record in found.records.values()} == expected


def test_a_number_has_its_limits_its_unit_and_its_first_value(load: Load) -> None:
    record = only(
        load("""
        record(ao, "$(P)$(R)Energy") {
            field(DESC, "Energy of the beam")
            field(EGU, "keV") field(PREC, "3") field(VAL, "12.5")
            field(HOPR, "1e2") field(LOPR, "0") field(DRVH, "0x50") field(DRVL, "")
            field(ASG, "beam")
        }
        """)
    )

    assert (record.desc, record.egu, record.number("PREC"), record.initial) == (
        "Energy of the beam",
        "keV",
        3,
        12.5,
    )
    assert [record.number(name) for name in ("HOPR", "LOPR", "DRVH", "DRVL")] == [100.0, 0.0, 80.0, 0.0]
    assert (record.asg, record.nelm, record.states) == ("beam", 1, ())


def test_states_have_labels_severities_and_a_first_one(load: Load) -> None:
    found = load("""
    record(bo, "$(P)$(R)Shutter") {
        field(ZNAM, "Closed") field(ONAM, "Open") field(OSV, "MINOR") field(VAL, "1")
    }
    record(mbbi, "$(P)$(R)Mode") {
        field(ZRST, "A") field(ONST, "") field(TWST, "C") field(TWSV, "MAJOR")
        field(FTVL, "7") field(INP, "2")
    }
    """)
    shutter, mode = found.by_suffix("Shutter"), found.by_suffix("Mode")

    assert (shutter.states, shutter.severities, shutter.initial) == (
        ("Closed", "Open"),
        ("NO_ALARM", "MINOR"),
        1,
    )
    assert (mode.states, mode.severities) == (("A", "", "C"), ("NO_ALARM", "NO_ALARM", "MAJOR"))
    assert mode.initial == 2


def test_texts_have_a_size_in_bytes_and_a_first_value(load: Load) -> None:
    found = load(r"""
    record(waveform, "$(P)$(R)Title") {
        field(FTVL, UCHAR) field(NELM, 6) field(INP, {const:"a\u00e9漢"})
    }
    record(stringout, "$(P)$(R)Short") { field(VAL, "first") }
    record(stringin, "$(P)$(R)Other") { field(INP, { "const" : "second" }) }
    """)

    assert [(record.nelm, record.initial) for record in found.records.values()] == [
        (6, "aé漢"),
        (39, "first"),
        (39, "second"),
    ]


def test_a_file_may_begin_with_the_mark_that_windows_editors_write(tmp_path: Path) -> None:
    file = tmp_path / "windows.db"
    file.write_text('record(ai, "X")', encoding="utf-8-sig")

    found = load_records([file], prefix=PREFIX)

    assert list(found.records) == ["X"]


def test_a_record_is_found_by_name_alias_and_suffix(load: Load) -> None:
    found = load(
        'record(bi, "$(P)$(R)Lamp") { field(ZNAM, 0) field(ONAM, 1) alias("99bm:L") alias("$(P)$(R)Light") }'
    )

    lamp = found.by_suffix("Lamp")

    assert (lamp.name, lamp.suffix, lamp.mark.line) == (f"{PREFIX}Lamp", "Lamp", 1)
    assert lamp.aliases == ("99bm:L", f"{PREFIX}Light")
    with pytest.raises(KeyError):
        found.by_suffix("Nothing")


@pytest.mark.parametrize(
    ("prefix", "macros"),
    [
        ("99bm:Beamtime:", ("99bm:", "Beamtime:")),
        ("fac:99bm:Beamtime:", ("fac:99bm:", "Beamtime:")),
        ("Beamtime:", ("Beamtime:", "")),
        ("99bm:Beam_", ("99bm:Beam_", "")),
        ("::", ("::", "")),
        ("", ("", "")),
    ],
)
def test_the_prefix_is_cut_before_its_last_part(prefix: str, macros: tuple[str, str]) -> None:
    assert split_prefix(prefix) == macros


def test_a_short_view_stands_behind_its_text(load: Load) -> None:
    found = load("""
    record(waveform, "$(P)$(R)UserName") {
        field(DESC, "Name") field(FTVL, CHAR) field(NELM, 256) info(beamtime:text39, "UserName39")
    }
    record(longin, "$(P)$(R)Count")
    """)

    view = found.by_suffix("UserName39")

    assert [record.suffix for record in found.records.values()] == ["UserName", "UserName39", "Count"]
    assert (view.type, view.kind, view.nelm, view.writable) == ("stringin", Kind.STRING, 39, False)
    assert (view.view_of, view.desc, view.text39) == (f"{PREFIX}UserName", "Name", None)


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ('record(calc, "X")', "the record type calc is not supported here; these are: waveform,"),
        ('record(lso, "X")', "the record type lso is not supported here"),
        ('record(ai, "X Y")', 'the name "X Y" holds a blank'),
        ('record(ai, "X") { alias("Y Z") }', 'the name "Y Z" holds a blank'),
        ('record(ai, "X.VAL")', 'the name "X.VAL" holds a blank, a dot'),
        (f'record(ai, "$(P)$(R){"x" * 47}")', "has 61 characters; 60 are allowed"),
    ],
)
def test_a_name_or_type_that_cannot_be_served_is_refused(load: Load, record: str, sentence: str) -> None:
    with pytest.raises(RecordFileError, match=sentence) as caught:
        load(f"\n{record}")

    assert caught.value.line == 2


def test_a_name_of_60_characters_is_served(load: Load) -> None:
    name = PREFIX + "x" * 46

    found = load(f'record(stringin, "{name}")')

    assert len(name) == 60
    assert list(found.records) == [name]


@pytest.mark.parametrize(
    ("kind", "field", "value", "sentence"),
    [
        ("bo", "HIGH", "1", "HIGH is not supported here; a button goes back by itself"),
        ("busy", "HIGH", "0", "HIGH is not supported here"),
        ("waveform", "VAL", "x", r'VAL cannot be set in a file .*; write field\(INP, {const:"text"}\)'),
        ("ai", "INP", "99bm:Other CP", '"99bm:Other CP": links to other records and devices'),
        ("waveform", "INP", "text", "links to other records"),
        ("ao", "OUT", "@asyn(D1)X", "links to other records"),
        ("ao", "DOL", "99bm:Other", "links to other records"),
        ("stringin", "FLNK", "99bm:Other", "links to other records"),
        ("ai", "SCAN", "1 second", 'SCAN "1 second" is not supported here, only Passive'),
        ("ai", "DTYP", "Raw Soft Channel", "only Soft Channel"),
        ("bo", "OMSL", "closed_loop", "only supervisory"),
        ("ai", "SIML", "1", "SIML of a ai is not supported here"),
        ("bo", "EGU", "s", "EGU of a bo is not supported here"),
        ("ai", "AFTC", "1", "AFTC of a ai is not supported here"),
        ("ai", "DESC", "x" * 41, "has 41 bytes; 40 are allowed"),
        ("ai", "DESC", "é" * 21, "has 42 bytes; 40 are allowed"),
        ("ai", "EGU", "x" * 16, "16 bytes; 15 are allowed"),
        ("ai", "ASG", "x" * 29, "29 bytes; 28 are allowed"),
        ("bo", "ZNAM", "x" * 26, "26 bytes; 25 are allowed"),
        ("mbbi", "FFST", "x" * 26, "26 bytes; 25 are allowed"),
        ("mbbi", "ONSV", "BAD", '"BAD" is no severity; these are: NO_ALARM'),
        ("mbbi", "VAL", "A", '"A" is no whole number'),
        ("mbbi", "VAL", "3", "its first value 3 is none of its 1 states"),
        ("bo", "VAL", "-1", "its first value -1 is none of its 2 states"),
        ("bo", "ONAM", "Off", "two states have one name"),
        ("bo", "ONAM", "", "its states have no names"),
        ("mbbi", "ZRST", "", "its states have no names"),
        ("ai", "VAL", "nan", '"nan" is no number'),
        ("ai", "HOPR", "1e999", '"1e999" is no number'),
        ("ai", "HOPR", "1_0", '"1_0" is no number'),
        ("ai", "PREC", "1.5", '"1.5" is no whole number'),
        ("longin", "HOPR", "1.5", '"1.5" is no whole number'),
        ("longin", "VAL", "2147483648", "does not fit 32 bits"),
        ("longin", "VAL", "9" * 5000, "is no whole number"),
        ("stringin", "VAL", "x" * 40, "has 40 bytes; 39 are allowed"),
        ("waveform", "FTVL", "STRING", "only CHAR or UCHAR"),
        ("waveform", "FTVL", "", r"it needs field\(FTVL, CHAR\)"),
        ("waveform", "NELM", "0", "from 1 to 1000000"),
        ("waveform", "NELM", "", "from 1 to 1000000"),
        ("waveform", "NELM", "100000000", "from 1 to 1000000"),
        ("waveform", "NELM", "many", "is no whole number"),
        ("waveform", "INP", '{const:\\"123456789\\"}', "its first value has 9 bytes, and NELM is 8"),
        ("waveform", "INP", '{const:\\"\\\\ud800\\"}', "is no JSON text"),
        ("waveform", "INP", '{const:\\"\\\\q\\"}', "is no JSON text"),
        ("stringin", "INP", '{const:\\"' + "x" * 40 + '\\"}', "has 40 bytes"),
    ],
)
def test_a_field_that_cannot_be_served_is_refused(
    load: Load, kind: str, field: str, value: str, sentence: str
) -> None:
    fields = {**NEEDED.get(kind, {}), field: value}

    with pytest.raises(RecordFileError, match=sentence) as caught:
        load(f'record({kind}, "X") {{ {as_lines(fields)} }}')

    assert caught.value.line >= 1
    assert caught.value.text.startswith('"X": ')


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("latin.db", b'# first\nrecord(bo, "\xe9")', "latin.db:2: byte 0xe9 is no UTF-8; save it as UTF-8"),
        ("empty.db", b"# nothing\n", "empty.db: declares no records"),
        ("empty.substitutions", b"", "empty.substitutions: declares no records"),
        (
            "x.substitutions",
            b"\nfile no.template { {} }",
            "x.substitutions:2: there is no template no.template",
        ),
        (
            "x.substitutions",
            b'\nfile "." { {} }',
            r"cannot be read: Is a directory \(row .*x.substitutions:2\)",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(RecordFileError, match=sentence):
        load_records([tmp_path / name], prefix=PREFIX)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordFileError, match=r"none.db: cannot be read: No such file"):
        load_records([tmp_path / "none.db"], prefix=PREFIX)


def test_an_error_in_a_template_names_the_row_too(tmp_path: Path) -> None:
    (tmp_path / "own.template").write_text('\nrecord(stringin, "$(NAME)")\n')
    rows = tmp_path / "x.substitutions"
    rows.write_text("file own.template {\n {NAME=X}\n {NAM=Y}\n}")

    with pytest.raises(RecordFileError) as caught:
        load_records([rows], prefix=PREFIX)

    template = tmp_path / "own.template"
    assert str(caught.value) == f'{template}:2: the macro "NAME" is not defined (row {rows}:3)'


@given(st.binary() | st.text().map(str.encode))
def test_any_file_is_loaded_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()

    for name in ("any.db", "any.substitutions"):
        (folder / name).write_bytes(content)
        with pytest.raises(RecordFileError):
            load_records([folder / name], prefix=PREFIX)


written = st.dictionaries(
    st.sampled_from(
        ["DESC", "VAL", "NELM", "FTVL", "INP", "ZNAM", "ONAM", "ZRST", "ONST", "HOPR", "PREC", "DOL"]
    ),
    st.sampled_from(["CHAR", "1", "0", "-1", "1e3", "é", "MINOR", "", '{const:\\"x\\"}', "0x1F"])
    | st.text("ax1 "),
    max_size=5,
)


@given(st.sampled_from(["waveform", "bo", "mbbi", "longin", "ao", "stringin"]), written)
def test_whatever_is_accepted_can_be_asked_for_everything(
    tmp_path_factory: pytest.TempPathFactory, kind: str, fields: dict[str, str]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.db"
    file.write_text(
        f'record({kind}, "X") {{ {as_lines({**NEEDED.get(kind, {}), **fields})} }}', encoding="utf-8"
    )

    try:
        record = only(load_records([file], prefix=PREFIX))
    except RecordFileError:
        return

    for name in dir(type(record)):
        getattr(record, name)
    assert record.kind is not Kind.TEXT or len(str(record.initial).encode()) <= record.nelm
