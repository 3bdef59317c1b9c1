"""EmailUsers: a letter to each person, by a real relay, and the truth about each of them."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beamtime_handlers.clients.smtp_mail import SmtpMail
from beamtime_handlers.email_users import email_users
from beamtime_ioc.engine.ending import perform
from beamtime_ioc.errors import BeamtimeError, EffectsFailedError, StepFailedError
from beamtime_ioc.model import Experiment, Person, RunState
from beamtime_ioc.testing import FakeRun, MemoryOutbox
from beamtime_sim.mail_server import MailServer
from mail_house import EXPERIMENT, LIV, REN, SITE, ZOE, live_mail, mail_for, people_of

FIVE = people_of(ZOE, REN, LIV, *(Person(first_name=f"P{n}", email=f"p{n}@example.com") for n in range(2)))


@pytest.fixture
def server(tmp_path: Path) -> Generator[MailServer]:
    with MailServer(tmp_path / "mails") as server:
        yield server


def run_with(mail: SmtpMail, experiment: Experiment = EXPERIMENT) -> FakeRun:
    return FakeRun(site=SITE, services={"mail": mail}, experiment=experiment)


def lines(run: FakeRun) -> list[tuple[str, str]]:
    return [(step.name, step.state) for step in run.steps]


def test_everybody_gets_one_letter(tmp_path: Path, server: MailServer) -> None:
    run = run_with(live_mail(tmp_path, server.port))

    count = email_users(run, EXPERIMENT)

    assert sorted(mail.to for mail in server.mails) == sorted([ZOE.email, REN.email])
    assert count == {
        "mode": "live",
        "accepted": 2,
        "already": 0,
        "given_up": 0,
        "failed": 0,
        "unsure": 0,
        "left_out": 0,
    }
    assert lines(run) == [
        ("letters", "read"),
        (f"letter to {ZOE.email}", "made"),
        (f"letter to {REN.email}", "made"),
    ]
    assert run.text == "2 letters accepted by the relay"


def test_pressed_twice_nobody_gets_a_second_letter(tmp_path: Path, server: MailServer) -> None:
    mail = live_mail(tmp_path, server.port)
    email_users(run_with(mail), EXPERIMENT)
    run = run_with(mail)

    count = email_users(run, EXPERIMENT)

    assert len(server.mails) == 2
    assert count["accepted"] == 2
    assert [state for _, state in lines(run)] == ["read", "stands already", "stands already"]


def test_one_refused_of_five_is_a_problem_and_four_have_their_letter(
    tmp_path: Path, server: MailServer
) -> None:
    server.knobs.set("mail.refuse", [REN.email])
    mail = live_mail(tmp_path, server.port)
    run = run_with(mail)

    count = email_users(run, FIVE)

    assert len(server.mails) == 4
    assert (count["accepted"], count["failed"]) == (4, 1)
    (problem,) = run.problems
    assert REN.email in problem
    assert "550 5.1.1" in problem
    assert run.text == "4 letters accepted by the relay"


def test_what_was_refused_alone_is_tried_again_at_the_next_press(tmp_path: Path, server: MailServer) -> None:
    server.knobs.set("mail.refuse", [REN.email])
    mail = live_mail(tmp_path, server.port)
    email_users(run_with(mail), FIVE)
    server.knobs.reset()
    run = run_with(mail)

    email_users(run, FIVE)

    assert len(server.mails) == 5
    assert [name for name, state in lines(run) if state == "made"] == [f"letter to {REN.email}"]
    assert run.problems == []


def test_all_refused_fails(tmp_path: Path, server: MailServer) -> None:
    server.knobs.set("mail.refuse", "*")

    with pytest.raises(EffectsFailedError, match="none is done"):
        email_users(run_with(live_mail(tmp_path, server.port)), FIVE)

    assert server.mails == []


def test_a_relay_that_is_down_fails_and_says_what_to_do(tmp_path: Path) -> None:
    with MailServer(tmp_path / "mails") as server:
        port = server.port

    with pytest.raises(StepFailedError, match="refuses the connection") as error:
        email_users(run_with(live_mail(tmp_path, port)), people_of(ZOE))

    assert "press again when it is back" in error.value.advice


def test_grey_listed_letters_are_problems_and_go_with_the_next_press(
    tmp_path: Path, server: MailServer
) -> None:
    server.knobs.set("mail.grey", {REN.email: 1})
    mail = live_mail(tmp_path, server.port)
    first, second = run_with(mail), run_with(mail)

    email_users(first, EXPERIMENT)
    email_users(second, EXPERIMENT)

    assert "451 4.7.1" in first.problems[0]
    assert second.problems == []
    assert sorted(kept.to for kept in server.mails) == sorted([ZOE.email, REN.email])


def test_a_lost_answer_makes_the_run_unsure_and_names_the_one(tmp_path: Path, server: MailServer) -> None:
    server.knobs.set_all({"mail.drop": "after-data", "mail.only": [ZOE.email]})
    mail = live_mail(tmp_path, server.port)
    run = run_with(mail)

    count = email_users(run, EXPERIMENT)
    server.knobs.reset()
    again = run_with(mail)
    email_users(again, EXPERIMENT)

    assert (count["accepted"], count["unsure"]) == (1, 1)
    assert len(run.unknown) == len(again.unknown) == 1
    assert ZOE.email in run.unknown[0]
    assert "ask" in again.unknown[0]
    assert len(server.mails) == 2


def test_a_letter_that_was_given_up_is_neither_sent_nor_called_accepted(
    tmp_path: Path, server: MailServer
) -> None:
    outbox = MemoryOutbox()
    server.knobs.set_all({"mail.drop": "after-data", "mail.only": [ZOE.email]})
    mail = live_mail(tmp_path, server.port, outbox)
    email_users(run_with(mail), EXPERIMENT)
    server.knobs.reset()
    outbox.rows = {
        key: replace(row, state="given up" if row.state == "unsure" else row.state)
        for key, row in outbox.rows.items()
    }

    run = run_with(mail)
    count = email_users(run, EXPERIMENT)

    assert len(server.mails) == 2
    assert (count["accepted"], count["given_up"], count["failed"], count["unsure"]) == (1, 1, 0, 0)
    assert run.text == "1 letter accepted by the relay, 1 of them at an earlier press; 1 given up"


def test_who_cannot_get_a_letter_is_a_held_line_with_the_reason(tmp_path: Path, server: MailServer) -> None:
    without = Person(first_name="Ana", last_name="García", email="none")
    run = run_with(live_mail(tmp_path, server.port, allow=["example.edu"]))

    email_users(run, people_of(ZOE, REN, without))

    held = {step.name: step.reason for step in run.steps if step.state == "held"}
    assert held == {
        "letter to Ana García": "has no e-mail address",
        "letter to Ren O'Brien": f"{REN.email} is not in a domain of `mail.allow`",
    }
    assert run.text == "1 letter accepted by the relay; 2 left out"


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        (people_of(), "nobody is on 2026-11-Muller_Lukasik-9100001"),
        (people_of(replace(ZOE, email="")), "the only person on .* has no address that can be used"),
        (
            people_of(replace(ZOE, email=""), replace(REN, email="x")),
            "none of the 2 people on .* has an address",
        ),
    ],
)
def test_nobody_to_write_to_fails_with_a_sentence(
    tmp_path: Path, experiment: Experiment, sentence: str
) -> None:
    run = run_with(mail_for(tmp_path))

    with pytest.raises(BeamtimeError, match=sentence) as error:
        email_users(run, experiment)

    assert "press EmailUsers" in error.value.advice or "then EmailUsers" in error.value.advice
    assert len([step for step in run.steps if step.state == "held"]) == len(experiment.people)


def test_more_people_than_the_limit_fail_before_anybody_is_mailed(tmp_path: Path, server: MailServer) -> None:
    run = run_with(live_mail(tmp_path, server.port, limit=4))

    with pytest.raises(BeamtimeError, match="5 people would get a letter"):
        email_users(run, FIVE)

    assert server.mails == []


def test_a_dry_run_says_that_nobody_was_mailed(tmp_path: Path) -> None:
    run = run_with(mail_for(tmp_path))

    count = email_users(run, EXPERIMENT)

    directory = tmp_path / "state" / "dry-run"
    assert run.text == f"dry run: 2 letters written to {directory}, nobody was mailed"
    assert len(list(directory.glob("*.eml"))) == 2
    assert count["mode"] == "dry-run"


def test_a_test_says_that_no_user_was_mailed(tmp_path: Path, server: MailServer) -> None:
    run = run_with(live_mail(tmp_path, server.port, mode="test"))

    email_users(run, EXPERIMENT)

    assert run.text == "test: 1 letter to staff@example.edu accepted by the relay, no user was mailed"
    assert [mail.to for mail in server.mails] == ["staff@example.edu"]


def test_mail_that_is_off_fails_unless_that_is_allowed(tmp_path: Path) -> None:
    mail = mail_for(tmp_path, mode="off")

    with pytest.raises(BeamtimeError, match="mail is off") as error:
        email_users(run_with(mail), EXPERIMENT)
    run = run_with(mail)
    count = email_users(run, EXPERIMENT, unless_off=True)

    assert "`mail.mode`" in error.value.advice
    assert count == {
        "mode": "off",
        "accepted": 0,
        "already": 0,
        "given_up": 0,
        "failed": 0,
        "unsure": 0,
        "left_out": 0,
    }
    assert lines(run) == [("letters", "read"), ("letters", "held")]


def test_a_preview_says_who_would_get_one_and_mails_nobody(tmp_path: Path, server: MailServer) -> None:
    outbox = MemoryOutbox()
    mail = live_mail(tmp_path, server.port, outbox)
    email_users(run_with(mail), people_of(ZOE))
    at = next(iter(outbox.rows.values())).at.astimezone(SITE.zone)
    plan = run_with(mail).planning()

    email_users(plan, people_of(ZOE, REN, replace(LIV, email="")))

    assert plan.lines == [
        "read: letters",
        "not done: letter to Liv Ørsted: has no e-mail address",
        "read: 2 letters: 1 new, 1 already mailed; 1 without address",
        f"stands already: letter to {ZOE.email}: accepted on {at:%Y-%m-%d %H:%M}",
        f'would make: letter to {REN.email}: "Your beamtime at 99-BM-A,B: Foam under load"',
    ]
    assert len(server.mails) == len(outbox.rows) == 1


def test_letters_written_before_a_crash_are_those_that_go_after_it(
    tmp_path: Path, server: MailServer
) -> None:
    """A template that changes while a run is interrupted must not make another letter of one."""

    class Remembering(FakeRun):
        memory: dict[str, Any]

        def step(self, title: str, read: Any, *, retries: int = 0, optional: bool = False) -> Any:
            if title not in self.memory:
                self.memory[title] = super().step(title, read, retries=retries, optional=optional)
            return self.memory[title]

    template = tmp_path / "begin"
    (tmp_path / "begin.subject").write_text("Hello")
    (tmp_path / "begin.txt").write_text("first wording")
    mail = live_mail(tmp_path, server.port, template=template)
    first, second = (Remembering(site=SITE, services={"mail": mail}) for _ in range(2))
    first.memory = second.memory = {}
    server.knobs.set("mail.grey", {REN.email: 1})
    email_users(first, EXPERIMENT)
    before = [kept.to for kept in server.mails]

    (tmp_path / "begin.txt").write_text("second wording")
    email_users(second, EXPERIMENT)

    assert before == [ZOE.email]
    assert [kept.to for kept in server.mails] == [ZOE.email, REN.email]
    assert ["first wording" in kept.path.read_text() for kept in server.mails] == [True, True]


def test_the_end_of_a_run_with_one_refusal_is_problems(tmp_path: Path, server: MailServer) -> None:
    server.knobs.set("mail.refuse", [REN.email])
    mail = live_mail(tmp_path, server.port)
    run = FakeRun(site=SITE, services={"mail": mail}, actions=[email_users], experiment=EXPERIMENT)
    run.order = replace(run.order, action="email-users")

    outcome = perform(run)

    assert outcome.state is RunState.PROBLEMS
    assert REN.email in outcome.message
