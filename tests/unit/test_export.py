"""What other programs get: a flat `.db`, a `.req`, the reference page."""

from pathlib import Path

import pytest

from beamtime_ioc.export import flat_db, reference_page, request_file
from beamtime_ioc.records import RecordSet, db_dir, load_records

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
    return load_records([db_dir() / "beamtime.substitutions"], prefix=PREFIX)


@pytest.fixture
def site(tmp_path: Path) -> RecordSet:
    (tmp_path / "own.db").write_text(OWN, encoding="utf-8")
    return load_records([db_dir() / "beamtime.substitutions", tmp_path / "own.db"], prefix=PREFIX)


@pytest.mark.parametrize("prefix", [PREFIX, "77id:Beamtime:"])
def test_the_flat_file_declares_the_same_records(site: RecordSet, tmp_path: Path, prefix: str) -> None:
    file = tmp_path / "flat.db"

    file.write_text(flat_db(site), encoding="utf-8")
    again = load_records([file], prefix=prefix)

    assert [record.suffix for record in again.records.values()] == [r.suffix for r in site.records.values()]
    if prefix == site.prefix:
        assert again == site


def test_the_request_file_saves_what_is_to_be_saved_and_nothing_else(site: RecordSet) -> None:
    lines = request_file(site).splitlines()

    saved = [line for line in lines if not line.startswith("#")]
    assert saved == ["$(P)$(R)Energy.DESC", "$(P)$(R)Energy"]
    assert "#controlPV $(P)$(R)Energy" not in lines
    assert "#controlPV $(P)$(R)EmailUsers" in lines
    assert "#controlPV $(P)$(R)EmailUsersState" in lines
    assert "#controlPV $(P)$(R)UserName" in lines
    assert "#controlPV elsewhere:Note" in lines


def test_tomoscan_finds_every_record_under_its_name_without_the_prefix(shipped: RecordSet) -> None:
    """It takes each line that holds its mark, wherever, and cuts mark and macros out as plain text."""
    marked = [line for line in request_file(shipped).splitlines() if "#controlPV" in line]

    keys = [
        line.replace("#controlPV", "").lstrip().replace("$(P)", "").replace("$(R)", "") for line in marked
    ]

    assert keys == [record.suffix for record in shipped.records.values()]


def test_the_page_shows_every_record_once(site: RecordSet) -> None:
    page = reference_page(site)
    names = [line.split("|")[1].strip(" `") for line in page.splitlines() if line.startswith("| `")]

    for row in site.actions():
        assert names.count(row.button.suffix) == 1
        for record in row.parts.values():
            assert names.count(f"<Action>{record.suffix.removeprefix(row.button.suffix)}") == 1
    shown_in_rows = 4 * (1 + 11)
    assert len(names) == 4 + 11 + len(site.records) - shown_in_rows
    assert '| `Energy` | ao | DOUBLE | double | `DEFAULT` | Say "keV" \\| \\ é [keV] |' in page


def test_the_committed_page_is_the_one_of_the_records(shipped: RecordSet) -> None:
    assert PAGE.read_text(encoding="utf-8") == reference_page(shipped), "write it again: beamtime export"
