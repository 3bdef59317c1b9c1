"""Who gets a letter, and why somebody does not."""

from dataclasses import replace
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from beamtime_handlers.clients.smtp_mail.message import message
from beamtime_handlers.clients.smtp_mail.recipients import choose
from beamtime_ioc.model import Address, Letter
from mail_house import (
    CONTACT,
    LIV,
    PLACES,
    REN,
    SENDER,
    ZOE,
    ZONE,
    mail_for,
    parsed,
    people_of,
)

NOW = datetime(2026, 11, 20, 8, 1, tzinfo=ZONE)
DATA_LINK = "https://data.example.org/file-manager?path={{ places[1].path | quoted }}"


def own_letter(directory: Path, subject: str = "Hello", text: str = "Hello", html: str | None = None) -> str:
    """A site's own letter; returns what stands in the site file."""
    (directory / "letters").mkdir(exist_ok=True)
    parts = {"subject": subject, "txt": text, **({} if html is None else {"html": html})}
    for ending, part in parts.items():
        (directory / "letters" / f"begin.v2.{ending}").write_text(part, encoding="utf-8")
    return "letters/begin.v2"


def on_the_wire(letter: Letter) -> EmailMessage:
    return parsed(message(letter, sender=SENDER, contact=CONTACT, at=NOW))


def test_everybody_with_an_address_gets_one_letter(tmp_path: Path) -> None:
    mailing = mail_for(tmp_path).compose(people_of(ZOE, REN, LIV), PLACES, "run-1")

    assert [letter.to for letter in mailing.letters] == [ZOE.email, REN.email, LIV.email]
    assert mailing.left_out == ()
    assert len({letter.key for letter in mailing.letters}) == 3


@pytest.mark.parametrize("address", ["", "  ", "none", "None", "NONE"])
def test_who_has_no_address_is_named(address: str) -> None:
    who = choose([ZOE, replace(REN, email=address)], ())

    assert who.chosen == ((ZOE, ZOE.email),)
    assert [(person.full_name, reason) for person, reason in who.left_out] == [
        ("Ren O'Brien", "has no e-mail address")
    ]


@pytest.mark.parametrize(
    "address",
    [
        "ren",
        "ren@",
        "@example.org",
        "ren@@example.org",
        "=?utf-8?q?boss=40example=2Ecom=2Cren?=@example.org",  # a mail program would show boss@example.com
        "ren o'brien@example.org",
        "ren@example..org",
        "ren@-example.org",
        "ren@exa mple.org",
        "ren@example.org, zoe@example.org",
        "ren@example.org;zoe@example.org",
        "Ren <ren@example.org>",
        '"ren"@example.org',
        "ren@example.org\nBcc: all@example.org",
        "ren@[127.0.0.1]",
        ".ren@example.org",
        "ren..o@example.org",
        f"{'r' * 65}@example.org",
        f"ren@{'e' * 64}.org",
        f"ren@{'e.' * 130}org",
        f"ren@{'é' * 60}.org",
        "ren@ex\u00adämple.org",
        "ren@\u202eä.org",
        "ren@ä..org",
        "ren@¼.org",
        "ren@xn--ä.org",
    ],
)
def test_what_is_not_an_address_is_named_and_not_mailed(address: str) -> None:
    who = choose([replace(REN, email=address)], ())

    assert who.chosen == ()
    assert who.left_out[0][1] == f"{address!r} is not an e-mail address"


@pytest.mark.parametrize(
    "address",
    ["ren@example.org", " ren@example.org ", "o'brien+x@mail.example.org", "r@localhost", "żółć@example.org"],
)
def test_an_address_is_kept_as_it_was_given(address: str) -> None:
    who = choose([replace(REN, email=address)], ())

    assert who.chosen[0][1] == address.strip()


@pytest.mark.parametrize(
    ("domain", "in_ascii"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # strasse.example is somebody else
        ("λόγος.example", "xn--oxapnm1c.example"),
        ("उदाहरण.example", "xn--p1b6ci4b4b3a.example"),
        ("例え。jp", "xn--r8jz45g.jp"),
        ("r3---sn.mail_1.Example.org", "r3---sn.mail_1.Example.org"),
    ],
)
def test_a_domain_in_other_letters_is_written_in_ascii(domain: str, in_ascii: str) -> None:
    address = Address.parse(f"ren@{domain}")

    assert address is not None
    assert address.text == f"ren@{in_ascii}"
    assert not address.needs_utf8


def test_one_address_in_two_cases_gets_one_letter_and_the_other_person_is_named() -> None:
    shared = replace(LIV, email="ZOE.Mueller@Example.EDU")

    who = choose([ZOE, shared, replace(ZOE, email="Zoe.Mueller@example.edu")], ())

    assert [to for _, to in who.chosen] == ["zoe.mueller@example.edu"]
    assert who.left_out == ((shared, "has the same address as Zoë Müller-Łukasik, who gets one letter"),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ren@bücher.example", "REN@xn--bcher-kva.example"),
        ("zoë@example.org", "zoe\u0308@example.org"),
        ("ŻÓŁĆ@example.org", "żółć@EXAMPLE.org"),
    ],
)
def test_one_mailbox_in_two_spellings_gets_one_letter_now_and_later(
    tmp_path: Path, one: str, other: str
) -> None:
    first, second = replace(ZOE, email=one), replace(REN, email=other)
    mail = mail_for(tmp_path)

    who = choose([first, second], (), only=[other])
    (now,) = mail.compose(people_of(first, second), PLACES, "run-1").letters
    (later,) = mail.compose(people_of(replace(first, email=other)), PLACES, "run-2").letters

    assert who.chosen == ((first, one),)
    assert [person for person, _ in who.left_out] == [second]
    assert (now.key, now.to, later.to) == (later.key, one, other)


@pytest.mark.parametrize(
    ("allow", "reached"),
    [((), 2), (("example.edu",), 1), (("EXAMPLE.edu", "@example.org"), 2), (("le.edu",), 0), (("edu",), 1)],
)
def test_only_allowed_domains_and_those_below_them_are_mailed(
    tmp_path: Path, allow: tuple[str, ...], reached: int
) -> None:
    mailing = mail_for(tmp_path, allow=allow).compose(people_of(ZOE, REN), PLACES, "run-1")

    assert len(mailing.letters) == reached
    reasons = [reason for _, reason in mailing.left_out]
    assert all(reason.endswith("is not in a domain of `mail.allow`") for reason in reasons)
    assert len(reasons) == 2 - reached


def test_a_domain_is_allowed_in_whatever_letters_the_site_file_has_it(tmp_path: Path) -> None:
    ren = replace(REN, email="ren@mail.straße.example")

    mailing = mail_for(tmp_path, allow=("Straße.example",)).compose(people_of(ren), PLACES, "run-1")

    assert [letter.to for letter in mailing.letters] == ["ren@mail.straße.example"]
