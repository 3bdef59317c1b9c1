"""What an operator answers for a letter of which nobody knows whether it went out, and what comes of it."""

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState
from beamtime_ioc.progress import RunView
from box_house import PREFIX, Box, Ioc, beamtime, until
from c_client import CClient

BUTTONS = ("EmailUsers", "BeginBeamtime")


def press(client: Client, button: str) -> RunView:
    """Press, wait for the end, and give what is shown; how it ended is for the test to say."""
    with contextlib.suppress(BeamtimeError):
        client.press(button, wait=True)
    return client.view(button)


def doubtful(box: Box, client: Client, button: str = "EmailUsers", letters: int = 1) -> tuple[RunView, str]:
    """A run that ends Unsure, and the address of which it is not known."""
    if button == "EmailUsers":
        press(client, "UpdateUserInfo")
    box.set(mail__lose_reply=letters)
    view = press(client, button)
    assert view.state is RunState.UNSURE, view
    until(lambda: client.read("UnsureCount") == letters, "the count of what is unsure")
    return view, box.mails()[0]["to"]


def severity(client: Client, suffix: str) -> int:
    return int(client._get(PREFIX + suffix)["alarm"]["severity"])  # pyright: ignore[reportPrivateUsage]


def ended(client: Client, button: str, not_run: str = "") -> RunView:
    def seen() -> RunView | None:
        view = client.view(button)
        return view if view.run_id != not_run and view.state.ended else None

    return until(seen, f"the end of {button}")


def refusal(client: Client, suffix: str, value: str) -> str:
    with pytest.raises(BeamtimeError) as refused:
        client.write(suffix, value)
    return str(refused.value)


def page(box: Box, run_id: str) -> dict[str, Any]:
    shown = beamtime("history", "show", run_id, "--json", "--site", str(box.site))
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def audit(box: Box) -> list[dict[str, str]]:
    told = beamtime("audit", "--json", "--site", str(box.site))
    return [json.loads(line) for line in told.stdout.splitlines()]


def quiet(client: Client, button: str) -> bool:
    alarms = [severity(client, suffix) for suffix in (button, f"{button}State", f"{button}Message")]
    return client.read("UnsureCount") == 0 and [*alarms, severity(client, "UnsureCount")] == [0, 0, 0, 0]


@pytest.mark.parametrize("button", BUTTONS)
def test_what_happened_counts_as_done_and_a_later_press_sends_nothing(
    box: Box, ioc: Ioc, client: Client, button: str
) -> None:
    view, address = doubtful(box, client, button)
    alarms = [severity(client, suffix) for suffix in (f"{button}State", "UnsureCount")]
    sent = box.recipients()

    with CClient(ioc.ca) as ca:
        ca("caput", f"{PREFIX}{button}Resolve", "it happened")
    done = until(lambda: found if (found := client.view(button)).state is RunState.DONE else None, "Done")
    until(lambda: quiet(client, button), "no alarm")
    shown = client.read(f"{button}Resolve")
    later = press(client, button)

    assert alarms == [2, 2]
    assert address in view.message
    assert (done.run_id, done.advice) == (view.run_id, "")
    assert done.message.startswith(f"letter to {address}: it happened, said ")
    assert shown == "-"
    assert later.state is RunState.DONE
    assert f"{len(sent)} letters accepted" in later.message
    assert box.recipients() == sent == sorted(set(sent))


def test_status_says_how_many_doubts_are_open_and_nothing_when_none_is(box: Box, client: Client) -> None:
    before = beamtime("status", "--site", str(box.site))
    doubtful(box, client, letters=2)
    doubt = beamtime("status", "--site", str(box.site))

    assert "In doubt" not in before.stdout
    assert re.search("^In doubt +2, see beamtime history", doubt.stdout, re.M), doubt


@pytest.mark.parametrize("answer", ["do it again", 2])
def test_done_again_is_a_new_run_that_sends_that_one_letter_and_no_other(
    box: Box, client: Client, answer: str | int
) -> None:
    view, address = doubtful(box, client)
    sent = box.recipients()

    client.write("EmailUsersResolve", answer)
    again = ended(client, "EmailUsers", not_run=view.run_id)
    shown = beamtime("history", "show", again.run_id, "--site", str(box.site)).stdout
    old = page(box, view.run_id)

    assert again.state is RunState.DONE, again
    assert f"does again run {view.run_id}" in shown
    assert box.recipients() == sorted([*sent, address])
    assert old["state"] == "Problems"
    assert [doubt["answer"] for doubt in old["doubts"]] == ["do it again"]
    until(lambda: client.read("UnsureCount") == 0, "an answered count")


def test_done_again_after_the_next_beamtime_has_begun_is_for_the_old_one(box: Box, client: Client) -> None:
    box.set(schedule__on_beam=1)
    first, address = doubtful(box, client, "BeginBeamtime")
    name, sent = client.read("ExperimentName"), box.recipients()
    box.set(schedule__on_beam=2)
    press(client, "UpdateUserInfo")
    current = client.read("ExperimentName")

    client.write("BeginBeamtimeResolve", "do it again")
    again = ended(client, "EmailUsers")
    begun = until(
        lambda: found if (found := client.view("BeginBeamtime")).state is not RunState.UNSURE else None
    )

    assert name != current == client.read("ExperimentName")
    assert again.state is RunState.DONE, again
    assert page(box, again.run_id)["experiment_name"] == name
    assert page(box, again.run_id)["again_of"] == first.run_id == begun.run_id
    assert box.recipients() == sorted([*sent, address])
    assert begun.state is RunState.PROBLEMS
    assert client.read("BeginBeamtimeResolve") == "-"


def test_what_is_given_up_is_not_sent_now_nor_at_a_later_press(box: Box, client: Client) -> None:
    _, address = doubtful(box, client)
    sent = box.recipients()

    client.write("EmailUsersResolve", "give up")
    given_up = until(
        lambda: found if (found := client.view("EmailUsers")).state is RunState.PROBLEMS else None
    )
    later = press(client, "EmailUsers")

    assert given_up.message.startswith(f"letter to {address}: give up, said ")
    assert later.state is RunState.DONE
    assert "1 given up" in later.message
    assert box.recipients() == sent


def test_of_two_doubts_one_is_answered_by_the_command_and_the_other_stays_open(
    box: Box, client: Client
) -> None:
    view, first = doubtful(box, client, letters=2)
    words = ("--site", str(box.site))

    one = beamtime("resolve", view.run_id, f"letter to {first}", "it happened", *words)
    until(lambda: client.read("UnsureCount") == 1, "one answered")
    half = client.view("EmailUsers")
    same = beamtime("resolve", view.run_id, "1", "give up", *words)
    listed = beamtime("history", "show", view.run_id, *words).stdout
    other = beamtime("resolve", view.run_id[-6:], "2", "it happened", *words)

    assert (one.returncode, one.stdout) == (0, f"{view.run_id}: letter to {first}: it happened\n")
    assert half.state is RunState.UNSURE
    assert (same.returncode, f"letter to {first} has its answer: it happened, said" in same.stderr) == (
        2,
        True,
    )
    assert f"1  letter to {first}: it happened" in listed
    assert "2  letter to " in listed
    assert other.returncode == 0, other.stderr
    assert client.view("EmailUsers").state is RunState.DONE


def test_what_cannot_be_answered_is_refused_in_words(box: Box, client: Client) -> None:
    without = refusal(client, "EmailUsersResolve", "it happened")
    shown = client.read("EmailUsersMessage")
    view, _ = doubtful(box, client)
    site = ("--site", str(box.site))

    ended_by = {
        words: beamtime("resolve", *words, *site)
        for words in (
            ("01795170078872876074-770e3b", "1", "it happened"),
            (view.run_id, "letter to nobody", "it happened"),
            (view.run_id, "1", "perhaps"),
            (view.run_id, "run", "give up"),
            (view.run_id, "run", "it happened"),
            ("\udcff", "1", "it happened"),
            (view.run_id, "letter to \udcff", "it happened"),
        )
    }
    client.write("EmailUsersResolve", "it happened")
    twice = refusal(client, "EmailUsersResolve", "give up")

    assert "nothing of the last run of EmailUsers is in doubt" in without
    assert shown.startswith("refused: nothing of the last run of EmailUsers is in doubt")
    assert [done.returncode for done in ended_by.values()] == [2] * 7
    for done, words in zip(
        ended_by.values(),
        (
            "there is no run '01795170078872876074-770e3b'",
            "has no doubt 'letter to nobody'",
            "'perhaps' is no answer; these are: it happened, do it again, give up",
            "has ended: Unsure",
            "a whole run can only be given up",
            "'\\udcff' is no text; write it in UTF-8",
            "'letter to \\udcff' is no text; write it in UTF-8",
        ),
        strict=True,
    ):
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    assert "has its answer: it happened, said" in twice
    assert client.read("EmailUsersResolve") == "-"


def test_while_the_action_runs_again_nothing_is_done_again(box: Box, client: Client) -> None:
    view, address = doubtful(box, client)
    sent = box.recipients()
    box.set(schedule__delay_s=3)
    client.press("BeginBeamtime")

    busy = refusal(client, "EmailUsersResolve", "do it again")
    count, shown = client.read("UnsureCount"), client.read("EmailUsersMessage")
    box.reset()
    begun = ended(client, "BeginBeamtime")
    client.write("EmailUsersResolve", "it happened")
    until(lambda: client.read("UnsureCount") == 0, "both answered")

    assert "BeginBeamtime runs since" in busy
    assert (count, client.read("EmailUsersResolve")) == (1, "-")
    assert shown.startswith("refused: BeginBeamtime runs since")
    assert (begun.state, address in begun.message) == (RunState.UNSURE, True)
    states = {button: client.view(button).state for button in BUTTONS}
    assert states == dict.fromkeys(BUTTONS, RunState.DONE)  # both were in doubt of this one letter
    assert page(box, view.run_id)["state"] == "Done"
    assert box.recipients() == sent


def test_an_answer_that_comes_while_the_run_is_still_at_work_counts_at_its_end(
    box: Box, client: Client
) -> None:
    press(client, "UpdateUserInfo")
    box.set(mail__lose_reply=1, mail__delay_s=2)
    client.press("EmailUsers")
    until(lambda: client.read("UnsureCount") == 1, "the doubt")

    client.write("EmailUsersResolve", "it happened")
    at_work = client.view("EmailUsers")
    box.reset()
    until(lambda: client.view("EmailUsers").state is RunState.DONE, "Done")

    assert not at_work.state.ended
    until(lambda: quiet(client, "EmailUsers"), "no alarm")
    assert box.recipients() == sorted(set(box.recipients()))


def test_after_kill_9_and_a_restart_the_answers_stand(box: Box, ioc: Ioc) -> None:
    with ioc.client() as client:
        view, address = doubtful(box, client, "BeginBeamtime")
        client.write("BeginBeamtimeResolve", "it happened")

    ioc.kill()
    ioc.start()

    with ioc.client() as client:
        until(lambda: client.read("EngineState") == "Running")
        shown = client.view("BeginBeamtime")
        assert (shown.run_id, shown.state) == (view.run_id, RunState.DONE)
        assert f"letter to {address}: it happened" in shown.message
        assert quiet(client, "BeginBeamtime")
        assert "has its answer" in refusal(client, "BeginBeamtimeResolve", "do it again")


def test_the_audit_says_who_answered_what_and_who_was_refused(box: Box, client: Client) -> None:
    view, address = doubtful(box, client)

    client.write("EmailUsersResolve", "it happened")
    refusal(client, "EmailUsersResolve", "give up")
    lines = until(lambda: found if (found := audit(box))[-1]["what"] == "refused" else None, "the audit")

    answered, refused = lines[-2:]
    assert (answered["what"], answered["run"], answered["via"]) == ("resolve", view.run_id, "pva")
    assert answered["text"] == f"letter to {address}: it happened"
    assert answered["user"] and answered["peer"].startswith("127.0.0.1")  # noqa: PT018
    assert (refused["action"], refused["text"].startswith("resolve: ")) == ("email-users", True)


def test_whom_the_access_file_lets_not_write_cannot_answer(box: Box, ioc: Ioc) -> None:
    with ioc.client() as client:
        view, _ = doubtful(box, client)
    assert ioc.stop() == 0
    access = box.directory / "access.acf"
    access.write_text(access.read_text().replace("RULE(1, WRITE", "RULE(1, NONE"))
    ioc.start()

    with ioc.client() as client:
        by_record = refusal(client, "EmailUsersResolve", "do it again")
        by_command = beamtime("resolve", view.run_id, "1", "give up", "--site", str(box.site))
        count = until(lambda: client.read("UnsureCount"), "the count")
        assert client.read("EmailUsersResolve") == "-"
    refused = until(lambda: found if len(found := audit(box)) >= 2 else None)[-2:]

    assert "may not write" in by_record
    assert by_command.returncode == 2
    assert "may not write" in by_command.stderr
    assert count == 1
    assert [line["what"] for line in refused] == ["refused", "refused"]


MODULE = """
from beamtime_ioc.action import Run, action
from beamtime_ioc.model import Experiment


@action("wait-long", resource="waiting", needs_experiment=False)
def wait_long(run: Run, experiment: Experiment | None) -> None:
    run.sleep(3600)
"""
ROWS = """\
file action.template {
    pattern { ACTION,      NAME,       VERB,   DESC }
            { "wait-long", "WaitLong", "Wait", "Wait for an hour" }
}
"""


def test_the_run_of_an_action_that_was_removed_can_be_given_up(box: Box, tmp_path: Path) -> None:
    package, rows = tmp_path / "package", tmp_path / "own.substitutions"
    info = package / "waiting-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[beamtime.handlers]\nwait-long = waiting_actions:wait_long\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: waiting\nVersion: 1.0\n")
    (package / "waiting_actions.py").write_text(MODULE)
    rows.write_text(ROWS)
    path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    box.edit_site(lambda site: site.update(records=[str(rows)]))
    with_it = Ioc.on(box, PYTHONPATH=path).start()
    with with_it.client() as client:
        client.press("WaitLong")
        run_id = until(lambda: client.read("WaitLongRunId"))
    with_it.kill()
    box.edit_site(lambda site: site.update(records=[]))

    ioc = Ioc.on(box).start()
    try:
        with ioc.client() as client:
            stuck = until(lambda: client.read("EngineMessage"), "a word of the engine")
            status = beamtime("status", "--site", str(box.site)).stdout
            given_up = beamtime("resolve", run_id, "run", "give up", "--site", str(box.site))
            began = time.monotonic()
            until(lambda: client.read("EngineMessage") == "", "no more trouble")
            took_s = time.monotonic() - began
            twice = beamtime("resolve", run_id, "run", "give up", "--site", str(box.site))
    finally:
        assert ioc.stop() == 0

    assert "there is no action wait-long any more" in str(stuck)
    assert run_id in str(stuck)
    assert "there is no action wait-long any more" in " ".join(status.split())
    assert given_up.returncode == 0, given_up.stderr
    assert took_s < 10
    assert (twice.returncode, "has ended: Aborted" in twice.stderr) == (2, True)
    assert page(box, run_id)["state"] == "Aborted"
    assert any(line["what"] == "resolve" and line["run"] == run_id for line in audit(box))
