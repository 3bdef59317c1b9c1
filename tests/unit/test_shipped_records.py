"""The records that come with the program."""

import sys
from pathlib import Path

import pytest

from beamtime_ioc import records as records_module
from beamtime_ioc.model import RunState
from beamtime_ioc.on_beam import Outcome
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
        ("end-beamtime", "EndBeamtime"),
        ("handover", "Handover"),
        ("select-experiment", "SelectExperiment"),
        ("use-manual", "UseManual"),
        ("reopen-experiment", "ReopenExperiment"),
        ("deliver-outbox", "DeliverOutbox"),
    ]
    for row in shipped.actions():
        for button in (row.button, row.parts["preview"], row.parts["abort"]):
            assert (button.asg, button.states[0], button.severities, button.writable) == (
                "button",
                "Done",
                ("NO_ALARM", "MINOR"),
                True,
            )
        pressed = ("preview", "abort", "arm", "resolve", "schedule")
        written_by_us = [record for word, record in row.parts.items() if word not in pressed]
        assert not [record.name for record in written_by_us if record.writable]


def test_every_shipped_action_that_needs_no_choice_can_have_a_schedule(shipped: RecordSet) -> None:
    chosen = ("select-experiment", "use-manual", "reopen-experiment")
    for row in shipped.actions():
        if row.action in chosen:
            assert "schedule" not in row.parts
            continue
        switch, text = row.parts["schedule"], row.parts["schedule-text"]

        assert (switch.suffix, switch.asg, switch.states, switch.writable) == (
            f"{row.button.suffix}Schedule",
            "button",
            ("Off", "On"),
            True,
        )
        assert (text.suffix, text.writable) == (f"{row.button.suffix}ScheduleText", False)


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
    identity = [record for record in shipped.records.values() if record.asg == "identity"]
    editable = {record.suffix for record in identity if record.field}

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
        "ExperimentOpen": "open",
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
    assert {record.suffix for record in shipped.records.values() if record.view_of and not record.line} == {
        *("UserName39", "UserLastName39", "UserEmail39"),
        *("ProposalNumber39", "ProposalTitle39", "ExperimentName39"),
    }


def test_what_is_chosen_or_typed_by_hand_has_its_records(shipped: RecordSet) -> None:
    typed = {record.suffix: record.argument for record in shipped.records.values() if record.argument}
    candidates = {word: record.suffix for word, record in shipped.reports("candidates")}
    offset = shipped.ask("schedule-offset")

    assert typed == {
        "ExperimentChoice": ("select-experiment", "choice"),
        "HandoverChoice": ("handover", "choice"),
        "EmailUsersOnly": ("email-users", "only"),
        "ManualName": ("use-manual", "name"),
        "ManualFirstName": ("use-manual", "first_name"),
        "ManualInstitution": ("use-manual", "institution"),
        "ManualBadge": ("use-manual", "badge"),
        "ManualEmail": ("use-manual", "email"),
        "ManualProposal": ("use-manual", "proposal"),
        "ManualTitle": ("use-manual", "title"),
        "ManualESAF": ("use-manual", "esaf"),
        "ManualStart": ("use-manual", "start"),
        "ManualEnd": ("use-manual", "end"),
    }
    assert candidates == {
        "message": "CandidatesMessage",
        "count": "CandidateCount",
        **{str(n): f"Candidate{n}" for n in range(1, 11)},
    }
    assert offset is not None
    assert (offset.suffix, offset.asg) == ("ScheduleOffset", "identity")
    assert {shipped.by_suffix(suffix).asg for suffix in typed} == {"identity"}


def test_no_shipped_name_is_a_pointer_for_tomoscan(shipped: RecordSet) -> None:
    assert not [name for name in shipped.records if "PVName" in name or "PVPrefix" in name]


def test_the_engine_has_its_records(shipped: RecordSet) -> None:
    reports = shipped.engine_reports()

    assert {word: record.suffix for word, record in reports.items()} == {
        "state": "EngineState",
        "queued": "QueueLength",
        "oldest-pending": "OldestPendingAge",
        "failed-today": "RunsFailedToday",
        "unknown": "UnsureCount",
        "message": "EngineMessage",
        "version": "Version",
        "actions": "ActionNames",
        "schedule-says": "ScheduleSays",
        "identity-stale": "IdentityStale",
        "schedule-outcome": "ScheduleOutcome",
        "schedule-age": "ScheduleAge",
        "without-schedule": "WithoutSchedule",
        "access-message": "AccessMessage",
        "mirror-state": "MirrorState",
        "mirror-message": "MirrorMessage",
        "interlock-ok": "InterlockOk",
        "interlock-message": "InterlockMessage",
        "next-frame-ok": "NextFrameOk",
        "next-frame-message": "NextFrameMessage",
        "heartbeat": "HEARTBEAT",
        "uptime": "UPTIME",
        "start-count": "START_CNT",
        "start-time": "STARTTOD",
        "host": "HOSTNAME",
        "pid": "PROCESS_ID",
        "ca-clients": "CA_CLNT_CNT",
        "ca-channels": "CA_CONN_CNT",
        "pva-clients": "PVA_CLNT_CNT",
        "memory": "MEM_USED",
        "descriptors": "FD_CNT",
        "cpu-load": "IOC_CPU_LOAD",
        "loop-latency": "LOOP_LATENCY",
        "loop-latency-max": "LOOP_LATENCY_MAX",
        "running": "ServerRunning",
        "watchdog": "Watchdog",
        "autosave": "AutosaveMessage",
        "instance": "Instance",
        "twin": "TwinMessage",
    }
    assert not [record.name for record in reports.values() if record.writable]
    assert reports["state"].states == ("Starting", "Running", "Stopping", "Failed")
    assert reports["state"].severities == ("MINOR", "NO_ALARM", "MINOR", "MAJOR")


def test_each_outcome_of_the_schedule_has_its_severity(shipped: RecordSet) -> None:
    outcome = shipped.by_suffix("ScheduleOutcome")

    assert outcome.states == tuple(Outcome)
    assert dict(zip(outcome.states, outcome.severities, strict=True)) == {
        Outcome.UNKNOWN: "INVALID",
        Outcome.ACTIVE: "NO_ALARM",
        Outcome.NONE: "NO_ALARM",
        Outcome.AMBIGUOUS: "MINOR",
        Outcome.NO_RUN: "NO_ALARM",
        Outcome.STALE: "MINOR",
        Outcome.UNAVAILABLE: "MAJOR",
        Outcome.AUTH_FAILED: "MAJOR",
        Outcome.BAD_RESPONSE: "MAJOR",
    }


def test_each_service_has_a_lamp_a_sentence_and_a_latency(shipped: RecordSet) -> None:
    found = dict(shipped.reports("service"))

    assert {word: record.suffix for word, record in found.items()} == {
        f"{section}.{word}": f"{section.capitalize()}Service{suffix}"
        for section in ("schedule", "hosts", "mail")
        for word, suffix in {"state": "", "message": "Message", "latency": "Latency"}.items()
    }
    for section in ("schedule", "hosts", "mail"):
        lamp = found[f"{section}.state"]
        assert lamp.states == ("Unknown", "Up", "Down", "Not configured")
        assert lamp.severities == ("INVALID", "NO_ALARM", "MAJOR", "NO_ALARM")
    assert not [record.name for record in found.values() if record.writable]


def test_who_sees_no_tables_has_their_numbers_and_lines(shipped: RecordSet) -> None:
    found = {about: dict(shipped.reports(about)) for about in ("services", "hosts", "checklist", "outbox")}

    assert {
        f"{about}.{word}": one.suffix for about, words in found.items() for word, one in words.items()
    } == {
        "services.count": "ServiceCount",
        "services.down": "ServicesDown",
        "hosts.count": "HostCount",
        "hosts.ok": "HostsOk",
        "hosts.low": "HostsLow",
        "hosts.least-free": "HostsLeastFree",
        "checklist.step": "ChecklistStep",
        "checklist.failing": "ChecklistFailing",
        "outbox.deferred": "OutboxDeferred",
        "outbox.undelivered": "OutboxUndelivered",
        "outbox.unsure": "OutboxUnsure",
    }


def test_a_box_has_its_records_beside_its_knobs() -> None:
    training = load_records(
        [db_dir() / "beamtime.substitutions", db_dir() / "sim.substitutions"], prefix=PREFIX
    )
    told = {word: record.suffix for word, record in training.reports("training")}
    reset = training.ask("reset-knobs")

    assert told == {"message": "SimMessage", "requests": "SimRequests", "mails": "SimMails"}
    assert reset is not None
    assert (reset.suffix, reset.asg, reset.states) == ("SimReset", "staff", ("Done", "Reset"))
    assert not [one.name for one in training.records.values() if not one.desc or not one.group]


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
