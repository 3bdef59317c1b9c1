"""The link to the slides: the newest of this proposal, or none and a warning; never that of another."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_handlers.clients.smtp_mail.slides import slides_of
from beamtime_handlers.email_users import email_users
from beamtime_ioc.testing import FakeRun
from beamtime_sim.mail_server import MailServer
from mail_house import EXPERIMENT, PLACES, SITE, live_mail, mail_for

URL = "https://slides.example.org/d/"
LIST = f"""\
- {{gup: 9100001, date: '2025-03-01', presentation_url: '{URL}old'}}
- {{gup: '9100001', date: 2026-11-21, presentation_url: '{URL}new'}}
- {{gup: 9100002, date: '2026-11-25', presentation_url: '{URL}other'}}
- nonsense
- {{date: 1}}
"""


@pytest.fixture
def history(tmp_path: Path) -> Path:
    file = tmp_path / ".tomolog"
    file.write_text(LIST)
    return file


def test_the_newest_slides_of_the_proposal_are_taken_with_their_day(history: Path) -> None:
    found = slides_of(history, "9100001")

    assert (found.link, found.day, found.warning) == (f"{URL}new", "2026-11-21", "")


@pytest.mark.parametrize("proposal", ["910000", "9100003", ""])
def test_another_proposal_has_none_and_that_is_no_fault(history: Path, proposal: str) -> None:
    found = slides_of(history, proposal)

    assert (found.link, found.warning) == ("", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: no such file"),
        (b"\xff\xfe", "is no YAML"),
        (b"- {gup: [", "is no YAML"),
        (b"gup: 1", "is no list of slides"),
        (
            b"- {gup: 9100001, date: x, presentation_url: 'javascript:alert(1)'}",
            "no web address for proposal",
        ),
        (b"- {gup: 9100001, date: x, presentation_url: 'https://a.example/ b'}", "no web address"),
        (b"- {gup: 9100001}", "no web address"),
        (b"-" * 1_000_001, "too long"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_warning(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / ".tomolog"
    if content is not None:
        file.write_bytes(content)

    found = slides_of(file, "9100001")

    assert found.link == ""
    assert words in found.warning
    assert "the letters go without" in found.warning


@given(content=st.binary(max_size=200))
def test_whatever_is_in_the_file_no_letter_is_kept_back(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.tomolog"
    file.write_bytes(content)

    found = slides_of(file, "9100001")

    assert found.link == "" or found.link.startswith("http")


@pytest.fixture
def server(tmp_path: Path) -> Generator[MailServer]:
    with MailServer(tmp_path / "mails") as server:
        yield server


def test_letters_go_out_though_the_file_of_slides_is_missing(tmp_path: Path, server: MailServer) -> None:
    mail = live_mail(tmp_path, server.port, slides_history=tmp_path / "nowhere")
    run = FakeRun(site=SITE, services={"mail": mail})

    email_users(run, EXPERIMENT)

    assert len(server.mails) == 2
    (held,) = (step for step in run.steps if step.state == "held")
    assert held.name == "link to slides"
    assert "nowhere cannot be read" in held.reason


def test_the_letter_has_the_link_with_its_day_in_both_forms(tmp_path: Path, history: Path) -> None:
    mailing = mail_for(tmp_path, slides_history=history).compose(EXPERIMENT, PLACES, "run-1")

    for text in (mailing.letters[0].text, mailing.letters[0].html):
        assert f"{URL}new" in text
        assert ", of 2026-11-21," in text
        assert f"{URL}other" not in text


def test_lesson_10_links_are_those_of_this_site_and_proposal_and_a_preview_shows_them(
    tmp_path: Path, history: Path
) -> None:
    mail = mail_for(
        tmp_path, slides_history=history, data_link="https://data.example.org/{{ experiment.name }}"
    )
    plan = FakeRun(site=SITE, services={"mail": mail}).planning()
    other = FakeRun(site=SITE, services={"mail": mail_for(tmp_path)}).planning()

    email_users(plan, EXPERIMENT)
    email_users(other, replace(EXPERIMENT, proposal="9100002"))

    assert [line for line in plan.lines if "link" in line] == [
        f"read: link to the data: https://data.example.org/{EXPERIMENT.name}",
        f"read: link to the slides of 2026-11-21: {URL}new",
    ]
    assert not [line for line in other.lines if "link" in line]


def test_an_address_in_the_site_file_goes_before_the_list(tmp_path: Path, history: Path) -> None:
    mail = mail_for(tmp_path, slides_history=history, slides_link=f"{URL}{{{{ experiment.proposal }}}}")

    text = mail.compose(EXPERIMENT, PLACES, "run-1").letters[0].text

    assert f"{URL}9100001" in text
    assert ", of " not in text
