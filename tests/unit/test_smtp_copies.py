"""Copies of letters to staff: not named in them, and never the fate of the user's letter."""

from collections.abc import Generator
from pathlib import Path

import pytest

from beamtime_handlers.email_users import email_users
from beamtime_ioc.errors import DefinitelyRefusedError, ServiceUnavailableError
from beamtime_ioc.testing import FakeRun, MemoryOutbox
from beamtime_sim.mail_server import MailServer
from mail_house import (
    EXPERIMENT,
    REN,
    SITE,
    ZOE,
    HangUp,
    ScriptedRelay,
    Turns,
    letter_from,
    live_mail,
    people_of,
)

ARCHIVE, BOSS = "archive@example.edu", "boss@example.edu"


@pytest.fixture
def server(tmp_path: Path) -> Generator[MailServer]:
    with MailServer(tmp_path / "mails") as server:
        yield server


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


def test_a_copy_of_each_letter_goes_along_and_nobody_is_told(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox, bcc=[ARCHIVE, BOSS, ARCHIVE.upper()])

    email_users(FakeRun(site=SITE, services={"mail": mail}), EXPERIMENT)

    got = sorted(kept.to.lower() for kept in server.mails)
    assert got == sorted([ZOE.email, REN.email] + [ARCHIVE, BOSS] * 2)
    for kept in server.mails:
        content = kept.path.read_bytes().lower()
        headers = content.partition(b"\r\n\r\n" if b"\r\n\r\n" in content else b"\n\n")[0]
        assert b"\nbcc:" not in headers
        assert b"archive@" not in content.partition(b"\nto:")[2]
    assert sorted(row.to for row in outbox.rows.values()) == sorted([ZOE.email, REN.email])


@pytest.mark.parametrize(
    ("knob", "value", "word"),
    [("mail.refuse", [ARCHIVE], "550 5.1.1"), ("mail.grey", {ARCHIVE: 9}, "451 4.7.1")],
)
def test_a_copy_that_is_refused_leaves_the_letter_accepted_and_is_said_once(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox, knob: str, value: object, word: str
) -> None:
    server.knobs.set(knob, value)
    mail = live_mail(tmp_path, server.port, outbox, bcc=[ARCHIVE, BOSS])
    run, second = (FakeRun(site=SITE, services={"mail": mail}) for _ in range(2))

    count = email_users(run, EXPERIMENT)
    email_users(second, EXPERIMENT)

    (line,) = [step for step in run.steps if step.state == "held"]
    assert (count["accepted"], run.problems) == (2, [])
    assert {row.state for row in outbox.rows.values()} == {"accepted"}
    assert line.name == f"copy to {ARCHIVE}"
    assert line.reason.startswith(word)
    assert line.reason.endswith("; correct `mail.bcc` in the site file")
    assert [step for step in second.steps if step.state == "held"] == []
    assert sorted(kept.to for kept in server.mails) == sorted([ZOE.email, REN.email, BOSS, BOSS])


def test_nobody_gets_a_copy_of_a_letter_that_its_reader_did_not_get(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    server.knobs.set("mail.refuse", [ZOE.email])
    mail = live_mail(tmp_path, server.port, outbox, bcc=[ARCHIVE])

    with pytest.raises(DefinitelyRefusedError):
        mail.send(letter_from(mail))

    assert server.mails == []


def test_who_is_on_the_experiment_gets_no_copy_of_the_own_letter(tmp_path: Path) -> None:
    with ScriptedRelay({}) as relay:
        mail = live_mail(tmp_path, relay.port, bcc=[ZOE.email.upper(), ARCHIVE])
        mail.send(letter_from(mail))

    assert [line for line in relay.heard if line.startswith("rcpt")] == [
        f"rcpt TO:<{ZOE.email}>",
        f"rcpt TO:<{ARCHIVE}>",
    ]


def test_a_connection_lost_at_a_copy_is_lost_before_the_text(tmp_path: Path, outbox: MemoryOutbox) -> None:
    with ScriptedRelay({"RCPT": Turns(["250 yes", HangUp()])}) as relay:
        mail = live_mail(tmp_path, relay.port, outbox, bcc=[ARCHIVE])
        with pytest.raises(ServiceUnavailableError, match="broke off the connection"):
            mail.send(letter_from(mail))

    assert [row.state for row in outbox.rows.values()] == ["deferred"]
    assert relay.texts == []


@pytest.mark.parametrize("mode", ["dry-run", "test"])
def test_there_are_no_copies_while_no_user_is_mailed(tmp_path: Path, server: MailServer, mode: str) -> None:
    mail = live_mail(tmp_path, server.port, mode=mode, bcc=[ARCHIVE])

    email_users(FakeRun(site=SITE, services={"mail": mail}), EXPERIMENT)

    assert ARCHIVE not in [kept.to for kept in server.mails]


def test_a_preview_says_who_gets_copies(tmp_path: Path) -> None:
    plan = FakeRun(site=SITE, services={"mail": live_mail(tmp_path, 1, bcc=[ARCHIVE])}).planning()

    email_users(plan, people_of(ZOE))

    assert f"read: a copy of each to {ARCHIVE}" in plan.lines
