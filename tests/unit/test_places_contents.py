"""What lies in an experiment's directory and how much room there is, on a disk here and over ssh."""

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from beamtime_handlers.clients.hosts import counts
from beamtime_handlers.clients.hosts.directories import Directories
from beamtime_handlers.clients.hosts.tally import Tally
from beamtime_ioc.model import Experiment, Place
from beamtime_ioc.places import Content, shown_size
from disk_house import EXPERIMENT, OTHER, hosts_for, made, place_at
from engine_world import until
from places_house import Ground
from spare_ports import spare_port
from ssh_house import SshHouse, program, runs


def contents(ground: Ground, experiment: Experiment = EXPERIMENT) -> Sequence[Content]:
    return ground.hosts().contents(ground.place(), experiment)


def content(ground: Ground) -> Content:
    (found,) = contents(ground)
    return found


# -- what is counted ------------------------------------------------------------------------


def test_files_at_any_depth_are_counted_and_nothing_else_is(ground: Ground) -> None:
    directory = ground.made()
    (directory / "raw/2026-11-21").mkdir(parents=True)  # as reconstructions: directories only at the top
    for number, name in enumerate(("scan 1.h5", "-rf", "new\nline", "Übung", ".experiment.json")):
        (directory / "raw/2026-11-21" / name).write_bytes(b"x" * (number + 1) * 1000)
    outside = ground.top / "outside"
    outside.mkdir()
    (outside / "huge").write_bytes(b"x" * 1_000_000)
    (directory / "link").symlink_to(outside)
    (directory / "link.h5").symlink_to(outside / "huge")
    (directory / ".experiment.json.0f0f0f.part").touch()
    os.mkfifo(directory / "pipe")

    found = content(ground)

    assert found == Content(path=ground.place().path_for(EXPERIMENT), state="OK", files=5, size_bytes=15_000)
    assert str(found) == "5 files, 15 kB"


def test_a_directory_without_files_is_empty_though_it_has_a_marker_and_directories(ground: Ground) -> None:
    (ground.made() / "raw").mkdir()

    assert str(content(ground)) == "empty"


def test_what_is_missing_and_where_the_top_is_are_told_apart(ground: Ground) -> None:
    missing = content(ground)
    ground.top.rmdir()
    no_top = content(ground)

    assert (missing.state, str(missing)) == ("MISSING", "no directory")
    assert no_top.state == "NO_TOPDIR"
    assert str(no_top).startswith("not checked: the top directory ")
    assert str(no_top).endswith(f"{ground.top} does not exist")


def test_each_sibling_is_counted_by_itself(ground: Ground) -> None:
    place = ground.place(siblings=("_rec",))
    ground.made(siblings=("_rec",))
    rec = Path(place.path_for(EXPERIMENT)).with_name(place.path_for(EXPERIMENT).name + "_rec")
    (rec / "slice.tiff").touch()

    found = ground.hosts().contents(place, EXPERIMENT)

    assert [(one.path.name, str(one)) for one in found] == [
        (rec.name.removesuffix("_rec"), "empty"),
        (rec.name, "1 file, 0 B"),
    ]


def test_the_files_of_another_experiment_are_not_taken_for_its_own(ground: Ground) -> None:
    (ground.made(OTHER) / "scan.h5").touch()

    found = content(ground)

    assert (found.state, found.files) == ("CONFLICT", 0)
    assert "belongs to experiment aps:300012" in str(found)


def test_what_may_not_be_read_makes_it_a_least(ground: Ground) -> None:
    directory = ground.made()
    (directory / "scan.h5").write_bytes(b"x" * 10)
    (directory / "closed").mkdir(mode=0)

    found = content(ground)

    (directory / "closed").chmod(0o700)
    assert found.state == "UNKNOWN"
    assert str(found) == "at least 1 file, 10 B; not counted to the end: not all of it could be read"


def test_a_disk_that_is_not_mounted_is_not_an_empty_one(ground: Ground) -> None:
    (found,) = ground.hosts().contents(ground.place(marker=".mounted"), EXPERIMENT)

    assert found.state == "UNKNOWN"
    assert "is missing, so the disk is not mounted" in str(found)


# -- how long it may take -------------------------------------------------------------------


def test_a_count_that_takes_too_long_says_how_far_it_came_and_ends_over_there(
    ssh_servers: SshHouse, far_place: Place, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    many = "i=0; while [ $i -lt 250 ]; do echo 10; i=$((i + 1)); done"
    with (
        ssh_servers.client(count_timeout_s=1) as hosts,
        ssh_servers.det1.planted("find", f"echo $$ >'{pid}'; {many}; exec {program('sleep')} 1000"),
    ):
        hosts.make_directory(far_place, EXPERIMENT)
        (found,) = hosts.contents(far_place, EXPERIMENT)

        assert hosts.check_directory(far_place, EXPERIMENT)
    assert found.state == "UNKNOWN"
    assert str(found).startswith("at least 200 files, 2 kB; not counted to the end: host det1 did not answer")
    until(lambda: not runs(int(pid.read_text())), "the end of the count")


def test_a_count_here_stops_at_its_end_and_leaves_nothing_open(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    directory = made(tmp_path)
    for number in range(3):
        (directory / f"scan_{number}.h5").touch()
    hosts = hosts_for(place, count_timeout_s=1e-9)
    before = len(os.listdir("/proc/self/fd"))

    (found,) = hosts.contents(place, EXPERIMENT)

    assert str(found) == "at least 1 file, 0 B; not counted to the end: it was not done after 1e-09 s"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_disk_that_hangs_keeps_nobody_waiting_and_gets_no_second_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()

    def hang(tally: Tally, directory: int) -> None:
        tally.files = 7
        goes_on.wait(20)

    place, hosts = place_at(tmp_path), hosts_for(place_at(tmp_path), count_timeout_s=0.05)
    made(tmp_path)
    monkeypatch.setattr(counts, "SLACK_S", 0)
    monkeypatch.setattr(Tally, "count", hang)

    (first,) = hosts.contents(place, EXPERIMENT)
    (second,) = hosts.contents(place, EXPERIMENT)
    goes_on.set()

    assert str(first) == "at least 7 files, 0 B; not counted to the end: it was not done after 0.05 s"
    assert str(second) == "not checked: an earlier count there has not ended"


def test_a_host_that_is_down_is_not_checked_and_raises_nothing(
    ssh_servers: SshHouse, far_place: Place
) -> None:
    with ssh_servers.client() as hosts:
        (found,) = hosts.contents(replace(far_place, host="127.0.0.1", port=spare_port()), EXPERIMENT)

    assert found.state == "UNKNOWN"
    assert str(found).startswith("not checked: host 127.0.0.1 cannot be reached: ")


def test_a_host_without_find_is_not_checked(
    ssh_servers: SshHouse, ssh_hosts: Directories, far_place: Place
) -> None:
    ssh_hosts.make_directory(far_place, EXPERIMENT)
    with ssh_servers.det1.without("find"):
        (found,) = ssh_hosts.contents(far_place, EXPERIMENT)

    assert str(found) == "not checked: not all of it could be read"


# -- how much room there is -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "state"),
    [({}, "ok"), ({"warn_free_gb": 1e9}, "low"), ({"warn_free_gb": 1e9, "refuse_free_gb": 1e9}, "full")],
)
def test_the_room_of_a_place_is_told_with_what_it_means(
    ground: Ground, settings: dict[str, float], state: str
) -> None:
    disk = os.statvfs(ground.top)

    room = ground.hosts(**settings).room(ground.place())

    assert room.state == state
    assert room.free_bytes == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.2)


def test_where_nobody_can_tell_the_room_is_unknown(
    ssh_servers: SshHouse, ssh_hosts: Directories, far_place: Place
) -> None:
    with ssh_servers.det1.planted("df", "exit 1"):
        room = ssh_hosts.room(far_place)

    assert (room.free_bytes, room.state) == (None, "unknown")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (1_234_567_890, "1.23 GB"),
        (412 * 10**12, "412 TB"),
        (5 * 10**19, "50000 PB"),
    ],
)
def test_a_size_is_shown_in_three_figures(size: int, shown: str) -> None:
    assert shown_size(size) == shown
