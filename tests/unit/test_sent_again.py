"""Of a run that was open at the start, the same press is refused once, and only the same one."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from beamtime_ioc.errors import BusyError
from beamtime_ioc.model import Json, RunState, Who
from beamtime_ioc.progress import RunView
from beamtime_ioc.runrecord import RunRecord
from beamtime_ioc.sent_again import AGAIN_S, SentAgain

ZONE = ZoneInfo("America/Chicago")
STAFF = Who(via="pva", user="staff", peer="10.0.0.5", claim="console", roles=("beamline",))
LATER = Who(via="pva", user="staff", peer="10.0.0.5", claim="console")
"""The same person; roles may be known or not."""


class House:
    """A run that was at work when the IOC was killed, and has ended since."""

    def __init__(self, who: Who = STAFF) -> None:
        self.now_s = 100.0
        self.sent_again = SentAgain(lambda: self.now_s)
        record = RunRecord(
            id="open",
            action="post-note",
            state=RunState.RUNNING,
            who=who,
            experiment=None,
            message="",
            advice="",
            pressed=datetime(2026, 11, 2, 15, 4, 5, tzinfo=UTC),
            ended=None,
            arguments={"text": "beam is back"},
        )
        self.sent_again.remember(record)

    def press(
        self, who: Who = LATER, text: Json = "beam is back", *, action: str = "post-note", last: str = "open"
    ) -> None:
        view = RunView(run_id=last, action=action, state=RunState.DONE, message="posted")
        self.sent_again.require_new(action, who, {"text": text}, view, ZONE)


def test_the_same_press_is_refused_with_what_became_of_the_first_and_the_next_one_is_taken() -> None:
    house = House()

    with pytest.raises(BusyError) as refused:
        house.press()

    assert str(refused.value) == (
        "staff from console (10.0.0.5) by pva pressed it at 09:04:05, and that run went on when the IOC was "
        "back (Done: posted); a client may send a press again by itself; "
        "press once more if you want another run"
    )
    house.press()


@pytest.mark.parametrize(
    "other",
    [
        Who(via="pva", user="guest", peer="10.0.0.5"),
        Who(via="pva", user="staff", peer="10.0.0.6"),
        Who(via="rpc", user="staff", peer="10.0.0.5"),
        Who(via="ca", user="staff", peer="10.0.0.5"),
        Who(via="schedule"),
    ],
)
def test_the_press_of_another_one_is_taken_and_the_first_one_s_is_still_known(other: Who) -> None:
    house = House()

    house.press(other)

    with pytest.raises(BusyError):
        house.press()


def test_other_arguments_and_other_buttons_are_other_presses() -> None:
    house = House()

    house.press(text="beam is gone")
    house.press(action="copy-data")

    with pytest.raises(BusyError):
        house.press()


def test_after_another_run_of_the_action_it_is_a_new_press() -> None:
    house = House()

    house.press(last="newer")
    house.press()


def test_no_client_waits_for_longer() -> None:
    house = House()
    house.now_s += AGAIN_S

    house.press()


@pytest.mark.parametrize("via", ["ca", "schedule", "local"])
def test_who_sends_nothing_again_is_never_refused(via: str) -> None:
    who = Who(via=via, user="staff", peer="10.0.0.5")

    House(who).press(who)
