"""What users read, and what a letter looks like on the wire."""

import os
import re
import sys
from dataclasses import replace
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamtime_handlers.clients.smtp_mail import letters as letters_module
from beamtime_handlers.clients.smtp_mail.message import message
from beamtime_ioc.errors import SiteFileError
from beamtime_ioc.model import Letter, Person
from mail_house import (
    CONTACT,
    EXPERIMENT,
    PLACES,
    SENDER,
    ZOE,
    ZONE,
    body_of,
    letter_from,
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


# -- the letter that comes with the program -----------------------------------------------------------


def test_our_letter_says_whose_beamtime_it_is_when_and_where_the_data_go(tmp_path: Path) -> None:
    mail = mail_for(tmp_path, data_link=DATA_LINK, retention="Data stay here for 30 days.")

    letter = letter_from(mail)

    for text in (letter.text, letter.html):
        assert "Dear Zoë Müller-Łukasik," in text
        assert "9100001" in text
        assert "Foam under load" in text
        assert "2026-11-20 08:00 CST" in text
        assert "/local/data/2026-11/2026-11-Muller_Lukasik-9100001" in text
        assert "https://data.example.org/file-manager?path=%2Fdata%2F99BM%2F2026-11%2F2026-11-Muller" in text
        assert "linked to the e-mail" in text
        assert "Data stay here for 30 days." in text
        assert "staff@example.edu" in text
        assert "{" not in text
    assert letter.subject == "Your beamtime at 99-BM-A,B: Foam under load"


def test_our_letter_leaves_out_what_the_site_does_not_have(tmp_path: Path) -> None:
    mail = mail_for(tmp_path, contact="")
    poor = replace(EXPERIMENT, title="", proposal="", people=(Person(email="x@example.org"),))

    (letter,) = mail.compose(poor, (), "run-1").letters

    assert letter.subject == "Your beamtime at 99-BM-A,B: 2026-11-Muller_Lukasik-9100001"
    assert "Dear colleague," in letter.text
    for word in ("Globus", "data are written", "Proposal", "Title", "PI", "None", "\n\n\n"):
        assert word not in letter.text
    assert "tell the beamline staff" in letter.text


def test_a_title_cannot_put_html_into_a_letter(tmp_path: Path) -> None:
    mail = mail_for(tmp_path)
    hostile = replace(people_of(ZOE), title="<script>alert('x')</script> & more")

    (letter,) = mail.compose(hostile, PLACES, "run-1").letters

    assert "<script>" not in letter.html
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more" in letter.html
    assert "<script>alert('x')</script> & more" in letter.text


def test_a_title_cannot_put_a_line_or_a_header_into_a_letter(tmp_path: Path) -> None:
    mail = mail_for(tmp_path)
    hostile = replace(
        people_of(ZOE), title="Foam\r\nBcc: everybody@example.com\r\n\r\nData link: http://evil"
    )

    (letter,) = mail.compose(hostile, PLACES, "run-1").letters
    wire = on_the_wire(letter)

    assert letter.subject.endswith("Foam Bcc: everybody@example.com Data link: http://evil")
    assert not any(line.startswith(("Bcc", "Data link")) for line in letter.text.splitlines())
    assert wire["Bcc"] is None
    assert str(wire["Subject"]) == letter.subject


def test_a_title_of_300_letters_goes_out(tmp_path: Path) -> None:
    mail = mail_for(tmp_path)
    long = replace(people_of(ZOE), title="ü" * 300)

    (letter,) = mail.compose(long, PLACES, "run-1").letters
    wire = message(letter, sender=SENDER, contact=CONTACT, at=NOW)

    assert "ü" * 300 in letter.text
    assert max(len(line) for line in wire.split(b"\r\n")) <= 998
    assert str(parsed(wire)["Subject"]) == letter.subject


def test_it_lies_outside_the_package_beside_the_sources_or_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, packages = tmp_path / "checkout", tmp_path / "site-packages"
    (checkout / "letters").mkdir(parents=True)
    inside = ("beamtime_handlers", "clients", "smtp_mail", "letters.py")

    monkeypatch.setattr(letters_module, "__file__", str(checkout.joinpath("handlers", *inside)))
    beside = letters_module.default_letter()
    monkeypatch.setattr(letters_module, "__file__", str(packages.joinpath(*inside)))
    installed = letters_module.default_letter()

    assert beside == checkout / "letters" / "beamtime-begins"
    assert installed == Path(sys.prefix, "share", "beamtime-ioc", "letters", "beamtime-begins")


# -- a site's own letter --------------------------------------------------------------------------------


def test_a_site_writes_its_own_letter(tmp_path: Path) -> None:
    template = own_letter(
        tmp_path, "{{ beamline }}", "Hi {{ person.first_name }}", "<p>{{ pi.last_name }}</p>"
    )

    letter = letter_from(mail_for(tmp_path, template=template))

    assert (letter.subject, letter.text) == ("99-BM-A,B", "Hi Zoë\n")
    assert letter.html == "<p>Müller-Łukasik</p>\n"


def test_a_letter_without_html_goes_as_plain_text(tmp_path: Path) -> None:
    letter = letter_from(mail_for(tmp_path, template=own_letter(tmp_path)))

    assert letter.html == ""
    assert on_the_wire(letter).get_content_type() == "text/plain"


def test_a_letter_is_written_with_the_templates_as_they_are_now(tmp_path: Path) -> None:
    mail = mail_for(tmp_path, template=own_letter(tmp_path, text="old"))
    before = letter_from(mail)

    own_letter(tmp_path, text="new")
    after = letter_from(mail)

    assert (before.text, after.text) == ("old\n", "new\n")


def test_other_words_are_no_other_letter_but_another_name_is(tmp_path: Path) -> None:
    """Who mends a comma in the template mails nobody a second time."""
    mail = mail_for(tmp_path, template=own_letter(tmp_path, text="old"))
    before = letter_from(mail)

    own_letter(tmp_path, "Corrected", "new", "<p>new</p>")
    corrected = letter_from(mail)
    for file in (tmp_path / "letters").iterdir():
        file.rename(file.with_name(file.name.replace("v2", "v3")))
    another = letter_from(mail_for(tmp_path, template="letters/begin.v3"))

    assert (corrected.key, corrected.message_id) == (before.key, before.message_id)
    assert another.text == corrected.text
    assert another.key != before.key


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "one\n{{ experiment.titel }}",
            r"begin\.v2\.txt:2: .*no attribute 'titel'; its fields are beamline, ",
        ),
        ("{{ slide_link }}", r"begin\.v2\.txt:1: .*'slide_link' is undefined"),
        ("{{ retention | needed('mail.retention') }}", r"begin\.v2\.txt:1: .*it needs mail\.retention"),
        ("one\ntwo\n{{ person.first_name", r"begin\.v2\.txt:3: not a template"),
        ("{{ ''.__class__.__mro__ }}", r"begin\.v2\.txt:1: .*unsafe"),
        ("{% include '/etc/passwd' %}", r"begin\.v2\.txt:1: .*passwd"),
        ("{{ experiment.proposal + 1 }}", r"begin\.v2\.txt:1: the letter cannot be written"),
        ("{{ 1 / 0 }}", r"begin\.v2\.txt:1: the letter cannot be written: division"),
        ("{{ 2 ** 3 }}", r"begin\.v2\.txt:1: .*a letter needs no power"),
        ("{{ 'x' * 10001 }}", r"begin\.v2\.txt:1: .*a text 10000 times is the most"),
        ("{{ 10001 * [1] }}", r"begin\.v2\.txt:1: .*a text 10000 times is the most"),
        ("{{ 'x' * 10000 * 10000 }}", r"begin\.v2\.txt:1: .*1048576 signs are the most"),
        ("{{ '%1234567d' % 1 }}", r"txt:1: .* 1048576 signs are the most; see what stands at format"),
        ("{{ '%*d' | format(12345678, 1) }}", r"txt:1: .*; see what stands at format"),
        ("{{ '{:12345678}'.format(1) }}", r"txt:1: .*; see what stands at format"),
        ("{{ 'x' | center(12345678) }}", r"txt:1: .*; see what stands at center"),
        ("{{ 'x'.zfill(12345678) }}", r"txt:1: .*; see what stands at zfill"),
        ("{{ ('\\n' * 2000) | indent(2000) }}", r"txt:\d: .*; see what stands at indent"),
        ("{{ ('x' * 2000) | replace('x', 'y' * 2000) }}", r"txt:1: .*; see what stands at replace"),
        (
            "{{ ('x ' * 2000) | wordwrap(1, wrapstring='y' * 2000) }}",
            r"txt:1: .*; see what stands at wordwrap",
        ),
        ("{{ range(2000) | join('x' * 2000) }}", r"txt:1: .*; see what stands at join"),
        ("{{ ('x' * 2000).join(['a'] * 2000) }}", r"txt:1: .*; see what stands at join"),
        (
            "{% set n = namespace(x='ab') %}{% for i in range(23) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            r"begin\.v2\.txt:1: .*1048576 signs are the most",
        ),
        (
            "{% set n = namespace(x='ab') %}{% for i in range(23) %}{% set n.x = n.x + n.x %}{% endfor %}",
            r"begin\.v2\.txt:1: .*1048576 signs are the most",
        ),
        ("{{ lipsum(n=1000) }}", r"begin\.v2\.txt:1: .*'lipsum' is undefined"),
        (
            "\n{% for a in range(9999) %}{% for b in range(9999) %}{% for c in 'xy' %}{% endfor %}"
            "{% endfor %}{% endfor %}",
            r"begin\.v2\.txt:2: .*it is not done after 2 s; see whether its loops and macros come to an end",
        ),
        (
            "{% for a in [1] recursive %}{{ loop([1, 2]) if loop.depth < 90 }}{% endfor %}",
            r"begin\.v2\.txt:1: .*it is not done after 2 s",
        ),
        (
            "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(90) }}",
            r"begin\.v2\.txt:1: .*it is not done after 2 s",
        ),
        (
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            r"begin\.v2\.txt: .*it calls itself without end",
        ),
        (
            "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
            r"begin\.v2\.txt.*it would have more than 1048576 signs; shorten its loops",
        ),
        ("x" * (1 << 20) + "y", r"begin\.v2\.txt.*the letter is longer than 1 MB"),
    ],
)
def test_a_template_that_cannot_be_filled_is_named_with_its_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(SiteFileError, match=sentence):
        letter_from(mail_for(tmp_path, template=own_letter(tmp_path, text=text)))


def test_a_loop_knows_where_it_is(tmp_path: Path) -> None:
    text = (
        "{% for one in experiment.people %}{{ loop.index }} of {{ loop.length }} {{ one.last_name }}"
        "{{ '.' if loop.last else ', ' }}{% else %}nobody{% endfor %}"
        "{% for a in [1, [2, 3]] if a != 1 recursive %}{{ loop(a) if a is iterable else a }}{% endfor %}"
        "{% for name, value in {'b': 1, 'a': 2} | dictsort %}{{ name }}{% endfor %}"
    )

    mailing = mail_for(tmp_path, template=own_letter(tmp_path, text=text)).compose(
        EXPERIMENT, PLACES, "run-1"
    )

    assert mailing.letters[0].text == "1 of 2 Müller-Łukasik, 2 of 2 O'Brien.23ab\n"


def test_what_makes_a_text_longer_may_do_so_within_bounds(tmp_path: Path) -> None:
    text = (
        "{{ 'x' | center(5) }}|{{ '%d' % 300011 }}|{{ '%s-%s' | format('a', 12345678) }}|{{ 'a' ~ 1 ~ 'b' }}"
        "|{{ 'No. 12345678, {:>4}'.format(7) }}|{{ ['a', 2] | join(', ') }}|{{ ', '.join(['a', 'b']) }}"
        "|{{ 'two words' | wordwrap(5) | replace('\\n', '/') }}|{{ 'ab' | replace('b', 'c') | upper }}"
        "|{{ [3, 1] | sort | first }}|{{ experiment.people | map(attribute='last_name') | join(' and ') }}"
    )

    letter = letter_from(mail_for(tmp_path, template=own_letter(tmp_path, text=text)))

    assert letter.text == (
        "x  |300011|a-12345678|a1b|No. 12345678,    7|a, 2|a, b|two/words|AC|1|Müller-Łukasik\n"
    )


def test_the_check_fills_the_templates_too(tmp_path: Path) -> None:
    mail = mail_for(tmp_path, template=own_letter(tmp_path, text="{{ slide_link }}"))

    health = mail.check()

    assert not health.ok
    assert "begin.v2.txt:1: " in health.sentence
    assert "data_link" in health.sentence


@pytest.mark.parametrize("ending", ["subject", "txt"])
def test_a_missing_template_is_refused_at_the_start(tmp_path: Path, ending: str) -> None:
    template = own_letter(tmp_path)
    missing = tmp_path / f"{template}.{ending}"
    missing.unlink()

    with pytest.raises(SiteFileError, match="the file of the letter is missing") as error:
        mail_for(tmp_path, template=template)

    assert error.value.path == missing


def test_a_template_that_is_not_text_is_refused_at_the_start(tmp_path: Path) -> None:
    template = own_letter(tmp_path)
    (tmp_path / f"{template}.txt").write_bytes(b"\xff\xfe")

    with pytest.raises(SiteFileError, match="it is not UTF-8"):
        mail_for(tmp_path, template=template)


@pytest.mark.timeout(20)
def test_a_template_that_is_a_pipe_is_refused_at_the_start(tmp_path: Path) -> None:
    template = own_letter(tmp_path)
    (tmp_path / f"{template}.txt").unlink()
    os.mkfifo(tmp_path / f"{template}.txt")

    with pytest.raises(SiteFileError, match="cannot be read: it is no file"):
        mail_for(tmp_path, template=template)


def test_a_line_of_a_letter_may_be_drawn(tmp_path: Path) -> None:
    letter = letter_from(
        mail_for(tmp_path, template=own_letter(tmp_path, text="{{ '-' * 20 * 2 }} {{ 6 * 7 }}"))
    )

    assert letter.text == "-" * 40 + " 42\n"


def test_a_wrong_link_in_the_site_file_is_named(tmp_path: Path) -> None:
    mail = mail_for(tmp_path, data_link="https://data.example.org/{{ gup }}")

    with pytest.raises(SiteFileError, match=r"mail\.data_link:1: .*'gup' is undefined"):
        letter_from(mail)


# -- on the wire ----------------------------------------------------------------------------------------


def test_a_message_has_its_headers_and_two_forms_of_one_text(tmp_path: Path) -> None:
    letter = letter_from(mail_for(tmp_path))

    wire = on_the_wire(letter)

    assert wire["From"] == SENDER
    assert wire["Reply-To"] == CONTACT
    assert wire["To"] == "Zoë Müller-Łukasik <zoe.mueller@example.edu>"
    assert wire["Auto-Submitted"] == "auto-generated"
    assert wire["Message-ID"] == letter.message_id
    assert wire["Date"].datetime == NOW
    assert wire.get_content_type() == "multipart/alternative"
    assert body_of(wire, "plain") == letter.text
    assert body_of(wire, "html") == letter.html
    assert not list(wire.iter_attachments())


def test_a_message_is_ascii_and_the_same_each_time(tmp_path: Path) -> None:
    letter = replace(letter_from(mail_for(tmp_path)), text="Zoë\n")

    first, second = (message(letter, sender=SENDER, contact=CONTACT, at=NOW) for _ in range(2))

    assert first.isascii()
    assert first == second
    assert b"\n" not in first.replace(b"\r\n", b"")


@given(name=st.text(max_size=120), title=st.text(max_size=400))
@example(name=f"{'x' * 40}, evil@example.org, {'y' * 50}", title="")
@example(
    name="=?utf-8?q?a=2C_evil=40example=2Eorg=2C?= b", title="=?utf-8?q?a=0D=0ABcc=3A_evil=40example.org?="
)
@example(name='Müller, "x" <evil@example.com> (c); [d]\\', title="\r\nBcc: evil@example.org")
def test_no_name_and_no_title_adds_a_header_or_a_recipient(name: str, title: str) -> None:
    letter = Letter(
        key="k", to="zoe@example.edu", name=name, subject=title, text="text\n", message_id="<k@example.edu>"
    )

    wire = message(letter, sender=SENDER, contact=CONTACT, at=NOW)

    headers = BytesParser(policy=policy.default).parsebytes(wire)
    assert [one.addr_spec for one in headers["To"].addresses] == ["zoe@example.edu"]
    assert not re.search(r"[\r\n]", str(headers["Subject"]))
    assert sorted(name.lower() for name in headers) == [
        "auto-submitted",
        "content-transfer-encoding",
        "content-type",
        "date",
        "from",
        "message-id",
        "mime-version",
        "reply-to",
        "subject",
        "to",
    ]
