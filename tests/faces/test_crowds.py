"""More clients than usual: many that come at once, and more than there are descriptors for."""

import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from box_house import Box, Ioc, until
from fuzz.target import Target
from raw_ca import RawCa

FILES = resource.RLIMIT_NOFILE
GREETING_S = 5.0
IN_A_PROCESS = """
import logging, resource, sys
from beamtime_ioc.faces import descriptors
logging.basicConfig()
soft, hard, descriptors.MOST = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
descriptors.raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@contextmanager
def soft_limit(files: int) -> Generator[None]:
    """What a program begins with that is started meanwhile."""
    before, hard = resource.getrlimit(FILES)
    resource.setrlimit(FILES, (files, hard))
    try:
        yield
    finally:
        resource.setrlimit(FILES, (before, hard))


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.setenv("EPICS_PVAS_INTF_ADDR_LIST", "127.0.0.1 127.0.0.2")
    with Target(tmp_path / "server.log") as started:
        yield started


def test_40_pva_clients_that_come_while_the_computer_stands_still_are_all_greeted(target: Target) -> None:
    process = psutil.Process(target.child.pid)
    addresses = [(host, target.pva_tcp) for host in ("127.0.0.1", "127.0.0.2") for _ in range(40)]

    with ExitStack() as stack:
        process.send_signal(signal.SIGSTOP)
        until(lambda: process.status() == psutil.STATUS_STOPPED)
        try:
            clients = [stack.enter_context(socket.create_connection(each, GREETING_S)) for each in addresses]
        finally:
            process.send_signal(signal.SIGCONT)
        greetings = [client.recv(1) for client in clients]

    assert greetings == [b"\xca"] * len(addresses)


# -- descriptors ------------------------------------------------------------------------------------------


def come(port: int) -> RawCa | None:
    """A client that is served, or nobody."""
    client: RawCa | None = None
    try:
        client = RawCa(port)
        client.echo()
    except ConnectionError:
        if client is not None:
            client.socket.close()
        return None
    return client


def test_ca_clients_beyond_what_there_is_room_for_are_turned_away_and_the_others_served(
    tmp_path: Path,
) -> None:
    limit, reserve = 400, 100

    with ExitStack() as stack:
        with soft_limit(limit):
            target = stack.enter_context(Target(tmp_path / "server.log"))
        process = psutil.Process(target.child.pid)
        served = [stack.enter_context(client) for _ in range(limit) if (client := come(target.ca))]
        assert limit / 2 < len(served) <= limit - reserve
        assert process.num_fds() <= limit - reserve
        assert target.said().count("was turned away") == 1
        for client in served:
            client.echo()

        served[0].socket.close()
        stack.enter_context(until(lambda: come(target.ca), "a served client"))


def test_serve_raises_the_soft_limit_of_1024_to_what_it_may_have(tmp_path: Path) -> None:
    hard = resource.getrlimit(FILES)[1]

    with ExitStack() as stack:
        box = Box.start(tmp_path / "box")
        stack.callback(box.program.stop)
        ioc = Ioc.on(box)
        with soft_limit(1024):
            ioc.start()
        stack.callback(ioc.stop)
        limits = psutil.Process(ioc.program.pid).rlimit(FILES)

    assert limits == (min(hard, 65_536), hard)


@pytest.mark.parametrize(
    ("soft", "hard", "most", "limit", "is_said"),
    [
        (1024, 1500, 65_536, 1500, True),
        (1024, 5000, 65_536, 5000, False),
        (1024, 5000, 4500, 4500, False),
        (5000, 5000, 4500, 5000, False),
    ],
)
def test_a_limit_is_raised_up_to_a_bound_never_lowered_and_a_low_one_is_said(
    soft: int, hard: int, most: int, limit: int, is_said: bool
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, f"{soft}", f"{hard}", f"{most}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert int(ended.stdout) == limit
    assert (f"no more than {limit} files and sockets" in ended.stderr) == is_said
    assert ("LimitNOFILE=65536" in ended.stderr) == is_said
