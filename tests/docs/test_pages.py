"""What the documentation says to type works, and what it shows is what comes."""

from itertools import pairwise
from pathlib import Path

import pytest

from docs_page import alike, commands
from docs_terminal import CHECKOUT, Terminal

WRITTEN = [CHECKOUT / "README.md", *sorted(CHECKOUT.glob("docs/*/**/*.md"))]
PAGES = [page for page in WRITTEN if any(commands(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_what_a_page_says_to_type_gives_what_it_shows(page: Path, terminal: Terminal) -> None:
    steps = list(commands(page))

    for step, following in pairwise([*steps, None]):
        assert step is not None
        code, text = terminal.run(step.words)

        came = terminal.plain(text)
        where = f"{page.relative_to(CHECKOUT)}:{step.line}: $ {step.words}"
        says_the_code = following is not None and following.words == "echo $?"
        assert code == 0 or says_the_code, f"{where}\nended with {code}:\n{came}"
        well = step.output is None or alike(step.output, came)
        assert well, f"{where}\nshows\n{step.output}\nbut came\n{came}"


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ("READY prefix=99bm: ca=1 pva=2", "READY prefix=99bm: ca=5064 pva=5076\n"),
        ("first\n...\nlast", "first\nand much\nmore\nlast"),
        ("at 2026-11-20 10:15, 0.3 s", "at 2027-01-02 23:59, 11.9 s"),
        ("  made            time of the look-up", "  stands already  time of the look-up"),
    ],
)
def test_what_differs_from_day_to_day_may_differ_from_the_page(shown: str, came: str) -> None:
    assert alike(shown, came)


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ("4 letters", "5 letters"),
        ("Done: 2 directories", "Failed: 2 directories"),
        ("  made            letter to zoe", "  stands already  letter to zoe"),
        ("", "a line that the page does not show"),
        ("first\nlast", "first\nand more\nlast"),
    ],
)
def test_all_else_must_come_as_it_is_shown(shown: str, came: str) -> None:
    assert not alike(shown, came)
