"""The records that come with the program."""

import sys
from pathlib import Path

import pytest

from beamtime_ioc import records as records_module
from beamtime_ioc.model import RunState
from beamtime_ioc.records import RecordSet, db_dir, load_records

PREFIX = "99bm:Beamtime:"
SHIPPED = db_dir() / "beamtime.substitutions"


@pytest.fixture(scope="module")
def shipped() -> RecordSet:
    return load_records([SHIPPED], prefix=PREFIX)


def test_every_shipped_record_says_what_it_is_and_where_it_belongs(shipped: RecordSet) -> None:
    silent = [record.name for record in shipped.records.values() if not record.desc or not record.group]

    assert not silent


def test_the_shipped_buttons_are_complete(shipped: RecordSet) -> None:
    assert [(row.action, row.button.suffix) for row in shipped.actions()] == [
        ("update-user-info", "UpdateUserInfo"),
        ("create-directories", "CreateDirectories"),
        ("email-users", "EmailUsers"),
        ("begin-beamtime", "BeginBeamtime"),
    ]
    for row in shipped.actions():
        for button in (row.button, row.parts["preview"], row.parts["abort"]):
            assert (button.asg, button.states[0], button.severities, button.writable) == (
                "button",
                "Done",
                ("NO_ALARM", "MINOR"),
                True,
            )
        written_by_us = [record for word, record in row.parts.items() if word not in ("preview", "abort")]
        assert not [record.name for record in written_by_us if record.writable]


def test_the_ten_states_of_a_run_have_their_severities(shipped: RecordSet) -> None:
    state = shipped.by_suffix("BeginBeamtimeState")

    assert dict(zip(state.states, state.severities, strict=True)) == {
        RunState.IDLE: "NO_ALARM",
        RunState.QUEUED: "MINOR",
        RunState.RUNNING: "MINOR",
        RunState.ABORTING: "MINOR",
        RunState.DONE: "NO_ALARM",
        RunState.PROBLEMS: "MINOR",
        RunState.UNSURE: "MAJOR",
        RunState.FAILED: "MAJOR",
        RunState.ABORTED: "MINOR",
        RunState.STUCK: "MAJOR",
    }
    assert state.states == tuple(RunState)


def test_the_identity_records_have_the_names_of_dmagic_and_tomoscan(shipped: RecordSet) -> None:
    shown = {record.suffix: record.field for record in shipped.fields()}
    editable = {record.suffix for record in shipped.records.values() if record.asg == "identity"}

    assert shown == {
        "UserName": "pi.first_name",
        "UserLastName": "pi.last_name",
        "UserInstitution": "pi.institution",
        "UserBadge": "pi.badge",
        "UserEmail": "pi.email",
        "UserCount": "people.count",
        "ProposalNumber": "proposal",
        "ProposalTitle": "title",
        "ProposalStart": "start",
        "ProposalEnd": "end",
        "ESAFNumber": "esaf",
        "ESAFDOINumber": "esaf_doi",
        "ExperimentName": "name",
        "ExperimentYearMonth": "year_month",
        "ExperimentKey": "key",
        "ExperimentSource": "source",
        "RunCycle": "cycle",
        "Beamline": "beamline",
        "UserInfoUpdate": "looked_up",
    }
    assert editable == {
        *("UserName", "UserLastName", "UserInstitution", "UserBadge", "UserEmail"),
        *("ProposalNumber", "ProposalTitle", "ESAFNumber", "ESAFDOINumber"),
        *("ExperimentName", "ExperimentYearMonth"),
    }
    assert {record.suffix for record in shipped.records.values() if record.view_of} == {
        *("UserName39", "UserLastName39", "UserEmail39"),
        *("ProposalNumber39", "ProposalTitle39", "ExperimentName39"),
    }


def test_no_shipped_name_is_a_pointer_for_tomoscan(shipped: RecordSet) -> None:
    assert not [name for name in shipped.records if "PVName" in name or "PVPrefix" in name]


def test_the_engine_has_its_records(shipped: RecordSet) -> None:
    reports = shipped.engine_reports()

    assert {word: record.suffix for word, record in reports.items()} == {
        "state": "EngineState",
        "queued": "QueueLength",
        "version": "Version",
        "actions": "ActionNames",
    }
    assert reports["state"].states == ("Starting", "Running", "Stopping", "Failed")
    assert reports["state"].severities == ("MINOR", "NO_ALARM", "MINOR", "MAJOR")


def test_the_buttons_are_busy_records_where_a_site_asks_for_them() -> None:
    found = load_records([SHIPPED], prefix=PREFIX, macros={"BUSY": "busy"})

    assert {row.button.type for row in found.actions()} == {"busy"}


def test_the_records_are_found_beside_the_sources_or_where_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, packages = tmp_path / "checkout", tmp_path / "site-packages"
    (checkout / "db").mkdir(parents=True)

    monkeypatch.setattr(records_module, "__file__", str(checkout / "ioc" / "beamtime_ioc" / "records.py"))
    beside = db_dir()
    monkeypatch.setattr(records_module, "__file__", str(packages / "beamtime_ioc" / "records.py"))
    installed = db_dir()

    assert beside == checkout / "db"
    assert installed == Path(sys.prefix, "share", "beamtime-ioc", "db")
