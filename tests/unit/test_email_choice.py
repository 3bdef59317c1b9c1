"""EmailUsers: who is chosen, what a preview says of it, and whom a test or a dead address marks as mailed."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from beamtime_handlers.clients.smtp_mail import SmtpMail
from beamtime_handlers.email_users import email_users
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Json
from beamtime_ioc.testing import FakeRun, MemoryOutbox
from beamtime_sim.mail_server import MailServer
from mail_house import EXPERIMENT, LIV, REN, SITE, ZOE, live_mail, people_of


@pytest.fixture
def server(tmp_path: Path) -> Generator[MailServer]:
    with MailServer(tmp_path / "mails") as server:
        yield server


def run_with(mail: SmtpMail) -> FakeRun:
    return FakeRun(site=SITE, services={"mail": mail}, experiment=EXPERIMENT)


@pytest.mark.parametrize(
    ("mode", "to", "how"),
    [
        ("dry-run", ZOE.email, "as a file: nobody is mailed"),
        ("test", "staff@example.edu", "to the contact alone"),
    ],
)
def test_a_preview_says_when_no_user_would_be_mailed(tmp_path: Path, mode: str, to: str, how: str) -> None:
    plan = run_with(live_mail(tmp_path, 1, mode=mode)).planning()

    email_users(plan, people_of(ZOE))

    counted = ["read: 1 letter: 1 new, 0 already written; 0 without address"] if mode == "dry-run" else []
    assert plan.lines[1:-1] == counted
    assert plan.lines[-1].startswith(f"would make: letter to {to}: ")
    assert plan.lines[-1].endswith(f'Foam under load", {how}')


def test_a_preview_counts_the_letters_of_each_kind(tmp_path: Path, server: MailServer) -> None:
    outbox = MemoryOutbox()
    server.knobs.set_all({"mail.drop": "after-data", "mail.only": [REN.email]})
    mail = live_mail(tmp_path, server.port, outbox, allow=["example.edu", "example.org"])
    email_users(run_with(mail), people_of(ZOE, REN))
    elsewhere = replace(LIV, email="liv@example.com")
    nobody = replace(LIV, first_name="Ana", email=" None ")
    plan = run_with(mail).planning()

    email_users(plan, people_of(ZOE, REN, LIV, elsewhere, nobody))

    assert "read: 3 letters: 1 new, 1 already mailed, 1 in doubt; 1 without address, 1 left out" in plan.lines


@pytest.mark.parametrize("nothing", [" ", ",", [" "], [""]])
def test_an_empty_choice_mails_nobody(tmp_path: Path, server: MailServer, nothing: str | list[Json]) -> None:
    run = run_with(live_mail(tmp_path, server.port))

    with pytest.raises(BeamtimeError, match="nobody has the address ''"):
        email_users(run, EXPERIMENT, only=nothing)

    assert server.mails == []


def test_who_is_asked_for_may_be_typed_with_commas(tmp_path: Path, server: MailServer) -> None:
    run = run_with(live_mail(tmp_path, server.port))

    email_users(run, people_of(ZOE, REN, LIV), only=f"{ZOE.email.upper()} , {LIV.email}")

    assert [kept.to for kept in server.mails] == [ZOE.email, LIV.email]


def test_only_those_who_are_asked_for_get_their_letter_now(tmp_path: Path, server: MailServer) -> None:
    mail = live_mail(tmp_path, server.port, limit=1)
    first, second = run_with(mail), run_with(mail)

    email_users(first, EXPERIMENT, only=[REN.email.upper()])
    email_users(second, EXPERIMENT, only=[ZOE.email])

    assert [kept.to for kept in server.mails] == [REN.email, ZOE.email]
    assert [step.reason for step in first.steps if step.state == "held"] == ["was not asked for"]


def test_an_address_that_nobody_has_mails_nobody(tmp_path: Path, server: MailServer) -> None:
    run = run_with(live_mail(tmp_path, server.port))

    with pytest.raises(BeamtimeError, match=r"nobody has the address 'elsewhere@example\.com'") as error:
        email_users(run, EXPERIMENT, only=[ZOE.email, "Elsewhere@example.com"])

    assert "table Users" in error.value.advice
    assert server.mails == []


def test_lesson_13_a_test_and_a_dead_address_mark_nobody_as_mailed(
    tmp_path: Path, server: MailServer
) -> None:
    outbox = MemoryOutbox()
    email_users(run_with(live_mail(tmp_path, server.port, outbox, mode="test")), EXPERIMENT)
    server.knobs.set("mail.refuse", [REN.email])
    twice = people_of(ZOE, REN, replace(LIV, email=ZOE.email.upper()))

    run = run_with(live_mail(tmp_path, server.port, outbox))
    email_users(run, twice)

    told = {row.to: row.state for row in outbox.rows.values()}
    assert told == {"staff@example.edu": "accepted", ZOE.email: "accepted", REN.email: "refused"}
    assert [mail.to for mail in server.mails] == ["staff@example.edu", ZOE.email]
    assert "letter to Liv Ørsted" in [step.name for step in run.steps if step.state == "held"]
