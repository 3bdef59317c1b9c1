"""Schedules of the site file on a whole IOC: pressed, planned, switched off and on, over a kill -9."""

from collections.abc import Callable, Generator

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState
from box_house import PREFIX, Box, Ioc, until
from c_client import CClient

NEVER = 1440


@pytest.fixture
def serve(box: Box) -> Generator[Callable[..., Ioc], None, None]:
    """An IOC with these schedules."""
    started: list[Ioc] = []

    def serve(*schedules: dict[str, object]) -> Ioc:
        box.edit_site(lambda site: site.update({"schedules": list(schedules)}))
        started.append(Ioc.on(box).start())
        return started[-1]

    yield serve
    for ioc in started:
        if ioc.program.child.poll() is None:
            assert ioc.stop() == 0


def often(action: str = "update-user-info", **more: object) -> dict[str, object]:
    """Every three seconds."""
    return {"every_min": 0.05, "action": action, **more}


def due_times_go_by(client: Client, button: str, many: int = 2) -> None:
    """Wait until a schedule that goes on was due so many times."""
    seen = {client.read(f"{button}ScheduleText")}

    def read() -> bool:
        seen.add(client.read(f"{button}ScheduleText"))
        return len(seen) > many

    until(read, f"{many} due times of {button}")


def ended_run(client: Client, *but: str) -> str:
    """The id of a run of UpdateUserInfo that has ended Done, and is none of these."""

    def found() -> str:
        view = client.view("UpdateUserInfo")
        return view.run_id if view.state is RunState.DONE and view.run_id not in but else ""

    return until(found, "a run of UpdateUserInfo")


def test_a_schedule_presses_its_button_every_time_and_says_so(serve: Callable[..., Ioc]) -> None:
    with serve(often()).client() as client:
        first = ended_run(client)

        second = ended_run(client, first)

        assert second > first
        assert client.read("UpdateUserInfoStartedBy") == "the schedule of the site file"
        assert client.read("UserLastName")
        assert client.read("UpdateUserInfoSchedule") == "On"
        assert client.read("UpdateUserInfoScheduleText").startswith("every 3 s; next at ")
        assert client.read("EmailUsersSchedule") == "Off"
        assert client.read("EmailUsersScheduleText") == "no schedule in the site file"


def test_a_preview_schedule_writes_the_plan_and_starts_no_run(serve: Callable[..., Ioc]) -> None:
    with serve(often(preview=True)).client() as client:
        until(lambda: client.read("UpdateUserInfoPlan"), "the plan")
        due_times_go_by(client, "UpdateUserInfo")

        assert client.read("UpdateUserInfoScheduleText").startswith("every 3 s, preview; next at ")
        assert client.read("UpdateUserInfoRunId") == ""
        assert client.read("UpdateUserInfoState") == "Idle"
        assert client.read("UserLastName") == ""


def test_switched_off_it_stays_off_over_a_kill_and_a_restart_until_it_is_switched_on(
    serve: Callable[..., Ioc],
) -> None:
    # The preview goes on and shows that time goes by.
    ioc = serve(often(), often("email-users", preview=True))
    with ioc.client() as client:
        ended_run(client)

        client.write("UpdateUserInfoSchedule", "Off")
        due_times_go_by(client, "EmailUsers", 1)  # a press that was under way is taken by then
        last = ended_run(client)
        due_times_go_by(client, "EmailUsers")

        assert client.read("UpdateUserInfoRunId") == last
        assert client.read("UpdateUserInfoScheduleText") == "off; every 3 s"

    ioc.kill()
    ioc.start()
    with ioc.client() as client:
        shown = client.read("UpdateUserInfoSchedule"), client.read("UpdateUserInfoScheduleText")
        due_times_go_by(client, "EmailUsers")

        assert shown == ("Off", "off; every 3 s")
        assert client.read("UpdateUserInfoRunId") == last

        with CClient(ioc.ca) as caput:  # as a screen does
            caput("caput", f"{PREFIX}UpdateUserInfoSchedule", "On")
        ended_run(client, last)

        assert client.read("UpdateUserInfoScheduleText").startswith("every 3 s; next at ")


def test_on_is_refused_where_the_site_file_has_no_schedule_and_says_what_to_write(
    serve: Callable[..., Ioc],
) -> None:
    with serve().client() as client:
        with pytest.raises(
            BeamtimeError, match=r"add \{every_min: 10, action: email-users\} under schedules:"
        ):
            client.write("EmailUsersSchedule", "On")

        assert client.read("EmailUsersSchedule") == "Off"


def test_the_engine_says_how_it_stands(serve: Callable[..., Ioc], box: Box) -> None:
    with serve({"every_min": NEVER, "action": "update-user-info"}).client() as client:
        stood = [
            client.read(name) for name in ("EngineState", "EngineMessage", "RunsFailedToday", "UnsureCount")
        ]
        box.set(schedule__status=500)
        client.press("UpdateUserInfo")

        until(lambda: client.read("RunsFailedToday") == 1, "a run that failed today")

        assert stood == ["Running", "", 0, 0]
        assert client.view("UpdateUserInfo").state is RunState.FAILED


def test_a_schedule_of_an_action_without_a_button_is_named_with_its_line(box: Box) -> None:
    box.edit_site(lambda site: site.update({"schedules": [often("make-coffee")]}))
    program = Ioc.on(box).program

    program.launch()
    program.read_line(lambda text: False)

    said = program.log.read_text()
    assert program.child.returncode == 2
    assert (
        "schedules[0].action: no button presses the action 'make-coffee'; these are: begin-beamtime" in said
    )
