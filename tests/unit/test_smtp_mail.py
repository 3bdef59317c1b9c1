"""Letters and what becomes of them: modes, rows of the outbox, and the relay in the box."""

from collections.abc import Generator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from beamtime_ioc.errors import (
    BeamtimeError,
    DeferredError,
    DefinitelyRefusedError,
    NotVerifiedError,
    OutcomeUnknownError,
    ServiceUnavailableError,
)
from beamtime_ioc.model import Person
from beamtime_ioc.testing import MemoryOutbox
from beamtime_sim.mail_server import MailServer
from mail_house import (
    PLACES,
    REN,
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


def test_a_letter_reaches_its_person_as_it_was_written(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    letter = letter_from(mail)

    mail.send(letter)

    (kept,) = server.mails
    message = parsed(kept.path.read_bytes())
    assert (kept.to, kept.sender) == (ZOE.email, "bm99@example.edu")
    assert kept.message_id == letter.message_id
    assert (body_of(message, "plain"), body_of(message, "html")) == (letter.text, letter.html)
    assert states(outbox) == ["accepted"]


def test_what_was_accepted_is_found_and_read_back(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    letter = letter_from(mail)

    before = mail.find(letter)
    mail.send(letter)

    found = mail.find(letter)
    assert before is None
    assert isinstance(found, dict)
    assert (found["to"], found["state"], found["answer"]) == (ZOE.email, "accepted", "250 2.0.0 kept")
    assert mail.sent(letter) == found


def test_a_line_that_begins_with_a_dot_arrives_whole(tmp_path: Path, server: MailServer) -> None:
    mail = live_mail(tmp_path, server.port)
    letter = replace(letter_from(mail), text=".\n..\n.hidden\nend\n", html="")

    mail.send(letter)

    assert body_of(parsed(server.mails[0].path.read_bytes()), "plain") == ".\n..\n.hidden\nend\n"


def test_the_row_says_sending_before_the_relay_hears_anything(tmp_path: Path, server: MailServer) -> None:
    class Watched(MemoryOutbox):
        def settle(self, key: str, state: str, answer: str, *, due: datetime | None = None) -> None:
            seen.append((self.rows[key].state, len(server.mails)))
            super().settle(key, state, answer, due=due)

        def claim(self, letter: object) -> None:
            seen.append(("claim", server.counts["connections"]))
            super().claim(letter)  # pyright: ignore[reportArgumentType]

    seen: list[tuple[str, int]] = []
    mail = live_mail(tmp_path, server.port, Watched())

    mail.send(letter_from(mail))

    assert seen == [("claim", 0), ("sending", 1)]


def test_one_refused_address_is_named_and_may_be_tried_again(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    server.knobs.set("mail.refuse", [ZOE.email])
    mail = live_mail(tmp_path, server.port, outbox)
    letter = letter_from(mail)

    with pytest.raises(
        DefinitelyRefusedError, match=f"refuses {ZOE.email}: 550 5.1.1 no such mailbox"
    ) as error:
        mail.send(letter)

    assert "correct the address" in error.value.advice
    assert states(outbox) == ["refused"]
    assert mail.find(letter) is None
    with pytest.raises(NotVerifiedError, match="wanted accepted, found refused: "):
        mail.sent(letter)


def test_a_grey_listed_letter_is_deferred_and_accepted_later(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    server.knobs.set("mail.grey", {ZOE.email: 1})
    mail = live_mail(tmp_path, server.port, outbox)
    letter = letter_from(mail)

    with pytest.raises(DeferredError, match="grey-listed") as error:
        mail.send(letter)
    deferred = states(outbox)
    mail.send(letter)

    assert "press DeliverOutbox in some minutes, or this again" in error.value.advice
    assert (deferred, states(outbox)) == (["deferred"], ["accepted"])
    assert len(server.mails) == 1


def test_a_relay_that_is_down_is_named_and_the_letter_goes_later(
    tmp_path: Path, outbox: MemoryOutbox
) -> None:
    with MailServer(tmp_path / "mails") as server:
        port = server.port
    mail = live_mail(tmp_path, port, outbox)
    letter = letter_from(mail)

    with pytest.raises(ServiceUnavailableError, match=f"mail relay 127.0.0.1:{port} refuses the connection"):
        mail.send(letter)
    deferred = states(outbox)
    with MailServer(tmp_path / "mails", port=port) as server:
        mail.send(letter)

    assert (deferred, states(outbox)) == (["deferred"], ["accepted"])
    assert len(server.mails) == 1


def test_a_mute_relay_is_given_up(tmp_path: Path, server: MailServer, outbox: MemoryOutbox) -> None:
    server.knobs.set("mail.hang", "connect")
    mail = live_mail(tmp_path, server.port, outbox, timeout_s=0.3)

    with pytest.raises(ServiceUnavailableError, match=r"did not answer within 0\.3 s"):
        mail.send(letter_from(mail))

    assert states(outbox) == ["deferred"]


def test_a_connection_lost_before_the_text_may_be_tried_again(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    server.knobs.set("mail.drop", "before-data")
    mail = live_mail(tmp_path, server.port, outbox)
    letter = letter_from(mail)

    with pytest.raises(ServiceUnavailableError, match="broke off the connection"):
        mail.send(letter)
    server.knobs.reset()
    mail.send(letter)

    assert states(outbox) == ["accepted"]
    assert len(server.mails) == 1


@pytest.mark.parametrize(("when", "arrived"), [("during-data", 0), ("after-data", 1)])
def test_a_connection_lost_in_or_after_the_text_is_never_repeated(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox, when: str, arrived: int
) -> None:
    server.knobs.set("mail.drop", when)
    mail = live_mail(tmp_path, server.port, outbox)
    letter = letter_from(mail)

    with pytest.raises(OutcomeUnknownError, match=f"whether the letter to {ZOE.email} went out") as error:
        mail.send(letter)
    server.knobs.reset()

    assert f"ask {ZOE.email} whether it arrived" in error.value.advice
    assert error.value.claim == letter.key
    assert states(outbox) == ["unsure"]
    for word in (mail.find, mail.sent, mail.send):
        with pytest.raises(OutcomeUnknownError, match=ZOE.email) as again:
            word(letter)
        assert again.value.claim == letter.key
    assert len(server.mails) == arrived


def test_no_answer_to_the_text_is_unsure(tmp_path: Path, server: MailServer, outbox: MemoryOutbox) -> None:
    server.knobs.set("mail.hang", "data")
    mail = live_mail(tmp_path, server.port, outbox, timeout_s=0.3)

    with pytest.raises(OutcomeUnknownError, match=r"did not answer within 0\.3 s"):
        mail.send(letter_from(mail))

    assert states(outbox) == ["unsure"]


def test_a_letter_that_a_dead_process_began_is_unsure(tmp_path: Path, outbox: MemoryOutbox) -> None:
    mail = live_mail(tmp_path, 1, outbox)
    letter = letter_from(mail)
    outbox.claim(letter)

    with pytest.raises(
        OutcomeUnknownError, match=f"the letter to {ZOE.email} was begun at .* its end is not"
    ):
        mail.find(letter)


def test_a_fault_of_the_state_database_leaves_the_letter_claimed(tmp_path: Path, server: MailServer) -> None:
    class Full(MemoryOutbox):
        def settle(self, key: str, state: str, answer: str, *, due: datetime | None = None) -> None:
            raise OSError("disk full")

    outbox = Full()
    mail = live_mail(tmp_path, server.port, outbox)

    with pytest.raises(OSError, match="disk full"):
        mail.send(letter_from(mail))

    assert states(outbox) == ["sending"]


def test_an_address_in_other_letters_goes_to_a_relay_that_knows_them(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    person = replace(ZOE, email="zoë@example.edu")
    mail = live_mail(tmp_path, server.port, outbox)

    mail.send(letter_from(mail, person))

    assert server.mails[0].to == "zoë@example.edu"
    assert states(outbox) == ["accepted"]


def test_a_person_who_comes_later_gets_a_letter_and_the_others_no_second_one(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    mail.send(letter_from(mail))

    letters = mail.compose(people_of(ZOE, REN), PLACES, "run-2").letters

    assert [letter.to for letter in letters if mail.find(letter) is None] == [REN.email]


def test_the_same_address_in_another_case_has_its_letter_already(
    tmp_path: Path, server: MailServer, outbox: MemoryOutbox
) -> None:
    mail = live_mail(tmp_path, server.port, outbox)
    mail.send(letter_from(mail))

    again = letter_from(mail, replace(ZOE, email=ZOE.email.upper()))

    assert mail.find(again) is not None


def test_another_experiment_is_another_letter(tmp_path: Path) -> None:
    mail = mail_for(tmp_path)

    (next_time,) = mail.compose(replace(people_of(ZOE), key="aps:300099"), PLACES, "run-1").letters

    assert next_time.key != letter_from(mail).key
    assert next_time.message_id != letter_from(mail).message_id


def test_a_later_press_and_an_edited_title_make_no_other_letter(tmp_path: Path) -> None:
    mail = mail_for(tmp_path)

    (again,) = mail.compose(replace(people_of(ZOE), title="Corrected"), PLACES, "run-2").letters

    assert again.key == letter_from(mail).key
    assert again.message_id == letter_from(mail).message_id


def test_more_people_than_the_limit_get_nothing(tmp_path: Path) -> None:
    crowd = people_of(*(Person(first_name=f"P{n}", email=f"p{n}@example.edu") for n in range(41)))

    with pytest.raises(BeamtimeError, match="41 people would get a letter") as error:
        mail_for(tmp_path).compose(crowd, PLACES, "run-1")

    assert "raise `mail.limit`" in error.value.advice
    assert len(mail_for(tmp_path, limit=41).compose(crowd, PLACES, "run-1").letters) == 41
