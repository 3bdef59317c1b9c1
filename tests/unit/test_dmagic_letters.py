"""DMagic's letters as templates of ours: the same words, with today's links."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamtime_handlers.clients.smtp_mail.dmagic import convert
from beamtime_handlers.clients.smtp_mail.letters import LetterTemplate
from beamtime_ioc.errors import SiteFileError
from mail_house import letter_from, mail_for

DATA, SLIDES = "https://data.example.org/?path=%2F2026-11&x=<1>", "https://slides.example.org/d/1"
HTML = """<html>
<head><style>p{#color: red}</style><title>not shown</title>
<body>
<p>All,</p>
<p>Slides: %%SLIDES_LINK%%</p>
<p>Data link: %%DATA_LINK%%, also <a href="%%DATA_LINK%%">here</a></p>
<ol>
  <li>Log in at <a href="https://app.example.org">the &ldquo;portal&rdquo;</a></li>
  <li>Write to <a href="mailto:user@example.org">user@example.org</a></li>
</ol>
<p>{{ braces }} {% of %} {# theirs #} %%OTHER%%<br>The end</p>
</body>
</html>
"""
PLAIN = "All,\n\nData link: https://old.example.org/wrong\n  Data link: stays\nslides: %%SLIDES_LINK%%\n"


def rendered(source: str, directory: Path, **values: str) -> tuple[str, str]:
    found = convert(source)
    parts = {"subject": "s", "txt": found.text, "html": found.html}
    for ending, text in parts.items():
        path = directory / f"letter.{ending}"
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text, encoding="utf-8", newline="\n")
    words = LetterTemplate.read(directory / "letter").render(
        {"data_link": DATA, "slides_link": SLIDES, **values}
    )
    return words.text, words.html


def test_html_has_its_links_and_a_text_beside_it(tmp_path: Path) -> None:
    text, html = rendered(HTML, tmp_path)

    safe = DATA.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f'<p>Data link: <a href="{safe}">{safe}</a>, also <a href="{safe}">here</a></p>' in html
    assert f'<p>Slides: <a href="{SLIDES}">{SLIDES}</a></p>' in html
    assert "<p>{{ braces }} {% of %} {# theirs #} %%OTHER%%<br>The end</p>" in html
    assert "<style>p{#color: red}</style>" in html
    assert text == (
        f"All,\n\nSlides: {SLIDES}\n\nData link: {DATA}, also here ({DATA})\n\n"
        "- Log in at the “portal” (https://app.example.org)\n"
        "- Write to user@example.org\n\n"
        "{{ braces }} {% of %} {# theirs #} %%OTHER%%\nThe end\n"
    )


def test_without_slides_it_says_so_as_dmagic_does(tmp_path: Path) -> None:
    text, html = rendered(HTML, tmp_path, slides_link="")

    assert "<p>Slides: (no beamtime log slides found for this proposal)</p>" in html
    assert "Slides: (no beamtime log slides found for this proposal)\n" in text


def test_of_plain_text_only_the_lines_of_the_link_are_others(tmp_path: Path) -> None:
    text, html = rendered(PLAIN, tmp_path)

    assert html == ""
    assert text == f"All,\n\nData link: {DATA}\n  Data link: stays\nslides: {SLIDES}\n"


@pytest.mark.parametrize("source", [HTML, PLAIN])
def test_a_letter_with_a_data_link_is_not_written_without_one(tmp_path: Path, source: str) -> None:
    with pytest.raises(SiteFileError, match=r"letter\.txt:\d+: .*needs mail\.data_link, which is empty"):
        rendered(source, tmp_path, data_link="")


def test_marks_that_dmagic_does_not_know_are_told() -> None:
    assert convert(HTML).strange == ("%%OTHER%%",)
    assert convert(PLAIN).strange == ()


@given(
    source=st.text(st.sampled_from("{}%#+- \n\"'ab<>/p") | st.characters(codec="utf-8"), max_size=60).filter(
        lambda text: text.removeprefix("\ufeff").strip() and not text.lstrip("\ufeff \n\t").startswith("<")
    )
)
@example(source="{%%DATA_LINK%%}")
@example(source="{{%%SLIDES_LINK%%}}\n{% raw %}")
@example(source="{%%%DATA_LINK%%{#")
def test_any_plain_text_comes_out_as_it_stands(tmp_path_factory: pytest.TempPathFactory, source: str) -> None:
    directory = tmp_path_factory.getbasetemp() / "plain-letters"
    directory.mkdir(exist_ok=True)

    text, _ = rendered(source, directory)

    wanted = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    wanted = wanted.replace("%%DATA_LINK%%", DATA).replace("%%SLIDES_LINK%%", SLIDES)
    lines = (f"Data link: {DATA}" if line.startswith("Data link:") else line for line in wanted.split("\n"))
    assert text == "\n".join(lines).strip() + "\n"


@given(source=st.text(st.sampled_from("{}%#<>/aphlis=\"' &;") | st.characters(codec="utf-8"), max_size=60))
@example(source="a href='x'>{{</a><script>{%")
@example(source="p %%DATA_LINK%%{")
def test_any_html_is_filled_and_keeps_its_own_marks(
    tmp_path_factory: pytest.TempPathFactory, source: str
) -> None:
    directory = tmp_path_factory.getbasetemp() / "html-letters"
    directory.mkdir(exist_ok=True)

    _, html = rendered(f"<{source}", directory)

    if "%%" not in source and "\r" not in source:
        assert html == f"<{source}".strip() + "\n"


def test_lesson_16_the_letter_that_was_taken_over_is_used_and_never_written(tmp_path: Path) -> None:
    found = convert(HTML)
    letter = tmp_path / "letter"
    for ending, text in {"subject": "s", "txt": found.text, "html": found.html}.items():
        letter.with_suffix(f".{ending}").write_text(text)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    letter_from(mail_for(tmp_path, template="letter", data_link=DATA))

    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
