"""The mail relay in the box, used by the standard library's client."""

import json
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path

import pytest

from beamtime_sim.errors import BoxError, PortTakenError
from beamtime_sim.mail_server import MailServer
from beamtime_sim.mailbox import Mailbox

ZOE, REN, XIAOMING = "zoe.mueller@example.edu", "ren.obrien@example.org", "xiaoming@example.com"
SENDER = "beamline@example.org"
PATIENCE_S = 10


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    with MailServer(tmp_path / "mail") as server:
        yield server


def letter(to: str, subject: str = "Your beamtime: daten für Łoś") -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = SENDER, to, subject
    message["Message-ID"] = f"<{to.partition('@')[0]}.1@example.org>"
    message.set_content("Your data are in 2026-11-Muller.\n.\nA line that began with a dot stands above.\n")
    return message


def send(server: MailServer, *recipients: str, timeout: float = PATIENCE_S) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=timeout) as talk:
        return talk.send_message(letter(recipients[0]), SENDER, list(recipients))


def names(server: MailServer) -> list[str]:
    return sorted(path.name for path in server.mailbox.directory.glob("*.eml"))


def wait_for_connection(server: MailServer) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while server.counts["connections"] == 0:
        assert time.monotonic() < deadline, "nobody connected"
        threading.Event().wait(0.01)


def test_a_message_is_kept_as_the_recipient_gets_it(server: MailServer) -> None:
    send(server, ZOE)

    (path,) = server.mailbox.directory.glob("*.eml")
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert path.name == f"0001-{ZOE}.eml"
    assert message["Subject"] == "Your beamtime: daten für Łoś"
    assert (message["Return-Path"], message["Delivered-To"]) == (f"<{SENDER}>", ZOE)
    assert message.get_content().splitlines()[1] == "."


def test_it_is_on_disk_and_in_the_log_before_the_answer(server: MailServer) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE_S) as talk:
        talk.ehlo()
        talk.mail(SENDER)
        talk.rcpt(ZOE)
        code, _ = talk.data(letter(ZOE).as_bytes())

        (line,) = (server.mailbox.directory / "log.jsonl").read_text().splitlines()

    assert code == 250
    assert json.loads(line)["to"] == ZOE
    assert json.loads(line)["message_id"] == "<zoe.mueller.1@example.org>"
    assert names(server) == [json.loads(line)["path"]]


def test_each_recipient_of_one_message_gets_a_file(server: MailServer) -> None:
    refused = send(server, ZOE, REN)

    assert refused == {}
    assert names(server) == [f"0001-{ZOE}.eml", f"0002-{REN}.eml"]
    assert [mail.to for mail in server.mails] == [ZOE, REN]


def test_numbers_go_on_after_a_restart(server: MailServer) -> None:
    send(server, ZOE)
    server.stop()

    with MailServer(server.mailbox.directory) as again:
        send(again, REN)

        assert names(again) == [f"0001-{ZOE}.eml", f"0002-{REN}.eml"]
        assert [(mail.number, mail.to) for mail in again.mails] == [(1, ZOE), (2, REN)]


def test_a_number_is_not_used_again_when_a_file_was_removed(server: MailServer) -> None:
    send(server, ZOE)
    (server.mailbox.directory / f"0001-{ZOE}.eml").unlink()
    server.stop()

    with MailServer(server.mailbox.directory) as again:
        send(again, REN)

        assert names(again) == [f"0002-{REN}.eml"]


def test_a_kill_between_file_and_log_line_loses_nothing(server: MailServer) -> None:
    send(server, ZOE)
    send(server, REN)
    server.stop()
    log = server.mailbox.directory / "log.jsonl"
    log.write_text(log.read_text()[:-20])

    box = Mailbox(server.mailbox.directory)

    assert [(mail.number, mail.to, mail.subject) for mail in box.mails()] == [
        (1, ZOE, "Your beamtime: daten für Łoś"),
        (2, REN, "Your beamtime: daten für Łoś"),
    ]
    assert [json.loads(line)["to"] for line in log.read_text().splitlines()] == [ZOE, REN]


def test_a_damaged_log_is_said_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("{}\n")

    with pytest.raises(BoxError, match=r"log\.jsonl is damaged; remove it"):
        Mailbox(tmp_path)


def test_a_recipient_cannot_write_outside_the_directory(server: MailServer) -> None:
    send(server, '"../../up"@example.org')

    assert names(server) == ["0001-.._.._up@example.org.eml"]
    assert [mail.to for mail in server.mails] == ["../../up@example.org"]


def test_an_address_in_unicode_is_kept_as_it_is(server: MailServer) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE_S) as talk:
        talk.ehlo()
        talk.sendmail(SENDER, ["zoë@example.edu"], b"Subject: x\r\n\r\n", ["SMTPUTF8"])

    assert [mail.to for mail in server.mails] == ["zoë@example.edu"]
    assert names(server) == ["0001-zoë@example.edu.eml"]


def test_a_message_without_headers_is_kept(server: MailServer) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE_S) as talk:
        talk.sendmail(SENDER, [ZOE], b"Message-ID: <<broken@\r\n\r\n\xff\xfe")

    (mail,) = server.mails
    assert (mail.subject, mail.message_id) == ("", "<<broken@")


def test_a_taken_port_is_said(server: MailServer, tmp_path: Path) -> None:
    with pytest.raises(PortTakenError, match=f"port {server.port} "):
        MailServer(tmp_path / "other", port=server.port).start()


# The knobs


def test_refuse_answers_550_to_the_listed_and_keeps_the_others(server: MailServer) -> None:
    server.knobs.set("mail.refuse", [REN.upper()])

    refused = send(server, ZOE, REN, XIAOMING)

    assert {address: code for address, (code, _) in refused.items()} == {REN: 550}
    assert [mail.to for mail in server.mails] == [ZOE, XIAOMING]
    assert server.counts["refused"] == 1


def test_refuse_star_refuses_all(server: MailServer) -> None:
    server.knobs.set("mail.refuse", "*")

    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        send(server, ZOE, REN)

    assert {code for code, _ in caught.value.recipients.values()} == {550}
    assert server.mails == []


def test_grey_answers_451_to_the_first_tries_of_each(server: MailServer) -> None:
    server.knobs.set("mail.grey", {"*": 2})
    codes: list[int] = []

    for address in (ZOE, ZOE, REN, ZOE, REN, REN):
        try:
            send(server, address)
            codes.append(250)
        except smtplib.SMTPRecipientsRefused as error:
            codes.append(error.recipients[address][0])

    assert codes == [451, 451, 451, 250, 451, 250]
    assert server.counts["deferred"] == 4


def test_grey_as_a_plain_list_defers_once(server: MailServer) -> None:
    server.knobs.set("mail.grey", [ZOE])

    refused = send(server, ZOE, REN)
    again = send(server, ZOE)

    assert refused[ZOE][0] == 451
    assert again == {}


def test_hang_connect_never_greets(server: MailServer) -> None:
    server.knobs.set("mail.hang", "connect")

    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
        send(server, ZOE, timeout=0.3)

    assert server.counts["connections"] == 1


def test_hang_connect_ends_when_the_knob_is_turned_back(server: MailServer) -> None:
    server.knobs.set("mail.hang", "connect")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as mute:
        wait_for_connection(server)

        server.knobs.reset()

        assert mute.recv(100) == b""
    assert send(server, ZOE) == {}


def test_hang_data_takes_the_text_and_keeps_nothing(server: MailServer) -> None:
    server.knobs.set("mail.hang", "data")

    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
        send(server, ZOE, timeout=0.3)

    assert server.mails == []


@pytest.mark.parametrize(
    ("drop", "kept"), [("before-data", []), ("during-data", []), ("after-data", [f"0001-{ZOE}.eml"])]
)
def test_drop_loses_the_answer_and_after_data_the_answer_only(
    server: MailServer, drop: str, kept: list[str]
) -> None:
    server.knobs.set("mail.drop", drop)

    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send(server, ZOE)

    assert names(server) == kept
    assert server.counts["dropped"] == 1


def test_before_data_the_client_has_not_sent_a_text_yet(server: MailServer) -> None:
    server.knobs.set("mail.drop", "before-data")
    talk = smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE_S)
    talk.ehlo()
    talk.mail(SENDER)
    talk.rcpt(ZOE)

    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        talk.docmd("DATA")
    talk.close()


def test_during_data_the_server_has_asked_for_the_text(server: MailServer) -> None:
    server.knobs.set("mail.drop", "during-data")
    with smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE_S) as talk:
        talk.ehlo()
        talk.mail(SENDER)
        talk.rcpt(ZOE)

        code, _ = talk.docmd("DATA")
        talk.send(b"Subject: cut\r\n")

        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            talk.getreply()
    assert code == 354


def test_only_confines_a_drop_to_one_recipient(server: MailServer) -> None:
    server.knobs.set_all({"mail.drop": "after-data", "mail.only": [REN]})

    good = send(server, ZOE)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send(server, REN)

    assert good == {}
    assert [mail.to for mail in server.mails] == [ZOE, REN]


def test_lose_reply_keeps_so_many_messages_without_an_answer(server: MailServer) -> None:
    server.knobs.set_all({"mail.lose_reply": 2, "mail.only": [ZOE]})

    untouched = send(server, REN)
    for _ in range(2):
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            send(server, ZOE)
    answered = send(server, ZOE)

    assert untouched == answered == {}
    assert [mail.to for mail in server.mails] == [REN, ZOE, ZOE, ZOE]
    assert server.counts["dropped"] == 2


def test_delay_holds_the_answer_back_when_the_message_is_kept(server: MailServer) -> None:
    server.knobs.set("mail.delay_s", 0.4)
    begin = time.monotonic()

    send(server, ZOE)
    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
        send(server, REN, timeout=0.1)

    assert time.monotonic() - begin >= 0.4
    assert [mail.to for mail in server.mails] == [ZOE, REN]


def test_a_full_or_read_only_disk_is_a_deferral(server: MailServer) -> None:
    directory = server.mailbox.directory
    directory.rename(directory.with_name("away"))

    with pytest.raises(smtplib.SMTPDataError) as caught:
        send(server, ZOE)

    assert caught.value.smtp_code == 452
    assert b"cannot keep the message" in caught.value.smtp_error  # type: ignore[operator]


@pytest.mark.parametrize("hang", [None, "connect"])
def test_stop_does_not_wait_for_a_hanging_client(server: MailServer, hang: str | None) -> None:
    server.knobs.set("mail.hang", hang)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as idle:
        wait_for_connection(server)
        if hang is None:
            assert idle.recv(100).startswith(b"220 ")
        begin = time.monotonic()

        server.stop()

        assert idle.recv(100) == b""
        assert time.monotonic() - begin < 1
