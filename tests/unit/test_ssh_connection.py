"""The way to a host over a real ssh: dead, deaf, unknown, refusing, hanging, cut."""

import os
import re
import shutil
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from beamtime_handlers.clients.hosts import connection
from beamtime_handlers.clients.hosts.connection import Ssh, SshTroubleError
from beamtime_handlers.clients.hosts.ssh import SshHosts
from beamtime_handlers.create_directories import create_directories
from beamtime_ioc.errors import EffectsFailedError, PlaceError
from beamtime_ioc.model import Place
from beamtime_ioc.testing import FakeRun
from disk_house import EXPERIMENT, NAME, mode_of
from engine_world import until
from spare_ports import spare_port
from ssh_house import SshHouse, make_key, on_path, program, runs

DEADLINE_S = 20.0


def look(hosts: SshHosts, place: Place) -> PlaceError:
    with pytest.raises(PlaceError) as error:
        hosts.find_directory(place, EXPERIMENT)
    assert error.value.advice
    return error.value


# -- the way to a host ----------------------------------------------------------------------


def test_a_dead_port_is_unreachable_at_once(ssh_servers: SshHouse, far_place: Place) -> None:
    dead = replace(far_place, host="127.0.0.1", port=spare_port())
    with ssh_servers.client() as hosts:
        began = time.monotonic()

        error = look(hosts, dead)

    assert error.state == "UNREACHABLE"
    assert error.sentence.startswith(
        "det1: host 127.0.0.1 cannot be reached: ssh: connect to host 127.0.0.1 port"
    )
    config, key = ssh_servers.settings["config"], ssh_servers.settings["identity"]
    assert f": ssh -F {config} -i {key} -p {dead.port} 127.0.0.1 true; then" in error.advice
    assert time.monotonic() - began < 3


def test_a_host_that_takes_a_connection_and_never_answers_is_given_up_once_for_all(
    ssh_servers: SshHouse, far_place: Place
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, ssh_servers.client(connect_timeout_s=1) as hosts:
        silent = replace(far_place, host="127.0.0.1", port=deaf.getsockname()[1])
        states: list[str] = []
        began = time.monotonic()

        threads = [
            threading.Thread(target=lambda: states.append(look(hosts, silent).state)) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)

        took = time.monotonic() - began

    assert states == ["UNREACHABLE"] * 6
    assert took < 4  # one after the other it were 6 s


def test_a_host_whose_key_is_not_known_is_never_trusted(
    ssh_servers: SshHouse, far_place: Place, tmp_path: Path
) -> None:
    nobody, changed = tmp_path / "nobody", tmp_path / "changed"
    nobody.touch()
    lines = (ssh_servers.directory / "known_hosts").read_text().splitlines()
    first, second = (line.split()[0] for line in lines)
    changed.write_text(
        "\n".join(
            f"{name} {line.split(' ', 1)[1]}" for name, line in zip((second, first), lines, strict=True)
        )
    )
    for known_hosts in (nobody, changed):
        with ssh_servers.client(known_hosts=str(known_hosts)) as hosts:
            error = look(hosts, far_place)

        assert error.state == "UNREACHABLE"
        assert "has not the host key that is known here" in error.sentence
        assert "put it into known_hosts" in error.advice
    assert nobody.read_text() == ""


def test_a_new_host_may_be_taken_at_its_word_where_the_site_says_so(
    ssh_servers: SshHouse, far_place: Place, tmp_path: Path
) -> None:
    known_hosts = tmp_path / "with blank %h"
    with ssh_servers.client(known_hosts=str(known_hosts), host_keys="accept-new") as hosts:
        hosts.make_directory(far_place, EXPERIMENT)

    assert str(ssh_servers.det1.port) in known_hosts.read_text()


def test_a_host_that_does_not_take_our_key_is_denied_and_not_tried_again(
    ssh_servers: SshHouse, far_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path / "strange")
    calls = tmp_path / "calls"
    counting = f"#!{program('sh')}\nprintf x >>'{calls}'\nexec {program('ssh')} \"$@\"\n"
    for name, text in on_path(tmp_path / "bin", "ssh", counting).items():
        monkeypatch.setenv(name, text)
    with ssh_servers.client(identity=str(tmp_path / "strange")) as hosts:
        error = look(hosts, far_place)

    assert error.state == "DENIED"
    assert "host det1 does not let us in: " in error.sentence
    assert "Permission denied" in error.sentence
    assert calls.read_text() == "x"


def test_a_user_and_a_port_of_the_site_file_count(ssh_servers: SshHouse, far_place: Place) -> None:
    by_number = replace(far_place, host="127.0.0.1", port=ssh_servers.det1.port)
    stranger = replace(by_number, user="no-such-user")
    with ssh_servers.client() as hosts:
        hosts.make_directory(by_number, EXPERIMENT)
        error = look(hosts, stranger)

    assert error.state == "DENIED"
    assert f" -p {ssh_servers.det1.port} -l no-such-user 127.0.0.1 true" in error.advice


def test_without_ssh_on_this_computer_the_sentence_says_so(
    ssh_servers: SshHouse, far_place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with ssh_servers.client() as hosts:
        error = look(hosts, far_place)

    assert error.state == "UNREACHABLE"
    assert "ssh does not run here" in error.sentence


def test_a_connection_that_was_cut_is_made_anew(ssh_servers: SshHouse, far_place: Place) -> None:
    with ssh_servers.client() as hosts:
        hosts.find_directory(far_place, EXPERIMENT)
        (held,) = hosts._connections.values()
        assert held._master is not None
        with ssh_servers.det1.gone():
            os.kill(held._master.pid, signal.SIGKILL)
            away = look(hosts, far_place)

        hosts.make_directory(far_place, EXPERIMENT)

        assert hosts.check_directory(far_place, EXPERIMENT)
    assert away.state == "UNREACHABLE"


def test_where_the_directory_of_sockets_was_cleaned_up_it_is_made_anew(
    ssh_servers: SshHouse, far_place: Place
) -> None:
    with ssh_servers.client() as hosts:
        hosts.find_directory(far_place, EXPERIMENT)
        assert hosts._sockets is not None
        shutil.rmtree(hosts._sockets)

        hosts.make_directory(far_place, EXPERIMENT)

        assert hosts.check_directory(far_place, EXPERIMENT)


def test_more_commands_than_the_host_has_sessions_for_all_come_through(
    ssh_servers: SshHouse, far_place: Place
) -> None:
    top = Path(far_place.top)
    with ssh_servers.client(sessions=14) as hosts:
        places = [replace(far_place, name=f"p{number}", path=f"{number}/{{name}}") for number in range(14)]
        run = FakeRun(site=replace(hosts.site, places=tuple(places)), services={"hosts": hosts})

        found = create_directories(run, EXPERIMENT)

    assert len(found) == 14
    assert len(list(top.glob(f"*/{NAME}/.experiment.json"))) == 14


def test_no_descriptor_stays_open(ssh_servers: SshHouse, far_place: Place) -> None:
    with ssh_servers.client() as hosts:
        dead = replace(far_place, host="127.0.0.1", port=spare_port())
        hosts.find_directory(far_place, EXPERIMENT)
        before = len(os.listdir("/proc/self/fd"))

        for _ in range(5):
            hosts.find_directory(far_place, EXPERIMENT)
            look(hosts, dead)

        assert len(os.listdir("/proc/self/fd")) == before


def test_no_process_and_no_directory_stays_behind(ssh_servers: SshHouse, far_place: Place) -> None:
    with ssh_servers.client() as hosts:
        hosts.find_directory(far_place, EXPERIMENT)
        (held,) = hosts._connections.values()
        assert held._master is not None
        pid, sockets = held._master.pid, hosts._sockets
        assert sockets is not None
        assert mode_of(sockets) == "700"

    until(lambda: not runs(pid), "the end of the connection")
    assert list(sockets.iterdir()) == []


def test_a_connection_ends_with_the_process_that_held_it_whatever_ended_that(
    ssh_servers: SshHouse, far_place: Place, tmp_path: Path
) -> None:
    told = tmp_path / "pid"
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            hosts = ssh_servers.hosts()
            hosts.find_directory(far_place, EXPERIMENT)
            (held,) = hosts._connections.values()
            assert held._master is not None
            told.write_text(str(held._master.pid))
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
    _, status = os.waitpid(child, 0)

    assert status == signal.SIGKILL
    pid = int(told.read_text())
    until(lambda: not runs(pid), "the end of the connection")


# -- what hangs there -----------------------------------------------------------------------


def said_s(sentence: str) -> float:
    """How long an answer was waited for, as the sentence says."""
    found = re.search(
        r"host det1 did not answer within (\d+(?:\.\d)?) s$|^did not answer within (\S+) s$", sentence
    )
    assert found, sentence
    return float(found[1] or found[2])


def test_a_command_that_hangs_is_a_timeout_and_is_ended_over_there(
    ssh_servers: SshHouse, far_place: Place, tmp_path: Path
) -> None:
    pid, began = tmp_path / "pid", time.monotonic()
    with (
        ssh_servers.client(timeout_s=0.5) as hosts,
        ssh_servers.det1.planted("mkdir", f"echo $$ >'{pid}'; exec {program('sleep')} 1000"),
        pytest.raises(PlaceError) as error,
    ):
        hosts.make_directory(far_place, EXPERIMENT)

    assert error.value.state == "TIMEOUT"
    assert 0.5 <= said_s(error.value.sentence) <= time.monotonic() - began + 0.5
    assert f"{ssh_servers.settings['identity']} det1 true" in error.value.advice
    until(lambda: not runs(int(pid.read_text())), "the end of what hung")


def test_a_host_that_cannot_end_what_hangs_is_given_up_from_here(
    ssh_servers: SshHouse, far_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience_s = 2.5
    monkeypatch.setattr(Ssh, "patience_s", lambda _ssh, _timeout_s: patience_s)
    monkeypatch.setattr(connection, "END_S", 0.1)
    pid = tmp_path / "pid"
    with ssh_servers.client(limit="") as hosts:
        with (
            ssh_servers.det1.planted("mkdir", f"echo $$ >'{pid}'; exec {program('sleep')} 1000"),
            pytest.raises(PlaceError) as error,
        ):
            hosts.make_directory(far_place, EXPERIMENT)
        began = time.monotonic()
        still = look(hosts, far_place)
        with pytest.raises(PlaceError, match="hangs since an earlier look"):
            hosts.make_directory(far_place, EXPERIMENT)
        other = hosts.find_directory(replace(far_place, top=far_place.top.parent), EXPERIMENT)
        took = time.monotonic() - began
        os.kill(int(pid.read_text()), signal.SIGKILL)

        def is_touched_again() -> bool:
            with suppress(PlaceError):
                return hosts.find_directory(far_place, EXPERIMENT) is None
            return False

        until(is_touched_again, "another look")

    assert (error.value.state, still.state) == ("TIMEOUT", "TIMEOUT")
    assert "hangs since an earlier look, and is not touched before that ends" in still.sentence
    assert took < 3 * patience_s
    assert other is None


def test_a_host_that_hangs_is_no_host_that_is_away_though_others_end_the_connection(
    ssh_servers: SshHouse, far_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ssh, "patience_s", lambda _ssh, timeout_s: timeout_s)
    monkeypatch.setattr(connection, "END_S", 0.1)
    troubles: dict[float, list[SshTroubleError]] = {}
    took: dict[float, float] = {}

    def ask(timeout_s: float, times: int) -> None:
        began = time.monotonic()
        for _ in range(times):
            try:
                one.run("sleep 30\n", lambda _output: False, timeout_s)
            except SshTroubleError as trouble:
                troubles.setdefault(timeout_s, []).append(trouble)
                took[timeout_s] = time.monotonic() - began

    with ssh_servers.client(limit="") as hosts:
        hosts.find_directory(far_place, EXPERIMENT)
        (one,) = hosts._connections.values()  # pyright: ignore[reportPrivateUsage]

        threads = [threading.Thread(target=ask, args=given) for given in ((20.0, 1), (1.0, 2))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)

    assert [trouble.state for trouble in troubles[1.0]] == ["TIMEOUT"] * 2
    assert [trouble.state for trouble in troubles[20.0]] == ["TIMEOUT"]
    # It had two tries, and neither its whole patience: what is said is how long it has waited.
    assert said_s(troubles[20.0][0].reason) == pytest.approx(took[20.0], abs=0.6)
    assert took[20.0] < 20


def test_who_has_waited_for_a_host_that_hangs_does_not_wait_again_where_others_end_the_connection(
    ssh_servers: SshHouse, far_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ssh, "patience_s", lambda _ssh, timeout_s: 3 * timeout_s)
    monkeypatch.setattr(connection, "END_S", 0.1)
    ends: dict[float, tuple[str, float]] = {}

    def ask(timeout_s: float) -> None:
        began = time.monotonic()
        with pytest.raises(SshTroubleError) as trouble:
            one.run("sleep 30\n", lambda _output: False, timeout_s)
        ends[timeout_s] = trouble.value.state, time.monotonic() - began

    with ssh_servers.client(limit="") as hosts:
        hosts.find_directory(far_place, EXPERIMENT)
        (one,) = hosts._connections.values()  # pyright: ignore[reportPrivateUsage]

        threads = [threading.Thread(target=ask, args=(timeout_s,)) for timeout_s in (2.0, 1.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)

    assert [ends[timeout_s][0] for timeout_s in (1.0, 2.0)] == ["TIMEOUT"] * 2
    assert 3 <= ends[2.0][1] < 6  # with the first one, not by its own patience, nor after a second time


def test_one_host_that_hangs_delays_no_other(ssh_servers: SshHouse, far_place: Place) -> None:
    other = ssh_servers.place(ssh_servers.ana1, Path(far_place.top), path="ana1/{name}")
    here = Place(name="here", top=far_place.top, path="here/{name}")
    others = [place.path_for(EXPERIMENT) / ".experiment.json" for place in (other, here)]
    made = " && ".join(f"[ -e '{marker}' ]" for marker in others)
    waits = f'until {made}; do {program("sleep")} 0.02; done; exec {program("mkdir")} "$@"'
    with ssh_servers.client(far_place, other, here) as hosts, ssh_servers.det1.planted("mkdir", waits):
        run = FakeRun(site=hosts.site, services={"hosts": hosts})

        create_directories(run, EXPERIMENT)

    assert [line.state.value for line in run.steps] == ["made"] * 3


def test_of_three_places_the_one_whose_host_is_down_is_named_and_the_others_are_made(
    ssh_servers: SshHouse, far_place: Place
) -> None:
    second = ssh_servers.place(ssh_servers.ana1, Path(far_place.top), path="ana1/{name}")
    down = replace(far_place, name="det2", host="127.0.0.1", port=spare_port())
    with ssh_servers.client(far_place, second, down) as hosts:
        run = FakeRun(site=hosts.site, services={"hosts": hosts})
        with pytest.raises(EffectsFailedError, match=r"det2: host 127\.0\.0\.1 cannot be reached") as error:
            create_directories(run, EXPERIMENT)

    assert "(2 of 3 are done)" in error.value.sentence
    assert [line.state.value for line in run.steps] == ["made", "made", "failed"]
    assert len(list(Path(far_place.top).rglob(".experiment.json"))) == 2
