"""Where the PVAccess server listens, its start and its end."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from p4p.client.thread import RemoteError

from beamtime_ioc.errors import PortTakenError
from beamtime_ioc.faces.pva import PvaServer
from spare_ports import spare_port
from wire_house import LOOPBACK, PREFIX, PvaClient, Walk, Wire, pva_context

WALK = f"{PREFIX}Walk"
BLOCK = "record[block=true]"


@contextmanager
def second(
    wire: Wire, *, port: int | None = None, interfaces: tuple[str, ...] = LOOPBACK
) -> Iterator[PvaServer]:
    """Another server in the same process, over the same board."""
    server = PvaServer(wire.board, port=port, interfaces=interfaces)
    wire.run(server.start())
    try:
        yield server
    finally:
        wire.run(server.stop())


@pytest.mark.parametrize("suffix", ["Text", "Mbbo", "Ao", "WalkProgress"])
def test_the_first_stamp_is_that_of_the_start(wire: Wire, pva: PvaClient, suffix: str) -> None:
    with second(wire, port=spare_port()) as server, pva_context(server.port) as fresh:
        stamp = fresh.get(PREFIX + suffix, timeout=10).timeStamp

    assert abs(stamp.secondsPastEpoch - time.time()) < 10


def test_the_port_of_the_site_file_is_for_searches_and_for_clients(wire: Wire) -> None:
    port = spare_port()

    with second(wire, port=port) as server:
        assert (server.port, server.tcp_port) == (port, port)


@pytest.mark.parametrize("word", ["PVAS", "PVA"])
def test_the_environment_wins_over_the_site_file(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    tcp, search = spare_port(), spare_port()
    monkeypatch.setenv(f"EPICS_{word}_SERVER_PORT", str(tcp))
    monkeypatch.setenv(f"EPICS_{word}_BROADCAST_PORT", str(search))

    with second(wire, port=spare_port()) as server, pva_context(search) as client:
        assert (server.port, server.tcp_port) == (search, tcp)
        assert client.get(f"{PREFIX}Ao", timeout=10).value == 1.5


def test_a_chosen_port_that_is_taken_is_an_error_that_names_the_setting(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        PortTakenError, match=r"PVA port \d+ is in use; .*change epics.pva_port of the site file"
    ):
        wire.run(PvaServer(wire.board, port=wire.pva.tcp_port, interfaces=LOOPBACK).start())

    monkeypatch.setenv("EPICS_PVAS_SERVER_PORT", str(wire.pva.tcp_port))
    with pytest.raises(PortTakenError, match="change EPICS_PVAS_SERVER_PORT"):
        wire.run(PvaServer(wire.board, port=spare_port(), interfaces=LOOPBACK).start())


def test_a_chosen_port_whose_searches_somebody_keeps_for_himself_is_an_error(wire: Wire) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = spare_port()
        taken.bind(("127.0.0.1", port))

        with pytest.raises(PortTakenError):
            wire.run(PvaServer(wire.board, port=port, interfaces=LOOPBACK).start())


@pytest.mark.parametrize("hosts", [["127.0.0.2"], ["127.0.0.2", "127.0.0.3:5075"]])
def test_the_interfaces_of_the_environment_win_and_their_ports_are_ignored(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, hosts: list[str]
) -> None:
    monkeypatch.setenv("EPICS_PVAS_INTF_ADDR_LIST", " ".join(hosts))
    port = spare_port()

    with second(wire, port=port) as server:
        assert server.tcp_port == port
        for host in hosts:
            socket.create_connection((host.partition(":")[0], port), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


def test_in_the_box_beacons_stay_there_unless_the_environment_says_otherwise(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("EPICS_PVAS_BEACON_ADDR_LIST", "EPICS_PVAS_AUTO_BEACON_ADDR_LIST", "EPICS_PVAS_IGNORE_ADDR_LIST")
    with second(wire, port=spare_port()) as server:
        alone = [server.settings[name] for name in names]
        box = [f"127.0.0.1:{server.port}", "NO", ""]
    for name, word in zip(names, ("192.0.2.7:7000", "NO", "192.0.2.9"), strict=True):
        monkeypatch.setenv(name, word)
    with second(wire, port=spare_port()) as server:
        told = [server.settings[name] for name in names]

    assert alone == box
    assert told == ["192.0.2.7:7000", "NO", "192.0.2.9"]


def test_a_server_that_stopped_watches_nothing_and_can_be_started_again(wire: Wire) -> None:
    port, watchers = spare_port(), wire.do(lambda: len(wire.cell("Ai").watchers))

    for _ in range(2):
        with second(wire, port=port) as server:
            assert server.tcp_port == port
        assert wire.do(lambda: len(wire.cell("Ai").watchers)) == watchers


def test_a_press_that_blocks_is_answered_when_the_server_stops(wire: Wire) -> None:
    walk = Walk(wire)
    server = PvaServer(wire.board, port=spare_port(), interfaces=LOOPBACK)
    wire.run(server.start())

    with pva_context(server.port) as client:

        def stop() -> None:
            wire.wait_for(lambda: walk.begun)
            wire.run(server.stop())

        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(RemoteError, match="the IOC ends; what was begun goes on"):
            client.put(WALK, {"value.index": 1}, request=BLOCK, timeout=10)
        stopper.join()
    walk.end()


def test_a_server_that_never_started_can_be_stopped(wire: Wire) -> None:
    wire.run(PvaServer(wire.board, port=None, interfaces=LOOPBACK).stop())
