"""Directories on real disks, made by a user who is not root."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.errors import ConflictError, NotVerifiedError
from beamtime_ioc.model import Person, Place, SafeName
from disk_house import (
    EXPERIMENT,
    NAME,
    OTHER,
    OUR_GROUP,
    bare,
    hosts_for,
    made,
    marker_of,
    mode_of,
    place_at,
    umask,
)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    top.mkdir()
    return top


def test_a_directory_stands_after_it_was_made(top: Path) -> None:
    place = place_at(top)
    hosts = hosts_for(place)

    before = hosts.find_directory(place, EXPERIMENT)
    hosts.make_directory(place, EXPERIMENT)
    found = hosts.find_directory(place, EXPERIMENT)

    assert before is None
    owner = Path(top).owner()
    path = str(top / "2026-11" / NAME)
    assert found == {"place": "det1", "path": path, "mode": "2770", "owner": owner, "group": OUR_GROUP}
    assert hosts.check_directory(place, EXPERIMENT) == found


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_every_new_level_has_the_mode_of_its_place_under_any_umask(top: Path, mask: int) -> None:
    with umask(mask):
        directory = made(top)

    assert (mode_of(directory), mode_of(directory.parent)) == ("2770", "2770")
    assert mode_of(directory / ".experiment.json") == "644"


def test_the_top_keeps_its_mode(top: Path) -> None:
    top.chmod(0o755)

    made(top)

    assert mode_of(top) == "755"


def test_the_marker_says_whose_it_is_and_who_made_it_when(top: Path) -> None:
    directory = made(top)

    marker = marker_of(directory)

    assert (marker["experiment"], marker["name"], marker["proposal"]) == ("aps:300011", NAME, "9100001")
    assert marker["created_by"].startswith(f"{directory.owner()}@")
    assert datetime.fromisoformat(marker["at"]).utcoffset() is not None
    assert os.listdir(directory) == [".experiment.json"]


def test_made_twice_is_made_once(top: Path) -> None:
    directory = made(top)
    before = marker_of(directory), directory.stat().st_mtime_ns

    made(top)

    assert (marker_of(directory), directory.stat().st_mtime_ns) == before


def test_what_the_users_wrote_stays_as_it_is(top: Path) -> None:
    directory = made(top)
    (directory / "scan_001.h5").write_bytes(b"data")
    directory.chmod(0o700)

    made(top)

    assert (directory / "scan_001.h5").read_bytes() == b"data"
    assert mode_of(directory) == "2770"


def test_a_level_that_stands_keeps_the_mode_somebody_gave_it(top: Path) -> None:
    month = bare(top / "2026-11", 0o711)
    (month / "another").mkdir()

    made(top)

    assert mode_of(month) == "711"


@pytest.mark.parametrize("name", ["with blank", "O'Brien", "Übung", "-rf", "new\nline", "$(reboot);`id`"])
def test_a_place_may_lie_anywhere(tmp_path: Path, name: str) -> None:
    top = bare(tmp_path / name)

    directory = made(top)

    assert directory.is_dir()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("text", ["; touch x", "../..", "O'Brien", "王", "a/b", "$(touch x)", "n" * 300, ""])
def test_no_text_of_the_schedule_makes_anything_but_one_directory(top: Path, text: str) -> None:
    pi = Person(first_name=text, last_name=text, is_pi=True)
    hostile = replace(
        EXPERIMENT, name=SafeName.of(text), proposal=text, title=text, cycle=text, people=(pi,), esaf=text
    )

    directory = made(top, hostile, path="{cycle}/{pi}-{proposal}/{name}")

    assert [len(files) for _, _, files in os.walk(top)] == [0, 0, 0, 1]
    assert directory.is_relative_to(top)
    assert os.listdir(top.parent) == ["top"]


def test_two_experiments_of_one_month_stand_beside_each_other(top: Path) -> None:
    first, second = made(top), made(top, replace(OTHER, name="2026-11-Second-9100002"))

    assert first.parent == second.parent
    assert marker_of(first)["experiment"] != marker_of(second)["experiment"]


def test_the_group_of_the_place_is_given(top: Path) -> None:
    directory = made(top, group=OUR_GROUP)

    assert directory.group() == OUR_GROUP
    assert mode_of(directory) == "2770"


def stopped_after_the_month(top: Path) -> None:
    bare(top / "2026-11")


def stopped_after_the_directory(top: Path) -> None:
    bare(top / "2026-11", 0o2770)
    bare(top / "2026-11" / NAME)


def stopped_before_the_marker(top: Path) -> None:
    bare(top / "2026-11", 0o2770)
    bare(top / "2026-11" / NAME, 0o2770)


def stopped_inside_the_marker(top: Path) -> None:
    stopped_before_the_marker(top)
    (top / "2026-11" / NAME / ".experiment.json.0f0f0f.part").write_text('{"exper')


def stopped_between_marker_and_clean_up(top: Path) -> None:
    directory = made(top)
    os.link(directory / ".experiment.json", directory / ".experiment.json.0f0f0f.part")
    directory.chmod(0o700)


@pytest.mark.parametrize(
    "crash",
    [
        stopped_after_the_month,
        stopped_after_the_directory,
        stopped_before_the_marker,
        stopped_inside_the_marker,
        stopped_between_marker_and_clean_up,
    ],
)
def test_what_a_crash_left_is_finished(top: Path, crash: Callable[[Path], None]) -> None:
    crash(top)
    place = place_at(top)
    hosts = hosts_for(place)

    looked = hosts.find_directory(place, EXPERIMENT)
    hosts.make_directory(place, EXPERIMENT)

    assert looked is None
    hosts.check_directory(place, EXPERIMENT)
    assert mode_of(top / "2026-11") == "2770"
    assert marker_of(top / "2026-11" / NAME)["experiment"] == "aps:300011"


def killed_before_call(number: int, place: Place) -> bool:
    """Make the directory in a process that dies before its n-th word to the disk; whether it died."""
    child = os.fork()
    if child == 0:
        left = iter(range(number))

        def dying(call: Callable[..., Any]) -> Callable[..., Any]:
            def watched(*args: Any, **kwargs: Any) -> Any:
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)

            return watched

        for name in ("mkdir", "open", "fchmod", "fsync", "link", "unlink"):
            setattr(os, name, dying(getattr(os, name)))
        try:
            hosts_for(place).make_directory(place, EXPERIMENT)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def test_killed_at_any_word_to_the_disk_it_is_finished_by_the_next_press(tmp_path: Path) -> None:
    for number in range(100):
        place = place_at(bare(tmp_path / str(number)))
        died = killed_before_call(number, place)
        hosts = hosts_for(place)

        if hosts.find_directory(place, EXPERIMENT) is None:
            hosts.make_directory(place, EXPERIMENT)

        assert hosts.check_directory(place, EXPERIMENT), number
        directory = Path(place.path_for(EXPERIMENT))
        assert (mode_of(directory), mode_of(directory.parent)) == ("2770", "2770"), number
        if not died:
            break

    assert number > 10


def test_looking_changes_nothing(top: Path) -> None:
    stopped_after_the_directory(top)
    place = place_at(top)

    hosts_for(place).find_directory(place, EXPERIMENT)

    assert mode_of(top / "2026-11" / NAME) == "700"
    assert os.listdir(top / "2026-11" / NAME) == []


def test_what_does_not_stand_is_not_verified(top: Path) -> None:
    place = place_at(top)

    with pytest.raises(NotVerifiedError, match="wanted a directory, found nothing"):
        hosts_for(place).check_directory(place, EXPERIMENT)


def test_a_directory_without_its_marker_is_not_verified(top: Path) -> None:
    (made(top) / ".experiment.json").unlink()
    place = place_at(top)

    with pytest.raises(NotVerifiedError, match=r"wanted \.experiment\.json of aps:300011, found none"):
        hosts_for(place).check_directory(place, EXPERIMENT)


def test_another_mode_is_not_verified(top: Path) -> None:
    made(top).chmod(0o755)
    place = place_at(top)

    with pytest.raises(NotVerifiedError, match="wanted mode 2770, found mode 755"):
        hosts_for(place).check_directory(place, EXPERIMENT)


def test_the_directory_of_another_is_not_verified(top: Path) -> None:
    made(top, OTHER)
    place = place_at(top)

    with pytest.raises(ConflictError, match="belongs to experiment aps:300012"):
        hosts_for(place).check_directory(place, EXPERIMENT)
