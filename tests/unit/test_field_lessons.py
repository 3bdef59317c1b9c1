"""What went wrong at other beamlines, and our answer to it; docs/reference/traps.md has the list."""

import asyncio
import socket
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from aps_house import SITE as APS
from aps_house import make_client, schedule_house
from audit_house import temporary_auditor
from beamtime_handlers.create_directories import create_directories
from beamtime_handlers.update_user_info import update_user_info
from beamtime_ioc.access import NobodyWrites
from beamtime_ioc.board import Board
from beamtime_ioc.chosen import by_choice, candidates, listed
from beamtime_ioc.engine.inline import InlineEngine
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.errors import (
    DeferredError,
    ExperimentClosedError,
    NoExperimentError,
    PlaceError,
    ServiceUnavailableError,
    StepFailedError,
)
from beamtime_ioc.model import Beamtime, Experiment, Json, Person, Place, Site, Who
from beamtime_ioc.records import load_records, shipped
from beamtime_ioc.registry import load_actions
from beamtime_ioc.runner import Runner
from beamtime_ioc.schedule_watch import ScheduleWatch
from beamtime_ioc.testing import FakeRun, MemoryIdentity
from beamtime_sim.mail_server import MailServer
from beamtime_sim.people import load_facility
from beamtime_sim.schedule import Schedule
from beamtime_sim.timetable import timetable
from beamtime_sim.wire import replies
from choice_house import SITE, MemorySchedule, visit
from disk_house import EXPERIMENT, hosts_for
from mail_house import ZOE, letter_from, live_mail, mail_for
from ssh_house import SshHouse

OPERATOR = Who(via="ca", user="operator", peer="127.0.0.1")


def led_by(last_name: str, number: int = 1, site: Site = SITE) -> Experiment:
    pi = Person(last_name=last_name, email=ZOE.email, is_pi=True)
    return site.experiment(replace(visit(number, 0), people=(pi,)))


# -- 6: PV text in a shell, folders for everybody ----------------------------------------------------------


@pytest.mark.parametrize("name", ["van der Berg", "O'Brien", "x; touch PWNED; #"])
def test_a_name_with_an_apostrophe_reaches_no_shell(ssh_servers: SshHouse, tmp_path: Path, name: str) -> None:
    place = ssh_servers.place(ssh_servers.det1, tmp_path)
    with ssh_servers.client(place) as hosts:
        run = FakeRun(site=replace(SITE, places=(place,)), services={"hosts": hosts})
        create_directories(run, led_by(name))

    (month,) = tmp_path.iterdir()
    (directory,) = month.iterdir()
    assert directory == Path(place.path_for(led_by(name)))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (month, directory)} == {0o2770}
    assert not list(ssh_servers.det1.home.glob("*PWNED*"))


# -- 7: two tools, two names -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["safe", "legacy"])
def test_one_experiment_has_one_name_in_records_directories_and_letters(tmp_path: Path, rule: str) -> None:
    site = replace(SITE, names=rule)
    places = tuple(Place(name=n, top=PurePosixPath(tmp_path, n), names=rule) for n in ("det1", "ana1"))
    for place in places:
        Path(place.top).mkdir()
    experiment = led_by("van der Berg", site=site)
    run = FakeRun(site=replace(site, places=places), services={"hosts": hosts_for(*places)})

    create_directories(run, experiment)
    (letter,) = mail_for(tmp_path).compose(experiment, places, "run-1").letters

    assert {path.parent.name for path in tmp_path.rglob(".experiment.json")} == {experiment.name}
    for place in places:
        assert f"{place.top}/{experiment.year_month}/{experiment.name}" in letter.text
    assert " " not in experiment.name


# -- 8: names that are lost --------------------------------------------------------------------------------


def test_no_name_is_lost_and_the_number_is_the_identity() -> None:
    names = ["李", "Παπαδόπουλος", "Łoś", "Øster", "Straße", "O'Brien", "", "‮", "..", "a" * 300]
    experiments = [led_by(name) for name in names]

    parts = [one.name.removeprefix(f"{one.year_month}-").removesuffix("-91001") for one in experiments]
    assert parts[:6] == ["Li", "Papadopoylos", "Los", "Oster", "Strasse", "OBrien"]
    assert all(part.strip("_") for part in parts)
    assert len(set(parts[:6])) == 6
    assert all(one.name.isascii() and len(one.name) < 100 for one in experiments)
    assert {one.key for one in experiments} == {"aps:30001"}  # whatever the name


# -- 12: what is shown and what is begun disagree ----------------------------------------------------------

DURING = datetime.now(UTC).astimezone(APS.zone)


def around_today(change: Callable[[list[Json]], object] = list) -> Schedule:
    """The facility's schedule with the activities of each run changed."""
    facility = load_facility()
    found = replies(facility, timetable(facility, DURING.date()))
    for path, body in found.items():
        if path.startswith("schedule/"):
            for part in body:
                change(part["activities"])
    return Schedule(found)


def test_whatever_is_shown_can_be_chosen_since_both_ask_one_question(tmp_path: Path) -> None:
    with schedule_house(tmp_path) as house:
        house.server.schedule = around_today()
        schedule, identity = house.client(), MemoryIdentity()
        shown = candidates(listed(schedule, DURING), identity, APS, DURING)
        asked_for_the_list = {request.path for request in house.server.requests}
        house.server.forget_requests()
        chosen = [by_choice(schedule, identity, APS, one.key) for one in shown]
        asked_for_one = {request.path for request in house.server.requests}

    assert len(shown) >= 2
    assert chosen == [one.experiment for one in shown]
    assert asked_for_one <= asked_for_the_list  # and not one way for each
    assert {path.split("/")[1] for path in asked_for_the_list | asked_for_one} <= {
        "getAllRuns",
        "findByRunNameAndScheduleName",
    }


def test_an_empty_schedule_is_nobody_and_no_crash(tmp_path: Path) -> None:
    with schedule_house(tmp_path) as house:
        house.server.schedule = around_today(list.clear)
        schedule, identity = house.client(), MemoryIdentity()
        run = FakeRun(site=APS, services={"schedule": schedule, "identity": identity})
        with pytest.raises(StepFailedError) as error:
            update_user_info(run, None)
        shown = candidates(listed(schedule, DURING), identity, APS, DURING)

    assert error.value.kind in ("NobodyOnBeamError", "NoCycleError")
    assert error.value.advice
    assert shown == []
    assert identity.current() is None


def test_the_menu_keeps_its_order_and_a_choice_is_by_number(tmp_path: Path) -> None:
    with schedule_house(tmp_path) as house:
        house.server.schedule = around_today()
        schedule, identity = house.client(), MemoryIdentity()
        first = candidates(listed(schedule, DURING), identity, APS, DURING)
        house.server.schedule = around_today(list.reverse)
        again = candidates(listed(schedule, DURING), identity, APS, DURING)
        chosen = by_choice(schedule, identity, APS, first[-1].number)

    assert [one.text for one in again] == [one.text for one in first]
    assert chosen.key == first[-1].key


# -- 15: calls that hang -----------------------------------------------------------------------------------


@contextmanager
def mute() -> Generator[int]:
    """A port where connections are taken and nobody ever speaks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def ask_the_schedule(directory: Path, port: int, ssh: SshHouse) -> object:
    return make_client(directory, f"http://127.0.0.1:{port}/sched-api/").cycles()


def ask_the_host(directory: Path, port: int, ssh: SshHouse) -> object:
    place = replace(ssh.place(ssh.det1, directory), port=port)
    with ssh.client(place, connect_timeout_s=1, timeout_s=1) as hosts:
        return hosts.find_directory(place, EXPERIMENT)


def ask_the_relay(directory: Path, port: int, ssh: SshHouse) -> object:
    mail = live_mail(directory, port, timeout_s=1, deadline_s=2)
    return mail.send(letter_from(mail))


@pytest.mark.parametrize("ask", [ask_the_schedule, ask_the_host, ask_the_relay])
def test_no_remote_call_waits_for_ever(
    tmp_path: Path, ssh_servers: SshHouse, ask: Callable[[Path, int, SshHouse], object]
) -> None:
    began = time.monotonic()
    with (
        mute() as port,
        pytest.raises((ServiceUnavailableError, DeferredError, PlaceError)) as error,
    ):
        ask(tmp_path, port, ssh_servers)

    assert time.monotonic() - began < 8
    assert "did not answer within" in error.value.sentence or "cannot be reached" in error.value.sentence
    assert error.value.advice


# -- 17: open or closed ------------------------------------------------------------------------------------


def test_what_goes_on_without_the_schedule_is_declared_and_stands_on_a_record() -> None:
    asking = {(one.name, step) for one in load_actions().values() for step in one.schedule_steps}
    opened = ("begin-beamtime", "who is on beam")

    async def shown(site: Site) -> str:
        board = Board(load_records(shipped(), prefix=site.prefix), NobodyWrites())
        ScheduleWatch(board, site, None, MemoryIdentity(), actions=load_actions())
        return str(board.cell("WithoutSchedule").value)

    nothing = asyncio.run(shown(SITE))
    one = asyncio.run(shown(replace(SITE, open_steps=frozenset([opened]))))

    assert nothing == (  # what is not declared is closed
        "open without the schedule: none; closed: begin-beamtime (the chosen experiment, who is on beam), "
        "handover (who comes), select-experiment (the chosen experiment), update-user-info (who is on beam)"
    )
    assert one.startswith(
        "open without the schedule: begin-beamtime (who is on beam); closed: begin-beamtime ("
    )
    assert {"update-user-info", "begin-beamtime", "handover", "select-experiment"} == {a for a, _ in asking}


# -- 18: the last user's folder ----------------------------------------------------------------------------


def test_without_an_experiment_or_after_its_end_nothing_goes_into_the_last_users_folder(
    tmp_path: Path,
) -> None:
    top = tmp_path / "det1"
    top.mkdir()
    places = (Place(name="det1", top=PurePosixPath(top)),)
    site = replace(SITE, places=places)
    here: Beamtime = visit(2, -0.5)
    actions = load_actions()
    working = [one.name for one in actions.values() if one.needs_experiment and not one.on_closed]

    async def test(server: MailServer) -> None:
        identity = MemoryIdentity()
        services = {
            "schedule": MemorySchedule(here),
            "hosts": hosts_for(*places),
            "mail": live_mail(tmp_path, server.port),
            "identity": identity,
        }
        board = Board(load_records(shipped(), prefix=site.prefix), AllWrite())
        engine = InlineEngine(Workshop(actions=actions, services=services, site=site))
        async with temporary_auditor() as auditor:
            runner = Runner(board, engine.workshop, identity, auditor)
            engine.start(runner)
            runner.engine = engine

            async def press(name: str) -> None:
                end = await board.cell(runner.panel.rows[name].button.suffix).put(1, OPERATOR)
                assert end is not None
                await end

            for name in working:
                with pytest.raises(NoExperimentError, match="press UpdateUserInfo first"):
                    await press(name)
            assert list(top.iterdir()) == []

            await press("begin-beamtime")
            await press("end-beamtime")
            before = sorted(top.rglob("*")), len(server.mails)
            for name in working:
                with pytest.raises(ExperimentClosedError, match="is closed: its beamtime was ended"):
                    await press(name)
            assert (sorted(top.rglob("*")), len(server.mails)) == before
            assert before[1] == 1
            engine.stop(10)

    assert {"create-directories", "email-users"} <= set(working)
    with MailServer(tmp_path / "mails") as server:
        asyncio.run(asyncio.wait_for(test(server), 30))


class AllWrite:
    def require(self, group: str, who: Who) -> None: ...
