"""Hosts that fill up, lack programs, talk too much and die in the middle, over a real ssh."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beamtime_handlers.clients.hosts.marker import Marker
from beamtime_handlers.clients.hosts.reach import below
from beamtime_handlers.clients.hosts.script import make_job
from beamtime_handlers.clients.hosts.ssh import SshHosts
from beamtime_ioc.errors import BeamtimeError, ConflictError, PlaceError
from beamtime_ioc.model import Place
from disk_house import EXPERIMENT, NAME, OTHER, mode_of
from places_house import key_in
from ssh_house import SshHouse, make_key, program


def look(hosts: SshHosts, place: Place) -> PlaceError:
    with pytest.raises(PlaceError) as error:
        hosts.find_directory(place, EXPERIMENT)
    assert error.value.advice
    return error.value


# -- what a host has, and has not -----------------------------------------------------------


@pytest.mark.parametrize("missing", ["timeout", "sh", "env"])
def test_a_host_without_what_begins_a_command_is_named(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place, missing: str
) -> None:
    with ssh_servers.det1.without(missing):
        error = look(ssh_hosts, far_place)

    assert error.state == "UNREACHABLE"
    assert "host det1 has no timeout or sh that could be used" in error.sentence
    assert "`limit`" in error.advice


def test_a_host_without_timeout_works_where_the_site_says_so(ssh_servers: SshHouse, far_place: Place) -> None:
    with ssh_servers.client(limit="") as hosts, ssh_servers.det1.without("timeout", "getent"):
        hosts.make_directory(far_place, EXPERIMENT)

        assert hosts.check_directory(far_place, EXPERIMENT)


def test_a_host_without_stat_says_so_in_its_own_words(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place
) -> None:
    with ssh_servers.det1.without("stat"):
        error = look(ssh_hosts, far_place)

    assert error.state == "UNREACHABLE"
    assert "not found" in error.sentence


def test_a_host_without_access_lists_fails_loudly_where_one_is_wanted(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place
) -> None:
    with ssh_servers.det1.without("setfacl"):
        error = look(ssh_hosts, replace(far_place, acl=("user:daemon:rwx",)))
        ssh_hosts.make_directory(far_place, EXPERIMENT)

    assert error.state == "DENIED"
    assert error.sentence == "det1: host det1 has no setfacl and getfacl"
    assert ssh_hosts.check_directory(far_place, EXPERIMENT)


def test_a_df_without_bytes_is_asked_in_kilobytes(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place
) -> None:
    with ssh_servers.det1.planted("df", f'case $1 in -PB1) exit 1 ;; esac; exec {program("df")} "$@"'):
        health = ssh_hosts.check_place(far_place)

    disk = os.statvfs(far_place.top)
    assert float(health.sentence.split()[1]) == pytest.approx(disk.f_bavail * disk.f_frsize / 1e9, rel=0.2)


@pytest.mark.parametrize("says", ["exit 1", "echo nonsense", "echo 'a b c d e%'"])
def test_a_df_that_says_nothing_refuses_only_where_space_counts(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place, says: str
) -> None:
    with ssh_servers.det1.planted("df", says), ssh_servers.client(refuse_free_gb=1) as strict:
        health = ssh_hosts.check_place(far_place)
        error = look(strict, far_place)

    assert "space unknown" in health.sentence
    assert error.state == "NO_SPACE"
    assert "`df -P .`" in error.advice


@pytest.mark.parametrize(
    ("command", "words", "state"),
    [
        ("mkdir", "No space left on device", "NO_SPACE"),
        ("mkdir", "Disk quota exceeded", "NO_SPACE"),
        ("mkdir", "Read-only file system", "DENIED"),
        ("mkdir", "Stale file handle", "UNREACHABLE"),
        ("cat", "No space left on device", "NO_SPACE"),
        ("cat", "", "UNREACHABLE"),
    ],
)
def test_a_disk_that_fails_is_named_and_what_it_left_is_finished_later(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place, command: str, words: str, state: str
) -> None:
    with (
        ssh_servers.det1.planted(command, f"echo '{command}: x: {words}' >&2; exit 1"),
        pytest.raises(PlaceError) as error,
    ):
        ssh_hosts.make_directory(far_place, EXPERIMENT)

    looked = ssh_hosts.find_directory(far_place, EXPERIMENT)
    ssh_hosts.make_directory(far_place, EXPERIMENT)

    assert error.value.state == state
    assert error.value.sentence.startswith(f"det1: det1:{far_place.top}/2026-11")
    assert looked is None
    directory = Path(far_place.path_for(EXPERIMENT))
    assert ssh_hosts.check_directory(far_place, EXPERIMENT)
    assert os.listdir(directory) == [".experiment.json"]


def test_a_disk_without_hard_links_gets_its_marker_too(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place
) -> None:
    with ssh_servers.det1.planted("ln", "exit 1"):
        ssh_hosts.make_directory(far_place, EXPERIMENT)

    assert ssh_hosts.check_directory(far_place, EXPERIMENT)
    assert os.listdir(far_place.path_for(EXPERIMENT)) == [".experiment.json"]


def test_a_link_that_comes_in_place_of_the_marker_opens_no_file_of_ours(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place, tmp_path: Path
) -> None:
    ours = tmp_path / "ours"
    ours.write_text("for nobody else")
    ours.chmod(0o600)
    swaps = f'{program("cat")} && for part in .experiment.json.*.part; do ln -sf {ours} "$part"; done'

    with ssh_servers.det1.planted("cat", swaps), pytest.raises(BeamtimeError):
        ssh_hosts.make_directory(far_place, EXPERIMENT)

    assert Path(far_place.path_for(EXPERIMENT), ".experiment.json").is_symlink()
    assert mode_of(ours) == "600"


@pytest.mark.parametrize("winner", [EXPERIMENT, OTHER])
def test_a_marker_that_comes_in_between_is_not_replaced(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place, winner: Any
) -> None:
    comes = f"""echo '{{"experiment": "{winner.key}"}}' >.experiment.json; exec {program("ln")} "$@\""""
    with ssh_servers.det1.planted("ln", comes), ExitStack() as stack:
        if winner is OTHER:
            stack.enter_context(pytest.raises(ConflictError, match="belongs to experiment aps:300012"))
        ssh_hosts.make_directory(far_place, EXPERIMENT)

    directory = Path(far_place.path_for(EXPERIMENT))
    assert key_in(directory) == winner.key
    assert os.listdir(directory) == [".experiment.json"]


def test_a_host_that_keeps_its_modes_to_itself_is_caught(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place
) -> None:
    with (
        ssh_servers.det1.planted("chmod", "exit 0"),
        pytest.raises(PlaceError, match=r"has mode 700, .* cannot give it mode"),
    ):
        ssh_hosts.make_directory(far_place, EXPERIMENT)

    assert os.listdir(Path(far_place.top, "2026-11")) == []  # nothing is made in what is not as wanted


def test_a_host_whose_sh_is_bash_does_the_same(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place
) -> None:
    outside = Path(far_place.top, "outside")
    outside.mkdir()
    Path(far_place.top, "link").symlink_to(outside)
    with ssh_servers.det1.planted("sh", f'exec {program("bash")} --posix "$@"'):
        ssh_hosts.make_directory(replace(far_place, path="new line\n/{name}"), EXPERIMENT)
        with pytest.raises(PlaceError, match="is a symbolic link"):
            ssh_hosts.make_directory(replace(far_place, path="link/{name}"), EXPERIMENT)

    assert Path(far_place.top, "new line\n", NAME, ".experiment.json").exists()
    assert list(outside.iterdir()) == []


# -- what a login writes --------------------------------------------------------------------

NOISE = {
    "words": "echo Welcome; echo Beware >&2",
    "no end of line": "printf 'last login: '",
    "our own words": "echo 'me root'; echo 'end link'; echo done",
    "much": "i=0; while [ $i -lt 2000 ]; do echo 'line line line line line'; i=$((i+1)); done",
    "bytes": "printf '\\377\\000\\033[31m'",
}


@pytest.mark.parametrize("text", NOISE.values(), ids=NOISE.keys())
def test_what_start_up_files_write_changes_nothing(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place, text: str
) -> None:
    start_up = ssh_servers.det1.home / ".bashrc"
    start_up.write_text(text)
    try:
        ssh_hosts.make_directory(far_place, EXPERIMENT)
        found = ssh_hosts.check_directory(far_place, EXPERIMENT)
    finally:
        start_up.unlink()

    assert isinstance(found, dict)
    assert found["path"] == str(far_place.path_for(EXPERIMENT))


def test_a_login_that_ends_at_once_is_told_with_its_code(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place
) -> None:
    start_up = ssh_servers.det1.home / ".bashrc"
    start_up.write_text("echo closed for the weekend >&2; exit 7")
    try:
        error = look(ssh_hosts, far_place)
    finally:
        start_up.unlink()

    assert error.state == "UNREACHABLE"
    assert "host det1 broke off with code 7: closed for the weekend" in error.sentence


def test_a_login_shell_that_is_no_sh_reads_the_command_alike(
    ssh_servers: SshHouse, far_place: Place, tmp_path: Path
) -> None:
    shell = f'{program("tcsh")} -c "$SSH_ORIGINAL_COMMAND"'
    place = replace(far_place, path="$(reboot) `id` !! ; {name}", siblings=("_rec",))
    with ssh_servers.key_with(tmp_path / "key", shell) as key, ssh_servers.client(identity=key) as hosts:
        hosts.make_directory(place, EXPERIMENT)

        assert hosts.check_directory(place, EXPERIMENT)
        assert [str(one) for one in hosts.contents(place, EXPERIMENT)] == ["empty", "empty"]


def test_a_banner_before_the_login_is_not_taken_for_trouble(ssh_servers: SshHouse, tmp_path: Path) -> None:
    place = ssh_servers.place(ssh_servers.ana1, tmp_path)
    (tmp_path / "2026-11").mkdir(mode=0)
    make_key(tmp_path / "strange")

    with ssh_servers.client() as hosts, ssh_servers.client(identity=str(tmp_path / "strange")) as stranger:
        error, refused = look(hosts, place), look(stranger, place)

    (tmp_path / "2026-11").chmod(0o700)
    assert "Permission denied to others" in ssh_servers.ana1.banner.read_text()
    assert error.sentence == f"ana1: ana1:{tmp_path}/2026-11 cannot be used: permission denied"
    assert "host ana1 does not let us in: " in refused.sentence
    assert refused.sentence.endswith("Permission denied (publickey).")


@pytest.mark.parametrize("mask", ["0077", "0777", "0000"])
def test_the_umask_of_a_login_changes_no_mode(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place, mask: str
) -> None:
    start_up = ssh_servers.det1.home / ".bashrc"
    start_up.write_text(f"umask {mask}")
    try:
        ssh_hosts.make_directory(far_place, EXPERIMENT)
    finally:
        start_up.unlink()

    directory = Path(far_place.path_for(EXPERIMENT))
    assert [mode_of(path) for path in (directory, directory.parent)] == ["2770"] * 2
    assert mode_of(directory / ".experiment.json") == "644"


def test_two_that_make_the_same_directory_at_once_over_there_both_have_it(
    ssh_servers: SshHouse, far_place: Place
) -> None:
    with ssh_servers.client() as first, ssh_servers.client() as second, ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(hosts.make_directory, far_place, EXPERIMENT) for hosts in 4 * (first, second)]
        for job in jobs:
            job.result()

        assert first.check_directory(far_place, EXPERIMENT)
    assert os.listdir(far_place.path_for(EXPERIMENT)) == [".experiment.json"]


def test_of_two_experiments_that_meet_at_once_over_there_one_gets_it(
    ssh_hosts: SshHosts, far_place: Place
) -> None:
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(ssh_hosts.make_directory, far_place, one) for one in (EXPERIMENT, OTHER)]
        errors = [error for job in jobs if (error := job.exception()) is not None]

    assert [type(error) for error in errors] == [ConflictError]
    key = key_in(Path(far_place.path_for(EXPERIMENT)))
    loser = OTHER if key == EXPERIMENT.key else EXPERIMENT
    assert f"belongs to experiment {key}" in str(errors[0])
    assert f"not to {loser.key}" in str(errors[0])


# -- killed in the middle -------------------------------------------------------------------


def test_killed_at_any_command_over_there_it_is_finished_by_the_next_press(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, tmp_path: Path
) -> None:
    host, calls = ssh_servers.det1, tmp_path / "calls"
    marker = Marker.of(EXPERIMENT, "somebody@here", EXPERIMENT.start)
    commands = ("mkdir", "chmod", "cat", "ln", "rm")
    for number in range(1, 30):
        top = tmp_path / str(number)
        top.mkdir()
        calls.write_text("")
        place = ssh_servers.place(host, top)
        job = make_job(place, below(place, place.path_for(EXPERIMENT)), "new", marker)
        with ExitStack() as stack:
            for name in commands:
                count = f"PATH=/usr/bin:/bin\nprintf x >>'{calls}'\nsaid=$(wc -c <'{calls}')"
                dies = f"[ $said -lt {number} ] || kill -9 0"
                stack.enter_context(host.planted(name, f'{count}\n{dies}\nexec {program(name)} "$@"'))
            died = subprocess.run(
                [program("sh"), "-s"],
                input=job.text.encode(),
                stdout=subprocess.DEVNULL,
                env={"PATH": str(host.bin), "LC_ALL": "C"},
                check=False,
                start_new_session=True,
            ).returncode

        if ssh_hosts.find_directory(place, EXPERIMENT) is None:
            ssh_hosts.make_directory(place, EXPERIMENT)

        assert ssh_hosts.check_directory(place, EXPERIMENT), number
        directory = Path(place.path_for(EXPERIMENT))
        assert [mode_of(path) for path in (directory, directory.parent)] == ["2770"] * 2, number
        if not died:
            break

    assert number > 7
