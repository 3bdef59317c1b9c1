"""The tables of traps name tests that exist."""

import re

import pytest

from docs_terminal import CHECKOUT

PAGE = CHECKOUT / "docs" / "reference" / "traps.md"
TRAPS = {
    "R": range(1, 22),
    "L": [number for number in range(6, 19) if number != 14],
    "S": range(1, 38),
    "P": range(1, 36),
    "M": range(1, 32),
}
"""What each table has, by the letter of its rows."""


@pytest.mark.parametrize("letter", TRAPS)
def test_every_trap_names_a_test_that_exists(letter: str) -> None:
    pattern = rf"^\| ({letter}\d+) .*\| (.+) \|$"
    rows = re.findall(pattern, PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert [trap for trap, _ in rows] == [f"{letter}{number}" for number in TRAPS[letter]]
    for trap, cell in rows:
        named = re.findall(r"`(\S+\.py)::(\w+)`", cell)
        assert named, trap
        for file, test in named:
            assert f"\ndef {test}(" in (CHECKOUT / file).read_text(encoding="utf-8"), (
                f"{trap}: {file}::{test}"
            )
