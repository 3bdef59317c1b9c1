"""A saved file gives back what was written, whole or not at all."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamtime_ioc import savefile

NOW = datetime(2026, 11, 26, 8, 1, 2, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)


def read_back(raw: bytes) -> dict[str, savefile.Content]:
    return {entry.name: entry.content for entry in savefile.parse(raw)}


@given(TEXTS)
@example("")
@example("@array@ { }")
@example(" \t<END>\n<END>")
@example("a\\nb\\")
@example("\u2028\u3000x\x85")
@example("-1 ")
def test_any_text_comes_back_from_one_line(text: str) -> None:
    raw = savefile.render({"A:B": text, "A:C": "next"}, NOW)

    assert read_back(raw) == {"A:B": text, "A:C": "next"}
    assert raw.count(b"\n") == 4


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1 / 3)
@example(-0.0)
@example(5e-324)
def test_any_number_comes_back_to_its_last_bit(number: float) -> None:
    content = read_back(savefile.render({"A:B": number}, NOW))["A:B"]

    assert isinstance(content, str)
    assert repr(float(content)) == repr(number)


def test_the_file_looks_as_autosave_writes_it() -> None:
    raw = savefile.render({"A:Mode": 2, "A:Energy": 12.5, "A:Note": " two\nlines "}, NOW)

    assert raw.decode().splitlines() == [
        "# save/restore beamtime-ioc\tAutomatically generated - DO NOT MODIFY - 261126-080102",
        "A:Mode 2",
        "A:Energy 12.5",
        "A:Note \\x20two\\nlines\\x20",
        "<END>",
    ]


def test_a_file_of_c_autosave_is_read_with_its_arrays_and_its_backslashes() -> None:
    raw = (
        b"# save/restore V5.1\tAutomatically generated - DO NOT MODIFY - 250102-030405\r\n"
        b"! 1 channel(s) not connected\r\n"
        b"A:Path C:\\new\\data\r\n"
        b'A:Note @array@ { "72" "-61" "-87" "0" }\r\n'
        b'A:Words @array@ { "say \\"no\\"" "b" }\r\n'
        b"A:Empty @array@ { }\r\n"
        b"A:Nothing \r\n"
        b"A:Bare\r\n"
        b"A:Latin \xb5m\r\n"
        b"<END>\r\n"
    )

    assert read_back(raw) == {
        "A:Path": "C:\\new\\data",
        "A:Note": ("72", "-61", "-87", "0"),
        "A:Words": ('say "no"', "b"),
        "A:Empty": (),
        "A:Nothing": "",
        "A:Bare": "",
        "A:Latin": "µm",
    }


def test_a_file_that_was_cut_anywhere_is_refused() -> None:
    raw = savefile.render({"A:Note": "<END>\n<END>", "A:Energy": 1.5}, NOW)

    for size in range(len(raw) - 1):  # without its last line end it is whole
        with pytest.raises(ValueError, match="not written to its end"):
            savefile.parse(raw[:size])
    assert read_back(raw[:-1]) == read_back(raw)


KILLED = """
import os, sys
from pathlib import Path
from beamtime_ioc import savefile

count, at, after = 0, int(sys.argv[2]), sys.argv[3] == "after"

def deadly(real):
    def call(*arguments, **named):
        global count
        count += 1
        if count == at and not after:
            os._exit(9)
        if real is os_write:  # a disk takes a few bytes at a time
            arguments = (arguments[0], arguments[1][:40])
        result = real(*arguments, **named)
        if count == at:
            os._exit(9)
        return result
    return call

os_write = os.write
for name in ("open", "write", "fsync", "close", "rename"):
    setattr(os, name, deadly(getattr(os, name)))
raw = Path(sys.argv[1]).with_suffix(".new").read_bytes()
savefile.write(Path(sys.argv[1]), raw)
sys.stdout.write("written\\n")
sys.stdout.flush()
os._exit(0)
"""


def what_is_found(path: Path) -> dict[str, savefile.Content]:
    """As a start does it."""
    for candidate in (path, path.with_suffix(".savB")):
        entries = savefile.read(candidate)
        if entries is not None:
            return {entry.name: entry.content for entry in entries}
    return {}


@pytest.mark.parametrize("after", ["before", "after"])
def test_killed_at_any_step_of_the_writing_the_old_values_or_the_new_are_found_never_a_mixture(
    tmp_path: Path, after: str
) -> None:
    old: dict[str, savefile.Content] = {"A:One": "old", "A:Two": "old " + "x" * 100}
    new: dict[str, savefile.Content] = {"A:One": "new", "A:Two": "new " + "y" * 100}
    found: list[dict[str, savefile.Content]] = []

    for step in range(1, 60):
        directory = tmp_path / str(step)
        directory.mkdir()
        path = directory / "x.sav"
        for values in ({"A:One": "older", "A:Two": "older"}, old):
            savefile.write(path, savefile.render({k: str(v) for k, v in values.items()}, NOW))
        path.with_suffix(".new").write_bytes(savefile.render({k: str(v) for k, v in new.items()}, NOW))
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), str(step), after], capture_output=True, check=False
        )
        found.append(what_is_found(path))
        savefile.write(path, savefile.render({"A:One": "later"}, NOW))  # what is left over is in nobody's way
        assert what_is_found(path) == {"A:One": "later"}
        if ended.returncode == 0:
            break
        assert ended.returncode == 9, ended.stderr.decode()

    assert ended.stdout == b"written\n"
    assert len(found) > 10
    assert all(values in (old, new) for values in found)
    assert found[0] == old
    assert found[-1] == new


def test_a_file_that_is_not_whole_does_not_replace_the_good_one_before_it(tmp_path: Path) -> None:
    path = tmp_path / "x.sav"
    path.with_suffix(".savB").write_bytes(savefile.render({"A:One": "good"}, NOW))
    path.write_bytes(b"# save/restore\nA:One ba")

    savefile.write(path, savefile.render({"A:One": "new"}, NOW))

    assert savefile.parse(path.read_bytes())[0].content == "new"
    assert savefile.parse(path.with_suffix(".savB").read_bytes())[0].content == "good"
    assert path.with_suffix(".savBad").read_bytes() == b"# save/restore\nA:One ba"
