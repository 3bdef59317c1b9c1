"""Disks that are not there, not ours, full, or failing."""

import errno
import grp
import os
from pathlib import Path
from typing import Any, cast

import pydantic
import pytest

from beamtime_handlers.clients.hosts.local import Settings
from beamtime_ioc.errors import BeamtimeError, ConflictError, PlaceError
from disk_house import EXPERIMENT, NAME, OTHER, bare, hosts_for, made, marker_of, place_at, refusal


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    top.mkdir()
    return top


def test_a_missing_top_is_never_made(tmp_path: Path) -> None:
    place = place_at(tmp_path / "absent")
    hosts = hosts_for(place)

    with pytest.raises(PlaceError, match=r"det1: the top directory .*/absent does not exist") as error:
        hosts.make_directory(place, EXPERIMENT)

    assert error.value.state == "NO_TOPDIR"
    assert "`top` of place det1" in error.value.advice
    assert not (tmp_path / "absent").exists()


def test_a_top_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "top").touch()

    error = refusal(PlaceError, place_at(tmp_path / "top"))

    assert cast(PlaceError, error).state == "NOT_A_DIRECTORY"


def test_a_disk_without_its_marker_is_not_filled(top: Path) -> None:
    place = place_at(top, marker=".mounted")

    error = refusal(PlaceError, place)
    (top / ".mounted").touch()
    hosts_for(place).make_directory(place, EXPERIMENT)

    assert cast(PlaceError, error).state == "NOT_MOUNTED"
    assert error.sentence == f"det1: {top}/.mounted is missing, so the disk is not mounted"
    assert error.advice == "mount it, then press again"


@pytest.mark.parametrize("level", ["2026-11", f"2026-11/{NAME}"])
def test_a_file_in_the_way_is_named(top: Path, level: str) -> None:
    (top / level).parent.mkdir(exist_ok=True)
    (top / level).write_text("precious")

    error = refusal(PlaceError, place_at(top))

    assert cast(PlaceError, error).state == "NOT_A_DIRECTORY"
    assert error.sentence == f"det1: {top}/{level} is a file, not a directory"
    assert (top / level).read_text() == "precious"


@pytest.mark.parametrize("level", ["2026-11", f"2026-11/{NAME}"])
@pytest.mark.parametrize("target", ["outside", "nowhere"])
def test_no_symbolic_link_is_followed_below_the_top(top: Path, level: str, target: str) -> None:
    outside = bare(top.parent / "outside")
    (top / level).parent.mkdir(exist_ok=True)
    (top / level).symlink_to(top.parent / target)

    error = refusal(PlaceError, place_at(top))

    assert error.sentence == f"det1: {top}/{level} is a symbolic link, not a directory"
    assert os.listdir(outside) == []


def test_the_top_itself_may_be_a_symbolic_link(top: Path) -> None:
    link = top.parent / "link"
    link.symlink_to(top)

    directory = made(link)

    assert directory == link / "2026-11" / NAME
    assert (top / "2026-11" / NAME).is_dir()


def test_a_top_that_may_not_be_written_is_seen_by_looking(top: Path) -> None:
    top.chmod(0o555)
    place = place_at(top)
    hosts = hosts_for(place)

    with pytest.raises(PlaceError, match=f"det1: user .* may not write in {top}") as looked:
        hosts.find_directory(place, EXPERIMENT)
    with pytest.raises(PlaceError, match=f"det1: {top}/2026-11 cannot be used: permission denied") as tried:
        hosts.make_directory(place, EXPERIMENT)

    assert {looked.value.state, tried.value.state} == {"DENIED"}
    assert "press again" in tried.value.advice


def test_what_stands_is_found_though_the_top_may_no_longer_be_written(top: Path) -> None:
    made(top)
    top.chmod(0o555)
    place = place_at(top)

    found = hosts_for(place).find_directory(place, EXPERIMENT)

    assert found is not None


def test_a_directory_that_may_not_be_read_is_denied(top: Path) -> None:
    directory = made(top)
    directory.chmod(0o000)

    error = cast(PlaceError, refusal(PlaceError, place_at(top)))

    assert error.state == "DENIED"


def test_a_name_that_is_too_long_for_the_disk_is_refused(top: Path) -> None:
    place = place_at(top, path="x" * 300)

    error = cast(PlaceError, refusal(PlaceError, place))

    assert error.state == "BAD_NAME"
    assert "file name too long" in error.sentence
    assert "`path` of place det1" in error.advice


@pytest.mark.parametrize("path", ["../{name}", "{pie}", "a\0b"])
def test_a_template_that_cannot_be_a_directory_is_refused(top: Path, path: str) -> None:
    error = cast(PlaceError, refusal(PlaceError, place_at(top, path=path)))

    assert error.state == "BAD_NAME"


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (errno.ENOSPC, "NO_SPACE"),
        (errno.EDQUOT, "NO_SPACE"),
        (errno.EROFS, "DENIED"),
        (errno.EIO, "UNREACHABLE"),
        (errno.ESTALE, "UNREACHABLE"),
    ],
)
@pytest.mark.parametrize("call", ["mkdir", "fchmod", "fsync", "link"])
def test_a_disk_that_fails_is_named_and_what_it_left_is_finished_later(
    top: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, state: str
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    place = place_at(top)
    hosts = hosts_for(place)
    with monkeypatch.context() as disk:
        disk.setattr(os, call, fail)
        with pytest.raises(PlaceError, match=f"det1: {top}/.*cannot be used: ") as error:
            hosts.make_directory(place, EXPERIMENT)

    looked = hosts.find_directory(place, EXPERIMENT)
    hosts.make_directory(place, EXPERIMENT)

    assert error.value.state == state
    assert error.value.advice.endswith("press again")
    assert looked is None
    assert hosts.check_directory(place, EXPERIMENT)
    assert os.listdir(top / "2026-11" / NAME) == [".experiment.json"]


def test_a_disk_without_hard_links_gets_its_marker_too(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "link", fail)

    directory = made(top)

    assert marker_of(directory)["experiment"] == "aps:300011"
    assert os.listdir(directory) == [".experiment.json"]


def test_an_unknown_group_is_refused_before_anything_is_made(top: Path) -> None:
    error = cast(PlaceError, refusal(PlaceError, place_at(top, group="no-such-group")))

    assert error.state == "DENIED"
    assert error.sentence == "det1: there is no group no-such-group on this computer"


def test_a_group_that_we_are_not_in_is_said_with_the_way_out(top: Path) -> None:
    ours = {os.getegid(), *os.getgroups()}
    strange = next(group.gr_name for group in grp.getgrall() if group.gr_gid not in ours)
    place = place_at(top, group=strange)
    hosts = hosts_for(place)

    with pytest.raises(PlaceError, match=f"cannot give it mode 2770 and group {strange}") as error:
        hosts.make_directory(place, EXPERIMENT)

    assert f"a member of group {strange}" in error.value.advice
    assert hosts.find_directory(place, EXPERIMENT) is None


def test_the_group_is_given_before_the_mode(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A change of group may take setgid away again. Only root may give any group, so the calls are watched.
    ours = {os.getegid(), *os.getgroups()}
    strange = next(group for group in grp.getgrall() if group.gr_gid not in ours)
    calls: list[str] = []
    monkeypatch.setattr(os, "fchown", lambda _fd, user, group: calls.append(f"fchown {user} {group}"))
    fchmod = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: (calls.append(f"fchmod {mode:o}"), fchmod(fd, mode)))

    with pytest.raises(PlaceError, match="cannot give it"):
        made(top, group=strange.gr_name)

    assert calls == [f"fchown -1 {strange.gr_gid}", "fchmod 2770"]


def test_without_access_lists_here_it_fails_loudly_where_one_is_wanted(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(top))

    error = cast(PlaceError, refusal(PlaceError, place_at(top, acl=("user:daemon:rwx",))))
    directory = made(top)

    assert error.state == "DENIED"
    assert error.sentence == "det1: this computer has no setfacl and getfacl"
    assert "`acl` of place det1" in error.advice
    assert marker_of(directory)["experiment"] == "aps:300011"


def test_a_system_that_silently_drops_setgid_is_caught(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fchmod = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: fchmod(fd, mode & 0o777))

    with pytest.raises(PlaceError, match=r"has mode 770, .* cannot give it mode 2770"):
        made(top)


def test_below_the_refuse_level_nothing_new_is_made(top: Path) -> None:
    place = place_at(top)
    hosts = hosts_for(place, refuse_free_gb=1e9)

    with pytest.raises(PlaceError, match=r"GB free, less than the 1e\+09 GB of `refuse_free_gb`") as error:
        hosts.find_directory(place, EXPERIMENT)

    assert error.value.state == "NO_SPACE"


def test_below_the_refuse_level_what_stands_is_still_found(top: Path) -> None:
    made(top)
    place = place_at(top)

    assert hosts_for(place, refuse_free_gb=1e9).find_directory(place, EXPERIMENT)


def test_below_the_warn_level_what_stands_comes_with_a_warning(top: Path) -> None:
    made(top)
    place = place_at(top)

    found = hosts_for(place, warn_free_gb=1e9).find_directory(place, EXPERIMENT)

    assert isinstance(found, dict)
    assert str(found["warning"]).startswith("det1: only ")


def test_the_check_names_every_place(top: Path, tmp_path: Path) -> None:
    good, bad = place_at(top), place_at(tmp_path / "absent", name="ana1")

    health, ill = hosts_for(good).check(), hosts_for(good, bad).check()

    assert health.ok
    assert f"GB are free in {top}" in health.sentence
    assert not ill.ok
    assert "det1: " in ill.sentence
    assert "ana1: the top directory" in ill.sentence
    assert os.listdir(top) == []


def test_one_place_is_checked_by_itself_and_its_trouble_has_its_state(top: Path, tmp_path: Path) -> None:
    good, bad = place_at(top), place_at(tmp_path / "absent", name="ana1")
    hosts = hosts_for(good, bad)

    health = hosts.check_place(good)
    with pytest.raises(PlaceError) as error:
        hosts.check_place(bad)

    assert health.ok
    assert health.sentence.startswith("det1: ")
    assert error.value.state == "NO_TOPDIR"
    assert os.listdir(top) == []


def test_the_check_finds_a_top_that_may_not_be_written(top: Path) -> None:
    top.chmod(0o555)

    health = hosts_for(place_at(top)).check()

    assert not health.ok
    assert "may not write" in health.sentence


def test_no_descriptor_stays_open(top: Path) -> None:
    made(top)
    place = place_at(top)
    hosts = hosts_for(place)
    before = os.listdir("/proc/self/fd")

    for _ in range(20):
        hosts.find_directory(place, EXPERIMENT)
        with pytest.raises(ConflictError):
            hosts.make_directory(place, OTHER)

    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_place_on_another_host_needs_the_backend_for_it(top: Path) -> None:
    with pytest.raises(
        BeamtimeError, match="place det1 is on host far, and `hosts` of the site file is local"
    ):
        hosts_for(place_at(top, host="far"))


@pytest.mark.parametrize("settings", [{"warn_free_gb": -1}, {"refuse_free": 3}, {"backend": "ssh"}])
def test_a_wrong_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        Settings(**settings)
