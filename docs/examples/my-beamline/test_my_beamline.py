"""WriteReadme, tried without an engine, without EPICS and without a network."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
from my_beamline import write_readme

from beamtime_ioc.errors import StepFailedError
from beamtime_ioc.model import Experiment, Person, Place
from beamtime_ioc.testing import FakeRun
from beamtime_ioc.testing.run import TEST_SITE

EXPERIMENT = Experiment(
    key="aps:300011",
    name="2026-11-Muller-9100001",
    start=datetime(2026, 11, 20, 8, tzinfo=UTC),
    end=datetime(2026, 11, 24, 8, tzinfo=UTC),
    proposal="9100001",
    title="Crack growth in invented alloys",
    people=(Person(first_name="Zoë", last_name="Müller", is_pi=True),),
)
TEXT = "Crack growth in invented alloys\nZoë Müller, proposal 9100001\n"


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    place = Place(name="det1", top=PurePosixPath(tmp_path))
    return FakeRun(site=replace(TEST_SITE, places=(place,)))


@pytest.fixture
def readme(run: FakeRun) -> Path:
    directory = Path(run.site.places[0].path_for(EXPERIMENT))
    directory.mkdir(parents=True)
    return directory / "README.txt"


def test_it_writes_whose_data_it_is(run: FakeRun, readme: Path) -> None:
    write_readme(run, EXPERIMENT)

    assert readme.read_text(encoding="utf-8") == TEXT
    assert [step.state for step in run.steps] == ["made"]


def test_a_second_press_finds_it(run: FakeRun, readme: Path) -> None:
    readme.write_text(TEXT, encoding="utf-8")

    write_readme(run, EXPERIMENT)

    assert [step.state for step in run.steps] == ["stands already"]


def test_what_a_crash_left_half_written_is_finished(run: FakeRun, readme: Path) -> None:
    readme.write_text(TEXT[:10], encoding="utf-8")

    write_readme(run, EXPERIMENT)

    assert readme.read_text(encoding="utf-8") == TEXT


def test_what_a_person_wrote_is_left_alone(run: FakeRun, readme: Path) -> None:
    readme.write_text("mind the cat\n", encoding="utf-8")

    with pytest.raises(StepFailedError, match="says something else"):
        write_readme(run, EXPERIMENT)

    assert readme.read_text(encoding="utf-8") == "mind the cat\n"


def test_a_preview_writes_nothing(run: FakeRun, readme: Path) -> None:
    plan = run.planning()

    write_readme(plan, EXPERIMENT)

    assert plan.lines == ["would make: README on det1"]
    assert not readme.exists()
