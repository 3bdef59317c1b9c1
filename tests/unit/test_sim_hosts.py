"""The hosts of the box, asked by the ssh client of the system."""

import os
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from beamtime_sim.errors import PortTakenError
from beamtime_sim.hosts_server import HostsServer
from ssh_house import make_key

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[HostsServer]:
    # With a blank and a per cent sign, which mean something to ssh.
    with HostsServer(tmp_path_factory.mktemp("box %h")) as server:
        yield server


@pytest.fixture
def server(shared: HostsServer) -> Generator[HostsServer]:
    yield shared
    shared.knobs.reset()


def words(server: HostsServer, *options: str, host: str = "det1") -> list[str]:
    config = ("-F", str(server.files.config), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR")
    return ["ssh", *config, *options, host]


def ssh(
    server: HostsServer, command: str, *options: str, host: str = "det1", given: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    asked = [*words(server, *options, host=host), command]
    return subprocess.run(asked, input=given, capture_output=True, timeout=PATIENCE_S, check=False)


def started(server: HostsServer, command: str, *options: str) -> "subprocess.Popen[bytes]":
    asked = [*words(server, *options), command]
    return subprocess.Popen(asked, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def until(path: Path) -> str:
    end = time.monotonic() + PATIENCE_S
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < end, f"{path} did not come"
        threading.Event().wait(0.01)
    return path.read_text()


def runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_command_reaches_sh_as_it_was_written(server: HostsServer) -> None:
    command = r"""printf '%s|' "a  b" '$HOME' `echo c` d\ e; cat; echo bad >&2; exit 7"""

    done = ssh(server, command, given=b"\x00\xff\n")

    assert done.stdout == b"a  b|$HOME|c|d e|\x00\xff\n"
    assert done.stderr == b"bad\n"
    assert done.returncode == 7


def test_a_command_runs_as_the_boxs_user_in_a_home_of_its_host(server: HostsServer) -> None:
    done = ssh(server, 'id -u; pwd; echo "$HOME"', host="ana1")

    home = server.files.directory / "ana1"
    assert done.stdout.decode().splitlines() == [str(os.getuid()), str(home), str(home)]


def test_much_goes_both_ways_at_once(server: HostsServer) -> None:
    given = os.urandom(3_000_000)

    assert ssh(server, "cat", given=given).stdout == given


def test_one_connection_carries_many_commands(server: HostsServer) -> None:
    before = server.counts["det1"]
    with tempfile.TemporaryDirectory(prefix="c") as short:  # the path of a socket has little room
        sharing = ("-o", "ControlMaster=auto", "-o", f"ControlPath={short}/c", "-o", "ControlPersist=yes")

        said = [ssh(server, f"echo {number}", *sharing).stdout for number in range(3)]
        ssh(server, "", *sharing, "-O", "exit")

    after = server.counts["det1"]
    assert said == [b"0\n", b"1\n", b"2\n"]
    assert after["connections"] - before["connections"] == 1
    assert after["commands"] - before["commands"] == 3


def test_only_the_owner_may_read_the_keys_and_only_one_key_opens(server: HostsServer, tmp_path: Path) -> None:
    make_key(tmp_path / "strange")
    strange = ssh(server, "true", "-o", f"IdentityFile={tmp_path}/strange", "-F", "/dev/null",
                  "-p", str(server.ports["det1"]), "-o", "StrictHostKeyChecking=no",
                  "-o", "UserKnownHostsFile=/dev/null", host="127.0.0.1")  # fmt: skip
    other = ssh(server, "true", "-l", "somebody")

    keys = list(server.files.directory.glob("*_key"))
    assert sorted(path.name for path in keys) == ["ana1_key", "det1_key", "user_key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert stat.S_IMODE(server.files.directory.stat().st_mode) == 0o700
    for refused in (strange, other):
        assert refused.returncode == 255
        assert b"Permission denied (publickey)" in refused.stderr


def test_a_restart_keeps_keys_and_ports(tmp_path: Path) -> None:
    with HostsServer(tmp_path / "hosts") as first:
        ports, kept = (
            first.ports,
            {path.name: path.read_text() for path in first.files.directory.glob("*_key*")},
        )

    with HostsServer(tmp_path / "hosts", ports=ports) as second:
        done = ssh(second, "echo here")
        again = {path.name: path.read_text() for path in second.files.directory.glob("*_key*")}

    assert (done.stdout, second.ports, again) == (b"here\n", ports, kept)


def test_a_key_that_a_kill_left_half_made_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "user_key").write_text("half")

    with HostsServer(tmp_path / "hosts") as server:
        assert ssh(server, "echo here").stdout == b"here\n"


def test_a_taken_port_is_said_and_the_other_is_given_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HostsServer(tmp_path / "hosts", ports={"ana1": port})

        with pytest.raises(PortTakenError, match=f"port {port} on 127.0.0.1 is taken"):
            server.start()

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.ports["det1"]))


def test_a_command_goes_on_when_its_client_is_gone(server: HostsServer, tmp_path: Path) -> None:
    begun, go, done = tmp_path / "begun", tmp_path / "go", tmp_path / "done"
    client = started(
        server, f"echo $$ >'{begun}'; until [ -e '{go}' ]; do sleep 0.02; done; echo x >'{done}'"
    )
    until(begun)

    client.kill()
    client.communicate()
    go.touch()

    assert until(done) == "x\n"


def test_stop_ends_clients_and_whatever_a_command_began(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with HostsServer(tmp_path / "hosts") as server:
        # `timeout` makes a group of processes of its own, and is ended with what it began.
        client = started(server, f"timeout 1000 sh -c 'sleep 1000 & echo $$ $! >{pids}; wait'")
        known = [int(pid) for pid in until(pids).split()]
        began = time.monotonic()

    client.communicate(timeout=PATIENCE_S)

    assert time.monotonic() - began < 5
    assert client.returncode == 255
    end = time.monotonic() + PATIENCE_S
    while any(map(runs, known)):  # it was killed; the kernel takes it away when it comes to it
        assert time.monotonic() < end


# The knobs


def test_delay_holds_the_work_of_a_command_back(server: HostsServer, tmp_path: Path) -> None:
    ssh(server, "true")
    server.knobs.set("hosts.delay_s", 0.4)
    began = time.time()

    ssh(server, f"touch '{tmp_path}/done'")

    assert (tmp_path / "done").stat().st_mtime - began >= 0.4


def test_a_delay_that_is_taken_back_is_over(server: HostsServer, tmp_path: Path) -> None:
    server.knobs.set("hosts.delay_s", 600)
    client, connections = started(server, "echo done"), server.counts["det1"]["connections"]
    while server.counts["det1"]["connections"] == connections:
        assert client.poll() is None

    server.knobs.reset()

    assert client.communicate(timeout=PATIENCE_S)[0] == b"done\n"


def test_what_waits_is_not_done_once_its_client_is_gone(server: HostsServer, tmp_path: Path) -> None:
    server.knobs.set("hosts.hang", "command")
    before = server.counts["det1"]["commands"]
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([*words(server), f"touch '{tmp_path}/done'"], timeout=1, check=False)

    server.knobs.reset()

    assert ssh(server, "true").returncode == 0
    assert not (tmp_path / "done").exists()
    assert server.counts["det1"]["commands"] - before == 1


def test_hang_connect_takes_connections_and_never_speaks(server: HostsServer) -> None:
    server.knobs.set_all({"hosts.hang": "connect", "hosts.only": ["det1"]})

    hung = ssh(server, "true", "-o", "ConnectTimeout=1")
    other = ssh(server, "echo well", host="ana1")

    assert hung.returncode == 255
    assert b"timed out" in hung.stderr
    assert other.stdout == b"well\n"


def test_hang_command_lets_in_and_never_answers(server: HostsServer) -> None:
    server.knobs.set("hosts.hang", "command")
    client = started(server, "echo well")
    with pytest.raises(subprocess.TimeoutExpired):
        client.wait(0.7)

    server.knobs.reset()

    assert client.communicate(timeout=PATIENCE_S)[0] == b""
    assert client.returncode == 255
    assert ssh(server, "echo well").stdout == b"well\n"


@pytest.mark.parametrize(
    ("knob", "value", "said"),
    [
        ("hosts.refuse", "connect", b"Connection refused"),
        ("hosts.refuse", "key", b"Permission denied (publickey)"),
        ("hosts.hang", "connect", b"timed out"),
    ],
)
def test_a_host_that_goes_down_cuts_the_connections_it_has_and_comes_back(
    server: HostsServer, tmp_path: Path, knob: str, value: str, said: bytes
) -> None:
    begun = tmp_path / "begun"
    client = started(server, f"echo x >'{begun}'; exec sleep 30")
    until(begun)

    server.knobs.set(knob, value)
    refused = ssh(server, "true", "-o", "ConnectTimeout=1")
    server.knobs.reset()

    client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 255
    assert (refused.returncode, said in refused.stderr) == (255, True)
    assert ssh(server, "echo back").stdout == b"back\n"


def test_a_full_disk_has_no_space_and_takes_nothing_new(server: HostsServer, tmp_path: Path) -> None:
    server.knobs.set_all({"hosts.full": True, "hosts.only": ["det1"]})
    (tmp_path / "old").write_text("what stands\n")
    at = f"cd '{tmp_path}'; "

    space = ssh(server, at + "df -PB1 . && df -Pk .").stdout.decode().splitlines()
    said = ssh(server, at + "mkdir -m 700 -- ./new; echo x | cat >./part; touch ./t; cp old ./copy")
    same = ssh(server, at + "mkdir old; cat old; cat old | cat; mkdir -p .")
    ssh(server, at + "mkdir other", host="ana1")

    for line in (space[1], space[3]):
        _, size, used, free, share, _ = line.split()
        assert (size, free, share) == (used, "0", "100%")
        assert int(size) > 0
    assert said.stderr.decode().splitlines() == [
        "mkdir: cannot create directory './new': No space left on device",
        "cat: write error: No space left on device",
        "touch: cannot touch './t': No space left on device",
        "cp: error writing './copy': No space left on device",
    ]
    assert same.stdout == b"what stands\nwhat stands\n"
    assert b"File exists" in same.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "other", "part"]


def test_a_lost_reply_is_of_work_that_is_done_and_counted_down(server: HostsServer, tmp_path: Path) -> None:
    server.knobs.set_all({"hosts.lose_reply": 1, "hosts.only": ["det1"]})
    work = f"echo x >>'{tmp_path}/done'; echo done"

    other = ssh(server, work, host="ana1")
    silent = ssh(server, "true")
    lost = ssh(server, work)
    good = ssh(server, work)

    assert (other.stdout, good.stdout, silent.returncode) == (b"done\n", b"done\n", 0)
    assert (lost.stdout, lost.returncode) == (b"", 255)
    assert (tmp_path / "done").read_text() == "x\nx\nx\n"
    assert server.knobs.hosts.lose_reply == 0
