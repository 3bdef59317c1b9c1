"""The schedule goes on while the records stand still: the screen says so before anybody asks."""

from beamtime_ioc.model import RunState
from box_house import Box, Ioc, until


def test_the_records_of_last_week_are_stale_until_somebody_presses(box: Box) -> None:
    box.set(schedule__on_beam=1)
    ioc = Ioc.on(box).start()
    with ioc.client() as client:
        client.press("UpdateUserInfo", wait=True)
        until(lambda: client.read("IdentityStale") == "No", "the records are up to date")
        last_week = client.read("ExperimentKey").partition(":")[2]

    assert ioc.stop() == 0
    box.set(schedule__on_beam=2)
    ioc.start()
    with ioc.client() as client:
        until(lambda: client.read("IdentityStale") == "Yes", "the records are stale")
        says = client.read("ScheduleSays")
        client.press("UpdateUserInfo", wait=True)
        until(lambda: client.read("IdentityStale") == "No", "the records are up to date again")

        assert f"these records still say {last_week} (" in says
        assert client.read("ExperimentKey").partition(":")[2] in says
        assert client.view("UpdateUserInfo").state is RunState.DONE
    assert ioc.stop() == 0
