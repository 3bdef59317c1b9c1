"""kill -9 in the middle, a restart, and a look at what the world got: nothing lost, nothing twice."""

import random
import re
import threading
from pathlib import Path

import pytest

from beamtime_ioc.model import RunState
from beamtime_ioc.progress import RunView
from box_house import Box, Ioc, until

GOOD = (RunState.DONE, RunState.UNSURE)


def begin(ioc: Ioc) -> str:
    with ioc.client() as client:
        client.press("BeginBeamtime")
        return str(client.read("BeginBeamtimeRunId"))


def ended(ioc: Ioc, run_id: str) -> RunView:
    with ioc.client() as client:

        def end() -> RunView | None:
            view = client.view("BeginBeamtime")
            return view if view.run_id == run_id and view.state.ended else None

        return until(end, f"the end of run {run_id}")


@pytest.mark.timeout(400)
def test_killed_anywhere_and_started_again_it_ends_done_or_unsure_and_nobody_gets_two_mails(
    tmp_path: Path,
) -> None:
    chance = random.Random(20261120)
    ends: list[RunState] = []
    for turn in range(5):
        box = Box.start(tmp_path / f"box{turn}")
        box.set(schedule__delay_s=0.15, mail__delay_s=0.25)
        ioc = Ioc.on(box).start()
        try:
            run_id = begin(ioc)
            threading.Event().wait(chance.uniform(0.0, 1.8))  # anywhere in the run, on purpose
            ioc.kill()
            ioc.start()
            view = ended(ioc, run_id)
            recipients = box.recipients()

            assert view.state in GOOD, view
            assert len(recipients) == len(set(recipients)), f"two mails: {recipients}"
            assert len(box.directories()) == 2
            if view.state is RunState.DONE:
                assert len(recipients) >= 3
            else:
                unsure = [step for step in view.steps if step.state == "unsure"]
                assert len(unsure) == 1
                assert "@" in unsure[0].name
                assert set(re.findall(r"[\w.]+@[\w.]+\w", view.message)) == {unsure[0].name.split()[-1]}
            ends.append(view.state)
        finally:
            ioc.stop()
            box.program.stop()
    assert RunState.DONE in ends


def test_killed_inside_the_talk_with_the_mail_server_it_is_unsure_about_that_one_recipient(
    box: Box, ioc: Ioc
) -> None:
    box.set(mail__delay_s=20)  # the letter is kept, its answer comes late
    run_id = begin(ioc)
    until(lambda: box.mails(), "the first letter")

    ioc.kill()
    first = box.recipients()
    box.reset()
    ioc.start()
    view = ended(ioc, run_id)

    unsure = [step.name for step in view.steps if step.state == "unsure"]
    assert view.state is RunState.UNSURE
    assert unsure == [f"letter to {first[0]}"]
    assert box.recipients().count(first[0]) == 1
    assert len(box.recipients()) == len(set(box.recipients())) >= 3


def test_while_it_is_down_nothing_is_lost_and_after_the_start_the_button_is_busy_again(
    box: Box, ioc: Ioc
) -> None:
    box.set(schedule__delay_s=8)
    run_id = begin(ioc)
    with ioc.client() as client:
        until(lambda: client.view("BeginBeamtime").state is RunState.RUNNING)

    ioc.kill()
    ioc.start()

    with ioc.client() as client:
        assert client.read("BeginBeamtime") == "Begin"
        assert client.read("BeginBeamtimeRunId") == run_id
    box.reset()
    assert ended(ioc, run_id).state is RunState.DONE


def test_sigterm_with_clients_connected_ends_soon_and_the_run_goes_on_at_the_next_start(
    box: Box, ioc: Ioc
) -> None:
    box.set(mail__delay_s=0.5)
    run_id = begin(ioc)
    with ioc.client() as client:
        until(lambda: client.view("BeginBeamtime").percent > 0)

        assert ioc.stop() == 0

    box.reset()
    ioc.start()
    view = ended(ioc, run_id)
    assert view.state is RunState.DONE
    assert len(box.recipients()) == len(set(box.recipients())) >= 3
