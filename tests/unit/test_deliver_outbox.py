"""DeliverOutbox: what was put off goes later, once, and nobody waits for ever."""

from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_handlers.clients.smtp_mail import Settings, SmtpMail
from beamtime_handlers.clients.smtp_mail.waiting import LONGEST_WAIT, Presses, next_try
from beamtime_handlers.deliver_outbox import deliver_outbox
from beamtime_handlers.email_users import email_users
from beamtime_ioc.errors import BeamtimeError, DeferredError, StepFailedError
from beamtime_ioc.testing import FakeRun, MemoryOutbox
from beamtime_sim.mail_server import MailServer
from mail_house import EXPERIMENT, LIV, REN, SITE, ZOE, ZONE, letter_from, live_mail, mail_for, people_of

NOW = datetime(2026, 11, 20, 8, tzinfo=ZONE)


@pytest.fixture
def server(tmp_path: Path) -> Generator[MailServer]:
    with MailServer(tmp_path / "mails") as server:
        yield server


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


def run_with(mail: SmtpMail) -> FakeRun:
    return FakeRun(site=SITE, services={"mail": mail})


def deliver(mail: SmtpMail, **arguments: Any) -> FakeRun:
    run = run_with(mail)
    deliver_outbox(run, None, **arguments)
    return run


def put_off(mail: SmtpMail, server: MailServer, *addresses: str) -> None:
    """Press EmailUsers while the relay puts some off."""
    server.knobs.set("mail.grey", dict.fromkeys(addresses, 1))
    email_users(run_with(mail), EXPERIMENT)


def states(outbox: MemoryOutbox) -> dict[str, str]:
    return {row.to: row.state for row in outbox.rows.values()}


def due_now(outbox: MemoryOutbox) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    outbox.rows = {key: replace(row, due=row.due and past) for key, row in outbox.rows.items()}


def test_what_was_put_off_goes_when_its_time_has_come_and_nobody_gets_two(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)

    early = deliver(mail)
    due_now(outbox)
    run = deliver(mail)
    later = deliver(mail)

    assert early.text == "no letter is to be sent now; 1 waits"
    assert early.steps[-1].reason.startswith("is tried again from 2")
    assert run.text == "1 of 1 letter accepted by the relay"
    assert later.text == "no letter is to be sent now"
    assert sorted(mail.to for mail in server.mails) == sorted([ZOE.email, REN.email])
    assert states(outbox) == {ZOE.email: "accepted", REN.email: "accepted"}


def test_a_person_need_not_wait_for_its_time(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)

    run = deliver(mail, now=True)

    assert run.text == "1 of 1 letter accepted by the relay"
    assert len(server.mails) == 2


def test_a_letter_is_the_one_that_was_written_whatever_the_template_says_now(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    for ending in ("subject", "txt"):
        (tmp_path / f"begin.{ending}").write_text("first wording")
    mail = live_mail(tmp_path, server.port, outbox, template=tmp_path / "begin")
    put_off(mail, server, REN.email)

    (tmp_path / "begin.txt").write_text("second wording")
    deliver(mail, now=True)

    kept = next(kept for kept in server.mails if kept.to == REN.email)
    assert kept.path.read_text().rstrip().endswith("first wording")


def test_a_relay_that_is_down_for_an_hour_loses_no_letter(tmp_path: Path, outbox: MemoryOutbox) -> None:
    with MailServer(tmp_path / "mails") as server:
        port = server.port
    mail = live_mail(tmp_path, port, outbox)
    with pytest.raises(BeamtimeError, match="refuses the connection"):
        email_users(run_with(mail), EXPERIMENT)

    with pytest.raises(BeamtimeError, match="refuses the connection"):
        deliver(mail, now=True)
    with MailServer(tmp_path / "mails", port=port) as server:
        run = deliver(mail, now=True)

        assert run.text == "2 of 2 letters accepted by the relay"
        assert sorted(kept.to for kept in server.mails) == sorted([ZOE.email, REN.email])
    assert {row.tries for row in outbox.rows.values()} == {3}


def test_after_the_last_try_a_letter_is_undelivered_and_email_users_begins_anew(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    server.knobs.set("mail.grey", {ZOE.email: 3})
    mail = live_mail(tmp_path, server.port, outbox, tries=2)
    only_zoe = people_of(ZOE)

    for press in (lambda: email_users(run_with(mail), only_zoe), lambda: deliver(mail, now=True)):
        with pytest.raises(StepFailedError):
            press()
    (lost,) = outbox.rows.values()
    nothing = deliver(mail, now=True)
    with pytest.raises(StepFailedError):
        email_users(run_with(mail), only_zoe)
    again = deliver(mail, now=True)

    assert lost.state == "undelivered"
    assert lost.answer.startswith("2 tries came to nothing, the last: mail relay")
    assert nothing.text == "no letter is to be sent now"
    assert again.text == "1 of 1 letter accepted by the relay"
    assert [kept.to for kept in server.mails] == [ZOE.email]


def test_each_wait_is_twice_as_long_as_the_one_before_up_to_four_hours() -> None:
    settings = Settings(tries=9, retry_min=5)

    due = [next_try(settings, tries, NOW) for tries in range(1, 9)]

    assert due == [NOW + timedelta(minutes=wait) for wait in (5, 10, 20, 40, 80, 160, 240, 240)]


@given(tries=st.integers(1, 40), limit=st.integers(1, 15), first=st.floats(0.1, 1440))
def test_each_wait_is_at_least_as_long_as_the_one_before_and_there_is_a_last_try(
    tries: int, limit: int, first: float
) -> None:
    settings = Settings(tries=limit, retry_min=first)

    due, before = next_try(settings, tries, NOW), next_try(settings, tries - 1, NOW) if tries > 1 else None

    assert (due is None) == (tries % limit == 0)
    if due is not None:
        assert timedelta(0) < due - NOW <= LONGEST_WAIT
        assert before is None or due >= before


def test_what_is_in_doubt_is_not_tried_again(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)
    server.knobs.set("mail.drop", "after-data")

    doubtful = deliver(mail, now=True)
    server.knobs.reset()
    after = deliver(mail, now=True)

    assert REN.email in doubtful.unknown[0]
    assert doubtful.text == "0 of 1 letter accepted by the relay"
    assert states(outbox)[REN.email] == "unsure"
    assert after.text == "no letter is to be sent now"
    assert len(server.mails) == 2


def test_the_doubt_belongs_to_the_run_that_sent_the_letter(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)

    run = deliver(mail, now=True)

    (row,) = (row for row in outbox.rows.values() if row.to == REN.email)
    assert row.run_id == run.id


@pytest.mark.parametrize("mode", ["off", "dry-run", "test"])
def test_users_get_nothing_once_the_site_file_does_not_say_live(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox, mode: str
) -> None:
    put_off(live_mail(tmp_path, server.port, outbox), server, REN.email)

    run = deliver(live_mail(tmp_path, server.port, outbox, mode=mode), now=True)

    assert [step.reason for step in run.steps if step.state == "held"] == [
        f"waits while `mail.mode` is {mode}"
    ]
    assert [kept.to for kept in server.mails] == [ZOE.email]


def test_a_run_that_goes_on_after_a_restart_minds_the_mode_of_now(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    letter = letter_from(live_mail(tmp_path, server.port, outbox))

    with pytest.raises(BeamtimeError, match=r"`mail\.mode` is test") as error:
        live_mail(tmp_path, server.port, outbox, mode="test").send(letter)

    assert "mode: live" in error.value.advice
    assert (server.mails, outbox.rows) == ([], {})


def test_an_address_that_is_allowed_no_more_is_held(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    put_off(live_mail(tmp_path, server.port, outbox), server, REN.email)

    run = deliver(live_mail(tmp_path, server.port, outbox, allow=["example.edu"]), now=True)

    assert run.steps[-1].reason == f"{REN.email} is not in a domain of `mail.allow`"
    assert len(server.mails) == 1


def test_no_press_sends_more_than_the_limit(tmp_path: Path, server: MailServer, outbox: MemoryOutbox) -> None:
    put_off(live_mail(tmp_path, server.port, outbox), server, REN.email)
    few = live_mail(tmp_path, server.port, outbox, limit=1)
    server.knobs.set("mail.grey", {LIV.email: 1})
    with pytest.raises(StepFailedError):
        email_users(run_with(few), people_of(LIV))

    first, second = deliver(few, now=True), deliver(few, now=True)

    assert first.text == "1 of 1 letter accepted by the relay; 1 waits"
    assert second.text == "1 of 1 letter accepted by the relay"
    assert len({kept.to for kept in server.mails}) == len(server.mails) == 3


def test_letters_that_wait_for_one_reason_are_one_line(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    server.knobs.set("mail.grey", {"*": 1})
    mail = live_mail(tmp_path, server.port, outbox)
    with pytest.raises(BeamtimeError):
        email_users(run_with(mail), people_of(ZOE, REN, LIV))

    run = deliver(live_mail(tmp_path, server.port, outbox, mode="off"))

    assert [(step.name, step.reason) for step in run.steps if step.state == "held"] == [
        (f"letter to {ZOE.email} and 2 more", "waits while `mail.mode` is off")
    ]
    assert run.text == "no letter is to be sent now; 3 wait"


def test_a_letter_of_an_earlier_version_has_no_text_and_says_what_to_do(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)
    outbox.letters.clear()

    run = deliver(mail, now=True)

    assert "press EmailUsers" in run.steps[-1].reason


def test_a_preview_says_which_letters_would_go_and_sends_none(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)
    plan = run_with(mail).planning()

    deliver_outbox(plan, None, now=True)

    subject = "Your beamtime at 99-BM-A,B: Foam under load"
    assert plan.lines == [
        "read: letters that wait",
        f'would make: letter to {REN.email}: "{subject}" of {EXPERIMENT.name}',
    ]
    assert len(server.mails) == 1


# -- given up ---------------------------------------------------------------------------------------------


WIDE = REN.email.replace("@e", "@\N{FULLWIDTH LATIN SMALL LETTER E}")


@pytest.mark.parametrize("given", [REN.email.upper(), [REN.email], f" {REN.email} ,", WIDE])
def test_a_letter_that_waits_is_given_up_and_no_other_and_stays_in_the_table(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox, given: Any
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    server.knobs.set("mail.grey", "*=1")
    with pytest.raises(BeamtimeError):
        email_users(run_with(mail), EXPERIMENT)

    run = deliver(mail, give_up=given)
    mailed = [kept.to for kept in server.mails]
    deliver(mail, now=True)
    count = email_users(run_with(mail), EXPERIMENT)

    assert run.text == f"1 letter given up, nobody sends it any more: {REN.email}; 1 waits"
    assert [(line.name, line.state) for line in run.steps][-1] == (f"letter to {REN.email} given up", "made")
    assert mailed == []
    assert [kept.to for kept in server.mails] == [ZOE.email]
    (row,) = (row for row in outbox.rows.values() if row.to == REN.email)
    assert (row.state, row.run_id) == ("given up", run.id)
    assert row.answer.startswith("given up by a person; the last answer was: mail relay")
    assert (count["given_up"], count["accepted"]) == (1, 1)


def test_who_was_given_up_can_have_the_letter_all_the_same(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)
    deliver(mail, give_up=REN.email)

    email_users(run_with(mail), EXPERIMENT, only=REN.email, again="the mailbox is mended")

    assert [kept.to for kept in server.mails] == [ZOE.email, REN.email]


@pytest.mark.parametrize("given", [ZOE.email, "nobody@example.org", f"{REN.email},{ZOE.email}"])
def test_what_does_not_wait_cannot_be_given_up_and_nothing_changes(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox, given: str
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)
    before = dict(outbox.rows)

    with pytest.raises(
        BeamtimeError, match=r"no letter to .* waits, so none was given up; see the table Outbox"
    ):
        deliver(mail, give_up=given)

    assert outbox.rows == before


def test_the_preview_of_giving_up_changes_nothing(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)
    plan = run_with(mail).planning()

    deliver_outbox(plan, None, give_up=REN.email)

    assert plan.lines[-1].startswith(f"would make: letter to {REN.email} given up: ")
    assert states(outbox)[REN.email] == "deferred"


def test_a_letter_that_goes_out_meanwhile_is_not_called_given_up(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    put_off(mail, server, REN.email)
    give_up = mail.give_up

    def late(row: Any, run_id: str) -> None:
        outbox.rows[row.key] = replace(outbox.rows[row.key], state="accepted")
        give_up(row, run_id)

    mail.give_up = late  # type: ignore[method-assign]
    with pytest.raises(BeamtimeError, match="wanted given up, found another state; see the table Outbox"):
        deliver(mail, give_up=REN.email)

    assert states(outbox)[REN.email] == "accepted"


def test_dry_runs_leave_nothing_that_waits(tmp_path: Path, outbox: MemoryOutbox) -> None:
    mail = mail_for(tmp_path, outbox)
    email_users(run_with(mail), EXPERIMENT)

    assert deliver(mail).text == "no letter is to be sent now"


def test_a_press_that_takes_too_long_begins_no_more_letters_and_these_go_later(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    server.knobs.set("mail.delay_s", 0.2)
    mail = live_mail(tmp_path, server.port, outbox, press_s=0.1)
    run = run_with(mail)

    count = email_users(run, people_of(ZOE, REN, LIV))
    server.knobs.reset()
    later = deliver(live_mail(tmp_path, server.port, outbox), now=True)

    assert (count["accepted"], count["failed"]) == (1, 2)
    assert "this press has sent letters for 0.1 s, and begins no more" in run.problems[0]
    assert server.mails[0].to == ZOE.email
    assert later.text == "2 of 2 letters accepted by the relay"
    assert sorted(kept.to for kept in server.mails) == sorted([ZOE.email, REN.email, LIV.email])


def test_each_press_has_its_own_time(tmp_path: Path, server: MailServer, outbox: MemoryOutbox) -> None:
    presses = Presses(0)

    presses.require_time("first")
    with pytest.raises(DeferredError, match="begins no more"):
        presses.require_time("first")
    for number in range(Presses.remembered):
        presses.require_time(f"another {number}")

    presses.require_time("first")  # forgotten, since so many came after it
