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


def test_a_domain_in_other_letters_is_written_in_ascii() -> None:
    address = Address.parse("ren@bücher.example")

    assert address is not None
    assert address.text == "ren@xn--bcher-kva.example"
    assert not address.needs_utf8


def test_one_address_in_two_cases_gets_one_letter_and_the_other_person_is_named() -> None:
    shared = replace(LIV, email="ZOE.Mueller@Example.EDU")

    who = choose([ZOE, shared, replace(ZOE, email="Zoe.Mueller@example.edu")], ())

    assert [to for _, to in who.chosen] == ["zoe.mueller@example.edu"]
    assert who.left_out == ((shared, "has the same address as Zoë Müller-Łukasik, who gets one letter"),)


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
