"""Relays that speak TLS or want a login."""

import logging
import ssl
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from beamtime_ioc.errors import (
    BadResponseError,
    BeamtimeError,
    DeferredError,
    ServiceDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)
from beamtime_ioc.testing import MemoryOutbox
from mail_house import (
    REN,
    ZOE,
    Answer,
    ScriptedRelay,
    aiosmtpd_relay,
    certificate,
    letter_from,
    live_mail,
    only,
)

PASSWORD = "correct-horse-battery"
Certificate = tuple[Path, ssl.SSLContext]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls") / "good", "IP:127.0.0.1")


@pytest.fixture(scope="session")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls") / "strange", "DNS:other.example.org")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    return file


def failure(directory: Path, port: int, **settings: object) -> tuple[BeamtimeError, str]:
    """What one letter failed with, and the state of its row."""
    outbox = MemoryOutbox()
    mail = live_mail(directory, port, outbox, **settings)
    with pytest.raises(BeamtimeError) as error:
        mail.send(letter_from(mail))
    (row,) = outbox.rows.values()
    return error.value, row.state


@pytest.mark.parametrize("connection", ["starttls", "tls"])
def test_a_letter_goes_through_tls_to_a_relay_we_trust(
    tmp_path: Path, good: Certificate, connection: str
) -> None:
    chain, context = good
    with aiosmtpd_relay(tls=context, at_once=connection == "tls") as (port, keeper):
        mail = live_mail(tmp_path, port, connection=connection, ca_file=chain)
        mail.send(letter_from(mail))

    assert [to for to, _ in keeper.kept] == [[ZOE.email]]


@pytest.mark.parametrize("connection", ["starttls", "tls"])
def test_a_relay_with_a_certificate_nobody_signed_is_refused(
    tmp_path: Path, good: Certificate, connection: str
) -> None:
    with aiosmtpd_relay(tls=good[1], at_once=connection == "tls") as (port, keeper):
        error, state = failure(tmp_path, port, connection=connection)

    assert isinstance(error, ServiceDeniedError)
    assert "shows a certificate that is not trusted: self-signed certificate" in error.sentence
    assert "`mail.ca_file`" in error.advice
    assert (state, keeper.kept) == ("deferred", [])


def test_a_relay_with_the_certificate_of_another_is_refused(tmp_path: Path, strange: Certificate) -> None:
    chain, context = strange
    with aiosmtpd_relay(tls=context) as (port, keeper):
        error, _ = failure(tmp_path, port, connection="starttls", ca_file=chain)

    assert isinstance(error, ServiceDeniedError)
    assert "certificate is not valid for '127.0.0.1'" in error.sentence
    assert keeper.kept == []


def test_a_relay_without_starttls_gets_nothing_in_the_clear(tmp_path: Path) -> None:
    with ScriptedRelay({}) as relay:
        error, state = failure(tmp_path, relay.port, connection="starttls")

    assert isinstance(error, ServiceDeniedError)
    assert "does not offer STARTTLS" in error.sentence
    assert relay.heard[1:] == ["quit"]
    assert state == "deferred"


def test_a_relay_that_speaks_no_tls_is_said(tmp_path: Path) -> None:
    with ScriptedRelay({}) as relay:
        error, _ = failure(tmp_path, relay.port, connection="tls")

    assert isinstance(error, ServiceUnavailableError)
    assert "does not speak TLS with us" in error.sentence


def test_a_relay_that_is_mute_in_the_middle_of_tls_is_given_up(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {"EHLO": "250-relay\r\n250 STARTTLS", "STARTTLS": "220 go"}
    with ScriptedRelay(answers) as relay:
        error, _ = failure(tmp_path, relay.port, connection="starttls", timeout_s=0.3)

    assert isinstance(error, ServiceUnavailableError)


def test_what_was_said_before_tls_does_not_count(tmp_path: Path, good: Certificate) -> None:
    """Somebody on the way may add words to the last plain answer, to be read inside TLS."""
    chain, context = good
    added = "220 go\r\n250-relay\r\n250 AUTH PLAIN"
    answers: dict[str, Answer] = {"EHLO": "250-relay\r\n250 STARTTLS", "STARTTLS": added}
    with ScriptedRelay(answers, starttls=context) as relay:
        mail = live_mail(tmp_path, relay.port, connection="starttls", ca_file=chain)
        mail.send(letter_from(mail))

    words = [line.partition(" ")[0].upper() for line in relay.heard]
    assert words == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert len(relay.texts) == 1


def test_a_relay_that_offers_no_login_is_said(tmp_path: Path, good: Certificate, password_file: Path) -> None:
    chain, context = good
    with ScriptedRelay({}, tls=context) as relay:
        login = {"user": "bm99", "password_file": password_file}
        error, _ = failure(tmp_path, relay.port, connection="tls", ca_file=chain, **login)

    assert isinstance(error, ServiceDeniedError)
    assert "does not offer what was asked of it: SMTP AUTH extension not supported" in error.sentence
    assert relay.heard[1:] == ["quit"]


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_certificates_that_cannot_be_read_are_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)

    error, state = failure(tmp_path, 1, connection="tls", ca_file="ca.pem")

    assert isinstance(error, ServiceDeniedError)
    assert f"{tmp_path}/ca.pem cannot be read as certificates" in error.sentence
    assert state == "deferred"


def test_a_login_with_the_right_password_sends_the_letter(
    tmp_path: Path, good: Certificate, password_file: Path
) -> None:
    chain, context = good
    check = only("bm99", PASSWORD)
    with aiosmtpd_relay(tls=context, authenticator=check, auth_required=True) as (port, keeper):
        login = {"user": "bm99", "password_file": "password", "ca_file": chain}
        mail = live_mail(tmp_path, port, connection="starttls", **login)
        mail.send(letter_from(mail))

    assert len(keeper.kept) == 1


def test_a_wrong_password_is_said_and_never_shown(
    tmp_path: Path, good: Certificate, password_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    chain, context = good
    check = only("bm99", "another")
    with aiosmtpd_relay(tls=context, authenticator=check, auth_required=True) as (port, keeper):
        login = {"user": "bm99", "password_file": password_file, "ca_file": chain}
        error, state = failure(tmp_path, port, connection="starttls", **login)

    shown = "".join(traceback.format_exception(error)) + caplog.text + repr(error) + str(vars(error))
    assert isinstance(error, ServiceDeniedError)
    assert f"does not accept user bm99 with the password in {password_file} (535)" in error.sentence
    assert PASSWORD not in shown
    assert (state, keeper.kept) == ("deferred", [])


def test_a_password_that_was_refused_is_tried_once_by_each_press_and_by_nothing_else(
    tmp_path: Path, good: Certificate, password_file: Path
) -> None:
    chain, context = good
    script: dict[str, Answer] = {"EHLO": "250-relay\r\n250 AUTH PLAIN", "AUTH": "535 no"}
    with ScriptedRelay(script, tls=context) as relay:
        login = {"user": "bm99", "password_file": password_file, "ca_file": chain}
        mail = live_mail(tmp_path, relay.port, connection="tls", **login)

        def press(run_id: str) -> None:
            for person in (ZOE, REN):
                with pytest.raises(WrongPasswordError, match="does not accept user bm99"):
                    mail.send(replace(letter_from(mail, person), run_id=run_id))

        press("run-1")
        looks = [mail.check() for _ in range(3)]
        press("run-2")
        tried = sum(word.startswith("AUTH") for word in relay.heard)
        relay.answers["AUTH"] = "235 come in"
        mail.send(replace(letter_from(mail), run_id="run-3"))

        assert tried == 2
        assert {(look.ok, look.sentence.partition(" with ")[0]) for look in looks} == {
            (False, f"mail relay 127.0.0.1:{relay.port} does not accept user bm99")
        }
        assert mail.check().ok


def test_a_relay_that_repeats_the_password_does_not_bring_it_into_a_log(
    tmp_path: Path, good: Certificate, password_file: Path
) -> None:
    chain, context = good
    echo: dict[str, Answer] = {
        "EHLO": "250-relay\r\n250 AUTH PLAIN",
        "AUTH": f"535 {PASSWORD} is wrong",
    }
    with ScriptedRelay(echo, tls=context) as relay:
        login = {"user": "bm99", "password_file": password_file, "ca_file": chain}
        error, _ = failure(tmp_path, relay.port, connection="tls", **login)

    assert isinstance(error, ServiceDeniedError)
    assert PASSWORD not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("454 4.7.0 later", DeferredError),
        ("535 no", WrongPasswordError),
        ("334 a", BadResponseError),  # no base64
        ("334 !", WrongPasswordError),  # an empty question, over and over
    ],
)
def test_a_login_that_cannot_be_checked_now_is_deferred(
    tmp_path: Path, good: Certificate, password_file: Path, answer: str, kind: type[BeamtimeError]
) -> None:
    chain, context = good
    with ScriptedRelay({"EHLO": "250-relay\r\n250 AUTH PLAIN", "AUTH": answer}, tls=context) as relay:
        login = {"user": "bm99", "password_file": password_file, "ca_file": chain}
        error, state = failure(tmp_path, relay.port, connection="tls", **login)

    assert type(error) is kind
    assert state == "deferred"


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        (None, 0, "cannot be read from .*/password: No such file"),
        (b"secret", 0o644, r"others may read the password in .*/password \(mode 644\)"),
        (b"secret", 0o000, "cannot be read from .*/password: Permission denied"),
        (b"\xff\xfe", 0o600, "it is not UTF-8"),
        ("gehéim".encode(), 0o600, "has letters other than ASCII"),
        (b"\n", 0o600, "holds no password"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_named_and_nobody_is_asked(
    tmp_path: Path, content: bytes | None, mode: int, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "password").write_bytes(content)
        (tmp_path / "password").chmod(mode)
    with ScriptedRelay({}) as relay:
        mail = live_mail(tmp_path, relay.port, connection="tls", user="bm99", password_file="password")
        with pytest.raises(ServiceDeniedError, match=sentence) as error:
            mail.send(letter_from(mail))

    assert "secret" not in str(error.value)
    assert relay.heard == []


def test_the_check_logs_in(tmp_path: Path, good: Certificate, password_file: Path) -> None:
    chain, context = good
    check = only("bm99", "another")
    with aiosmtpd_relay(tls=context, authenticator=check, auth_required=True) as (port, _):
        login = {"user": "bm99", "password_file": password_file, "ca_file": chain}
        health = live_mail(tmp_path, port, connection="starttls", **login).check()

    assert not health.ok
    assert "does not accept user bm99" in health.sentence
