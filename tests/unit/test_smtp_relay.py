"""The talk with a relay, word by word: answers that nobody expects."""

from pathlib import Path
from time import monotonic

import pytest

from beamtime_ioc.errors import (
    BadResponseError,
    BeamtimeError,
    DeferredError,
    DefinitelyRefusedError,
    OutcomeUnknownError,
    ServiceDeniedError,
    ServiceUnavailableError,
)
from beamtime_ioc.testing import MemoryOutbox
from mail_house import (
    ZOE,
    Answer,
    Drip,
    Endless,
    HangUp,
    Mute,
    ScriptedRelay,
    letter_from,
    live_mail,
)


def failure(directory: Path, port: int, **settings: object) -> tuple[BeamtimeError, str]:
    """What one letter failed with, and the state of its row."""
    outbox = MemoryOutbox()
    mail = live_mail(directory, port, outbox, **settings)
    with pytest.raises(BeamtimeError) as error:
        mail.send(letter_from(mail))
    (row,) = outbox.rows.values()
    return error.value, row.state


HANG_UP = HangUp()
ANSWERS: list[tuple[str, Answer, type[BeamtimeError], str, str]] = [
    ("greeting", "421 4.3.2 too busy", DeferredError, "deferred", "puts us off: 421 4.3.2 too busy"),
    ("greeting", "554 5.7.1 not you", ServiceDeniedError, "deferred", "does not serve us: 554 5.7.1 not you"),
    ("greeting", HANG_UP, ServiceUnavailableError, "deferred", "broke off the connection"),
    ("greeting", "SSH-2.0-OpenSSH", BadResponseError, "deferred", "answered -1"),
    ("greeting", "x" * 9000, BadResponseError, "deferred", "answered more than a relay may"),
    ("EHLO", HANG_UP, ServiceUnavailableError, "deferred", "broke off the connection"),
    (
        "MAIL",
        "550 5.7.1 unknown sender",
        DefinitelyRefusedError,
        "refused",
        "refuses the sender bm99@example",
    ),
    ("MAIL", "451 4.3.0 later", DeferredError, "deferred", "puts the sender bm99@example.edu off: 451"),
    ("MAIL", HANG_UP, ServiceUnavailableError, "deferred", "broke off the connection"),
    (
        "RCPT",
        "550-5.1.1 no\r\n550 5.1.1 mailbox",
        DefinitelyRefusedError,
        "refused",
        "550 5.1.1 no 5.1.1 mailbox",
    ),
    ("RCPT", "452 4.2.2 full", DeferredError, "deferred", "puts zoe.mueller@example.edu off: 452 4.2.2 full"),
    ("RCPT", "550-5.1.1 no\r\n250 ok", BadResponseError, "deferred", "answered -1 5.1.1 no ok"),
    ("RCPT", "354 what?", BadResponseError, "deferred", "answered 354 what?"),
    ("RCPT", HANG_UP, ServiceUnavailableError, "deferred", "broke off the connection"),
    (
        "DATA",
        "554 5.5.1 no",
        DefinitelyRefusedError,
        "refused",
        "refuses a letter to zoe.mueller@example.edu: 554",
    ),
    ("DATA", "451 4.3.0 no", DeferredError, "deferred", "puts a letter to zoe.mueller@example.edu off: 451"),
    ("EHLO", "250 relay\r\n550 no", BadResponseError, "deferred", "answers what it was not asked"),
    ("RCPT", "250 ok\r\n550 no", BadResponseError, "deferred", "answers what it was not asked"),
    ("DATA", "354 go on\r\n250 ok", BadResponseError, "deferred", "answers what it was not asked"),
    ("DATA", "334 a", BadResponseError, "deferred", "answered 334 a"),
    ("DATA", "250 ok", BadResponseError, "deferred", "answered 250 ok"),
    ("DATA", HANG_UP, ServiceUnavailableError, "deferred", "broke off the connection"),
    (
        "text",
        "554 5.6.0 spam",
        DefinitelyRefusedError,
        "refused",
        "refuses the letter to zoe.mueller@example.edu",
    ),
    (
        "text",
        "452 4.3.1 full",
        DeferredError,
        "deferred",
        "puts the letter to zoe.mueller@example.edu off: 452",
    ),
    ("text", "554-5.6.0 spam\r\n250 ok", OutcomeUnknownError, "unsure", "answered -1 5.6.0 spam ok"),
    ("text", "554-5.6.0 spam\r\n550 no", DefinitelyRefusedError, "refused", "550 5.6.0 spam no"),
    ("text", "banana", OutcomeUnknownError, "unsure", "is not known: mail relay"),
    ("text", "x" * 9000, OutcomeUnknownError, "unsure", "answered more than a relay may"),
    ("text", HANG_UP, OutcomeUnknownError, "unsure", "broke off the connection"),
]


@pytest.mark.parametrize(("word", "answer", "kind", "state", "sentence"), ANSWERS)
def test_each_answer_has_its_meaning(
    tmp_path: Path, word: str, answer: Answer, kind: type[BeamtimeError], state: str, sentence: str
) -> None:
    with ScriptedRelay({word: answer}) as relay:
        error, found = failure(tmp_path, relay.port)

    assert type(error) is kind
    assert sentence in error.sentence
    assert f"127.0.0.1:{relay.port}" in error.sentence
    assert error.advice
    assert found == state


@pytest.mark.parametrize("word", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "text"])
@pytest.mark.parametrize("answer", [Mute(), Drip()], ids=["mute", "drip"])
def test_a_relay_that_hangs_anywhere_is_given_up(tmp_path: Path, word: str, answer: Answer) -> None:
    began = monotonic()

    with ScriptedRelay({word: answer}) as relay:
        # Drop by drop each wait is short: only the deadline for the whole ends it.
        patience = {"timeout_s": 0.2} if answer == Mute() else {"timeout_s": 5, "deadline_s": 0.3}
        error, state = failure(tmp_path, relay.port, **patience)

    assert monotonic() - began < 4
    assert type(error) is (OutcomeUnknownError if word == "text" else ServiceUnavailableError)
    assert state == ("unsure" if word == "text" else "deferred")
    assert (
        "did not answer within 0.2 s" if answer == Mute() else "was not done within 0.3 s"
    ) in error.sentence


@pytest.mark.parametrize("word", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "text"])
def test_a_relay_that_answers_without_end_is_given_up_at_once(tmp_path: Path, word: str) -> None:
    with ScriptedRelay({word: Endless()}) as relay:
        error, state = failure(tmp_path, relay.port)

    assert "answered more than a relay may" in error.sentence
    assert type(error) is (OutcomeUnknownError if word == "text" else BadResponseError)
    assert state == ("unsure" if word == "text" else "deferred")


def test_the_answer_in_many_lines_is_kept_in_one(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    with ScriptedRelay({"text": "250-2.0.0 kept\r\n250 as \u00e4 4711"}) as relay:
        mail = live_mail(tmp_path, relay.port, outbox)
        mail.send(letter_from(mail))

    (row,) = outbox.rows.values()
    assert (row.state, row.answer) == ("accepted", "250 2.0.0 kept as ä 4711")


def test_a_relay_that_is_lost_after_its_good_answer_changes_nothing(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    with ScriptedRelay({"QUIT": HANG_UP}) as relay:
        mail = live_mail(tmp_path, relay.port, outbox)
        mail.send(letter_from(mail))

    assert [row.state for row in outbox.rows.values()] == ["accepted"]


def test_an_old_relay_is_greeted_the_old_way(tmp_path: Path) -> None:
    with ScriptedRelay({"EHLO": "502 what?"}) as relay:
        mail = live_mail(tmp_path, relay.port, hello="ioc.example.edu")
        mail.send(letter_from(mail))

    assert [line.lower() for line in relay.heard[:2]] == ["ehlo ioc.example.edu", "helo ioc.example.edu"]


def test_a_relay_is_left_politely_also_after_a_refusal(tmp_path: Path) -> None:
    with ScriptedRelay({"RCPT": "550 no"}) as relay:
        failure(tmp_path, relay.port)

    assert relay.heard[-1] == "quit"


def test_an_unknown_relay_is_named(tmp_path: Path) -> None:
    error, state = failure(tmp_path, 25, relay="no-such-host.invalid")

    assert isinstance(error, ServiceUnavailableError)
    assert error.sentence == (
        "mail relay no-such-host.invalid:25 is not known by that name "
        "(`mail.relay` in the site file, or the name server)"
    )
    assert state == "deferred"


def test_a_relay_that_knows_only_ascii_gets_no_address_in_other_letters(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    with ScriptedRelay({}) as relay:
        mail = live_mail(tmp_path, relay.port, outbox)
        letter = letter_from(mail, ZOE.__class__(first_name="Zoë", email="zoë@example.edu"))
        with pytest.raises(DefinitelyRefusedError, match="does not know SMTPUTF8"):
            mail.send(letter)

    assert [row.state for row in outbox.rows.values()] == ["refused"]
    assert not any(line.upper().startswith("MAIL") for line in relay.heard)


def test_a_domain_in_other_letters_needs_no_smtputf8(tmp_path: Path) -> None:
    with ScriptedRelay({}) as relay:
        mail = live_mail(tmp_path, relay.port)
        mail.send(letter_from(mail, ZOE.__class__(first_name="Zoë", email="zoe@bücher.example")))

    assert "rcpt TO:<zoe@xn--bcher-kva.example>" in relay.heard
    assert b"\r\nTo: =?utf-8?q?Zo=C3=AB?= <zoe@xn--bcher-kva.example>\r\n" in relay.texts[0]
