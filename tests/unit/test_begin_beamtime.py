"""BeginBeamtime: the three as one run, on real disks and with a real relay."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import pytest

from beamtime_handlers.begin_beamtime import begin_beamtime
from beamtime_handlers.clients.smtp_mail import SmtpMail
from beamtime_handlers.create_directories import create_directories
from beamtime_handlers.email_users import email_users
from beamtime_ioc.action import Action, Run, action
from beamtime_ioc.engine.ending import perform
from beamtime_ioc.engine.engine import Outcome
from beamtime_ioc.engine.plan import plan
from beamtime_ioc.errors import NobodyOnBeamError
from beamtime_ioc.model import Experiment, Json, Place, RunState, Site, to_json
from beamtime_ioc.testing import FakeRun, MemoryOutbox
from beamtime_sim.mail_server import MailServer
from disk_house import hosts_for
from mail_house import EXPERIMENT, REN, SITE, ZOE, live_mail, mail_for

NAME = EXPERIMENT.name


@action("update-user-info", resource="identity", exclusive=True, needs_experiment=False)
def schedule_says(run: Run, experiment: Experiment | None, *, only_open: bool = False) -> Json:
    found = run.step("who is on beam", lambda: to_json(EXPERIMENT))
    run.progress(1, "aps:300011 is on beam")
    return found


@action("update-user-info", resource="identity", exclusive=True, needs_experiment=False)
def schedule_fails(run: Run, experiment: Experiment | None, *, only_open: bool = False) -> Json:
    raise NobodyOnBeamError("nobody is on beam", advice="press again at 08:00")


@dataclass
class House:
    """A beamline with two places and a mail relay; each press is a run of its own."""

    directory: Path
    server: MailServer
    outbox: MemoryOutbox = field(default_factory=MemoryOutbox)
    mail: SmtpMail | None = None
    update: Action = schedule_says

    def __post_init__(self) -> None:
        for name in ("det1", "ana1"):
            (self.directory / name).mkdir()
        places = tuple(Place(name=n, top=PurePosixPath(self.directory / n)) for n in ("det1", "ana1"))
        self.site: Site = replace(SITE, places=places)
        self.mail = live_mail(self.directory, self.server.port, self.outbox)

    def run(self) -> FakeRun:
        hosts = hosts_for(*self.site.places)
        run = FakeRun(
            site=self.site,
            services={"hosts": hosts, "mail": self.mail},
            actions=[self.update, create_directories, email_users, begin_beamtime],
        )
        run.order = replace(run.order, action="begin-beamtime")
        return run

    def press(self) -> tuple[Outcome, FakeRun]:
        run = self.run()
        return perform(run), run

    def marked(self) -> list[str]:
        return sorted(path.parts[-4] for path in self.directory.glob("*/*/*/.experiment.json"))


@pytest.fixture
def house(tmp_path: Path) -> Generator[House]:
    (tmp_path / "beamline").mkdir()
    with MailServer(tmp_path / "mails") as server:
        yield House(tmp_path / "beamline", server)


def lines(run: FakeRun) -> list[tuple[str, str]]:
    return [(step.name.replace(f"/2026-11/{NAME}", "").rsplit("/", 1)[-1], step.state) for step in run.steps]


def test_one_press_begins_a_beamtime(house: House) -> None:
    outcome, run = house.press()

    assert outcome.state is RunState.DONE
    assert outcome.message == f"{NAME} has begun: 2 directories, 2 letters accepted"
    assert house.marked() == ["ana1", "det1"]
    assert [mail.to for mail in house.server.mails] == [ZOE.email, REN.email]
    assert lines(run) == [
        ("who is on beam", "read"),
        ("det1", "made"),
        ("ana1", "made"),
        ("letters", "read"),
        (f"letter to {ZOE.email}", "made"),
        (f"letter to {REN.email}", "made"),
    ]


def test_the_letter_names_the_directories_that_were_made(house: House) -> None:
    house.press()

    letter = house.server.mails[0].path.read_text()
    assert str(house.directory / "det1" / "2026-11")[:40] in letter.replace("=\n", "")


def test_what_lay_in_a_directory_that_was_taken_is_said(house: House) -> None:
    det1, ana1 = house.site.places
    house.site = replace(house.site, places=(replace(det1, existing="reuse"), ana1))
    directory = Path(det1.path_for(EXPERIMENT))
    directory.mkdir(parents=True)
    (directory / "scan_1.h5").touch()

    outcome, _ = house.press()

    assert outcome.state is RunState.DONE
    assert f"2 directories (det1: {directory} stood before, with scan_1.h5)" in outcome.message


def test_pressed_twice_nothing_is_done_twice(house: House) -> None:
    house.press()

    outcome, run = house.press()

    assert outcome.state is RunState.DONE
    assert {state for _, state in lines(run)} == {"read", "stands already"}
    assert len(house.server.mails) == 2


def test_the_fraction_only_grows_and_ends_at_one(house: House) -> None:
    _, run = house.press()

    fractions = [post.fraction for post in run.history]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len(set(fractions)) >= 4


def test_while_a_place_is_missing_the_rest_is_done_and_nobody_is_mailed(house: House) -> None:
    (house.directory / "ana1").rmdir()

    outcome, run = house.press()

    assert outcome.state is RunState.FAILED
    assert f"ana1: the top directory {house.directory}/ana1 does not exist" in outcome.message
    assert "(1 of 2 are done)" in outcome.message
    assert "det1:" not in outcome.message.replace("directory det1", "")
    assert outcome.advice.endswith(
        "then press BeginBeamtime again: only this is missing, and the letters that wait for it"
    )
    assert house.marked() == ["det1"]
    assert house.server.mails == []
    assert house.outbox.rows == {}
    assert lines(run)[-1] == ("letters", "held")
    assert run.steps[-1].reason == "wait until every directory stands"


def test_pressed_again_only_what_was_missing_is_made(house: House) -> None:
    (house.directory / "ana1").rmdir()
    house.press()
    (house.directory / "ana1").mkdir()

    outcome, run = house.press()

    assert outcome.state is RunState.DONE
    assert lines(run)[1:3] == [("det1", "stands already"), ("ana1", "made")]
    assert len(house.server.mails) == 2


def test_every_missing_place_is_named(house: House) -> None:
    for name in ("det1", "ana1"):
        (house.directory / name).rmdir()

    outcome, _ = house.press()

    assert "(none is done)" in outcome.message
    assert "det1: the top directory" in outcome.message
    assert "ana1: the top directory" in outcome.message


def test_a_schedule_that_fails_leaves_everything_as_it_is(house: House) -> None:
    house.update = schedule_fails

    outcome, run = house.press()

    assert (outcome.state, outcome.advice) == (RunState.FAILED, "press again at 08:00")
    assert house.marked() == []
    assert house.server.mails == []
    assert run.steps == []


def test_one_refused_letter_ends_in_problems(house: House) -> None:
    house.server.knobs.set("mail.refuse", [REN.email])

    outcome, _ = house.press()

    assert outcome.state is RunState.PROBLEMS
    assert REN.email in outcome.message
    assert house.marked() == ["ana1", "det1"]


def test_a_relay_that_is_down_fails_after_the_directories(house: House) -> None:
    house.server.knobs.set("mail.refuse", "*")

    failed, _ = house.press()
    house.server.knobs.reset()
    outcome, run = house.press()

    assert failed.state is RunState.FAILED
    assert house.marked() == ["ana1", "det1"]
    assert outcome.state is RunState.DONE
    assert [state for _, state in lines(run)] == [
        "read",
        "stands already",
        "stands already",
        "read",
        "made",
        "made",
    ]


def test_a_lost_answer_ends_unsure_and_names_the_one(house: House) -> None:
    house.server.knobs.set_all({"mail.drop": "after-data", "mail.only": [ZOE.email]})

    outcome, _ = house.press()

    assert outcome.state is RunState.UNSURE
    assert ZOE.email in outcome.message
    assert REN.email not in outcome.message


def test_mail_that_is_off_does_not_fail_it(house: House) -> None:
    house.mail = mail_for(house.directory, house.outbox, mode="off")

    outcome, run = house.press()

    assert outcome.state is RunState.DONE
    assert outcome.message == f"{NAME} has begun: 2 directories, mail is off"
    assert lines(run)[-1] == ("letters", "held")


def test_a_dry_run_says_so(house: House) -> None:
    house.mail = mail_for(house.directory, house.outbox)

    outcome, _ = house.press()

    assert outcome.message == f"{NAME} has begun: 2 directories, 2 letters written as files"
    assert house.server.mails == []


def test_a_site_without_places_still_begins(house: House) -> None:
    house.site = replace(house.site, places=())

    outcome, run = house.press()

    assert outcome.state is RunState.DONE
    assert outcome.message == f"{NAME} has begun: no directories, 2 letters accepted"
    assert ("directories", "held") in lines(run)


def test_a_preview_shows_the_whole_and_does_nothing(house: House) -> None:
    run = house.run()

    text = plan(run.order, run.workshop)

    assert text.splitlines() == [
        "update-user-info:",
        "read: who is on beam (closed: ends here while the schedule is away)",
        "create-directories:",
        f"would make: directory det1:{house.directory}/det1/2026-11/{NAME}",
        f"would make: directory ana1:{house.directory}/ana1/2026-11/{NAME}",
        "email-users:",
        "read: letters",
        "read: 2 letters: 2 new, 0 already mailed; 0 without address",
        f'would make: letter to {ZOE.email}: "Your beamtime at 99-BM-A,B: Foam under load"',
        f'would make: letter to {REN.email}: "Your beamtime at 99-BM-A,B: Foam under load"',
    ]
    assert house.marked() == []
    assert house.server.mails == []
