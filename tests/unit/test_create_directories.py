"""CreateDirectories on real disks: one directory on each place, or a sentence for each without."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from beamtime_handlers.create_directories import create_directories
from beamtime_ioc.errors import BeamtimeError, EffectsFailedError, StepFailedError
from beamtime_ioc.model import Place
from beamtime_ioc.testing import FakeRun
from disk_house import EXPERIMENT, NAME, OTHER, hosts_for, place_at


@pytest.fixture
def places(tmp_path: Path) -> tuple[Place, ...]:
    for name in ("det1", "ana1"):
        (tmp_path / name).mkdir()
    return tuple(place_at(tmp_path / name, name=name) for name in ("det1", "ana1"))


def run_on(*places: Place, **settings: float) -> FakeRun:
    hosts = hosts_for(*places, **settings)
    return FakeRun(site=hosts.site, services={"hosts": hosts})


def lines(run: FakeRun) -> list[tuple[str, str]]:
    return [(step.name.partition(":")[0], step.state) for step in run.steps]


def test_each_place_gets_the_directory_and_the_last_line_says_where(places: tuple[Place, ...]) -> None:
    run = run_on(*places)

    found = create_directories(run, EXPERIMENT)

    paths = [place.path_for(EXPERIMENT) for place in places]
    assert [directory["path"] for directory in found] == [str(path) for path in paths]
    assert all(Path(path).is_dir() for path in paths)
    assert lines(run) == [("directory det1", "made"), ("directory ana1", "made")]
    assert run.text == f"2 directories: det1:{paths[0]}, ana1:{paths[1]}"
    assert run.fraction == 1


def test_pressed_twice_it_finds_what_stands(places: tuple[Place, ...]) -> None:
    first = create_directories(run_on(*places), EXPERIMENT)
    run = run_on(*places)

    second = create_directories(run, EXPERIMENT)

    assert second == first
    assert lines(run) == [("directory det1", "stands already"), ("directory ana1", "stands already")]


def test_one_place_is_said_in_the_singular(places: tuple[Place, ...]) -> None:
    run = run_on(places[0])

    create_directories(run, EXPERIMENT)

    assert run.text == f"1 directory: det1:{places[0].path_for(EXPERIMENT)}"


def test_one_place_that_is_not_there_does_not_keep_the_others_from_theirs(places: tuple[Place, ...]) -> None:
    det1, ana1 = places
    absent = replace(ana1, marker=".mounted")
    run = run_on(det1, absent)

    with pytest.raises(EffectsFailedError, match=r"ana1: .*/\.mounted is missing") as error:
        create_directories(run, EXPERIMENT)
    (Path(ana1.top) / ".mounted").touch()
    again = run_on(det1, absent)
    create_directories(again, EXPERIMENT)

    assert "det1" not in error.value.sentence
    assert "(1 of 2 are done)" in error.value.sentence
    assert error.value.advice == "mount it, then press again"
    assert lines(run) == [("directory det1", "made"), ("directory ana1", "failed")]
    assert lines(again) == [("directory det1", "stands already"), ("directory ana1", "made")]


def test_the_directory_of_another_experiment_fails_the_run(places: tuple[Place, ...]) -> None:
    create_directories(run_on(places[0]), OTHER)

    with pytest.raises(StepFailedError, match="belongs to experiment aps:300012") as error:
        create_directories(run_on(places[0]), EXPERIMENT)

    assert error.value.kind == "ConflictError"


def test_a_site_without_places_says_what_to_add() -> None:
    with pytest.raises(BeamtimeError, match="the site file names no places") as error:
        create_directories(run_on(), EXPERIMENT)

    assert "places:" in error.value.advice


def test_a_disk_that_fills_is_said_in_the_last_line(places: tuple[Place, ...]) -> None:
    run = run_on(*places, warn_free_gb=1e9)

    create_directories(run, EXPERIMENT)

    assert "; det1: only " in run.text
    assert "; ana1: only " in run.text


def test_a_preview_says_what_would_be_made_and_makes_nothing(places: tuple[Place, ...]) -> None:
    create_directories(run_on(places[0]), EXPERIMENT)
    plan = run_on(*places, replace(places[0], name="mnt", marker=".mounted")).planning()

    with pytest.raises(EffectsFailedError):  # as the run itself would fail
        create_directories(plan, EXPERIMENT)

    det1, ana1 = places
    assert plan.lines[0] == f"stands already: directory det1:{det1.top}/2026-11/{NAME}"
    assert plan.lines[1] == f"would make: directory ana1:{ana1.top}/2026-11/{NAME}"
    assert plan.lines[2].startswith(f"would fail: directory mnt:{det1.top}/2026-11/{NAME}: mnt: ")
    assert os.listdir(ana1.top) == []
