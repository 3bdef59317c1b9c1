"""The command line against a running IOC: what a newcomer types."""

import json
import os
import re
import signal
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from p4p.client.thread import Subscription

from beamtime_ioc.cli_options import action_name, button_name
from beamtime_ioc.client import Client
from box_house import Box, Ioc, Program, beamtime, until


def test_names_of_actions_and_buttons_are_the_same_words() -> None:
    for button, action in (("BeginBeamtime", "begin-beamtime"), ("UpdateUserInfo", "update-user-info")):
        assert button_name(action) == button_name(button) == button
        assert action_name(button) == action_name(action) == action


def test_check_looks_at_everything_and_says_what_is_wrong(box: Box) -> None:
    well = beamtime("check", str(box.site))
    (box.directory / "data/ana1/.mounted").unlink()
    box.set(schedule__status=401)
    ill = beamtime("check", str(box.site))

    assert well.returncode == 0, well
    assert {line.split()[0] for line in well.stdout.splitlines()} == {"ok"}
    assert ill.returncode == 1
    faults = [line for line in ill.stdout.splitlines() if line.startswith("FAULT")]
    assert len(faults) == 2, ill.stdout
    assert "schedule" in faults[0] + faults[1]
    assert "ana1" in faults[0] + faults[1]


def test_check_takes_the_site_file_that_the_environment_names(box: Box) -> None:
    ended = beamtime("check", environment={"BEAMTIME_SITE": str(box.site)})

    assert ended.returncode == 0, ended
    assert f"ok    {box.site}: " in ended.stdout


def test_check_of_a_wrong_file_is_one_line(box: Box) -> None:
    box.site.write_text("prefix: [\n")

    ended = beamtime("check", str(box.site))

    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert f"{box.site}:" in ended.stderr


def test_a_button_that_needs_no_arm_says_so(box: Box, ioc: Ioc) -> None:
    ended = beamtime("press", "BeginBeamtime", "--arm", "anything", "--site", str(box.site))

    assert ended.returncode == 2, ended
    assert ended.stderr == "beamtime: BeginBeamtime needs no arm; press it without --arm\n"


def test_preview_press_status_and_history(box: Box, ioc: Ioc) -> None:
    site = str(box.site)

    preview = beamtime("press", "begin-beamtime", "--preview", "--site", site)
    press = beamtime("press", "BeginBeamtime", "--wait", "--site", site)
    status = beamtime("status", "--site", site)
    history = beamtime("history", "--site", site, "--json")

    assert preview.returncode == 0, preview
    assert "would make: directory det1:" in preview.stdout
    assert press.returncode == 0, press
    assert "made" in press.stdout
    assert press.stdout.strip().splitlines()[-1].startswith("Done: ")
    assert status.returncode == 0
    assert "BeginBeamtime" in status.stdout
    assert "Done" in status.stdout
    (run,) = [json.loads(line) for line in history.stdout.splitlines()]
    assert (run["action"], run["state"]) == ("begin-beamtime", "Done")
    assert run["who"].endswith("by pva")


def test_a_press_that_does_not_end_well_is_exit_code_one_and_says_why(box: Box, ioc: Ioc) -> None:
    box.set(schedule__status=401)

    ended = beamtime("press", "UpdateUserInfo", "--wait", "--site", str(box.site))

    assert ended.returncode == 1
    assert "Failed" in ended.stdout
    assert "credentials" in ended.stdout


def test_a_refused_press_is_exit_code_two_and_says_why(box: Box, ioc: Ioc) -> None:
    for words in (["--wait"], []):
        ended = beamtime("press", "CreateDirectories", *words, "--site", str(box.site))

        assert ended.returncode == 2, ended
        assert "no current experiment; press UpdateUserInfo first" in ended.stderr


def test_while_the_database_is_locked_a_press_and_an_answer_wait_for_what_the_ioc_says(
    box: Box, ioc: Ioc
) -> None:
    site = ("--site", str(box.site))
    assert beamtime("press", "UpdateUserInfo", "--wait", *site).returncode == 0
    with closing(sqlite3.connect(box.directory / "state/state.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        press = beamtime("press", "UpdateUserInfo", *site)
        answer = beamtime("resolve", "0000", "1", "give up", *site)

    assert (press.returncode, answer.returncode) == (0, 2), (press, answer)
    assert re.fullmatch(r"UpdateUserInfo: run \S+ Stuck\n", press.stdout)
    assert "there is no run '0000'" in answer.stderr


@pytest.fixture
def patient_ioc(box: Box) -> Generator[Ioc, None, None]:
    """Waits for a schedule that hangs as long as a test does."""
    box.edit_site(lambda site: site["schedule"].update(read_timeout_s=300, overall_timeout_s=300))
    started = Ioc.on(box).start()
    yield started
    assert started.stop() == 0


def test_an_abort_ends_the_run(box: Box, patient_ioc: Ioc) -> None:
    # The run cannot end before it is told to, however long the commands take to start.
    box.set(schedule__hang=True)
    site = str(box.site)

    pressed = beamtime("press", "BeginBeamtime", "--site", site)
    aborted = beamtime("press", "BeginBeamtime", "--abort", "--site", site)
    box.reset()

    assert pressed.returncode == aborted.returncode == 0
    with patient_ioc.client() as client:
        states = []
        for view in client.watch("BeginBeamtime"):
            states.append(view.state)
            if view.state.ended:
                break
        assert client.read("ExperimentName") == ""
    assert states[-1] == "Aborted"
    assert box.recipients() == []


def test_watching_goes_on_though_p4p_lost_the_posts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does when the first one comes before its subscription is made up."""
    monkeypatch.setattr(Subscription, "_event", lambda _: None)
    client.press("UpdateUserInfo", wait=True)
    first = client.view("UpdateUserInfo")

    views = client.watch("UpdateUserInfo")
    assert next(views) == first
    client.press("UpdateUserInfo", wait=True)
    assert next(views).run_id != first.run_id


def test_while_the_ioc_is_away_press_says_so_and_waits_for_the_end(box: Box, ioc: Ioc) -> None:
    box.set(schedule__delay_s=2)
    words = ["press", "UpdateUserInfo", "--wait", "--site", str(box.site)]
    waiting = Program(words, box.directory / "press.log")
    waiting.launch()
    with ioc.client() as client:
        until(lambda: client.read("UpdateUserInfoState") == "Running", "the run")
    ioc.kill()

    said = waiting.read_line(lambda line: "the IOC does not answer" in line)
    ioc.start()

    assert said is not None
    assert waiting.child.wait(60) == 0


def test_without_an_ioc_it_is_exit_code_three_and_one_line() -> None:
    ended = beamtime("status", "--prefix", "nobody:Here:", environment={"EPICS_PVA_ADDR_LIST": "127.0.0.1:1"})

    assert ended.returncode == 3
    assert "did not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_prefix_it_says_how_to_name_the_ioc() -> None:
    ended = beamtime("status")

    assert ended.returncode == 2
    assert "BEAMTIME_PREFIX" in ended.stderr


def test_each_command_has_help() -> None:
    for command in ("serve", "demo", "sim", "check", "press", "status", "history", "export"):
        ended = beamtime(command, "--help")

        assert ended.returncode == 0, command
        assert "Usage:" in ended.stdout


def test_the_demo_ends_well_and_names_what_holds_in_another_terminal_too(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    ended = beamtime("demo", "--dir", "demo", timeout_s=90)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Letters that the mail server took, 4:" in ended.stdout
    assert "All is well." in ended.stdout
    assert f"The IOC: beamtime serve {tmp_path}/demo/site.yaml" in ended.stdout
    assert len(list((tmp_path / "demo/mail").glob("*.eml"))) == 4


def test_a_demo_that_stays_says_when_one_of_its_programs_has_ended(tmp_path: Path) -> None:
    demo = Program(["demo", "--dir", str(tmp_path / "demo"), "--stay"], tmp_path / "demo.log")
    demo.launch()
    assert demo.read_line(lambda line: line.startswith("It goes on serving"), 90)
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    (ioc,) = (int(pid) for pid in children if "serve" in Path(f"/proc/{pid}/cmdline").read_text())

    os.kill(ioc, signal.SIGKILL)

    assert demo.child.wait(30) == 2
    assert "the IOC has ended by itself; see the logs in the directory above" in demo.log.read_text()
    demo.stop()
