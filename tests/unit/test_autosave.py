"""Which settings are saved, and how they come back."""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamtime_ioc.access import load_gate
from beamtime_ioc.alarm import Severity
from beamtime_ioc.autosave import FILE_NAME, Autosave
from beamtime_ioc.autosaver import Autosaver
from beamtime_ioc.board import Board
from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.records import load_records, shipped

DATA = Path(__file__).parents[1] / "data"
PREFIX = "X:Set:"


def board_of_settings() -> Board:
    records = load_records([*shipped(), DATA / "settings.template"], prefix=PREFIX)
    return Board(records, load_gate(None))


def restored(directory: Path, text: str) -> tuple[Board, str]:
    (directory / FILE_NAME).write_bytes(text.encode())
    board = board_of_settings()
    return board, Autosave(board, directory).restore()


def values(board: Board) -> dict[str, Any]:
    names = ("Note", "Short", "Mode", "Count", "Energy", "Free", "Reading")
    return {name: board.cell(name).value for name in names}


SHIPPED = {
    "Note": "as shipped",
    "Short": "",
    "Mode": 0,
    "Count": 0,
    "Energy": 0.0,
    "Free": 0.0,
    "Reading": 7.0,
}


def fits(size_bytes: int) -> Callable[[str], bool]:
    return lambda text: len(text.encode()) <= size_bytes


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=25)
@given(
    note=TEXTS.filter(fits(64)),
    short=TEXTS.filter(fits(39)),
    mode=st.integers(0, 2),
    count=st.integers(-(2**31), 2**31 - 1),
    energy=st.floats(-100, 100),
    free=st.floats(allow_nan=False, allow_infinity=False),
)
def test_what_was_saved_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    note: str,
    short: str,
    mode: int,
    count: int,
    energy: float,
    free: float,
) -> None:
    directory = tmp_path_factory.mktemp("saved")
    given = {"Note": note, "Short": short, "Mode": mode, "Count": count, "Energy": energy, "Free": free}
    before = board_of_settings()
    for name, value in given.items():
        before.cell(name).set(value)
    saving = Autosave(before, directory)
    saving.write(saving.snapshot())

    after = board_of_settings()

    assert Autosave(after, directory).restore() == ""
    assert values(after) == {**given, "Reading": 7.0}


def test_at_a_first_start_nothing_is_restored_and_nothing_is_wrong(tmp_path: Path) -> None:
    board = board_of_settings()

    assert Autosave(board, tmp_path / "autosave").restore() == ""
    assert values(board) == SHIPPED


def test_settings_are_restored_without_hooks_and_without_the_gate(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(f"# \n{PREFIX}Mode 2\n<END>\n")
    board = board_of_settings()  # without an access file nobody may write
    called: list[object] = []

    async def hook(*arguments: object) -> None:
        called.append(arguments)

    board.cell("Mode").hook = hook
    Autosave(board, tmp_path).restore()

    assert board.cell("Mode").value == 2
    assert called == []


def test_the_files_of_c_autosave_are_read(tmp_path: Path) -> None:
    board, trouble = restored(
        tmp_path,
        "# save/restore V5.1\n"
        f'{PREFIX}Note @array@ {{ "72" "-61" "-87" "0" "7" }}\n'
        f"{PREFIX}Note.DESC What it is for\n"
        f"{PREFIX}Short.VAL C:\\new\n"
        f"{PREFIX}Mode 1\n"
        f'{PREFIX}Count @array@ {{ "12" }}\n'
        f"{PREFIX}Energie -12.5\n"
        "<END>\n",
    )

    assert trouble == ""
    assert values(board) == {
        **SHIPPED,
        "Note": "Hé",
        "Short": "C:\\new",
        "Mode": 1,  # the state with this number, which is called 0
        "Count": 12,
        "Energy": -12.5,
    }
    assert board.cell("Note").record.desc == "What it is for"


@pytest.mark.parametrize(
    "line", ["Note @array@ { }", 'Note @array@ { "0" }', "Note", "Note ", "Note$ ", "Note.VAL$ "]
)
def test_an_empty_text_comes_back_empty(tmp_path: Path, line: str) -> None:
    board, trouble = restored(tmp_path, f"#\n{PREFIX}{line}\n<END>\n")

    assert (board.cell("Note").value, trouble) == ("", "")


MISFITS = [
    "Mode 3",
    "Mode -1",
    "Mode fourth",
    "Mode",
    f"Mode {'9' * 400}",
    f"Mode {'9' * 5000}",
    f'Mode @array@ {{ "{"9" * 5000}" }}',
    f"Count {'9' * 5000}",
    "Energy 100.5",
    "Energy nan",
    "Energy high",
    "Count 2147483648",
    'Count @array@ { "1" "2" }',
    "Count @array@ { }",
    f"Note {'x' * 65}",
    'Note @array@ { "H" "i" }',
    f"Short {'é' * 20}",
    "Note a\\0b\0",
    "Reading 8",
    "Count.PREC 3",
    "UserName Ada",
    "BeginBeamtime 1",
    "BeginBeamtimeAbort 1",
    "UpdateUserInfoSchedule 0",
    "NoSuchRecord 1",
]


@pytest.mark.parametrize("line", MISFITS)
def test_what_does_not_fit_is_skipped_named_and_counted_and_the_rest_is_restored(
    tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        board, trouble = restored(tmp_path, f"#\n{PREFIX}{line}\n{PREFIX}Free 1.5\n<END>\n")

    assert values(board) == {**SHIPPED, "Free": 1.5}
    assert board.cell("UserName").value == ""
    name = PREFIX + line.split()[0]
    assert trouble == f"1 of 2 saved values were skipped ({name}); see the log"
    assert f"{FILE_NAME}, line 2: skipped: {name.split('.')[0]}" in caplog.text


def test_a_file_of_another_prefix_changes_nothing_and_says_so(tmp_path: Path) -> None:
    lines = "".join(f"Y:Set:{name} 1\n" for name in ("Mode", "Count", "Energy", "Free"))

    board, trouble = restored(tmp_path, f"#\n{lines}<END>\n")

    assert values(board) == SHIPPED
    assert trouble.startswith("4 of 4 saved values were skipped (Y:Set:Mode, Y:Set:Count, Y:Set:Energy, ...)")


def test_a_cut_file_is_refused_and_the_one_before_it_is_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).with_suffix(".savB").write_text(f"#\n{PREFIX}Free 1.5\n<END>\n")

    board, trouble = restored(tmp_path, f"#\n{PREFIX}Free 2.5\n{PREFIX}Mode 1\n<EN")

    assert values(board) == {**SHIPPED, "Free": 1.5}
    assert "its last line is not <END>" in trouble
    assert "the settings are those of beamtime_settings.savB" in trouble
    assert trouble in caplog.text


def test_a_pipe_at_the_place_of_a_file_keeps_nobody_waiting_and_is_put_aside(tmp_path: Path) -> None:
    for suffix in (".sav", ".savTmp"):
        os.mkfifo((tmp_path / FILE_NAME).with_suffix(suffix))
    said: list[str] = []

    def work() -> None:
        autosave = Autosave(board_of_settings(), tmp_path)
        said.append(autosave.restore())
        try:
            autosave.write(autosave.snapshot())
        except OSError as error:
            said.append(f"{error.strerror}")
        (tmp_path / FILE_NAME).with_suffix(".savTmp").unlink()
        autosave.write(autosave.snapshot())

    working = threading.Thread(target=work, daemon=True)
    working.start()
    working.join(5)

    assert not working.is_alive()
    assert "cannot be used: it is no file" in said[0]
    assert said[1] == "No such device or address"
    assert restored_again(tmp_path) == ""


def restored_again(directory: Path) -> str:
    return Autosave(board_of_settings(), directory).restore()


def test_a_missing_file_beside_the_one_before_it_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).with_suffix(".savB").write_text(f"#\n{PREFIX}Free 1.5\n<END>\n")
    board = board_of_settings()

    trouble = Autosave(board, tmp_path).restore()

    assert board.cell("Free").value == 1.5
    assert "is missing; the settings are those of beamtime_settings.savB" in trouble


@pytest.mark.parametrize("bad", [b"", b"\0" * 100, b"#\nX 1\n", b"\xff\xfe<END", b"<END>x"])
def test_if_both_files_are_bad_the_values_of_the_records_stand(tmp_path: Path, bad: bytes) -> None:
    for suffix in (".sav", ".savB"):
        (tmp_path / FILE_NAME).with_suffix(suffix).write_bytes(bad)
    board = board_of_settings()

    trouble = Autosave(board, tmp_path).restore()

    assert values(board) == SHIPPED
    assert "the settings are those of the .db files; set them again" in trouble


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()

    trouble = Autosave(board_of_settings(), tmp_path).restore()

    assert "Is a directory" in trouble


def test_nothing_of_the_identity_nor_a_button_nor_a_report_is_ever_saved(tmp_path: Path) -> None:
    board = board_of_settings()

    saved = set(Autosave(board, tmp_path).snapshot())

    own = {f"{PREFIX}{name}" for name in ("Note", "Short", "Mode", "Count", "Energy", "Free")}
    assert saved == own | {
        f"{PREFIX}{name}" for name in ("Note.DESC", "Reading.DESC", "ENGINEER", "LOCATION")
    }


@pytest.mark.parametrize(
    "tag", ['info(beamtime:field, "pi.email")', 'info(beamtime:report, "engine.message")']
)
def test_to_tag_one_of_them_is_an_error_with_file_and_line(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "wrong.db"
    path.write_text(
        f'# one\nrecord(waveform, "X:Y") {{\n field(FTVL, "CHAR") field(NELM, "256")\n'
        f' {tag} info(autosaveFields, "VAL")\n}}\n'
    )

    with pytest.raises(RecordFileError, match=r"wrong\.db:2: .*never saved by autosave"):
        load_records([path], prefix="X:")


@asynccontextmanager
async def saver(directory: Path, delay_s: float = 0.05) -> AsyncGenerator[Autosaver]:
    made = Autosaver(board_of_settings(), directory, delay_s)
    made.retry_s = delay_s
    made.restore()
    task = asyncio.create_task(made.watch())
    try:
        yield made
    finally:
        task.cancel()


def board_of(saver: Autosaver) -> Board:
    return saver._board  # pyright: ignore[reportPrivateUsage]


def saved_text(directory: Path) -> str:
    path = directory / FILE_NAME
    return path.read_text() if path.exists() else ""


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_change_is_saved_after_the_delay_and_what_came_meanwhile_with_it(tmp_path: Path) -> None:
    async def play() -> None:
        async with saver(tmp_path, 0.3) as at_work:
            board_of(at_work).cell("Free").set(1.5)
            await asyncio.sleep(0)
            assert saved_text(tmp_path) == ""
            board_of(at_work).cell("Mode").set(2)

            await until(lambda: f"{PREFIX}Free 1.5\n" in saved_text(tmp_path))

            assert f"{PREFIX}Mode 2\n" in saved_text(tmp_path)
            assert not (tmp_path / FILE_NAME).with_suffix(".savB").exists()  # it was one writing

    asyncio.run(play())


def test_at_a_clean_stop_what_changed_a_moment_ago_is_saved(tmp_path: Path) -> None:
    async def play() -> None:
        async with saver(tmp_path, 600) as at_work:
            board_of(at_work).cell("Free").set(1.5)

            await at_work.flush(5)

            assert f"{PREFIX}Free 1.5\n" in saved_text(tmp_path)

    asyncio.run(play())


def test_without_a_change_nothing_is_written(tmp_path: Path) -> None:
    async def play() -> None:
        async with saver(tmp_path) as at_work:
            await at_work.flush(5)
        assert list(tmp_path.iterdir()) == []

    asyncio.run(play())


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_a_disk_that_fails_is_an_alarm_with_a_sentence_and_it_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    broken = True
    real = getattr(os, step)

    def fail(*arguments: Any) -> Any:
        if broken:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    async def play() -> None:
        nonlocal broken
        async with saver(tmp_path) as at_work:
            message = board_of(at_work).cell("AutosaveMessage")
            board_of(at_work).cell("Free").set(1.5)
            await until(lambda: message.reading.alarm.severity is Severity.MAJOR)
            assert "cannot be saved in" in str(message.value)
            assert "No space left on device" in str(message.value)

            broken = False

            await until(lambda: message.reading.alarm.severity is Severity.NO_ALARM)
            assert message.value == ""
            assert f"{PREFIX}Free 1.5\n" in saved_text(tmp_path)

    with monkeypatch.context() as patch:
        patch.setattr(f"beamtime_ioc.savefile.os.{step}", fail)
        asyncio.run(play())


def test_a_directory_that_cannot_be_made_is_an_alarm_until_it_can(tmp_path: Path) -> None:
    async def play() -> None:
        (tmp_path / "file").write_text("in the way")
        async with saver(tmp_path / "file") as at_work:
            message = board_of(at_work).cell("AutosaveMessage")
            board_of(at_work).cell("Free").set(1.5)
            await until(lambda: message.reading.alarm.severity is Severity.MAJOR)

            (tmp_path / "file").unlink()

            await until(lambda: "cannot be saved" not in str(message.value))
            assert message.reading.alarm.severity is Severity.MINOR  # nothing could be restored from there
            assert f"{PREFIX}Free 1.5\n" in saved_text(tmp_path / "file")

    asyncio.run(play())


def test_what_was_not_restored_stays_a_minor_alarm_in_words(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(f"#\n{PREFIX}Gone 1\n<END>\n")

    async def play() -> None:
        async with saver(tmp_path) as at_work:
            reading = board_of(at_work).cell("AutosaveMessage").reading

            assert reading.alarm.severity is Severity.MINOR
            assert "skipped (X:Set:Gone)" in str(reading.value)
            assert reading.alarm.message == reading.value

    asyncio.run(play())
