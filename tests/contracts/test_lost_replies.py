"""The work is done and the reply is lost, for every call of every shipped handler: nothing comes twice."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

import wrong_handlers as handlers
from beamtime_ioc.model import RunState
from beamtime_ioc.testing.box_world import BoxWorld
from beamtime_ioc.testing.crash_matrix import lost_replies
from beamtime_ioc.testing.matrix import Matrix


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Generator[BoxWorld, None, None]:
    with BoxWorld.started(tmp_path_factory.mktemp("box")) as world:
        yield world


class CarefulPagers(handlers.PagerWorld):
    """A world without HTTP and mail."""

    def http_ports(self) -> Mapping[int, str]:
        return {}

    def mailed(self, made: Sequence[str]) -> Mapping[str, str]:
        return {}

    def lose_next(self, service: str) -> None:
        raise AssertionError

    def lose_mail(self, recipient: str) -> AbstractContextManager[None]:
        return nullcontext()


def lost(matrix: Matrix, begin: str) -> list[str]:
    return [ending.edge for ending in matrix.endings if ending.edge.startswith(begin)]


@pytest.mark.parametrize(
    ("action", "calls", "letters", "effects"),
    [
        ("update-user-info", 2, 0, 2),
        ("create-directories", 0, 0, 2),
        ("email-users", 0, 2, 2),
        ("begin-beamtime", 2, 4, 8),
    ],
)
def test_whichever_reply_is_lost_nothing_is_made_twice_and_what_is_not_known_is_said(
    box: BoxWorld, tmp_path: Path, action: str, calls: int, letters: int, effects: int
) -> None:
    matrix = lost_replies(action, world=box, directory=tmp_path)

    assert matrix.failures == []
    assert len(lost(matrix, "reply of make: ")) == effects
    assert len(lost(matrix, "reply of call ")) == calls
    assert len(lost(matrix, "reply of the relay: ")) == letters
    for ending in matrix.endings:
        assert all(ending.count(thing) == 1 for thing in matrix.things)
        of_the_relay = ending.edge.startswith("reply of the relay: ")
        assert ending.state is (RunState.UNSURE if of_the_relay else RunState.DONE), ending.edge
        recipient = ending.edge.rpartition(" ")[2]
        assert ending.unsure == ((f"letter to {recipient}",) if of_the_relay else ())


def test_a_lost_answer_of_the_schedule_is_asked_for_again(box: BoxWorld, tmp_path: Path) -> None:
    matrix = lost_replies("update-user-info", world=box, directory=tmp_path)

    asked = [ending.lived.ended for ending in matrix.endings if ending.edge.startswith("reply of call ")]
    assert [(len(ended.calls), ended.presses) for ended in asked if ended] == [(3, 1), (3, 1)]


def test_a_lost_reply_of_what_cannot_be_looked_up_is_unsure(tmp_path: Path) -> None:
    matrix = lost_replies(handlers.page_once, world=CarefulPagers(), directory=tmp_path)

    assert matrix.failures == []
    assert [(ending.edge, ending.state) for ending in matrix.endings] == [
        ("reply of make: call the guard", RunState.UNSURE)
    ]


def test_a_look_that_lies_is_found_out_by_a_lost_reply(tmp_path: Path) -> None:
    matrix = lost_replies(handlers.page_blindly, world=CarefulPagers(), directory=tmp_path)

    assert [str(failure) for failure in matrix.failures] == [
        "reply of make: guard is called: call of guard was made 2 times"
    ]
