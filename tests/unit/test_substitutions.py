"""Macros and substitutions: what becomes of a template before it is read."""

from pathlib import Path

import pytest

from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.macros import Mark, expand
from beamtime_ioc.substitutions import parse_substitutions

HERE = Mark(path=Path("here.db"), line=7)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(P)$(R)Name", "99bm:Beamtime:Name"),
        ("${P}x", "99bm:x"),
        ("$(X=default)", "default"),
        ("$(X=)", ""),
        ("$(P=default)", "99bm:"),
        ("$(X=$(Y=${P}b))c", "99bm:bc"),
        ("$(P=$(UNUSED))", "99bm:"),
        ("$(NAME_OF_$(WHICH))", "one"),
        ('$(X="a, b)")', "a, b)"),
        ("$(X=a\\,b)", "a,b"),
        ("\\$(P) costs 5 $", "\\$(P) costs 5 $"),
        ("$P $ $", "$P $ $"),
    ],
)
def test_macros_are_replaced_as_in_epics_base(text: str, expanded: str) -> None:
    macros = {"P": "99bm:", "R": "Beamtime:", "WHICH": "1", "NAME_OF_1": "one"}

    answer = expand(text, macros, HERE)

    assert answer == expanded


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a $(NOPE) b", 'here.db:7: the macro "NOPE" is not defined'),
        ("$(X=$(NOPE))", 'the macro "NOPE" is not defined'),
        ("a $(P", r"the macro \$\(P is not closed"),
        ("$(X=1, Y=2)", "definitions inside a macro"),
        ("$(" * 1000, "more than 40 deep"),
        ("$(X=" * 1000, "more than 40 deep"),
    ],
)
def test_a_macro_that_cannot_be_replaced_is_named_with_file_and_line(text: str, sentence: str) -> None:
    with pytest.raises(RecordFileError, match=sentence):
        expand(text, {"P": "99bm:"}, HERE)


def rows(text: str, **macros: str) -> list[tuple[str, dict[str, str], int]]:
    found = parse_substitutions(text, path=Path("here.substitutions"), macros=macros)
    return [(row.template, dict(row.macros), row.mark.line) for row in found]


def test_all_forms_of_substitutions_are_read() -> None:
    text = """
    global { G = "all" }                 # a comment with "
    file "$(DIR)/one.template" {
        pattern { A, B }
        { "1", "a \\"quoted\\" text" }
        { 2    $(P)b }
    }
    global { H=$(G)2, }
    file two.template { { A=1, B="$(A)$(G)" }{A=2,B=""} }
    """

    found = rows(text, DIR="sub", P="99bm:")

    outside = {"DIR": "sub", "P": "99bm:", "G": "all"}
    assert found == [
        ("sub/one.template", {**outside, "A": "1", "B": 'a "quoted" text'}, 5),
        ("sub/one.template", {**outside, "A": "2", "B": "99bm:b"}, 6),
        ("two.template", {**outside, "H": "all2", "A": "1", "B": "1all"}, 9),
        ("two.template", {**outside, "H": "all2", "A": "2", "B": ""}, 9),
    ]


def test_a_row_may_hand_on_a_macro_of_the_same_name() -> None:
    found = rows("file x.template { { P=$(P)sub: } {} }", P="99bm:")

    assert [macros["P"] for _, macros, _ in found] == ["99bm:sub:", "99bm:"]


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("file x {\n pattern {A, B}\n {1}\n}", 3, "1 values for the 2 macros A, B"),
        ("file x {\n pattern {A}\n {1 2}\n}", 3, "2 values for the 1 macros A"),
        ("file x {\n {A=1}\n pattern {A}\n {1} }", 3, "the pattern stands before the rows"),
        ("\nfile x { }", 2, "has no rows"),
        ("file x {\n {A=1}", 2, "found the end of the file"),
        ("file x {\n {A=\n}", 3, 'expected the value of A, found "}"'),
        ("file x {\n {A}\n}", 2, 'expected "=" behind A'),
        ('file x {\n {A="1}\n}', 2, "no closing quote"),
        ("file x {\n {A=$(NOPE)}\n}", 2, 'the macro "NOPE" is not defined'),
        ("file x {\n {A='1'}\n}", 2, "put such a value between quotes"),
        ("fiel x {}", 1, 'expected file or global, found "fiel"'),
        ("{}", 1, "expected file or global"),
        ("file", 1, "expected the name of a template"),
    ],
)
def test_wrong_substitutions_are_refused_with_their_line(text: str, line: int, sentence: str) -> None:
    with pytest.raises(RecordFileError, match=sentence) as caught:
        rows(text)

    assert caught.value.line == line
