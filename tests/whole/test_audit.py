"""Who pressed what, when, from where, and how it ended: told by `beamtime audit` of a real IOC."""

import getpass
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState
from box_house import Box, Ioc, beamtime, until


def audit(box: Box, *words: str) -> list[dict[str, Any]]:
    told = beamtime("audit", "--site", str(box.site), "--json", *words)
    assert (told.returncode, told.stderr) == (0, "")
    return [json.loads(line) for line in told.stdout.splitlines()]


def state(box: Box) -> Path:
    return box.directory / "state"


def ended(client: Client, button: str) -> RunState:
    return until(lambda: view.state if (view := client.view(button)).state.ended and view.run_id else None)


def test_a_press_an_abort_and_a_refused_press_are_told_while_the_ioc_runs(box: Box, ioc: Ioc) -> None:
    began = datetime.now(UTC)
    box.set(schedule__delay_s=3)

    with ioc.client() as client:
        client.press("UpdateUserInfo")
        with pytest.raises(BeamtimeError, match="UpdateUserInfo runs since"):
            client.press("UpdateUserInfo")
        client.press("UpdateUserInfoAbort")
        assert ended(client, "UpdateUserInfo") is RunState.ABORTED
        run_id = client.read("UpdateUserInfoRunId")
    lines = until(lambda: found if len(found := audit(box)) == 4 else None, "four lines")

    assert [line["what"] for line in lines] == ["press", "refused", "abort", "end"]
    assert {line["action"] for line in lines} == {"update-user-info"}
    assert {line["via"] for line in lines} == {"pva"}
    assert {line["user"] for line in lines} == {getpass.getuser()}
    assert all(line["peer"].startswith("127.0.0.1") for line in lines)
    assert [line["run"] for line in lines] == [run_id, "", run_id, run_id]
    assert lines[1]["text"].startswith("UpdateUserInfo runs since")
    assert lines[3]["text"].startswith("Aborted: ")
    times = [datetime.fromisoformat(line["at"]) for line in lines]
    assert [began, *times] == sorted([began, *times])
    assert times[-1] < datetime.now(UTC)


def test_the_audit_is_told_in_lines_for_people_and_by_who_and_since(box: Box, ioc: Ioc) -> None:
    site = str(box.site)
    assert beamtime("press", "BeginBeamtime", "--wait", "--site", site).returncode == 0
    until(lambda: len(audit(box)) == 2, "the line of the end")

    told = beamtime("audit", "--site", site)
    by_state = beamtime("audit", "--state", str(state(box)), "--who", getpass.getuser().upper())

    press, end = told.stdout.splitlines()
    assert "  press     begin-beamtime " in press
    assert f"  {getpass.getuser()} from " in press
    assert "  Done: " in end
    assert by_state.stdout == told.stdout
    assert audit(box, "--who", "nobody-of-this-name") == []
    assert audit(box, "--since", "2100-01-01") == []
    assert len(audit(box, "--since", f"{datetime.now(UTC):%Y-%m}-01")) == 2
    assert len(audit(box, "--since", "10h")) == 2
    (file,) = (state(box) / "audit").iterdir()
    assert file.name == f"{datetime.now(UTC):%Y-%m}.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_killed_in_a_run_and_started_again_there_is_one_line_of_the_press_and_one_of_the_end(
    box: Box, ioc: Ioc
) -> None:
    box.set(schedule__delay_s=20)
    with ioc.client() as client:
        client.press("BeginBeamtime")
        until(lambda: client.view("BeginBeamtime").state is RunState.RUNNING)

    ioc.kill()
    box.reset()
    ioc.start()
    with ioc.client() as client:
        assert ended(client, "BeginBeamtime") is RunState.DONE
    until(lambda: len(audit(box)) == 2, "the line of the end")
    assert ioc.stop() == 0
    ioc.start()  # and the end is not told again

    lines = audit(box)
    assert [line["what"] for line in lines] == ["press", "end"]
    assert lines[0]["run"] == lines[1]["run"]
    assert lines[1]["text"].startswith("Done: ")


def test_killed_between_the_end_of_a_run_and_its_line_the_next_start_writes_it(box: Box, ioc: Ioc) -> None:
    with ioc.client() as client:
        client.press("UpdateUserInfo")
        assert ended(client, "UpdateUserInfo") is RunState.DONE
    until(lambda: len(audit(box)) == 2, "the line of the end")
    ioc.kill()
    (file,) = (state(box) / "audit").iterdir()
    press = file.read_text().splitlines()[0]
    file.write_text(f'{press}\n{{"at": "2026-1')  # the kill came in the write of the end

    ioc.start()
    told = until(
        lambda: (
            said if len((said := beamtime("audit", "--site", str(box.site))).stdout.splitlines()) == 2 else 0
        )
    )

    assert f"{file}:2: this line is damaged: it does not end" not in told.stderr
    assert f"{file}:2: this line is damaged" in told.stderr
    assert "  Done: " in told.stdout.splitlines()[1]
    assert "written at the next start)" in told.stdout.splitlines()[1]


def test_while_the_audit_cannot_be_written_presses_are_refused_in_words(box: Box, ioc: Ioc) -> None:
    directory = state(box) / "audit"
    site = str(box.site)
    directory.mkdir(mode=0o700, exist_ok=True)
    directory.chmod(0o000)
    try:
        refused = beamtime("press", "UpdateUserInfo", "--site", site)
        with ioc.client() as client:
            message = client.read("UpdateUserInfoMessage")
            button = client.read("UpdateUserInfo")
            with pytest.raises(BeamtimeError, match="Permission denied, so nothing was begun"):
                client.press("UpdateUserInfo")
        unread = beamtime("audit", "--site", site)
    finally:
        directory.chmod(0o700)

    assert refused.returncode == 2
    assert "the audit cannot be written: " in refused.stderr
    assert "Permission denied, so nothing was begun" in refused.stderr
    assert str(message).startswith("refused: the audit cannot be written: ")
    assert button == "Done"  # it was not left pressed
    assert unread.returncode == 2
    assert "the audit cannot be read" in unread.stderr
    assert beamtime("history", "--site", site, "--json").stdout == ""
    lines = until(lambda: found if len(found := audit(box)) == 2 else None, "the refusals")
    assert {line["what"] for line in lines} == {"refused"}
    assert beamtime("press", "UpdateUserInfo", "--wait", "--site", site).returncode == 0


def test_where_there_is_no_state_it_is_exit_code_two_and_one_line(tmp_path: Path) -> None:
    for words in (
        ["--state", str(tmp_path / "none")],
        ["--state", str(tmp_path), "--since", "yesterday"],
        [],
    ):
        told = beamtime("audit", *words)

        assert told.returncode == 2, words
        assert told.stderr.startswith("beamtime: ")
        assert len(told.stderr.splitlines()) == 1
