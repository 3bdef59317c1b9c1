"""What stands beside or stood before, groups, access lists and space, on a disk here and over ssh."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from beamtime_ioc.errors import ConflictError, NotVerifiedError, PlaceError
from disk_house import EXPERIMENT, NAME, OTHER, OUR_GROUP, bare, mode_of
from places_house import Ground, key_in

# -- what stands beside it, and in it -------------------------------------------------------


def test_siblings_and_subdirectories_are_made_and_only_siblings_have_a_marker(ground: Ground) -> None:
    fields: dict[str, Any] = {"siblings": ("_rec",), "subdirectories": ("raw/dark", "raw/flat")}
    place, hosts = ground.place(**fields), ground.hosts()

    directory = ground.made(**fields)
    found = cast(dict[str, Any], hosts.find_directory(place, EXPERIMENT))

    rec = directory.with_name(f"{NAME}_rec")
    assert found["besides"] == [str(rec), str(directory / "raw/dark"), str(directory / "raw/flat")]
    assert key_in(rec) == key_in(directory) == "aps:300011"
    made = [directory, rec, directory / "raw", directory / "raw/dark", directory / "raw/flat"]
    assert {mode_of(path) for path in made} == {"2770"}
    assert sorted(os.listdir(directory)) == [".experiment.json", "raw"]


@pytest.mark.parametrize("missing", ["_rec", "/raw"])
def test_it_does_not_stand_while_one_of_them_is_missing(ground: Ground, missing: str) -> None:
    fields: dict[str, Any] = {"siblings": ("_rec",), "subdirectories": ("raw",)}
    directory, place, hosts = ground.made(**fields), ground.place(**fields), ground.hosts()
    away = Path(f"{directory}{missing}")
    for name in os.listdir(away):
        (away / name).unlink()
    away.rmdir()

    looked = hosts.find_directory(place, EXPERIMENT)
    with pytest.raises(NotVerifiedError, match=f"{missing}: wanted a directory, found nothing"):
        hosts.check_directory(place, EXPERIMENT)
    ground.made(**fields)

    assert looked is None
    assert away.is_dir()


def test_a_sibling_that_belongs_to_another_experiment_is_a_conflict(ground: Ground) -> None:
    ground.made(replace(OTHER, name=f"{NAME}_rec"))
    place, hosts = ground.place(siblings=("_rec",)), ground.hosts()

    with pytest.raises(ConflictError, match=f"{NAME}_rec belongs to experiment aps:300012"):
        hosts.find_directory(place, EXPERIMENT)


def test_a_subdirectory_keeps_the_mode_that_its_users_gave_it(ground: Ground) -> None:
    directory = ground.made(subdirectories=("raw",))
    (directory / "raw/scan_001.h5").touch()
    (directory / "raw").chmod(0o750)

    ground.made(subdirectories=("raw",))

    assert mode_of(directory / "raw") == "750"


# -- what stood before ----------------------------------------------------------------------


def test_where_the_site_says_so_a_directory_that_nobody_has_marked_is_taken_with_what_is_in_it(
    ground: Ground,
) -> None:
    directory = bare(ground.top / "2026-11" / NAME)
    for number in range(5):
        (directory / f"scan_{number}.h5").write_text("precious")
    place, hosts = ground.place(existing="reuse"), ground.hosts()

    looked = hosts.find_directory(place, EXPERIMENT)
    ground.made(existing="reuse")
    found = cast(dict[str, str], hosts.find_directory(place, EXPERIMENT))
    ground.made()

    assert looked is None
    assert (
        found["warning"]
        == f"{ground.prefix}{directory} stood before, with scan_0.h5, scan_1.h5, scan_2.h5, ..."
    )
    assert (found["mode"], key_in(directory)) == ("2770", "aps:300011")
    assert {path.read_text() for path in directory.glob("scan_*.h5")} == {"precious"}


def test_not_even_then_the_directory_of_another_experiment_is_taken(ground: Ground) -> None:
    ground.made(OTHER)

    error = ground.refusal(ConflictError, existing="reuse")

    assert "belongs to experiment aps:300012" in error.sentence


def test_a_sibling_is_taken_too_and_one_that_is_unreadable_is_not(ground: Ground) -> None:
    fields: dict[str, Any] = {"siblings": ("_rec",), "existing": "reuse"}
    rec = bare(ground.top / "2026-11" / f"{NAME}_rec")
    (rec / "slice.tiff").touch()
    ground.made(**fields)
    (rec / ".experiment.json").write_text("{}")

    with pytest.raises(ConflictError, match="does not say whose directory this is"):
        ground.hosts().find_directory(ground.place(**fields), EXPERIMENT)


# -- group and access list ------------------------------------------------------------------


def test_the_group_of_the_place_is_given(ground: Ground) -> None:
    assert ground.made(group=OUR_GROUP).group() == OUR_GROUP


@pytest.mark.parametrize("group", ["no-such-group", "-R"])
def test_an_unknown_group_is_refused_before_anything_is_made(ground: Ground, group: str) -> None:
    error = cast(PlaceError, ground.refusal(PlaceError, group=group))

    assert error.state == "DENIED"
    assert f"det1: there is no group {group} on " in error.sentence


def test_a_group_that_we_are_not_in_is_said_with_the_way_out(ground: Ground) -> None:
    strange = ground.place(group="root")
    hosts = ground.hosts()

    with pytest.raises(PlaceError, match="cannot give it mode 2770 and group root") as error:
        hosts.make_directory(strange, EXPERIMENT)

    assert error.value.state == "DENIED"
    assert "a member of group root" in error.value.advice
    assert hosts.find_directory(strange, EXPERIMENT) is None


def test_an_access_list_is_given_to_what_is_made_and_to_what_comes_into_it(ground: Ground) -> None:
    acl = ("user:daemon:rwx", f"group:{OUR_GROUP}:r-x")

    directory = ground.made(mode=0o2750, acl=acl, subdirectories=("raw",))

    for path in (directory, directory.parent, directory / "raw"):
        lines = access_list(path)
        assert {*acl, *(f"default:{entry}" for entry in acl)} <= set(lines)
        assert "other::---" in lines
        assert "group::r-x" in lines
    (directory / "raw/later").mkdir()
    assert "user:daemon:rwx" in access_list(directory / "raw/later")


def access_list(path: Path) -> list[str]:
    said = subprocess.run(["getfacl", "-cp", str(path)], capture_output=True, text=True, check=True)
    return [line.strip() for line in said.stdout.splitlines()]


def test_an_access_list_that_was_taken_away_is_given_again(ground: Ground) -> None:
    fields: dict[str, Any] = {"mode": 0o2750, "acl": ("user:daemon:rwx",)}
    directory, place, hosts = ground.made(**fields), ground.place(**fields), ground.hosts()
    os.removexattr(directory, "system.posix_acl_default")

    looked = hosts.find_directory(place, EXPERIMENT)
    with pytest.raises(NotVerifiedError, match="wanted mode 2750 and user:daemon:rwx, found"):
        hosts.check_directory(place, EXPERIMENT)
    ground.made(**fields)

    assert looked is None
    assert "default:user:daemon:rwx" in access_list(directory)


def test_an_entry_for_nobody_known_fails_with_the_words_of_setfacl(ground: Ground) -> None:
    place, hosts = ground.place(acl=("user:no-such-user:rwx",)), ground.hosts()

    with pytest.raises(
        PlaceError, match=r"does not take the access list user:no-such-user:rwx: .*nvalid"
    ) as error:
        hosts.make_directory(place, EXPERIMENT)

    assert error.value.state == "DENIED"
    assert "`acl` of place det1" in error.value.advice


# -- space ----------------------------------------------------------------------------------


def test_below_the_refuse_level_nothing_new_is_made_and_what_stands_is_found(ground: Ground) -> None:
    place, hosts = ground.place(), ground.hosts(refuse_free_gb=1e9)

    with pytest.raises(PlaceError, match=r"GB free, less than the 1e\+09 GB of `refuse_free_gb`") as error:
        hosts.find_directory(place, EXPERIMENT)
    ground.made()

    assert error.value.state == "NO_SPACE"
    assert hosts.find_directory(place, EXPERIMENT)


def test_below_the_warn_level_what_stands_comes_with_a_warning(ground: Ground) -> None:
    ground.made()

    found = cast(dict[str, Any], ground.hosts(warn_free_gb=1e9).find_directory(ground.place(), EXPERIMENT))

    assert str(found["warning"]).startswith("det1: only ")


def test_a_place_is_checked_without_a_change(ground: Ground) -> None:
    health = ground.hosts().check_place(ground.place())

    assert health.ok
    assert "GB are free in" in health.sentence
    disk = os.statvfs(ground.top)
    free_gb = float(health.sentence.split()[1])
    assert free_gb == pytest.approx(disk.f_bavail * disk.f_frsize / 1e9, rel=0.2)
    assert os.listdir(ground.top) == []
