"""Services and places on a whole IOC, as real clients see them: down, hanging, and back."""

import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from box_house import PREFIX, Box, Ioc, beamtime, until
from c_client import CClient
from wire_house import PvaClient, pva_context

UP, DOWN = 1, 2
NO_ALARM, MAJOR = 0, 2
PATIENT_S = 3


@pytest.fixture
def ioc(box: Box) -> Generator[Ioc, None, None]:
    """An IOC that looks as often as it may."""

    def often(site: dict[str, Any]) -> None:
        site["watch"] = {"every_s": 5, "schedule_s": 5}
        site["schedule"]["read_timeout_s"] = PATIENT_S
        site["mail"]["timeout_s"] = PATIENT_S

    box.edit_site(often)
    started = Ioc.on(box).start()
    yield started
    assert started.stop() == 0


@pytest.fixture
def ca(ioc: Ioc) -> Generator[CClient, None, None]:
    with CClient(ioc.ca) as client:
        yield client


@pytest.fixture
def pva(ioc: Ioc) -> Generator[PvaClient, None, None]:
    with pva_context(ioc.pva) as client:
        yield client


def lamp(ca: CClient, name: str) -> tuple[int, int]:
    """State and severity."""
    value, severity, *_ = ca("timed", f"{PREFIX}{name}Service")
    return value, severity


def rows(pva: PvaClient, table: str) -> list[dict[str, Any]]:
    columns = pva.get(PREFIX + table).value.todict()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_a_service_that_is_down_is_one_lamp_and_one_sentence_until_it_is_back(
    box: Box, ca: CClient, pva: PvaClient
) -> None:
    until(lambda: lamp(ca, "Schedule") == (UP, NO_ALARM), "the lamp of the schedule")
    box.set(schedule__status=503)

    until(lambda: lamp(ca, "Schedule") == (DOWN, MAJOR), "the lamp of the schedule")
    until(lambda: pva.get(f"{PREFIX}Services").alarm.severity == MAJOR, "the table")

    sentence = ca("text", f"{PREFIX}ScheduleServiceMessage")
    message = bytes(ca("get", f"{PREFIX}ScheduleService.AMSG$")).rstrip(b"\0").decode()
    assert re.fullmatch(r"the schedule at \S+ .*503.*; .* \(since \d\d:\d\d\)", sentence)
    assert sentence.startswith(message.removesuffix(" ..."))
    assert pva.get(f"{PREFIX}ScheduleService").alarm.message == sentence
    assert lamp(ca, "Mail") == (UP, NO_ALARM)
    assert ca("timed", f"{PREFIX}ServicesDown")[:2] == [1, MAJOR]
    assert ca("timed", f"{PREFIX}ServiceCount")[:2] == [4, NO_ALARM]  # with the box
    found = {row["service"]: (row["reachable"], row["sentence"]) for row in rows(pva, "Services")}
    assert found["schedule"] == ("Down", sentence)
    assert (found["mail"][0], found["hosts"][0]) == ("Up", "Up")

    box.reset()
    until(lambda: lamp(ca, "Schedule") == (UP, NO_ALARM), "the lamp of the schedule")
    assert ca("timed", f"{PREFIX}ServicesDown")[:2] == [0, NO_ALARM]
    until(lambda: pva.get(f"{PREFIX}Services").alarm.severity == NO_ALARM, "the table")
    assert bytes(ca("get", f"{PREFIX}ScheduleService.AMSG$")).rstrip(b"\0") == b""


def test_mail_that_is_down_touches_no_other_button(box: Box, ioc: Ioc, ca: CClient) -> None:
    until(lambda: lamp(ca, "Mail") == (UP, NO_ALARM), "the lamp of the mail")
    box.set(mail__hang="connect")

    until(lambda: lamp(ca, "Mail") == (DOWN, MAJOR), "the lamp of the mail")

    assert lamp(ca, "Schedule") == (UP, NO_ALARM)
    assert lamp(ca, "Hosts") == (UP, NO_ALARM)
    with ioc.client() as client:
        client.press("UpdateUserInfo", wait=True)
        client.press("CreateDirectories", wait=True)
    assert len(box.directories()) == 2
    told = beamtime("status", "--site", str(box.site)).stdout
    assert re.search("^Mail +mail relay .* did not answer within", told, re.M), told
    assert "Schedule " not in told


def test_reads_are_answered_at_once_while_a_check_hangs_for_its_whole_time(box: Box, ca: CClient) -> None:
    until(lambda: lamp(ca, "Schedule") == (UP, NO_ALARM), "the lamp of the schedule")
    box.set(schedule__hang=True)
    took: list[float] = []

    def down() -> bool:
        began = time.monotonic()
        found = lamp(ca, "Schedule")
        took.append(time.monotonic() - began)
        return found == (DOWN, MAJOR)

    until(down, "the lamp of the schedule")

    assert len(took) > 100
    assert sorted(took)[len(took) * 99 // 100] < 0.25
    assert re.search(r"did not answer|does not answer", ca("text", f"{PREFIX}ScheduleServiceMessage"))
    box.reset()
    until(lambda: lamp(ca, "Schedule") == (UP, NO_ALARM), "the lamp of the schedule")


def test_places_follow_the_experiment_and_what_is_made_and_taken_away(
    box: Box, ioc: Ioc, ca: CClient, pva: PvaClient
) -> None:
    until(lambda: [row["state"] for row in rows(pva, "Hosts")] == ["ready", "ready"], "the places")
    with ioc.client() as client:
        client.press("UpdateUserInfo", wait=True)
        until(lambda: [row["state"] for row in rows(pva, "Hosts")] == ["absent", "absent"], "the places")
        client.press("CreateDirectories", wait=True)
    until(lambda: [row["state"] for row in rows(pva, "Hosts")] == ["CREATED", "CREATED"], "the places")
    assert {Path(row["path"]) for row in rows(pva, "Hosts")} == set(box.directories())
    assert ca("timed", f"{PREFIX}HostsOk")[:2] == [2, NO_ALARM]

    marker = box.directory / "data" / "ana1" / ".mounted"
    marker.unlink()

    until(lambda: [row["state"] for row in rows(pva, "Hosts")] == ["CREATED", "NOT_MOUNTED"], "the places")
    assert ca("timed", f"{PREFIX}HostsOk")[:2] == [1, MAJOR]
    assert "is missing, so the disk is not mounted; mount it" in rows(pva, "Hosts")[1]["sentence"]
    marker.touch()
    until(lambda: ca("timed", f"{PREFIX}HostsOk")[:2] == [2, NO_ALARM], "the places")


def test_people_actions_checklist_and_audit_of_one_press(ioc: Ioc, ca: CClient, pva: PvaClient) -> None:
    undefined = {name: pva.get(PREFIX + name).alarm.severity for name in ("Experiment", "Users")}

    with ioc.client() as client:
        client.press("BeginBeamtime", wait=True)

    assert set(undefined.values()) == {3}
    until(lambda: len(rows(pva, "Audit")) == 2, "the audit")
    until(lambda: rows(pva, "Checklist") and rows(pva, "Checklist")[-1]["state"] == "made", "the checklist")
    people = rows(pva, "Users")
    experiment = pva.get(f"{PREFIX}Experiment")
    assert len(people) == ca("get", f"{PREFIX}UserCount") == len(experiment.users) > 1
    assert people[0] == {**experiment.users[0].todict(), "pi": True}
    assert experiment.alarm.severity == NO_ALARM
    assert (experiment.key, experiment.open) == (ca("text", f"{PREFIX}ExperimentKey"), True)
    assert [row["what"] for row in rows(pva, "Audit")] == ["end", "press"]
    # The table is sent at its own pace, not with the answer to the press.
    begin = until(lambda: done(pva, "BeginBeamtime"), "the table of the actions")
    assert begin["percent"] == 100
    assert ca("text", f"{PREFIX}ChecklistStep").endswith(": made")
    assert ca("timed", f"{PREFIX}ChecklistFailing")[1] == NO_ALARM
    until(lambda: [row["run"] for row in rows(pva, "History")] == [begin["run"]], "the history")


def done(pva: PvaClient, button: str) -> dict[str, Any] | None:
    row = next(row for row in rows(pva, "Actions") if row["button"] == button)
    return row if row["state"] == "Done" else None


def held(pva: PvaClient) -> list[dict[str, Any]]:
    return [row for row in rows(pva, "Checklist") if row["state"] == "held"]


def test_the_checklist_is_that_of_the_last_run_also_after_a_power_cut(box: Box) -> None:
    first, second = Ioc.on(box).start(), Ioc.on(box)
    with first.client() as client:
        client.press("BeginBeamtime", wait=True)
    with pva_context(first.pva) as pva:
        before = until(lambda: held(pva), "a letter")
    first.kill()

    second.start()

    with pva_context(second.pva) as pva, CClient(second.ca) as ca:
        until(
            lambda: [row for row in rows(pva, "Checklist") if row["state"] == "held"] == before, "the letter"
        )
        assert ca("text", f"{PREFIX}ChecklistStep")
        assert len(rows(pva, "Users")) == 5
        # The end may have been killed before it was written down: then it is at the start.
        until(lambda: [row["what"] for row in rows(pva, "Audit")] == ["end", "press"], "the end in the audit")
    assert second.stop() == 0


LONG = """\
LongHistory:
  description: As many runs as may be
  source: history
  rows: 5000
  columns:
    run: {}
"""


def test_a_site_may_show_five_thousand_runs(box: Box) -> None:
    (box.directory / "own.yaml").write_text(LONG)
    box.edit_site(lambda site: site.update({"records": ["own.yaml"]}))
    started = Ioc.on(box).start()

    with started.client() as client, pva_context(started.pva) as pva:
        for _ in range(3):
            client.press("UpdateUserInfo", wait=True)
        until(lambda: len(rows(pva, "LongHistory")) == 3, "the runs")

    assert started.stop() == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            LONG.replace("history", "hystory"),
            "nothing fills a table from hystory; known are: actions,",
        ),
        (LONG.replace("run: {}", "runs: {}"), "history has no column runs; these are: pressed,"),
        (LONG.replace("rows: 5000", "kind: struct"), "kind: table or structure, not struct"),
        (
            LONG.replace("source: history", "source: experiment").replace("run: {}", "users: {}"),
            "users is a list; show it in a structure, with its columns",
        ),
    ],
)
def test_a_table_that_cannot_be_filled_stops_the_start_with_its_line(box: Box, text: str, words: str) -> None:
    (box.directory / "own.yaml").write_text(text)
    box.edit_site(lambda site: site.update({"records": ["own.yaml"]}))

    ended = beamtime("check", str(box.site))

    assert ended.returncode != 0
    assert re.search(r"own.yaml:\d:", ended.stderr + ended.stdout)
    assert words in " ".join((ended.stderr + ended.stdout).split())


@pytest.mark.parametrize("every_s", [4.9, 3601, "often"])
def test_a_period_out_of_its_range_is_told_with_its_line(box: Box, every_s: object) -> None:
    box.edit_site(lambda site: site.update({"watch": {"every_s": every_s}}))

    ended = beamtime("check", str(box.site))

    assert ended.returncode != 0
    assert re.search(r"site.yaml:\d+: watch.every_s: ", " ".join((ended.stderr + ended.stdout).split()))
