"""Directories on a disk here and on a host over a real ssh: the same promises, kept by both."""

import getpass
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import cast

import pytest

from beamtime_handlers.clients.hosts.reach import wanted_at
from beamtime_ioc.errors import ConflictError, NotVerifiedError, PlaceError
from beamtime_ioc.model import Beamtime, Person, Place, Site
from disk_house import EXPERIMENT, NAME, OTHER, OUR_GROUP, ZONE, bare, marker_of, mode_of
from places_house import Ground, half_made, key_in


def test_a_directory_stands_after_it_was_made(ground: Ground) -> None:
    place, hosts = ground.place(), ground.hosts()

    before = hosts.find_directory(place, EXPERIMENT)
    hosts.make_directory(place, EXPERIMENT)
    found = hosts.find_directory(place, EXPERIMENT)

    assert before is None
    directory = ground.top / "2026-11" / NAME
    wanted = {"place": "det1", "path": str(directory), "mode": "2770", "owner": getpass.getuser()}
    host = {"host": ground.host} if ground.host else {}
    assert found == {**wanted, "group": OUR_GROUP, **host}
    assert hosts.check_directory(place, EXPERIMENT) == found
    assert (mode_of(directory), mode_of(directory.parent)) == ("2770", "2770")
    assert os.listdir(directory) == [".experiment.json"]
    assert mode_of(directory / ".experiment.json") == "644"
    assert marker_of(directory)["created_by"].startswith(f"{getpass.getuser()}@")


def test_made_twice_is_made_once_and_what_users_wrote_stays(ground: Ground) -> None:
    directory = ground.made()
    (directory / "scan_001.h5").write_bytes(b"data")
    before = marker_of(directory)
    directory.chmod(0o700)

    ground.made()

    assert marker_of(directory) == before
    assert (directory / "scan_001.h5").read_bytes() == b"data"
    assert mode_of(directory) == "2770"


def test_a_level_that_stands_keeps_the_mode_somebody_gave_it(ground: Ground) -> None:
    (bare(ground.top / "2026-11", 0o711) / "another").mkdir()

    ground.made()

    assert mode_of(ground.top / "2026-11") == "711"


@pytest.mark.parametrize("mode", ["750", "2750", "3770"])
def test_what_is_made_has_exactly_the_mode_of_its_place(ground: Ground, mode: str) -> None:
    ground.top.chmod(0o2755)  # what is made in it inherits setgid, and may have to lose it

    directory = ground.made(mode=int(mode, 8))

    assert (mode_of(directory), mode_of(directory.parent)) == (mode, mode)


@pytest.mark.parametrize(
    "crash",
    [
        lambda top: half_made(top, month=0o700, mode=None),
        lambda top: half_made(top, mode=0o700),
        lambda top: half_made(top),
        lambda top: half_made(top, part=True),
    ],
    ids=["after the month", "after the directory", "before the marker", "inside the marker"],
)
def test_what_a_crash_left_is_finished(ground: Ground, crash: Callable[[Path], None]) -> None:
    crash(ground.top)
    place, hosts = ground.place(), ground.hosts()

    looked = hosts.find_directory(place, EXPERIMENT)
    directory = ground.made()

    assert looked is None
    assert mode_of(ground.top / "2026-11") == "2770"
    assert key_in(directory) == "aps:300011"


def test_a_missing_top_is_never_made(ground: Ground) -> None:
    ground.top.rmdir()

    error = cast(PlaceError, ground.refusal(PlaceError))

    assert error.state == "NO_TOPDIR"
    host = f"{ground.host}:" if ground.host else ""
    assert error.sentence == f"det1: the top directory {host}{ground.top} does not exist"
    assert "`top` of place det1" in error.advice


def test_a_top_that_is_a_file_is_refused(ground: Ground) -> None:
    ground.top.rmdir()
    ground.top.touch()

    assert cast(PlaceError, ground.refusal(PlaceError)).state == "NOT_A_DIRECTORY"


def test_a_top_that_may_not_be_entered_is_denied(ground: Ground) -> None:
    ground.top.chmod(0)
    place, hosts = ground.place(), ground.hosts()

    with pytest.raises(PlaceError, match="cannot be used: permission denied") as error:
        hosts.find_directory(place, EXPERIMENT)

    ground.top.chmod(0o755)
    assert error.value.state == "DENIED"


def test_a_top_that_may_not_be_written_is_seen_by_looking(ground: Ground) -> None:
    ground.top.chmod(0o555)
    place, hosts = ground.place(), ground.hosts()

    with pytest.raises(PlaceError, match=f"user {getpass.getuser()} may not write in ") as looked:
        hosts.find_directory(place, EXPERIMENT)
    with pytest.raises(PlaceError, match="permission denied") as tried:
        hosts.make_directory(place, EXPERIMENT)

    assert (looked.value.state, tried.value.state) == ("DENIED", "DENIED")


def test_a_disk_without_its_marker_is_not_filled(ground: Ground) -> None:
    error = cast(PlaceError, ground.refusal(PlaceError, marker=".mounted"))
    (ground.top / ".mounted").touch()
    ground.made(marker=".mounted")

    assert error.state == "NOT_MOUNTED"
    assert error.sentence == f"{ground.prefix}{ground.top}/.mounted is missing, so the disk is not mounted"


def test_a_top_that_has_to_be_a_mount_point_is_looked_at_as_one(ground: Ground) -> None:
    error = cast(PlaceError, ground.refusal(PlaceError, mount=True))
    mounted = ground.place(top=PurePosixPath("/dev/shm"), path="{name}", mount=True)
    root = replace(mounted, top=PurePosixPath("/"))

    assert error.state == "NOT_MOUNTED"
    assert error.sentence == f"{ground.prefix}{ground.top} is no mount point, so the disk is not mounted"
    assert ground.hosts().find_directory(mounted, EXPERIMENT) is None
    with pytest.raises(PlaceError, match="may not write in"):
        ground.hosts().find_directory(root, EXPERIMENT)


@pytest.mark.parametrize("level", ["2026-11", f"2026-11/{NAME}"])
def test_what_is_in_the_way_is_named_and_no_link_is_followed(ground: Ground, level: str) -> None:
    path = ground.top / level
    path.parent.mkdir(exist_ok=True)
    path.write_text("precious")
    a_file = cast(PlaceError, ground.refusal(PlaceError))
    assert path.read_text() == "precious"
    path.unlink()
    outside = bare(ground.top.parent / "outside")
    path.symlink_to(outside)
    a_link = ground.refusal(PlaceError)

    assert a_file.state == "NOT_A_DIRECTORY"
    assert a_file.sentence == f"{ground.prefix}{path} is a file, not a directory"
    assert a_link.sentence == f"{ground.prefix}{path} is a symbolic link, not a directory"
    assert os.listdir(outside) == []


def test_the_top_itself_may_be_a_symbolic_link(ground: Ground) -> None:
    link = ground.top.parent / "link"
    link.symlink_to(ground.top)
    ground.top = link

    directory = ground.made()

    assert directory == link / "2026-11" / NAME
    assert directory.is_dir()


@pytest.mark.parametrize(
    "name", ["with blank", "O'Brien", "Übung", "-rf", "new\nline", "$(reboot);`id`", "a: b"]
)
def test_a_place_may_lie_anywhere(ground: Ground, name: str) -> None:
    ground.top = bare(ground.top / name)

    directory = ground.made(marker="")

    assert directory.is_dir()
    assert os.listdir(ground.top.parent) == [name]


def test_a_template_may_have_letters_that_mean_something_to_a_shell(ground: Ground) -> None:
    shell = ["-rf", "new\nline", "end\n", "$(id);`id`", "~", "*", " ", "\\0101"]
    levels = ["with blank", "O'Brien", "Übung", *shell]

    directory = ground.made(path="/".join([*levels, "-{name}"]), siblings=("_rec",))

    assert directory == ground.top.joinpath(*levels, f"-{NAME}")
    walked = [(names, files) for _, names, files in os.walk(ground.top)]
    assert [names for names, _ in walked[: len(levels)]] == [[level] for level in levels]
    assert [files for _, files in walked[len(levels) :]] == [[], [".experiment.json"], [".experiment.json"]]


@pytest.mark.parametrize("path", ["../{name}", "{pie}", "a\0b", "/", "{start:%Y}/../../{name}"])
def test_a_template_that_leaves_its_place_is_refused(ground: Ground, path: str) -> None:
    assert cast(PlaceError, ground.refusal(PlaceError, path=path)).state == "BAD_NAME"


def test_a_path_that_is_too_long_is_told_with_what_to_mend(ground: Ground) -> None:
    place, hosts = ground.place(path="n" * 300), ground.hosts()

    with pytest.raises(PlaceError, match="file name too long") as error:
        hosts.make_directory(place, EXPERIMENT)

    assert error.value.state == "BAD_NAME"
    assert "`path` of place det1" in error.value.advice


def test_the_directory_of_another_experiment_is_never_shared(ground: Ground) -> None:
    directory = ground.made(OTHER)

    error = ground.refusal(ConflictError)

    assert f"{ground.prefix}{directory} belongs to experiment aps:300012" in error.sentence
    with pytest.raises(ConflictError):
        ground.hosts().check_directory(ground.place(), EXPERIMENT)


def test_a_directory_with_files_and_no_marker_belongs_to_somebody(ground: Ground) -> None:
    directory = bare(ground.top / "2026-11" / NAME)
    for number in range(5):
        (directory / f"scan_{number}.h5").touch()

    error = ground.refusal(ConflictError)

    assert "holds files (scan_0.h5, scan_1.h5, scan_2.h5, ...) but no .experiment.json" in error.sentence


def a_link(marker: Path) -> None:
    elsewhere = marker.parents[3] / "elsewhere.json"
    elsewhere.write_text('{"experiment": "aps:300011"}')
    marker.symlink_to(elsewhere)


MARKERS: dict[str, bytes | Callable[[Path], None]] = {
    "half": b'{"experiment": "aps:3',
    "empty": b"",
    "no key": b'{"name": "2026"}',
    "not UTF-8": b'{"experiment": "\xff"}',
    "huge": b'{"experiment": "aps:300011"}' + b" " * 70_000,
    "a link": a_link,
    "a pipe": os.mkfifo,
    "a directory": os.mkdir,
}


@pytest.mark.parametrize("content", MARKERS.values(), ids=MARKERS.keys())
def test_a_marker_that_cannot_be_read_is_a_conflict(
    ground: Ground, content: bytes | Callable[[Path], None]
) -> None:
    marker = bare(ground.top / "2026-11" / NAME) / ".experiment.json"
    if isinstance(content, bytes):
        marker.write_bytes(content)
    else:
        content(marker)

    error = ground.refusal(ConflictError)

    assert ".experiment.json does not say whose directory this is: it " in error.sentence


def test_two_beamtimes_of_a_month_and_one_over_its_end_have_their_own_directories(ground: Ground) -> None:
    first = ground.made()
    second = ground.made(replace(OTHER, name="2026-11-Lastname-9100002"))
    ends_in_december = replace(
        EXPERIMENT, key="aps:300013", name="over", end=EXPERIMENT.end.replace(month=12)
    )
    third = ground.made(ends_in_december)

    assert {path.parent.name for path in (first, second, third)} == {"2026-11"}
    assert len({first, second, third}) == 3


def test_what_does_not_stand_or_not_as_wanted_is_not_verified(ground: Ground) -> None:
    place, hosts = ground.place(), ground.hosts()

    with pytest.raises(NotVerifiedError, match="wanted a directory, found nothing"):
        hosts.check_directory(place, EXPERIMENT)
    directory = ground.made()
    directory.chmod(0o755)
    with pytest.raises(NotVerifiedError, match="wanted mode 2770, found mode 755"):
        hosts.check_directory(place, EXPERIMENT)
    directory.chmod(0o2770)
    (directory / ".experiment.json").unlink()
    with pytest.raises(NotVerifiedError, match=r"wanted \.experiment\.json of aps:300011, found none"):
        hosts.check_directory(place, EXPERIMENT)


def test_directories_under_both_rules_stand_side_by_side(ground: Ground) -> None:
    old = replace(EXPERIMENT, people=(Person(last_name="Müller-Łukasik", is_pi=True),))
    new = replace(old, key="aps:300014")

    before = ground.made(old, path="{pi}-{proposal}", names="legacy")
    after = ground.made(new, path="{pi}-{proposal}", names="safe")
    ground.made(old, path="{pi}-{proposal}", names="legacy")

    assert {path.name for path in ground.top.iterdir()} == {"Muller-ukasik-9100001", "Muller_Lukasik-9100001"}
    assert (key_in(before), key_in(after)) == (old.key, new.key)


@pytest.mark.parametrize(
    ("name", "path", "siblings", "made"),
    [
        (
            "{start:%Y-%m}-{pi}-{proposal}",
            "{start:%Y-%m}/{name}",
            (),
            ["2026-11/2026-11-van_der_Berg-9100001"],
        ),
        ("{start:%Y-%m}-{pi}-{proposal}", "{start:%Y-%m}/{pi}", (), ["2026-11/van_der_Berg"]),
        (
            "{start:%Y-%m}-{pi}-{proposal}",
            "{name}",
            ("_rec",),
            ["2026-11-van_der_Berg-9100001", "2026-11-van_der_Berg-9100001_rec"],
        ),
    ],
)
def test_the_layouts_of_before_are_one_line_each(
    name: str, path: str, siblings: tuple[str, ...], made: list[str]
) -> None:
    place = Place(name="det1", top=PurePosixPath("/data"), path=path, siblings=siblings)
    site = Site(prefix="99bm:", beamline="99-BM", zone=ZONE, places=(place,), experiment_name=name)
    pi = Person(last_name="van der Berg", is_pi=True)
    start, end = EXPERIMENT.start, EXPERIMENT.end

    experiment = site.experiment(
        Beamtime(source="aps", id="300011", start=start, end=end, proposal="9100001", people=(pi,))
    )

    assert [str(one.path.relative_to("/data")) for one in wanted_at(place, experiment)] == made
