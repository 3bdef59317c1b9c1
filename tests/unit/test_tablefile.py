"""Files that declare tables: what they may say, and where a mistake is told."""

from pathlib import Path

import pytest

from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.records import RecordSet, db_dir, load_records, shipped
from beamtime_ioc.tablefile import ColumnType, TableKind

PREFIX = "9:B:"
GOOD = """\
Cats:
  description: Cats on the floor
  source: cats
  asg: staff
  rows: 7
  columns:
    name: {}
    age: {label: "Age [a]", type: double}
"""


def load(directory: Path, text: str) -> RecordSet:
    path = directory / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return load_records([db_dir() / "beamtime.substitutions", path], prefix=PREFIX)


def test_a_table_has_a_name_behind_the_prefix_and_columns_in_their_order(tmp_path: Path) -> None:
    text = GOOD.replace("name: {}", "name: {label: Name, type: string}")

    (table,) = load(tmp_path, text).tables

    assert (table.name, table.description, table.source) == ("9:B:Cats", "Cats on the floor", "cats")
    assert (table.asg, table.rows, table.mark.line) == ("staff", 7, 1)
    assert [(column.name, column.label, column.type) for column in table.columns] == [
        ("name", "Name", ColumnType.STRING),
        ("age", "Age [a]", ColumnType.DOUBLE),
    ]


def test_the_shipped_history_shows_the_last_fifty_runs() -> None:
    (table,) = (one for one in load_records(shipped(), prefix=PREFIX).tables if one.suffix == "History")

    assert (table.name, table.rows) == (f"{PREFIX}History", 50)
    assert [column.name for column in table.columns] == [
        "pressed",
        "action",
        "experiment",
        "state",
        "seconds",
        "who",
        "message",
        "run",
    ]


STRUCTURE = """\
Cattery:
  kind: structure
  description: A house of cats
  source: cattery
  rows: 3
  fields:
    street: {label: Street}
    cats:
      label: Who lives there
      columns:
        name: {}
        age: {type: double}
"""


def test_a_structure_has_fields_and_lists_with_columns_of_their_own(tmp_path: Path) -> None:
    (one,) = load(tmp_path, STRUCTURE).tables

    assert (one.kind, one.name, one.rows) == (TableKind.STRUCTURE, "9:B:Cattery", 3)
    assert one.paths == ("street", "cats", "cats.name", "cats.age")
    assert [(column.name, column.label, column.type) for column in one.columns[1].columns] == [
        ("name", "name", ColumnType.STRING),
        ("age", "age", ColumnType.DOUBLE),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("kind: structure", "kind: struct", 2, "kind: table or structure, not struct"),
        ("kind: structure", "kind: table", 6, "unknown key 'fields'; allowed are kind, description"),
        ("    street: {label", "    alarm: {label", 7, "the field alarm: every structure has it"),
        ("    street: {label", "    st-r: {label", 7, "the column 'st-r': letters, digits and underscores"),
        ("age: {type: double}", "age: {type: float}", 12, "no type float"),
        ("age: {type: double}", "age: {columns: {x: {}}}", 12, "unknown key 'columns'"),
        ("      label: Who", "      type: Who", 9, "unknown key 'type'; allowed are label, columns"),
        ("Cattery:", "UserName:", 1, "is the name of a record"),
    ],
)
def test_a_mistake_in_a_structure_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in STRUCTURE

    with pytest.raises(RecordFileError) as caught:
        load(tmp_path, STRUCTURE.replace(old, new))

    assert f"own.yaml:{line}:" in str(caught.value)
    assert words in str(caught.value)


def test_a_structure_that_nothing_fills_is_a_mistake_and_so_is_a_field_of_its_list(tmp_path: Path) -> None:
    records = load(tmp_path, STRUCTURE)

    records.check_sources({"cattery": ("street", "cats", "cats.name", "cats.age")})
    with pytest.raises(RecordFileError, match="nothing fills a structure from cattery; known are: cats"):
        records.check_sources({"cats": ()})
    with pytest.raises(RecordFileError, match=r"cattery has no column cats.age; these are: street"):
        records.check_sources({"cattery": ("street", "cats", "cats.name")})


def test_a_list_cannot_be_a_column_of_a_table(tmp_path: Path) -> None:
    records = load(tmp_path, GOOD.replace("    name: {}", "    friends: {}").replace("    age:", "    name:"))

    with pytest.raises(RecordFileError, match="friends is a list; show it in a structure, with its columns"):
        records.check_sources({"cats": ("name", "friends", "friends.name")})


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("rows: 7", "rows: 0", 5, "rows: a number from 1 to 10000, not 0"),
        ("rows: 7", "rows: seven", 5, "not seven"),
        (
            "rows: 7",
            "row: 7",
            5,
            "unknown key 'row'; allowed are kind, description, source, asg, rows, columns",
        ),
        ("  source: cats\n", "", 1, "source is missing"),
        ("type: double", "type: float", 8, "no type float; these are: string, boolean, int, long, double"),
        ("    age:", "    2age:", 8, "letters, digits and underscores"),
        ("    age:", "    name:", 8, "name stands twice"),
        ("Cats:", "Cats and dogs:", 1, "blank"),
        ("Cats:", "UserName:", 1, "is the name of a record"),
        ("Cats:", "BeginBeamtimeProgress:", 1, "is the name of a record"),
        ("name: {}", "name: what", 7, "should hold keys and values"),
        ("source: cats", "source: [cats]", 3, "source: should be a word"),
        ("description: Cats", "description: [Cats", 3, "no YAML"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD

    with pytest.raises(RecordFileError) as caught:
        load(tmp_path, GOOD.replace(old, new))

    assert f"own.yaml:{line}:" in str(caught.value)
    assert words in str(caught.value)


def test_an_empty_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(RecordFileError, match="declares no tables"):
        load(tmp_path, "# nothing\n")


def test_two_tables_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text(GOOD)
    files = [db_dir() / "beamtime.substitutions", tmp_path / "one.yaml", tmp_path / "two.yaml"]

    with pytest.raises(RecordFileError, match=r'two.yaml:1: "9:B:Cats" stands in .*one.yaml:1 too'):
        load_records(files, prefix=PREFIX)


def test_a_table_that_nothing_fills_is_a_mistake_and_so_is_a_column(tmp_path: Path) -> None:
    records = load(tmp_path, GOOD)

    records.check_sources({"cats": ("age", "name", "weight")})
    with pytest.raises(RecordFileError, match="nothing fills a table from cats; known are: dogs"):
        records.check_sources({"dogs": ()})
    with pytest.raises(RecordFileError, match="cats has no column age; these are: name, weight"):
        records.check_sources({"cats": ("name", "weight")})
