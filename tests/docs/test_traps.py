"""The table of traps names tests that exist."""

import re

from docs_terminal import CHECKOUT

PAGE = CHECKOUT / "docs" / "reference" / "traps.md"
TRAPS = [f"R{number}" for number in range(1, 21)]
LESSONS = [f"L{number}" for number in range(6, 19) if number != 14]


def test_every_trap_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\| ([RL]\d+) .*\| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert [trap for trap, _ in rows] == [*TRAPS, *LESSONS]
    for trap, cell in rows:
        named = re.findall(r"`(\S+\.py)::(\w+)`", cell)
        assert named, trap
        for file, test in named:
            assert f"\ndef {test}(" in (CHECKOUT / file).read_text(encoding="utf-8"), (
                f"{trap}: {file}::{test}"
            )
