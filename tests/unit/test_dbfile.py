"""Record files as they are written: read, merged, written again."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamtime_ioc.dbfile import Declaration, Text, merge, parse_db, render_db
from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.macros import Mark
from beamtime_ioc.substitutions import Row, parse_substitutions

HERE = Mark(path=Path("here.db"), line=7)


def read(text: str, **macros: str) -> tuple[Declaration, ...]:
    return parse_db(text, path=HERE.path, macros=macros)


def rows(text: str, **macros: str) -> tuple[Row, ...]:
    return parse_substitutions(text, path=HERE.path, macros=macros)


def values(texts: Mapping[str, Text]) -> dict[str, str]:
    return {name: text.value for name, text in texts.items()}


def test_the_whole_language_of_records_is_read() -> None:
    text = r"""
    # A comment with $(NOTHING) and a lone " in it
    record(ao, "$(P)Energy") {          # behind a bracket too
        field(DESC, "Energy # no comment")
        field(PREC, 3)
        field("EGU", keV)
        info(autosaveFields, "DESC VAL")
        info(beamtime:group, beam)
        alias("$(P)E")
    }
    grecord("mbbo", $(P)Mode)
    {
        field(ZRST, "say \"mono\"\t\\ \q")
    }
    record(waveform, "$(P)Title") { field(INP, { const : "a {b} [c]"
                                                   }) }
    record(bo, "$(P)Empty")
    alias("$(P)Mode", "$(P)M")
    """

    records = merge(read(text, P="99bm:"))

    assert [(record.type, record.name, record.mark.line) for record in records] == [
        ("ao", "99bm:Energy", 3),
        ("mbbo", "99bm:Mode", 11),
        ("waveform", "99bm:Title", 15),
        ("bo", "99bm:Empty", 17),
    ]
    energy, mode, title, empty = records
    assert values(energy.fields) == {"DESC": "Energy # no comment", "PREC": "3", "EGU": "keV"}
    assert values(energy.info) == {"autosaveFields": "DESC VAL", "beamtime:group": "beam"}
    assert [alias.value for alias in energy.aliases] == ["99bm:E"]
    assert values(mode.fields) == {"ZRST": 'say "mono"\t\\ q'}
    assert [(alias.value, alias.mark.line) for alias in mode.aliases] == [("99bm:M", 18)]
    assert values(title.fields) == {"INP": '{const:"a {b} [c]"}'}
    assert title.fields["INP"].mark.line == 15
    assert not empty.fields


def test_lines_end_as_on_windows_or_on_unix() -> None:
    unix = 'record(bo, "X")\n{\n    field(DESC, "µ é 漢")\n}\n'

    windows = read(unix.replace("\n", "\r\n"))

    assert windows == read(unix)
    assert windows[0].fields["DESC"].mark.line == 3


def test_files_of_other_iocs_are_read_though_they_are_not_served() -> None:
    text = """
    record(calcout, "$(P)$(R)Sum")
    {
       field(INPA, "$(P)$(R)A CP MS")
       field(CALC, "A>0?1:0")
       field(SCAN, ".1 second")
       field(OUT,  "@asyn($(PORT),0,1)DATA")
       field(FLNK, $(P)$(R)Next.PROC)
    }
    record(lso, "$(P)$(R)Long") { field(SIZV, 100) field(DOL, ["a", 1e-3, {b: null}]) }
    """

    records = read(text, P="99bm:", R="Scan:", PORT="D1")

    assert values(records[0].fields) == {
        "INPA": "99bm:Scan:A CP MS",
        "CALC": "A>0?1:0",
        "SCAN": ".1 second",
        "OUT": "@asyn(D1,0,1)DATA",
        "FLNK": "99bm:Scan:Next.PROC",
    }
    assert values(records[1].fields)["DOL"] == '["a",1e-3,{b:null}]'


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ('record(bo, "X") {\n field(DESC, "open)\n}', 2, "no closing quote"),
        ('record(bo, "X") {\r\n field(DESC, "open)\r\n}', 2, "no closing quote"),
        ('record(bo, "X") {\n field(DESC, "a\tb")\n}', 2, r"a tab is written \\t"),
        ('record(bo, "X") {\n\n field(DESC, "\\x41")\n}', 3, "cannot be given as a number"),
        ('record(bo, "X") {\n field(DESC "x")\n}', 2, 'expected ",", found'),
        ('record(bo, "X") {\n field(DESC, "$(NOPE)")\n}', 2, 'the macro "NOPE" is not defined'),
        ('record(bo, "X") {\n fild(DESC, "x")\n}', 2, 'record "X": expected field, info or alias'),
        ('\nrecord(bo, "X") {\n field(DESC, "x")', 2, 'the bracket of record "X" is not closed'),
        ('record(bo, "X"', 1, 'expected "\\)", found the end of the file'),
        ('record("", "X")', 1, "needs a type and a name"),
        ('record(bo, "")', 1, "needs a type and a name"),
        ('record(bo, "X") { alias("") }', 1, r"alias\(\) needs a name"),
        ('\n\ninclude "other.db"', 3, '"include" is not supported here'),
        ("breaktable(a) { 1 2 }", 1, '"breaktable" is not supported here'),
        ('device(bo, CONSTANT, x, "y")', 1, '"device" is not supported here'),
        ("recrod(bo, X)", 1, 'expected record, grecord or alias, found "recrod"'),
        ("record(bo, é)", 1, "expected a record name, found 'é"),
        ('record(bo, "X") { field(INP, {a:[1,2}) }', 1, "expected a JSON value"),
        ('record(bo, "X") { field(INP, ' + "[" * 1000 + ") }", 1, "more than 40 deep"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, sentence: str) -> None:
    with pytest.raises(RecordFileError, match=sentence) as caught:
        read(text)

    assert (caught.value.path, caught.value.line) == (HERE.path, line)
    assert str(caught.value).startswith(f"here.db:{line}: ")


def test_a_record_declared_again_gets_the_later_fields() -> None:
    text = """
    record(bo, "X") { field(DESC, "old") field(ZNAM, "Done") info(a, "1") alias("Y") }
    record(bo, "X") { field(DESC, "new") }
    record("*", "X") { field(ONAM, "Go") info(a, "2") }
    record("*", "Y") { info(b, "3") alias("Z") }
    """

    (record,) = merge(read(text))

    assert values(record.fields) == {"DESC": "new", "ZNAM": "Done", "ONAM": "Go"}
    assert values(record.info) == {"a": "2", "b": "3"}
    assert [alias.value for alias in record.aliases] == ["Y", "Z"]


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ('record(bo, "X")\nrecord(bi, "X")', 2, '"X" is a bi here, and a bo in here.db:1'),
        ('\nrecord("*", "X")', 2, 'no record "X" is declared before this line'),
        ('alias("X", "Y")\nrecord(bo, "X")', 1, 'no record "X" is declared before this line'),
        ('record(bo, "X")\nrecord(bo, "Y") {\n alias("X")\n}', 3, 'the alias "X" is the name of another'),
        ('record(bo, "X") { alias("X") }', 1, 'the alias "X" is the name of another'),
        (
            'record(bo, "X") { info(beamtime:action, "a") }\nrecord("*", "X")\n{info(beamtime:action, "b")}',
            3,
            'beamtime:action is "b" here, and "a" in here.db:1',
        ),
    ],
)
def test_declarations_that_contradict_each_other_are_refused(text: str, line: int, sentence: str) -> None:
    with pytest.raises(RecordFileError, match=sentence) as caught:
        merge(read(text))

    assert caught.value.line == line


letters = st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from('\n\t"\\$(){}#')
names = st.text(letters, min_size=1)


def marked(values: st.SearchStrategy[str]) -> st.SearchStrategy[Text]:
    return values.map(lambda value: Text(value=value, mark=HERE))


declarations = st.builds(
    Declaration,
    type=names | st.just("*"),
    name=names,
    mark=st.just(HERE),
    fields=st.dictionaries(names, marked(st.text(letters)), max_size=4),
    info=st.dictionaries(names, marked(st.text(letters)), max_size=3),
    aliases=st.lists(marked(names), max_size=2).map(tuple),
)


def all_over(value: str) -> list[Declaration]:
    """One declaration with the value wherever a value can stand."""
    text = Text(value=value, mark=HERE)
    fields = {value: text}
    return [Declaration(type="bo", name=value, mark=HERE, fields=fields, info=fields, aliases=(text,))]


@given(st.lists(declarations, max_size=4))
@example(all_over("$(P) ${R} \\$(P) $$(P)"))
@example(all_over('{const:"text"}'))
def test_what_is_written_is_read_back_the_same(written: list[Declaration]) -> None:
    text = render_db(written)

    assert parse_db(text, path=HERE.path, macros={}) == tuple(written)


@given(declarations, st.sampled_from(["99bm:Beamtime:", "Beamtime:"]))
def test_names_with_the_prefix_are_written_with_its_macros(declaration: Declaration, prefix: str) -> None:
    written = Declaration(
        type=declaration.type,
        name=prefix + declaration.name,
        mark=HERE,
        fields=declaration.fields,
        info=declaration.info,
    )

    text = render_db([written], prefix=prefix)

    assert '"$(P)$(R)' in text
    assert read(text, P=prefix, R="") == (written,)


SEED = """record(ao, "$(P)X") { # note
  field(DESC, "a \\" $(B=$(C=1)) b") info(q, {const:"x", y:[1,2]}) alias("Y") }
alias("$(P)X", "Z") file x { pattern {A, B} {"1", 2} } global { A=${P} }
"""


@st.composite
def damaged(draw: st.DrawFn) -> str:
    text = SEED
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.text('"\\${}()[],=#:* \n\r\tAé\x00', max_size=3))
            + text[at + draw(st.integers(0, 4)) :]
        )
    return text


@given(st.text() | damaged(), st.sampled_from([read, rows]))
def test_any_text_is_read_or_refused_with_its_line(text: str, reader: Callable[..., object]) -> None:
    line = 1

    try:
        reader(text, P="99bm:")
    except RecordFileError as error:
        line = error.line

    assert 1 <= line <= text.count("\n") + 1
