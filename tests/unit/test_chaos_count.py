"""The counting of the chaos run can fail: each thing that is lost or doubled is found and named."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.model import RunState
from chaos.count import Accepted, Kind, Verdict, judge, key, read_world
from chaos.lives import Kill
from chaos.report import Report

PLACES = ("det1", "ana1")
ACTIONS = [
    Accepted(kind=kind, number=number, run_id=f"run-{kind}", state=RunState.DONE, ends=ends)
    for kind, number, ends in [
        (kind, *{Kind.BEGIN: (1, None), Kind.HANDOVER: (3, 1)}.get(kind, (2, None))) for kind in Kind
    ]
]
GUESTS = (1, 2, 3)
ADDRESSES = [f"guest.{number}.{role}" for number in GUESTS for role in ("a@example.edu", "b@example.org")]


class World:
    """A box's directory as it is after all eight buttons."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.closed = [key(1), key(2)]
        for address in ADDRESSES:
            self.log("mail", to=address)
        self.log("errands", what="note", text=f"set up: {key(2)}")
        self.log("errands", what="copy", id=f"{key(2)}-0a1b2c3d")
        for number in GUESTS:
            self.log("schedule", on_beam=number, status=200)
            for place in PLACES:
                self.make_directory(place, f"guest{number}", key(number))

    def log(self, service: str, **line: Any) -> None:
        path = self.directory / service / "log.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as log:
            log.write(json.dumps(line) + "\n")

    def drop(self, service: str, text: str) -> None:
        path = self.directory / service / "log.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if text not in line))
        assert len(path.read_text()) < sum(map(len, lines))

    def make_directory(self, place: str, name: str, whose: str | None) -> Path:
        directory = self.directory / "data" / place / "2026-11" / name
        directory.mkdir(parents=True)
        if whose is not None:
            (directory / ".experiment.json").write_text(json.dumps({"experiment": whose}))
        return directory

    def judge(self, actions: Sequence[Accepted] = ACTIONS) -> Verdict:
        return judge(actions, read_world(self.directory, self.closed), PLACES)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ended(kind: Kind, state: RunState | None, message: str = "") -> list[Accepted]:
    """All actions, one of which ended so."""
    return [replace(one, state=state, message=message) if one.kind is kind else one for one in ACTIONS]


def test_what_was_done_once_is_neither_lost_nor_doubled(world: World) -> None:
    assert world.judge() == Verdict(lost=[], doubled=[], unsure=0)


def test_to_ask_the_schedule_again_is_no_double(world: World) -> None:
    world.log("schedule", on_beam=2, status=200)

    assert world.judge().good


@pytest.mark.parametrize(
    ("service", "text", "what"),
    [
        ("mail", "guest.1.b@", f"BeginBeamtime of {key(1)}"),
        ("mail", "guest.2.a@", f"EmailUsers of {key(2)}"),
        ("errands", "note", f"PostNote of {key(2)}"),
        ("errands", "copy", f"CopyData of {key(2)}"),
        ("schedule", '"on_beam": 2', f"UpdateUserInfo of {key(2)}"),
    ],
)
def test_a_missing_effect_is_lost_and_named(world: World, service: str, text: str, what: str) -> None:
    world.drop(service, text)

    (sentence,) = world.judge().lost

    assert sentence.startswith(what)
    assert "ended Done without its" in sentence


@pytest.mark.parametrize(("number", "what"), [(1, f"Handover of {key(3)}"), (2, f"EndBeamtime of {key(2)}")])
def test_an_experiment_that_was_ended_and_is_open_is_lost(world: World, number: int, what: str) -> None:
    world.closed.remove(key(number))

    (sentence,) = world.judge().lost

    assert sentence.startswith(what)
    assert sentence.endswith(f"without its end {key(number)}")


def test_an_experiment_that_nobody_ended_and_is_closed_is_named(world: World) -> None:
    world.closed.append(key(3))

    assert world.judge().doubled == [f"end {key(3)}: nobody asked for it"]


def test_a_missing_directory_or_marker_is_lost(world: World) -> None:
    marker = world.directory / "data" / "ana1" / "2026-11" / "guest2" / ".experiment.json"
    marker.unlink()

    verdict = world.judge()

    assert [sentence.endswith(f"without its directory ana1 {key(2)}") for sentence in verdict.lost] == [True]
    assert [sentence.endswith("guest2: nobody asked for it") for sentence in verdict.doubled] == [True]


@pytest.mark.parametrize(
    ("service", "line", "sentence"),
    [
        ("mail", {"to": ADDRESSES[0]}, "letter guest.1.a@example.edu: 2 times"),
        ("errands", {"what": "note", "text": f"set up: {key(2)}"}, f"note set up: {key(2)}: 2 times"),
        ("errands", {"what": "copy", "id": f"{key(2)}-ffffffff"}, f"copy {key(2)}: 2 times"),
        ("errands", {"what": "note", "text": "hello"}, "note hello: nobody asked for it"),
        ("mail", {"to": "guest.4.a@example.edu"}, "letter guest.4.a@example.edu: nobody asked for it"),
    ],
)
def test_a_double_and_what_nobody_asked_for_are_named(
    world: World, service: str, line: dict[str, Any], sentence: str
) -> None:
    world.log(service, **line)

    verdict = world.judge()

    assert (verdict.lost, verdict.doubled) == ([], [sentence])


def test_a_second_directory_of_one_experiment_is_a_double(world: World) -> None:
    world.make_directory("det1", "guest2-again", key(2))

    assert world.judge().doubled == [f"directory det1 {key(2)}: 2 times"]


def test_a_letter_that_is_named_unsure_may_be_missing_and_another_may_not(world: World) -> None:
    world.drop("mail", "guest.2.a@")
    unsure = ended(
        Kind.LETTERS, RunState.UNSURE, "the letter to guest.2.a@example.edu was begun, and its end is unknown"
    )

    verdict = world.judge(unsure)
    world.drop("mail", "guest.2.b@")
    worse = world.judge(unsure)

    assert (verdict.lost, verdict.unsure) == ([], 1)
    assert len(worse.lost) == 1
    assert "without its letter guest.2.b@example.org" in worse.lost[0]


def test_an_unsure_letter_that_came_twice_is_a_double(world: World) -> None:
    world.log("mail", to=ADDRESSES[2])

    assert world.judge(ended(Kind.LETTERS, RunState.UNSURE, f"the letter to {ADDRESSES[2]} ...")).doubled


def test_an_unsure_note_may_be_missing(world: World) -> None:
    world.drop("errands", "note")

    assert world.judge(ended(Kind.NOTE, RunState.UNSURE, f"note of {key(2)}: the program ended")).good


def test_unsure_without_a_name_is_lost(world: World) -> None:
    (sentence,) = world.judge(ended(Kind.LETTERS, RunState.UNSURE, "something")).lost

    assert sentence.endswith("ended Unsure and names nothing: something")


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.ABORTED, RunState.RUNNING, None])
def test_an_action_that_ended_otherwise_or_never_is_lost_with_its_message(
    world: World, state: RunState | None
) -> None:
    (sentence,) = world.judge(ended(Kind.COPY, state, "the disk is full")).lost

    assert sentence == f"CopyData of {key(2)} (run run-CopyData) ended {state or 'never'}: the disk is full"


def test_a_press_that_was_accepted_and_is_not_written_down_is_lost(world: World) -> None:
    verdict = world.judge([*ACTIONS[:-1], replace(ACTIONS[-1], run_id="", state=None)])

    assert len(verdict.lost) == 1


# The report


GOOD = Report(
    actions=ACTIONS,
    verdict=Verdict(),
    kills=[Kill(hit=number % 2 == 0, restart_s=1.0) for number in range(20)],
    lost_answers=0,
    left=[],
    trouble="",
    state_bytes=1_000_000,
    seconds=60.0,
)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"verdict": Verdict(lost=["a letter"])}, "lost: a letter"),
        ({"verdict": Verdict(doubled=["a letter"])}, "doubled: a letter"),
        ({"trouble": "the IOC did not come back"}, "the IOC did not come back"),
        ({"left": ["email-users 1 Running"]}, "still open: email-users 1 Running"),
        ({"kills": GOOD.kills[:19]}, "only 19 kills, wanted 20"),
        ({"kills": [*GOOD.kills, Kill(hit=False, restart_s=1)]}, "only 10 of 21 kills hit a running action"),
        ({"state_bytes": 20_000_000}, "the state directory has 20.0 MB, more than "),
    ],
)
def test_each_fault_is_said_and_makes_the_run_bad(change: dict[str, Any], fault: str) -> None:
    bad = replace(GOOD, **change)

    assert GOOD.faults == []
    assert [text.startswith(fault) for text in bad.faults] == [True]
    assert not bad.good


def test_the_last_line_says_it_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = replace(GOOD, verdict=Verdict(lost=["a"], doubled=["b", "c"], unsure=4))

    report.show(7, tmp_path)

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "chaos: actions=8 kills=20 lost=1 doubled=2 unsure=4"
    assert any(line.split()[:3] == ["BeginBeamtime", "1", "1"] for line in lines)
    assert "seed 7" in "\n".join(lines)
