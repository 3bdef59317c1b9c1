"""kill -9 at every edge of every shipped handler: each effect is made once, counted where it was made."""

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

import wrong_handlers as handlers
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Json
from beamtime_ioc.testing.box_world import BoxWorld
from beamtime_ioc.testing.crash_matrix import crash_matrix
from beamtime_ioc.testing.matrix import Matrix
from box_house import beamtime

DOUBTFUL = ("after claim", "before answer")
"""Between these the letter may be out and nobody has written it down."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Generator[BoxWorld, None, None]:
    with BoxWorld.started(tmp_path_factory.mktemp("box")) as world:
        yield world


def kinds(matrix: Matrix) -> set[str]:
    return {ending.edge.partition(":")[0] for ending in matrix.endings}


def assert_letters_are_unsure_only_between_claim_and_answer(matrix: Matrix) -> None:
    for thing in matrix.things:
        edges = [f"{edge}: {thing.title}" for edge in DOUBTFUL]
        killed = [ending.edge for ending in matrix.endings]
        wanted = [edge for edge in edges if edge in killed] if thing.title.startswith("letter") else []
        assert matrix.unsure_edges(thing.title) == wanted


@pytest.mark.parametrize(("action", "edges"), [("update-user-info", 20), ("create-directories", 14)])
def test_killed_anywhere_and_gone_on_with_a_handler_makes_each_effect_exactly_once(
    box: BoxWorld, tmp_path: Path, action: str, edges: int
) -> None:
    matrix = crash_matrix(action, world=box, directory=tmp_path)

    assert matrix.failures == []
    assert len(matrix.endings) == edges
    assert len(matrix.things) == 2
    assert all(ending.count(thing) == 1 for thing in matrix.things for ending in matrix.endings)
    assert all(ending.lived.kills == 1 for ending in matrix.endings)


def test_killed_anywhere_a_letter_goes_out_once_or_is_named_unsure(box: BoxWorld, tmp_path: Path) -> None:
    matrix = crash_matrix("email-users", world=box, directory=tmp_path)

    assert matrix.failures == []
    assert {f"{when} {what}" for when in ("before", "after") for what in ("look", "make", "verify")} < kinds(
        matrix
    )
    assert [thing.counted_by for thing in matrix.things] == ["mail/log.jsonl"] * 2
    assert_letters_are_unsure_only_between_claim_and_answer(matrix)


def test_killed_anywhere_a_letter_goes_out_again_once_and_to_nobody_else(
    box: BoxWorld, tmp_path: Path
) -> None:
    matrix = crash_matrix(
        "email-users",
        world=box,
        after=["email-users"],
        arguments={"only": ["tomas@example.org"], "again": "bounced"},
        directory=tmp_path,
        only=lambda edge: edge.what in ("read", "make", "claim", "answer"),
    )

    (letter,) = matrix.things
    assert matrix.failures == []
    assert letter.name == "mail to tomas@example.org"
    assert [ending.count(letter) for ending in matrix.endings] == [1, 1, 1, 1, 0, 1, 1, 1]
    assert len(matrix.unsure_edges(letter.title)) == len(DOUBTFUL)
    assert_letters_are_unsure_only_between_claim_and_answer(matrix)


@pytest.mark.timeout(300)
def test_killed_anywhere_a_whole_beamtime_begins_once(box: BoxWorld, tmp_path: Path) -> None:
    matrix = crash_matrix("begin-beamtime", world=box, directory=tmp_path)

    assert matrix.failures == []
    assert len(matrix.endings) == 82
    assert {thing.counted_by for thing in matrix.things} == {
        "calls of its make",
        "the disk",
        "mail/log.jsonl",
    }
    assert_letters_are_unsure_only_between_claim_and_answer(matrix)


@pytest.mark.parametrize(
    ("action", "arguments", "after", "things"),
    [
        ("end-beamtime", {}, [], ["end of manual:crash-test"]),
        ("reopen-experiment", {}, ["end-beamtime"], ["manual:crash-test open again"]),
        (
            "select-experiment",
            {"choice": "300051"},
            [],
            ["current experiment aps:300051", "time of the look-up"],
        ),
        ("use-manual", {"name": "Commissioning"}, [], ["current experiment manual:this-run"]),
    ],
)
def test_killed_anywhere_an_experiment_is_chosen_closed_and_opened_once(
    box: BoxWorld,
    tmp_path: Path,
    action: str,
    arguments: dict[str, Json],
    after: list[str],
    things: list[str],
) -> None:
    matrix = crash_matrix(action, world=box, directory=tmp_path, arguments=arguments, after=after)

    assert matrix.failures == []
    assert len(matrix.endings) >= 8
    assert [thing.title for thing in matrix.things] == things
    assert all(ending.count(thing) == 1 for thing in matrix.things for ending in matrix.endings)
    assert all(ending.lived.kills == 1 for ending in matrix.endings)


@pytest.mark.timeout(300)
def test_killed_anywhere_a_beamtime_is_handed_over_once(box: BoxWorld, tmp_path: Path) -> None:
    matrix = crash_matrix("handover", world=box, directory=tmp_path)

    assert matrix.failures == []
    assert "end of manual:crash-test" in [thing.title for thing in matrix.things]
    assert len(matrix.endings) == 98
    assert_letters_are_unsure_only_between_claim_and_answer(matrix)


def test_killed_again_while_it_recovers_a_letter_still_goes_out_at_most_once(
    box: BoxWorld, tmp_path: Path
) -> None:
    matrix = crash_matrix("email-users", world=box, directory=tmp_path, in_recovery=True)

    assert matrix.failures == []
    assert sum(ending.lived.kills == 2 for ending in matrix.endings) >= len(matrix.endings) - 1
    assert all(ending.count(thing) <= 1 for thing in matrix.things for ending in matrix.endings)


def test_what_is_done_at_most_once_is_done_or_named_unsure_wherever_it_is_killed(tmp_path: Path) -> None:
    matrix = crash_matrix(handlers.page_once, world=handlers.PagerWorld(), directory=tmp_path)

    (call,) = matrix.things
    assert matrix.failures == []
    assert {ending.edge: ending.count(call) for ending in matrix.endings} == {
        "before claim: call the guard": 1,
        "after claim: call the guard": 0,
        "before step: call the guard": 0,
        "before write: call the guard": 0,
        "after write: call the guard": 1,
        "after step: call the guard": 1,
    }
    assert matrix.unsure_edges("call the guard") == [
        "after claim: call the guard",
        "before step: call the guard",
        "before write: call the guard",
        "after write: call the guard",
    ]


@pytest.mark.parametrize(
    ("handler", "edge", "sentence"),
    [
        (handlers.page_in_a_step, "after read: call the guard", "call of guard was made 2 times"),
        (handlers.page_blindly, "after make: guard is called", "call of guard was made 2 times"),
        (
            handlers.page_on_a_whim,
            "before claim: call the guard",
            "the run is stuck: the steps of the action",
        ),
    ],
    ids=["a write in a step", "a look that lies", "steps that change"],
)
def test_a_handler_with_a_fault_is_found_out_and_the_edge_is_named(
    tmp_path: Path, handler: object, edge: str, sentence: str
) -> None:
    matrix = crash_matrix(handler, world=handlers.PagerWorld(), directory=tmp_path)  # type: ignore[arg-type]

    found = {failure.edge: failure.sentence for failure in matrix.failures}
    assert sentence in found[edge]


def test_what_is_made_twice_without_any_kill_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BeamtimeError, match="page-twice without any kill: call of guard was made 2 times"):
        crash_matrix(handlers.page_twice, world=handlers.PagerWorld(), directory=tmp_path)


def test_the_process_that_is_killed_is_another_one_and_its_children_end_with_the_matrix(
    tmp_path: Path,
) -> None:
    before = os.getpid()

    crash_matrix(handlers.page_once, world=handlers.PagerWorld(), directory=tmp_path)

    mine = [pid for pid in map(str, os.listdir("/proc")) if pid.isdecimal() and _is_of(int(pid), tmp_path)]
    assert os.getpid() == before
    assert mine == []


def _is_of(pid: int, directory: Path) -> bool:
    try:
        return any(
            str(directory) in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")
        )
    except OSError:
        return False  # it has ended, or it is somebody else's


def test_the_table_has_a_line_for_each_effect(tmp_path: Path) -> None:
    matrix = crash_matrix(handlers.page_once, world=handlers.PagerWorld(), directory=tmp_path)

    assert matrix.table().splitlines() == [
        "effect          edges  once  never  more  unsure  counted by",
        "call the guard      6     3      3     0       4  pager.log",
    ]


# -- the command ------------------------------------------------------------------------------------------


def test_the_command_tests_an_installed_action_and_prints_the_table(tmp_path: Path) -> None:
    ended = beamtime("crash-test", "create-directories", "--dir", str(tmp_path / "box"), timeout_s=100)

    assert ended.returncode == 0, ended.stderr
    assert (
        "directory det1:/data/det1/2026-11/crash-test     14    14      0     0       0  the disk"
        in ended.stdout
    )
    assert "no failures" in ended.stdout


def test_the_command_finds_an_action_of_a_site_and_fails_where_it_fails(tmp_path: Path) -> None:
    installed = tmp_path / "installed" / "wrong-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[beamtime.handlers]\nnote-blindly = wrong:note_blindly\n")
    (tmp_path / "installed" / "wrong.py").write_text(
        "from beamtime_ioc.action import action\n\n\n"
        '@action("note-blindly", resource="notes")\n'
        "def note_blindly(run, experiment):\n"
        "    notes = []\n"
        "    run.effect('a note', look=lambda: None, make=lambda: notes.append(1), verify=lambda: 'noted')\n"
    )
    path = os.pathsep.join([str(tmp_path / "installed"), *sys.path])

    ended = beamtime("crash-test", "note-blindly", environment={"PYTHONPATH": path}, timeout_s=100)

    assert ended.returncode == 1, ended.stderr
    assert "FAILED after make: a note: a note was made 2 times" in ended.stdout
    assert "calls of its make" in ended.stdout


def test_the_command_says_which_actions_there_are(tmp_path: Path) -> None:
    ended = beamtime("crash-test", "no-such-action", "--dir", str(tmp_path / "box"))

    assert ended.returncode == 2
    assert "there is no action no-such-action; there are begin-beamtime, create-directories" in ended.stderr


def test_an_action_to_press_before_that_does_not_exist_is_no_fault_of_the_handler(tmp_path: Path) -> None:
    words = ("crash-test", "create-directories", "--after", "no-such-action", "--dir", str(tmp_path / "box"))

    ended = beamtime(*words)

    assert ended.returncode == 2
    assert "there is no action no-such-action; there are begin-beamtime, create-directories" in ended.stderr
    assert "mend the handler" not in ended.stderr
