"""What other programs get: a flat `.db`, a `.req`, the reference page."""

from pathlib import Path

import pytest

from beamtime_ioc.export import flat_db, request_file
from beamtime_ioc.recordpage import reference_page
from beamtime_ioc.records import RecordSet, db_dir, load_records
from beamtime_ioc.records import shipped as shipped_files

PREFIX = "99bm:Beamtime:"
PAGE = db_dir().parent / "docs" / "reference" / "records.md"
OWN = r"""
record(ao, "$(P)$(R)Energy") {
    alias("$(P)$(R)E") alias("other:E")
    field(DESC, "say \"keV\" | \\ é") field(EGU, "keV") field(PREC, "3")
    info(autosaveFields, "DESC VAL") info(archive, "Monitor, 1, VAL")
}
record(waveform, "elsewhere:Note") { field(FTVL, CHAR) field(NELM, 80) field(INP, {const:"a \"b\""}) }
"""


@pytest.fixture(scope="module")
def shipped() -> RecordSet:
    return load_records(shipped_files(), prefix=PREFIX)


@pytest.fixture
def site(tmp_path: Path) -> RecordSet:
    (tmp_path / "own.db").write_text(OWN, encoding="utf-8")
    return load_records([*shipped_files(), tmp_path / "own.db"], prefix=PREFIX)


@pytest.mark.parametrize("prefix", [PREFIX, "77id:Beamtime:"])
def test_the_flat_file_declares_the_same_records(site: RecordSet, tmp_path: Path, prefix: str) -> None:
    file = tmp_path / "flat.db"

    file.write_text(flat_db(site), encoding="utf-8")
    again = load_records([file], prefix=prefix)

    assert [record.suffix for record in again.records.values()] == [r.suffix for r in site.records.values()]
    if prefix == site.prefix:
        assert again.records == site.records


def test_the_request_file_saves_what_is_to_be_saved_and_nothing_else(site: RecordSet) -> None:
    lines = request_file(site).splitlines()

    saved = [line for line in lines if not line.startswith("#")]
    shipped_ones = ["$(P)$(R)ENGINEER", "$(P)$(R)LOCATION"]
    assert saved == [*shipped_ones, "$(P)$(R)Energy.DESC", "$(P)$(R)Energy"]
    assert "#controlPV $(P)$(R)Energy" not in lines
    assert "#controlPV $(P)$(R)EmailUsers" in lines
    assert "#controlPV $(P)$(R)EmailUsersState" in lines
    assert "#controlPV $(P)$(R)UserName" in lines
    assert "#controlPV elsewhere:Note" in lines


def test_tomoscan_finds_every_record_under_its_name_without_the_prefix(shipped: RecordSet) -> None:
    """It takes each line that holds its mark, wherever, and cuts mark and macros out as plain text."""
    lines = [line for line in request_file(shipped).splitlines() if "#controlPV" in line or line[0] != "#"]

    keys = [line.replace("#controlPV", "").lstrip().replace("$(P)", "").replace("$(R)", "") for line in lines]

    assert keys == [record.suffix for record in shipped.records.values() if record.line is None]


def test_the_page_shows_every_record_once(site: RecordSet) -> None:
    page, rest = reference_page(site).split("## Structures")
    structures, tables = rest.split("## Tables")
    names = [line.split("|")[1].strip(" `") for line in page.splitlines() if line.startswith("| `")]

    for row in site.actions():
        assert names.count(row.button.suffix) == 1
        for record in row.parts.values():
            assert names.count(f"<Action>{record.suffix.removeprefix(row.button.suffix)}") == 1
    words = {word for row in site.actions() for word in row.parts}
    in_rows = {record.name for row in site.actions() for record in (row.button, *row.parts.values())}
    others = [one for one in site.records.values() if one.name not in in_rows and one.line is None]
    assert len(names) == len(site.actions()) + len(words) + len(others)
    assert '| `Energy` | ao | DOUBLE | double | `DEFAULT` | Say "keV" \\| \\ é [keV] |' in page
    assert "| `History` | 50 | `DEFAULT` | The last runs, newest first |" in tables
    assert "| `seconds` | Took [s] | double[] |" in tables
    assert "The fields of `Experiment` (`beamtime:Experiment/1.0`):" in structures
    assert "| `open` | Whether data may be taken for it | boolean |" in structures
    assert "| `users` | Everybody on it, the PI first | structure[] |" in structures
    assert "| `users[].last` | Last name | string |" in structures


def test_the_committed_page_is_the_one_of_the_records_and_of_those_for_training() -> None:
    every = load_records(shipped_files(training=True), prefix=PREFIX)

    assert PAGE.read_text(encoding="utf-8") == reference_page(every), "write it again: beamtime export"
    assert "## Training\n\nOnly where the site file names a box at `sim:`" in reference_page(every)
