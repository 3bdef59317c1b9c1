"""EmailUsers: a letter once more for who asks for it, by an operator's word and never by itself."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beamtime_handlers.clients.smtp_mail import SmtpMail
from beamtime_handlers.email_users import email_users
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.testing import FakeRun, MemoryOutbox
from beamtime_sim.mail_server import MailServer
from mail_house import EXPERIMENT, LIV, REN, SITE, ZOE, live_mail, people_of


@pytest.fixture
def server(tmp_path: Path) -> Generator[MailServer]:
    with MailServer(tmp_path / "mails") as server:
        yield server


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


def press(mail: SmtpMail, experiment: Any = EXPERIMENT, **arguments: Any) -> FakeRun:
    run = FakeRun(site=SITE, services={"mail": mail}, experiment=experiment)
    email_users(run, experiment, **arguments)
    return run


def held(run: FakeRun) -> dict[str, str]:
    return {step.name: step.reason for step in run.steps if step.state == "held"}


def test_who_has_had_the_letter_gets_it_once_more_for_each_word(tmp_path: Path, server: MailServer) -> None:
    mail = live_mail(tmp_path, server.port)
    press(mail)

    for word in ("lost", "lost", " lost ", "spam folder"):
        press(mail, only=REN.email, again=word)

    first, *more = [kept for kept in server.mails if kept.to == REN.email]
    # Relays and mail boxes drop a Message-ID that they have seen.
    assert len(more) == 2
    assert len({kept.message_id for kept in (first, *more)}) == 3
    assert [kept.to for kept in server.mails].count(ZOE.email) == 1


def test_a_letter_that_goes_again_is_one_message_however_often_it_is_tried(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    press(mail, people_of(ZOE))
    (planned,) = mail.compose(people_of(ZOE), (), "run-2", again="lost").letters
    server.knobs.set("mail.drop", "during-data")
    press(mail, people_of(ZOE), again="lost")
    server.knobs.reset()
    outbox.rows[planned.key] = replace(outbox.rows[planned.key], state="refused")

    press(mail, people_of(ZOE), again="lost")

    assert [kept.message_id for kept in server.mails][1:] == [planned.message_id]


def test_everybody_may_have_it_again_but_who_had_none_waits_for_the_usual_press(
    tmp_path: Path, server: MailServer
) -> None:
    mail = live_mail(tmp_path, server.port)
    press(mail)
    three = people_of(ZOE, REN, LIV)

    run = press(mail, three, again="wrong link")
    press(mail, three)
    press(mail, three)

    assert held(run) == {
        "letter to Liv Ørsted": "has had no letter yet: press EmailUsers without `again`",
    }
    assert [kept.to for kept in server.mails].count(LIV.email) == 1
    assert [kept.to for kept in server.mails].count(ZOE.email) == 2


def test_a_letter_in_doubt_is_answered_for_before_it_goes_again(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    server.knobs.set_all({"mail.drop": "after-data", "mail.only": [REN.email]})
    mail = live_mail(tmp_path, server.port, outbox)
    press(mail)
    server.knobs.reset()

    run = press(mail, again="lost")

    assert held(run) == {"letter to Ren O'Brien": "may have had the letter: answer with Resolve first"}
    assert [kept.to for kept in server.mails].count(REN.email) == 1


def test_a_letter_that_was_given_up_goes_by_a_word(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    server.knobs.set("mail.drop", "during-data")
    mail = live_mail(tmp_path, server.port, outbox)
    press(mail)
    server.knobs.reset()
    outbox.rows = {key: replace(row, state="given up") for key, row in outbox.rows.items()}

    press(mail, only=[ZOE.email], again="did not arrive")

    assert [kept.to for kept in server.mails] == [ZOE.email]


def test_before_anybody_had_a_letter_nobody_gets_it_again(tmp_path: Path, server: MailServer) -> None:
    with pytest.raises(BeamtimeError, match=r"nobody on .* can have the letter again") as error:
        press(live_mail(tmp_path, server.port), again="lost")

    assert "without `again`" in error.value.advice
    assert server.mails == []


def test_what_goes_again_and_is_put_off_waits_like_any_other(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    press(mail)
    server.knobs.set("mail.grey", {REN.email: 1})

    press(mail, again="lost")
    press(mail, again="lost")

    assert sorted(row.state for row in outbox.rows.values()) == ["accepted"] * 4
    assert sorted(kept.to for kept in server.mails) == sorted([ZOE.email, REN.email] * 2)


def test_a_preview_counts_those_who_would_get_it_once_more(tmp_path: Path, server: MailServer) -> None:
    mail = live_mail(tmp_path, server.port)
    press(mail)
    plan = FakeRun(site=SITE, services={"mail": mail}).planning()

    email_users(plan, people_of(ZOE, REN, LIV), again="lost")

    assert "read: 2 letters: 2 once more, 0 already mailed; 0 without address, 1 left out" in plan.lines
    assert len(server.mails) == 2
