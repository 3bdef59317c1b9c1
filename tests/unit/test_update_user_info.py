"""The button that makes who is on beam the current experiment."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest

from aps_house import SITE, USER, make_client
from beamtime_handlers.update_user_info import update_user_info
from beamtime_ioc.errors import ServiceUnavailableError, StepFailedError
from beamtime_ioc.model import Beamtime, Cycle, Experiment, Person, Place, from_json, to_json
from beamtime_ioc.ports import Health
from beamtime_ioc.testing import FakeRun, MemoryIdentity
from beamtime_sim.schedule import Schedule
from beamtime_sim.schedule_server import ScheduleServer

NOW = datetime.now(UTC).replace(microsecond=0)
PI = Person(first_name="Zoë", last_name="Müller-Łukasik", email="zoe@example.edu", badge="900101", is_pi=True)
GUEST = Person(first_name="Ren", last_name="O'Brien", email="ren@example.org", badge="900102")
VISIT = Beamtime(
    source="aps",
    id="300011",
    start=NOW - timedelta(days=1),
    end=NOW + timedelta(days=2),
    proposal="9100001",
    title="Crack growth in invented alloys",
    people=(PI, GUEST),
)


class MemorySchedule:
    """Has one beamtime, or fails."""

    early_min: float = 0

    def __init__(self, *beamtimes: Beamtime, error: Exception | None = None) -> None:
        self.beamtimes, self.error = beamtimes, error

    def check(self) -> Health:
        return Health(ok=True, sentence="in memory")

    def cycles(self) -> Sequence[Cycle] | None:
        return None

    def list_between(self, start: datetime, end: datetime) -> Sequence[Beamtime]:
        if self.error:
            raise self.error
        return self.beamtimes

    def by_id(self, key: str) -> Beamtime | None:
        return None


def make_run(*beamtimes: Beamtime, identity: MemoryIdentity | None = None, early_min: float = 0) -> FakeRun:
    schedule = MemorySchedule(*beamtimes)
    schedule.early_min = early_min
    return FakeRun(site=SITE, services={"schedule": schedule, "identity": identity or MemoryIdentity()})


def test_who_is_on_beam_becomes_the_current_experiment() -> None:
    identity = MemoryIdentity()
    run = make_run(VISIT, identity=identity)

    result = update_user_info(run, None)

    current = identity.current()
    assert current == SITE.experiment(VISIT)
    assert result == to_json(current)
    assert from_json(Experiment, result) == current


def test_the_checklist_says_what_was_read_and_made() -> None:
    run = make_run(VISIT)

    update_user_info(run, None)

    assert [(line.name, line.state) for line in run.steps] == [
        ("who is on beam", "read"),
        ("current experiment aps:300011", "made"),
        ("time of the look-up", "made"),
    ]


def test_the_time_of_the_look_up_is_noted() -> None:
    identity = MemoryIdentity()

    update_user_info(make_run(VISIT, identity=identity), None)

    noted = identity.looked_up()
    assert noted is not None
    assert NOW <= noted <= datetime.now(UTC)


def test_the_last_text_names_the_experiment_its_people_and_its_end() -> None:
    run = make_run(VISIT)

    update_user_info(run, None)

    end = VISIT.end.astimezone(SITE.zone)
    name = f"{VISIT.start.astimezone(SITE.zone):%Y-%m}-Muller_Lukasik-9100001"
    assert run.text == f"aps:300011, {name}, 2 people, until {end:%a %H:%M}"
    assert run.fraction == 1


def test_an_end_more_than_six_days_ahead_has_its_date() -> None:
    long_visit = replace(VISIT, end=NOW + timedelta(days=9), people=(PI,))
    run = make_run(long_visit)

    update_user_info(run, None)

    end = long_visit.end.astimezone(SITE.zone)
    assert run.text.endswith(f"1 person, until {end:%a %Y-%m-%d %H:%M}")


def test_an_early_beamtime_is_marked_as_early() -> None:
    visit = replace(VISIT, start=NOW + timedelta(minutes=30))
    run = make_run(visit, early_min=60)

    update_user_info(run, None)

    assert f"early: it begins {visit.start.astimezone(SITE.zone):%a %H:%M}" in run.text


def test_an_inferred_pi_and_missing_addresses_are_named() -> None:
    run = make_run(replace(VISIT, people=(replace(PI, pi_inferred=True, email=""), GUEST)))

    update_user_info(run, None)

    assert "no PI is marked: Zoë Müller-Łukasik is taken" in run.text
    assert "no e-mail address: Zoë Müller-Łukasik" in run.text


def test_a_beamtime_without_people_is_adopted() -> None:
    identity = MemoryIdentity()
    run = make_run(replace(VISIT, people=()), identity=identity)

    update_user_info(run, None)

    current = identity.current()
    assert current is not None
    assert current.name.endswith("-unknown-9100001")
    assert "0 people" in run.text


def test_what_was_typed_by_hand_is_replaced_and_named() -> None:
    edited = SITE.experiment(VISIT).edit("pi.email", "zoe.new@example.edu").edit("title", "Cracks")
    identity = MemoryIdentity(edited)
    run = make_run(VISIT, identity=identity)

    update_user_info(run, edited)

    assert identity.current() == SITE.experiment(VISIT)
    assert run.text.endswith("replaces what was typed by hand: pi.email and title")


def test_what_stands_already_is_not_made_again() -> None:
    identity = MemoryIdentity(SITE.experiment(VISIT))
    run = make_run(VISIT, identity=identity)

    update_user_info(run, None)

    assert run.steps[1].state == "stands already"


def test_an_experiment_that_begins_in_the_repeated_hour_stands_when_read_back() -> None:
    start = datetime.fromisoformat("2026-11-01T01:30:00-06:00").astimezone(UTC)
    visit = replace(VISIT, start=start, end=start + timedelta(days=40_000))

    class Stored(MemoryIdentity):
        """Gives times back with a fixed offset, as a database does."""

        def current(self) -> Experiment | None:
            return from_json(Experiment, to_json(self.experiment)) if self.experiment else None

    identity = Stored(SITE.experiment(visit))
    run = make_run(replace(visit, start=start), identity=identity, early_min=1e9)

    update_user_info(run, None)

    assert run.steps[1].state == "stands already"


def test_an_experiment_that_does_not_hold_fails_the_run() -> None:
    class Forgetful(MemoryIdentity):
        def adopt(self, experiment: Experiment) -> None:
            """Forget it."""

    run = make_run(VISIT, identity=Forgetful())

    with pytest.raises(StepFailedError, match="wanted aps:300011") as caught:
        update_user_info(run, None)

    assert caught.value.kind == "NotVerifiedError"


def test_a_failed_look_up_leaves_the_experiment_and_its_time_alone() -> None:
    before = SITE.experiment(replace(VISIT, id="300010"))
    identity = MemoryIdentity(before)
    identity.note_look_up(NOW - timedelta(hours=3))
    error = ServiceUnavailableError("the schedule at schedule.example.org", "did not answer within 10 s")
    run = FakeRun(site=SITE, services={"schedule": MemorySchedule(error=error), "identity": identity})

    with pytest.raises(StepFailedError, match="did not answer within 10 s") as caught:
        update_user_info(run, before)

    assert caught.value.kind == "ServiceUnavailableError"
    assert identity.current() is before
    assert identity.looked_up() == NOW - timedelta(hours=3)


def test_nobody_on_beam_leaves_the_experiment_alone() -> None:
    before = SITE.experiment(replace(VISIT, id="300010"))
    identity = MemoryIdentity(before)

    with pytest.raises(StepFailedError, match="nobody is on beam") as caught:
        update_user_info(make_run(identity=identity), before)

    assert caught.value.kind == "NobodyOnBeamError"
    assert identity.current() is before


def test_a_preview_looks_and_changes_nothing() -> None:
    identity = MemoryIdentity()
    run = make_run(VISIT, identity=identity).planning()

    result = update_user_info(run, None)

    assert from_json(Experiment, result).key == "aps:300011"
    assert identity.current() is None
    assert identity.looked_up() is None
    assert any("current experiment aps:300011" in line for line in run.lines)


@pytest.fixture
def server() -> Iterator[ScheduleServer]:
    with ScheduleServer(
        Schedule.around(datetime.now(SITE.zone).date()), credentials=(USER, "hush")
    ) as server:
        yield server


@pytest.fixture
def box_run(server: ScheduleServer, tmp_path: Path) -> FakeRun:
    path = tmp_path / "credentials.txt"
    path.write_text(f"{USER}|hush\n")
    path.chmod(0o600)
    schedule = make_client(tmp_path, server.url, credentials=path.name, read_timeout_s=5, overall_timeout_s=9)
    return FakeRun(site=SITE, services={"schedule": schedule, "identity": MemoryIdentity()})


def test_somebody_of_the_box_becomes_the_current_experiment(box_run: FakeRun) -> None:
    experiment = from_json(Experiment, update_user_info(box_run, None))

    assert experiment.key.startswith("aps:")
    assert experiment.start <= datetime.now(UTC) < experiment.end
    assert experiment.pi.last_name


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("two-active", "SeveralOnBeamError"),
        ("no-proposal", "NobodyOnBeamError"),
        ("nothing-active", "NobodyOnBeamError"),
        ("wrong-shape", "BadResponseError"),
        ("html", "BadResponseError"),
    ],
)
def test_a_schedule_that_does_not_name_one_beamtime_fails_the_step(
    server: ScheduleServer, box_run: FakeRun, body: str, kind: str
) -> None:
    server.knobs.set("schedule.body", body)

    with pytest.raises(StepFailedError) as caught:
        update_user_info(box_run, None)

    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("body", "text"), [("no-pi", "no PI is marked"), ("no-email", "no e-mail address: ")]
)
def test_a_beamtime_with_something_missing_is_adopted_and_it_is_said(
    server: ScheduleServer, box_run: FakeRun, body: str, text: str
) -> None:
    server.knobs.set("schedule.body", body)

    update_user_info(box_run, None)

    assert text in box_run.text


@pytest.mark.parametrize(
    "name", ["O'Brien", "van der Berg", "王", "Łoś", "; touch x", "../..", "x" * 300, ""]
)
def test_any_name_of_a_pi_gives_a_safe_name(server: ScheduleServer, box_run: FakeRun, name: str) -> None:
    server.knobs.set("schedule.pi_last_name", name)

    experiment = from_json(Experiment, update_user_info(box_run, None))

    assert experiment.pi.last_name == name
    assert all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in experiment.name)
    assert len(experiment.name) < 80


def test_an_experiment_keeps_the_name_and_the_paths_it_began_with() -> None:
    identity = MemoryIdentity()
    first = from_json(Experiment, update_user_info(make_run(VISIT, identity=identity), None))
    corrected = replace(
        VISIT, start=VISIT.start - timedelta(days=40), people=(replace(PI, last_name="Muster"), GUEST)
    )
    run = make_run(corrected, identity=identity)

    second = from_json(Experiment, update_user_info(run, None))

    place = Place(name="det1", top=PurePosixPath("/data"), path="{start:%Y-%m}/{pi}/{name}")
    assert second.pi.last_name == "Muster"
    assert second.name == first.name
    assert place.path_for(second) == place.path_for(first)
    assert "keeps the name it began with, though the schedule now makes it" in run.text
    assert "Muster" in run.text
