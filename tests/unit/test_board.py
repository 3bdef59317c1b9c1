"""A Cell per record: the gate, the check, the hook, and who watches."""

import asyncio
import math
import time
from itertools import pairwise
from pathlib import Path

import pytest

from beamtime_ioc.alarm import QUIET, Alarm, Severity, Status
from beamtime_ioc.board import Board, Cell
from beamtime_ioc.errors import BadValueError, BusyError, NotAllowedError
from beamtime_ioc.model import RunState, Who
from beamtime_ioc.posting import Posting, Reading
from beamtime_ioc.records import load_records
from beamtime_ioc.values import Value, cut

DATA = Path(__file__).parents[1] / "data"
WHO = Who(via="local")


class Gate:
    """Lets the user `friend` write everything but the group `closed`."""

    def require(self, group: str, who: Who) -> None:
        if who.user != "friend" or group == "closed":
            raise NotAllowedError(f"{who} may not write {group}")


FRIEND = Who(via="ca", user="friend", peer="192.0.2.1")
STRANGER = Who(via="ca", user="stranger", peer="192.0.2.2")


@pytest.fixture
def board() -> Board:
    return Board(load_records([DATA / "wire.substitutions"], prefix="X:Wire:"), Gate())


def put(cell: Cell, value: object, who: Who = FRIEND, caution: str = "") -> object:
    return asyncio.run(cell.put(value, who, caution))


@pytest.mark.parametrize(
    ("suffix", "value", "held"),
    [
        ("Text", "new", "new"),
        ("Text", "", ""),
        ("Text", "x" * 256, "x" * 256),
        ("Text", 5, "5"),
        ("Stringout", "é" * 19, "é" * 19),
        ("Mbbo", "Green", 1),
        ("Mbbo", "1", 1),
        ("Mbbo", 1.0, 1),
        ("Mbbo", 0, 0),
        ("Digits", "20", 1),
        ("Digits", 1, 1),
        ("Gap", 1, 1),
        ("Longout", 80, 80),
        ("Longout", "-80", -80),
        ("Longout", 3.9, 3),
        ("Free", 2**31 - 1, 2**31 - 1),
        ("Ao", 8, 8.0),
        ("Ao", "-8.0", -8.0),
        ("Wide", 1e308, 1e308),
    ],
)
def test_a_put_is_held_as_its_record_holds_it(board: Board, suffix: str, value: object, held: Value) -> None:
    cell = board.cell(suffix)

    put(cell, value)

    assert cell.value == held
    assert type(cell.value) is type(held)


@pytest.mark.parametrize(
    ("suffix", "value", "words"),
    [
        ("Text", "x" * 257, "X:Wire:Text holds 256 bytes, the text has 257; shorten it"),
        ("Text", "é" * 129, "holds 256 bytes, the text has 258"),
        ("Text", "a\0b", "has a NUL in it"),
        ("Text", "\udc80", "is no Unicode text"),
        ("Stringout", "x" * 40, "holds 39 bytes"),
        ("Mbbo", "green", "cannot take 'green'; its states are 0 Red, 1 Green, 2 Blue"),
        ("Mbbo", "", "cannot take ''"),
        ("Gap", "", "cannot take ''"),
        ("Mbbo", 3, "has no state 3"),
        ("Mbbo", -1, "has no state -1"),
        ("Mbbo", 0.5, "has no state 0.5"),
        ("Mbbo", math.nan, "cannot take nan"),
        ("Mbbo", None, "cannot take None"),
        ("Longout", 81, "takes -80 to 80, not 81"),
        ("Free", 2**31, "takes 32 bit, not 2147483648"),
        ("Free", -(2**31) - 1, "takes 32 bit"),
        ("Free", math.inf, "cannot take inf"),
        ("Free", "many", "cannot take 'many'"),
        ("Ao", 8.5, "takes -8 to 8, not 8.5"),
        ("Ao", -math.inf, "cannot take -inf"),
        ("Ao", "nan", "cannot take nan"),
        ("Stringin", "x", "is written by the IOC only; read it"),
        ("WalkState", 1, "is written by the IOC only"),
        ("Text39", "x", "is written by the IOC only"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    board: Board, suffix: str, value: object, words: str
) -> None:
    cell = board.cell(suffix)
    before = cell.reading

    with pytest.raises(BadValueError) as caught:
        put(cell, value)

    assert words in str(caught.value)
    assert cell.reading is before


def test_the_gate_is_asked_before_anything_else(board: Board) -> None:
    called: list[Value] = []

    async def hook(cell: Cell, value: Value, who: Who) -> None:
        called.append(value)

    for suffix, who in (("Bo", STRANGER), ("Closed", FRIEND)):
        cell = board.cell(suffix)
        cell.hook, before = hook, cell.reading
        with pytest.raises(NotAllowedError):
            put(cell, "nonsense, but that is not what matters", who)
        assert cell.reading is before
    assert called == []


def test_a_hook_gets_the_checked_value_and_decides_what_is_set(board: Board) -> None:
    got: list[tuple[str, Value, Who]] = []

    async def hook(cell: Cell, value: Value, who: Who) -> None:
        got.append((cell.name, value, who))

    cell = board.cell("Walk")
    cell.hook = hook

    put(cell, "Start")

    assert got == [("X:Wire:Walk", 1, FRIEND)]
    assert cell.value == 0


def test_a_hook_that_refuses_leaves_value_and_alarm(board: Board) -> None:
    async def hook(cell: Cell, value: Value, who: Who) -> None:
        raise BusyError("it runs")

    cell = board.cell("Walk")
    cell.hook, before = hook, cell.reading

    with pytest.raises(BusyError):
        put(cell, 1)

    assert cell.reading is before


def test_a_caution_is_an_alarm_until_the_next_put(board: Board) -> None:
    cell = board.cell("Text")

    put(cell, "M?ller", caution="letters may be lost")
    first = cell.reading
    put(cell, "Mueller")

    assert (first.value, first.alarm) == (
        "M?ller",
        Alarm(Severity.MINOR, Status.STATE, "letters may be lost"),
    )
    assert cell.reading.alarm == QUIET


@pytest.mark.parametrize(("index", "severity"), [(0, 0), (1, 0), (2, 2)])
def test_a_state_means_the_alarm_of_the_record_file(board: Board, index: int, severity: int) -> None:
    cell = board.cell("Mbbo")

    cell.set(index)

    assert cell.reading.alarm.severity == severity
    assert cell.reading.alarm.message == ("Blue" if severity else "")


def test_everybody_who_watches_is_told_of_one_reading_with_one_stamp(board: Board) -> None:
    cell, seen = board.cell("Ai"), list[Reading[Value]]()
    for _ in range(2):
        cell.watchers.append(lambda reading: seen.append(reading))
    before = time.time()

    cell.set(0.5, Alarm(Severity.INVALID, Status.COMM, "no answer"))

    assert seen[0] is seen[1] is cell.reading
    assert before <= seen[0].stamp <= time.time()


def test_a_watcher_may_leave_while_all_are_told(board: Board) -> None:
    cell, seen = board.cell("Ai"), list[str]()

    def leave(reading: Reading[Value]) -> None:
        seen.append("leaves")
        cell.watchers.remove(leave)

    cell.watchers += [leave, lambda reading: seen.append("stays")]

    cell.set(1.0)
    cell.set(2.0)

    assert seen == ["leaves", "stays", "stays"]


def test_a_short_view_follows_its_text_with_alarm_and_time(board: Board) -> None:
    text, view = board.cell("Text"), board.cell("Text39")
    assert view.value == "first"

    text.set("x" * 38 + "é", Alarm(Severity.MINOR, Status.STATE, "careful"))

    assert view.reading == Reading("x" * 38, text.reading.alarm, text.reading.stamp)


def test_lesson_9_a_short_view_that_is_cut_is_an_alarm_that_names_the_whole(board: Board) -> None:
    text, view = board.cell("Text"), board.cell("Text39")

    text.set("x" * 40)
    cut_alarm = view.reading.alarm
    text.set("x" * 40, Alarm(Severity.MAJOR, Status.COMM, "worse"))
    worse = view.reading.alarm
    text.set("x" * 39)

    assert (cut_alarm.severity, cut_alarm.message) == (
        Severity.MINOR,
        "cut to 39 bytes: X:Wire:Text has the whole",
    )
    assert worse.message == "worse"
    assert text.value == view.value == "x" * 39
    assert view.reading.alarm.severity is Severity.NO_ALARM


@pytest.mark.parametrize(
    ("text", "size_bytes", "wanted"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc"),
        ("é", 1, ""),
        ("aé", 2, "a"),
        ("漢漢", 5, "漢"),
        ("😀", 3, ""),
        ("", 0, ""),
    ],
)
def test_a_text_is_cut_between_letters(text: str, size_bytes: int, wanted: str) -> None:
    assert cut(text, size_bytes) == wanted


def test_an_alias_is_a_second_name_of_one_cell(board: Board) -> None:
    assert board.aliases["X:Wire:TextAlias"] == "X:Wire:Text"


def test_what_the_program_tells_of_itself_is_shown_where_there_is_a_record_for_it(tmp_path: Path) -> None:
    file = tmp_path / "engine.db"
    file.write_text('record(longin, "X:Count") { info(beamtime:report, "engine.queued") }')
    board = Board(load_records([file], prefix="X:"), Gate())

    board.report("queued", 3)
    board.report("version", "1.0")

    assert (board.cell("Count").value, board.report_cell("version")) == (3, None)


def test_every_action_has_its_progress(board: Board) -> None:
    posting = board.progress["walk"]

    assert (posting.name, posting.value.state) == ("X:Wire:WalkProgress", RunState.IDLE)
    assert math.isnan(posting.value.remaining_s)


def test_posts_come_at_most_five_times_a_second_and_the_last_always() -> None:
    async def post() -> list[tuple[int, float]]:
        posting, seen = Posting("counter", 0), list[tuple[int, float]]()
        last = asyncio.Event()
        posting.watchers.append(lambda reading: seen.append((reading.value, reading.stamp)))
        posting.watchers.append(lambda reading: last.set() if reading.value == 99 else None)
        for number in range(50):
            posting.set_soon(number)
        await asyncio.sleep(0.3)
        posting.set_soon(98)
        posting.set_soon(99)
        await asyncio.wait_for(last.wait(), 5)
        return seen

    seen = asyncio.run(post())

    assert [value for value, _ in seen] in ([49, 98, 99], [49, 99])
    stamps = [stamp for _, stamp in seen[1:]]
    assert all(later - earlier > 0.19 for earlier, later in pairwise(stamps))


def test_a_set_overtakes_what_was_to_be_posted_soon() -> None:
    async def post() -> list[int]:
        posting, seen = Posting("counter", 0), list[int]()
        posting.watchers.append(lambda reading: seen.append(reading.value))
        posting.set_soon(1)
        posting.set(2)
        await asyncio.sleep(0.3)
        return seen

    assert asyncio.run(post()) == [2]


def test_whoever_may_not_write_is_refused_for_that_also_with_a_value_that_cannot_be_read(
    board: Board,
) -> None:
    cell, told = board.cell("Text"), list[object]()
    cell.refused = lambda who, error: told.append((who.user, type(error)))
    unreadable = BadValueError("the text is no Unicode text", advice="send UTF-8")

    cell.refuse("?", STRANGER, unreadable)
    cell.refuse("?", FRIEND, unreadable)

    assert told == [("stranger", NotAllowedError), ("friend", BadValueError)]
