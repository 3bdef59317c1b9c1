"""Directories that belong to somebody else."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import pytest

from beamtime_ioc.errors import ConflictError
from beamtime_ioc.model import Experiment
from disk_house import EXPERIMENT, NAME, OTHER, bare, hosts_for, made, marker_of, place_at, refusal


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    top.mkdir()
    return top


def test_the_directory_of_another_experiment_is_never_shared(top: Path) -> None:
    made(top, OTHER)

    error = refusal(ConflictError, place_at(top))

    assert f"det1: {top}/2026-11/{NAME} belongs to experiment aps:300012" in error.sentence
    assert "not to aps:300011" in error.sentence
    assert "press again" in error.advice


@pytest.mark.parametrize(
    ("path", "apart"),
    [
        (
            "{start:%Y-%m}/{name}",
            "let its .experiment.json name this one if it is its; for those to come, put {beamtime} into "
            "`experiment.name` of the site file",
        ),
        ("{start:%Y-%m}/{pi}", "give each its own directory there, with {name} in `path` of the site file"),
    ],
)
def test_the_advice_keeps_two_experiments_apart_by_what_their_path_is_made_of(
    top: Path, path: str, apart: str
) -> None:
    hosts_for().make_directory(replace(place_at(top), path=path), replace(OTHER, people=EXPERIMENT.people))

    error = refusal(ConflictError, replace(place_at(top), path=path))

    assert error.advice == f"choose the experiment it belongs to, or {apart}; then press again"


@pytest.mark.parametrize("more", ["1", "\n", " ", "1" * 5000])
def test_keys_of_experiments_are_compared_to_their_ends(top: Path, more: str) -> None:
    ours = replace(EXPERIMENT, key=f"file:{'0' * 195}")
    made(top, replace(ours, key=ours.key + more))

    error = refusal(ConflictError, place_at(top), ours)

    assert "belongs to experiment file:000" in error.sentence
    assert len(error.sentence) < 1000


def test_a_directory_is_its_own_however_long_the_key(top: Path) -> None:
    long = replace(EXPERIMENT, key=f"file:{'0' * 300}1")
    made(top, long)

    assert hosts_for().find_directory(place_at(top), long)


def test_a_directory_with_files_and_no_marker_belongs_to_somebody(top: Path) -> None:
    directory = bare(top / "2026-11" / NAME)
    for number in range(5):
        (directory / f"scan_{number}.h5").touch()

    error = refusal(ConflictError, place_at(top))

    assert "holds files (scan_0.h5, scan_1.h5, scan_2.h5, ...) but no .experiment.json" in error.sentence


def a_link(marker: Path) -> None:
    elsewhere = marker.parents[3] / "elsewhere.json"
    elsewhere.write_text('{"experiment": "aps:300011"}')
    marker.symlink_to(elsewhere)


def a_directory(marker: Path) -> None:
    marker.mkdir()


MARKERS: dict[str, bytes | Callable[[Path], None]] = {
    "half": b'{"experiment": "aps:3',
    "empty": b"",
    "no mapping": b"[1, 2]",
    "no key": b'{"name": "2026"}',
    "key of another kind": b'{"experiment": 300011}',
    "not UTF-8": b'{"experiment": "\xff"}',
    "huge": b'{"experiment": "aps:300011"}' + b" " * 70_000,
    "a link": a_link,
    "a pipe": os.mkfifo,
    "a directory": a_directory,
}


@pytest.mark.parametrize("content", MARKERS.values(), ids=MARKERS.keys())
def test_a_marker_that_cannot_be_read_is_a_conflict(
    top: Path, content: bytes | Callable[[Path], None]
) -> None:
    marker = bare(top / "2026-11" / NAME) / ".experiment.json"
    if isinstance(content, bytes):
        marker.write_bytes(content)
    else:
        content(marker)

    error = refusal(ConflictError, place_at(top))

    assert ".experiment.json does not say whose directory this is: it " in error.sentence
    assert "mend the file" in error.advice


def test_a_marker_with_more_in_it_is_read(top: Path) -> None:
    directory = made(top)
    (directory / ".experiment.json").write_text('{"experiment": "aps:300011", "note": ["by hand"]}')
    place = place_at(top)

    found = hosts_for(place).find_directory(place, EXPERIMENT)

    assert found is not None


def test_of_two_experiments_that_meet_in_one_directory_one_gets_it(top: Path) -> None:
    place = place_at(top)
    hosts = hosts_for(place)
    meeting = Barrier(2)

    def try_to_make(experiment: Experiment) -> str:
        meeting.wait(10)
        try:
            hosts.make_directory(place, experiment)
            return str(cast(dict[str, Any], hosts.check_directory(place, experiment))["path"])
        except ConflictError:
            return "conflict"

    for number in range(30):
        pair = [replace(one, name=f"2026-11-Same-{number}") for one in (EXPERIMENT, OTHER)]
        with ThreadPoolExecutor(2) as pool:
            results = sorted(pool.map(try_to_make, pair))

        assert results == [f"{top}/2026-11/2026-11-Same-{number}", "conflict"]


@pytest.mark.parametrize("winner", [EXPERIMENT, OTHER])
def test_a_marker_that_comes_in_between_is_not_replaced(
    top: Path, monkeypatch: pytest.MonkeyPatch, winner: Experiment
) -> None:
    place, link = place_at(top), os.link
    directory = Path(place.path_for(EXPERIMENT))

    def come_in_between(*args: Any, **kwargs: Any) -> None:
        (directory / ".experiment.json").write_text(json.dumps({"experiment": winner.key}))
        link(*args, **kwargs)

    monkeypatch.setattr(os, "link", come_in_between)
    if winner is EXPERIMENT:
        hosts_for(place).make_directory(place, EXPERIMENT)
    else:
        with pytest.raises(ConflictError, match="belongs to experiment aps:300012"):
            hosts_for(place).make_directory(place, EXPERIMENT)

    assert marker_of(directory) == {"experiment": winner.key}
    assert os.listdir(directory) == [".experiment.json"]


def test_two_that_make_the_same_directory_at_once_both_have_it(top: Path) -> None:
    place = place_at(top)
    hosts = hosts_for(place)
    meeting = Barrier(4)

    def make(experiment: Experiment) -> object:
        meeting.wait(10)
        hosts.make_directory(place, experiment)
        return hosts.check_directory(place, experiment)

    for number in range(20):
        same = replace(EXPERIMENT, name=f"2026-11-Same-{number}")
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(make, [same] * 4))

        assert len({str(one) for one in results}) == 1
