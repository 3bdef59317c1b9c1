"""One press begins a beamtime: the whole way against the box, through real clients."""

import contextlib
import json
import stat
from datetime import datetime, timedelta
from email import message_from_bytes, policy

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState
from beamtime_ioc.progress import RunView
from box_house import Box, Ioc, until


def press(client: Client, button: str = "BeginBeamtime") -> RunView:
    """Press, wait for the end, and give what is shown; how it ended is for the test to say."""
    with contextlib.suppress(BeamtimeError):
        client.press(button, wait=True)
    return client.view(button)


def states(view: RunView) -> dict[str, str]:
    return {step.name: step.state for step in view.steps}


def test_one_press_finds_the_users_makes_their_directories_and_writes_to_them(
    box: Box, client: Client
) -> None:
    view = press(client)

    assert view.state is RunState.DONE, view
    directories = box.directories()
    assert [path.relative_to(box.directory).parts[1] for path in directories] == ["ana1", "det1"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directories} == {0o2770}
    marker = json.loads((directories[0] / ".experiment.json").read_text())
    assert client.read("ExperimentName") == directories[0].name == marker["name"]
    assert box.recipients() == sorted(set(box.recipients()))
    assert len(box.recipients()) >= 3
    assert client.read("UserEmail") in box.recipients()
    assert view.percent == 100


def test_a_letter_is_one_message_to_one_person_in_text_and_html(box: Box, client: Client) -> None:
    press(client)

    for path in sorted((box.directory / "mail").glob("*.eml")):
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        assert message["To"].count("@") == 1
        assert message["Auto-Submitted"] == "auto-generated"
        assert [part.get_content_type() for part in message.walk()] == [
            "multipart/alternative",
            "text/plain",
            "text/html",
        ]
        assert client.read("ExperimentName") in message.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_a_second_press_makes_nothing_and_mails_nobody(box: Box, client: Client) -> None:
    press(client)
    before = box.recipients(), [path.stat().st_mtime_ns for path in box.directories()]

    view = press(client)

    assert view.state is RunState.DONE
    assert "4 letters accepted (4 at an earlier press)" in view.message
    assert (box.recipients(), [path.stat().st_mtime_ns for path in box.directories()]) == before
    assert {"stands already"} <= set(states(view).values())


def test_a_place_that_fails_is_named_the_rest_is_done_and_a_second_press_makes_only_that(
    box: Box, client: Client
) -> None:
    (box.directory / "data/ana1/.mounted").rename(box.directory / "mounted")

    failed = press(client)
    mails, made = box.recipients(), box.directories()
    (box.directory / "mounted").rename(box.directory / "data/ana1/.mounted")
    repaired = press(client)

    assert failed.state is RunState.FAILED
    assert "ana1" in failed.message
    assert "det1" not in failed.message
    assert "press BeginBeamtime again" in failed.advice
    assert mails == []
    assert [path.relative_to(box.directory).parts[1] for path in made] == ["det1"]
    assert repaired.state is RunState.DONE
    by_place = {name: state for name, state in states(repaired).items() if name.startswith("directory")}
    assert sorted(by_place.values()) == ["made", "stands already"]
    assert len(box.directories()) == 2
    assert len(box.recipients()) >= 3


def test_a_preview_says_what_would_be_made_and_makes_nothing(box: Box, client: Client) -> None:
    client.press("BeginBeamtimePreview", wait=True)
    plan = client.read("BeginBeamtimePlan")

    assert "would make: directory det1:" in plan
    assert plan.count("would make: letter") >= 3
    assert (box.directories(), box.recipients()) == ([], [])
    assert client.read("ExperimentName") == ""


def test_one_refused_letter_of_several_is_a_problem_that_names_the_address(box: Box, client: Client) -> None:
    client.press("BeginBeamtimePreview", wait=True)
    press(client, "UpdateUserInfo")
    address = client.read("UserEmail")
    box.set(mail__refuse=[address])

    view = press(client)

    assert view.state is RunState.PROBLEMS
    assert address in view.message
    assert address not in box.recipients()
    assert len(box.recipients()) >= 2


@pytest.mark.parametrize(
    ("guest", "knobs", "state", "words"),
    [
        (11, {"mail.refuse": "*"}, RunState.FAILED, "refuses guest.11.a@example.edu"),
        (12, {"mail.grey": "*"}, RunState.FAILED, "puts guest.12.a@example.edu off"),
        (13, {"mail.hang": "connect"}, RunState.FAILED, "did not answer"),
        (
            14,
            {"mail.hang": "data"},
            RunState.UNSURE,
            "the letter to guest.14.a@example.edu went out is not known",
        ),
        (15, {"mail.drop": "before-data"}, RunState.FAILED, "(none is done)"),
        (
            16,
            {"mail.drop": "during-data"},
            RunState.UNSURE,
            "the letter to guest.16.a@example.edu went out is not known",
        ),
    ],
)
def test_when_nobody_can_be_written_to_the_run_says_why(
    standing: tuple[Box, Client], guest: int, knobs: dict[str, object], state: RunState, words: str
) -> None:
    box, client = standing
    mails, made = len(box.mails()), len(box.directories())
    box.set(schedule__on_beam=guest, **knobs)

    view = press(client)

    assert len(box.mails()) == mails
    assert len(box.directories()) == made + 2
    assert view.state is state
    assert words in view.message
    assert view.advice


def test_a_lost_reply_after_the_letter_is_unsure_and_never_sent_again(box: Box, client: Client) -> None:
    box.set(mail__drop="after-data")

    view = press(client)
    sent = box.recipients()
    box.reset()
    again = press(client)

    assert view.state is RunState.UNSURE
    assert all(address in view.message for address in sent)
    assert again.state is RunState.UNSURE
    assert box.recipients() == sent


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"schedule.status": 401}, "credentials"),
        ({"schedule.status": 500}, "500"),
        ({"schedule.fail_times": 99}, "answered 503"),
        ({"schedule.body": "html"}, "a page (text/html) instead of JSON"),
        ({"schedule.body": "garbage"}, "Invalid JSON: expected value"),
        ({"schedule.body": "truncated"}, "Invalid JSON: EOF"),
        ({"schedule.body": "wrong-shape"}, "should be a valid array"),
        ({"schedule.lose_reply": 99}, "cannot be reached: the connection broke"),
        ({"schedule.body": "nothing-active"}, "next is 300051 (proposal 9100002"),
        ({"schedule.body": "two-active"}, "2 beamtimes are on beam"),
        ({"schedule.hang": True}, "did not answer"),
    ],
)
def test_a_look_up_that_fails_says_why_and_leaves_good_values(
    standing: tuple[Box, Client], knobs: dict[str, object], words: str
) -> None:
    box, client = standing
    assert press(client, "UpdateUserInfo").state is RunState.DONE
    good = {name: client.read(name) for name in ("UserLastName", "ExperimentName", "UserInfoUpdate")}
    box.set(**knobs)

    view = press(client, "UpdateUserInfo")

    assert view.state is RunState.FAILED
    assert words in view.message
    assert view.advice
    assert {name: client.read(name) for name in good} == good


def test_a_slow_schedule_is_waited_for_and_a_beamtime_over_a_clock_change_has_the_right_hours(
    standing: tuple[Box, Client],
) -> None:
    box, client = standing
    offsets: set[timedelta | None] = set()
    for number, change in enumerate(("next", "last"), 30):  # near one of them both may lie in between
        box.set(schedule__on_beam=number, schedule__delay_s=0.3, schedule__clock_change=change)

        view = press(client, "UpdateUserInfo")

        assert view.state is RunState.DONE
        edges = [datetime.fromisoformat(client.read(f"Proposal{edge}")) for edge in ("Start", "End")]
        assert [edge.hour for edge in edges] == [8, 8]
        offsets |= {edge.utcoffset() for edge in edges}

    assert offsets == {timedelta(hours=-6), timedelta(hours=-5)}


def test_an_identity_that_is_typed_in_survives_a_restart(box: Box, ioc: Ioc, client: Client) -> None:
    press(client, "UpdateUserInfo")
    client.write("UserEmail", "new.address@example.org")
    name = client.read("ExperimentName")

    ioc.kill()
    ioc.start()

    with ioc.client() as again:
        assert until(lambda: again.read("UserEmail")) == "new.address@example.org"
        assert again.read("ExperimentName") == name
        assert again.read("ExperimentSource") == "manual"
