"""Mail that is off, tried, or looked at: nobody is mailed."""

import stat
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from beamtime_handlers.email_users import email_users
from beamtime_ioc.errors import (
    BeamtimeError,
    NotVerifiedError,
)
from beamtime_ioc.testing import FakeRun, MemoryOutbox
from beamtime_sim.mail_server import MailServer
from mail_house import (
    EXPERIMENT,
    PLACES,
    REN,
    SITE,
    ZOE,
    body_of,
    letter_from,
    live_mail,
    mail_for,
    parsed,
    people_of,
)


@pytest.fixture
def server(tmp_path: Path) -> Generator[MailServer]:
    with MailServer(tmp_path / "mails") as server:
        yield server


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


def states(outbox: MemoryOutbox) -> list[str]:
    return [row.state for row in outbox.rows.values()]


def test_a_dry_run_writes_files_and_records_nothing(tmp_path: Path, outbox: MemoryOutbox) -> None:
    mail = mail_for(tmp_path, outbox)
    letter = letter_from(mail)

    before = mail.find(letter)
    mail.send(letter)

    (file,) = (tmp_path / "state" / "dry-run").iterdir()
    assert before is None
    assert mail.find(letter) == mail.sent(letter) == {"to": ZOE.email, "state": "written", "file": str(file)}
    assert file.name == f"{letter.message_id.strip('<>')}.eml"
    assert parsed(file.read_bytes())["To"].addresses[0].addr_spec == ZOE.email
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    assert outbox.rows == {}


def test_a_dry_run_opens_no_connection(tmp_path: Path, server: MailServer) -> None:
    mail = live_mail(tmp_path, server.port, mode="dry-run")
    run = FakeRun(site=SITE, services={"mail": mail})

    email_users(run, EXPERIMENT)
    mail.check()

    assert [step.state.value for step in run.steps if step.name.startswith("letter to")] == ["made"] * 2
    assert server.counts["connections"] == 0


def test_a_dry_run_without_a_sender_says_so_in_the_file(tmp_path: Path) -> None:
    mail = mail_for(tmp_path, sender="", contact="")

    mail.send(letter_from(mail))

    (file,) = (tmp_path / "state" / "dry-run").iterdir()
    assert "mail.sender is not set" in parsed(file.read_bytes())["From"]


def test_a_dry_run_shows_what_the_letter_says_now(tmp_path: Path) -> None:
    mail = mail_for(tmp_path)
    mail.send(letter_from(mail))
    (changed,) = mail.compose(replace(people_of(ZOE), title="Corrected"), PLACES, "run-2").letters

    stale = mail.find(changed)
    mail.send(changed)

    (file,) = (tmp_path / "state" / "dry-run").iterdir()
    assert stale is None
    assert "Corrected" in body_of(parsed(file.read_bytes()), "plain")
    assert mail.find(changed) is not None


@pytest.mark.parametrize("kept", [40, -40], ids=["in the headers", "in the text"])
def test_a_file_that_was_cut_is_written_again(tmp_path: Path, kept: int) -> None:
    mail = mail_for(tmp_path)
    letter = letter_from(mail)
    mail.send(letter)
    (file,) = (tmp_path / "state" / "dry-run").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:kept])

    assert mail.find(letter) is None
    with pytest.raises(NotVerifiedError, match="found nothing"):
        mail.sent(letter)


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    mail = mail_for(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o500)

    with pytest.raises(BeamtimeError, match=r"state/dry-run/.*\.eml cannot be used: permission denied"):
        mail.send(letter_from(mail))


def test_a_test_letter_goes_to_the_contact_alone_and_counts_for_nobody(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    test, live = (live_mail(tmp_path, server.port, outbox, mode=mode) for mode in ("test", "live"))

    mailing = test.compose(people_of(ZOE, REN), PLACES, "run-1")
    for letter in mailing.letters:
        test.send(letter)

    (kept,) = server.mails
    (again,) = test.compose(people_of(ZOE, REN), PLACES, "run-2").letters
    assert (kept.to, mailing.mode) == ("staff@example.edu", "test")
    assert kept.subject == "[TEST] Your beamtime at 99-BM-A,B: Foam under load"
    assert "Dear Zoë" in body_of(parsed(kept.path.read_bytes()), "plain")
    assert test.sent(mailing.letters[0])
    assert test.find(again) is None
    letters = live.compose(people_of(ZOE, REN), PLACES, "run-3").letters
    assert [live.find(letter) for letter in letters] == [None, None]


def test_a_test_letter_needs_nobody_on_the_experiment(tmp_path: Path) -> None:
    mailing = live_mail(tmp_path, 1, mode="test").compose(people_of(), PLACES, "run-1")

    assert [letter.to for letter in mailing.letters] == ["staff@example.edu"]


def test_off_is_off(tmp_path: Path, outbox: MemoryOutbox) -> None:
    mail = mail_for(tmp_path, outbox, mode="off", template="no/such")

    mailing = mail.compose(EXPERIMENT, PLACES, "run-1")

    assert (mailing.mode, mailing.letters) == ("off", ())
    assert mail.check().sentence == "mail is off"
    with pytest.raises(BeamtimeError, match="no letter can go to"):
        mail.send(letter_from(mail_for(tmp_path)))
    assert outbox.rows == {}


def test_the_check_says_hello_and_sends_nothing(tmp_path: Path, server: MailServer) -> None:
    live = live_mail(tmp_path, server.port).check()
    test = live_mail(tmp_path, server.port, mode="test").check()

    assert (live.ok, live.sentence) == (
        True,
        f"mail relay 127.0.0.1:{server.port} answers; users get letters",
    )
    assert live.latency_s > 0
    assert "only Staff of 99-BM <staff@example.edu> gets letters" in test.sentence
    assert server.mails == []


def test_the_check_of_a_relay_that_is_down_says_so(tmp_path: Path) -> None:
    with MailServer(tmp_path / "mails") as server:
        port = server.port

    health = live_mail(tmp_path, port).check()

    assert not health.ok
    assert "refuses the connection" in health.sentence


def test_the_check_in_dry_runs_asks_no_relay(tmp_path: Path) -> None:
    health = mail_for(tmp_path, relay="no-such-host.invalid").check()

    assert health.ok
    assert f"written to {tmp_path}/state/dry-run, nobody is mailed" in health.sentence
