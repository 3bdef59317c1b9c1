"""Where the Channel Access server listens, and how clients find it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import caproto as ca
import pytest

from beamtime_ioc.errors import BeamtimeError, PortTakenError
from beamtime_ioc.faces import ca as ca_face
from beamtime_ioc.faces.ca import CaServer
from beamtime_ioc.faces.ca_search import Beacons
from raw_ca import RawCa, search
from spare_ports import spare_port
from wire_house import LOOPBACK, PREFIX, Wire, pva_context

DOUBLE = 6


@contextmanager
def second(
    wire: Wire, *, port: int | None = None, interfaces: tuple[str, ...] = LOOPBACK
) -> Iterator[CaServer]:
    """Another server in the same process, over the same board."""
    server = CaServer(wire.board, port=port, interfaces=interfaces)
    wire.run(server.start())
    try:
        yield server
    finally:
        wire.run(server.stop())


# -- ports -------------------------------------------------------------------------------------------------


def test_the_port_of_the_site_file_is_for_searches_and_for_clients(wire: Wire) -> None:
    port = spare_port()

    with second(wire, port=port) as server:
        assert (server.port, server.tcp_port) == (port, port)
        assert search(port, f"{PREFIX}Text") == [port]


@pytest.mark.parametrize(
    "names",
    [["EPICS_CAS_SERVER_PORT"], ["EPICS_CA_SERVER_PORT"], ["EPICS_CAS_SERVER_PORT", "EPICS_CA_SERVER_PORT"]],
)
def test_the_environment_wins_over_the_site_file(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    wanted, *others = (spare_port() for _ in names)
    for name, port in zip(names, [wanted, *others], strict=True):
        monkeypatch.setenv(name, str(port))

    with second(wire, port=spare_port()) as server:
        assert (server.port, server.tcp_port) == (wanted, wanted)
        assert search(wanted, f"{PREFIX}Text") == [wanted]


def test_a_chosen_port_that_is_taken_is_an_error_that_names_the_setting(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        PortTakenError, match=r"CA port \d+ is in use; .*change epics.ca_port of the site file"
    ):
        wire.run(CaServer(wire.board, port=wire.ca.port, interfaces=LOOPBACK).start())

    monkeypatch.setenv("EPICS_CAS_SERVER_PORT", str(wire.ca.port))
    with pytest.raises(PortTakenError, match="change EPICS_CAS_SERVER_PORT"):
        wire.run(CaServer(wire.board, port=None, interfaces=LOOPBACK).start())


def test_a_chosen_port_whose_searches_somebody_keeps_for_himself_is_an_error(wire: Wire) -> None:
    port = spare_port()
    server = CaServer(wire.board, port=port, interfaces=LOOPBACK)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        with pytest.raises(PortTakenError):
            wire.run(server.start())

    with socket.socket() as free:  # nothing of the failed start is left
        free.bind(("127.0.0.1", port))


def test_the_default_port_gives_way_to_a_free_one_and_searches_are_shared(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = spare_port()
    monkeypatch.setattr(ca_face, "DEFAULT_PORT", default)

    with second(wire) as first:
        assert (first.port, first.tcp_port) == (default, default)
        with second(wire) as other:
            assert other.port == default
            assert other.tcp_port != default
            with RawCa(other.tcp_port) as client:
                assert client.open(f"{PREFIX}Text") is not None


def test_a_port_that_is_none_is_an_error_that_names_the_variable(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("abc", "0", "65536", "-1", "²"):
        monkeypatch.setenv("EPICS_CAS_SERVER_PORT", text)
        with pytest.raises(BeamtimeError, match=f"EPICS_CAS_SERVER_PORT={text} is no port"):
            wire.run(CaServer(wire.board, port=None, interfaces=LOOPBACK).start())


def test_an_interface_of_another_computer_is_an_error(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BeamtimeError, match="cannot listen"):
        wire.run(CaServer(wire.board, port=spare_port(), interfaces=["192.0.2.1"]).start())

    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", "nosuchhost.invalid")
    with pytest.raises(
        BeamtimeError, match=r"EPICS_CAS_INTF_ADDR_LIST: nosuchhost\.invalid cannot be resolved"
    ):
        wire.run(CaServer(wire.board, port=spare_port(), interfaces=LOOPBACK).start())


def test_the_interfaces_of_the_environment_win_and_their_ports_are_ignored(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", "127.0.0.2 127.0.0.3:5064")

    with second(wire, port=spare_port()) as server:
        for address in ("127.0.0.2", "127.0.0.3"):
            socket.create_connection((address, server.tcp_port), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.tcp_port), 5)


def test_a_server_on_all_interfaces_answers(wire: Wire) -> None:
    with second(wire, port=spare_port(), interfaces=()) as server:
        assert search(server.port, f"{PREFIX}Text") == [server.tcp_port]


def test_after_a_kill_both_servers_take_their_ports_again_at_once() -> None:
    ca_port, pva_port = spare_port(), spare_port()
    program = [sys.executable, str(Path(__file__).parents[1] / "wire_server.py"), f"{ca_port}", f"{pva_port}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    for _ in range(2):
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() == "READY\n"
                with RawCa(ca_port) as client, pva_context(pva_port) as pva:
                    assert client.open(f"{PREFIX}Ao") is not None
                    assert pva.get(f"{PREFIX}Ao", timeout=10).value == 1.5
                    server.kill()  # while they are connected: what is left of that lingers on the ports
                    server.wait()
            finally:
                server.kill()


def test_a_server_that_stopped_lets_its_clients_and_its_port_go(wire: Wire) -> None:
    port = spare_port()
    watchers = wire.do(lambda: len(wire.cell("Ai").watchers))

    with second(wire, port=port) as server:
        client = RawCa(port)
        client.subscribe(client.sid(f"{PREFIX}Ai"), DOUBLE)
        client.receive(ca.EventAddResponse)
    with client, pytest.raises(ConnectionError):
        client.receive()

    assert server.clients == 0
    assert wire.do(lambda: len(wire.cell("Ai").watchers)) == watchers
    with second(wire, port=port) as server:
        assert server.tcp_port == port


def test_a_server_that_never_started_can_be_stopped(wire: Wire) -> None:
    wire.run(CaServer(wire.board, port=None, interfaces=LOOPBACK).stop())


# -- searches and beacons ----------------------------------------------------------------------------------


def test_a_search_is_answered_for_ours_only_and_with_the_clients_number(wire: Wire) -> None:
    names = [f"{PREFIX}Text", "Y:Other", f"{PREFIX}TextAlias.DESC", f"{PREFIX}Text.NOSUCH"]
    version = ca.VersionRequest(1, 13)
    version.header.parameter1 = 4711

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        requests = [ca.SearchRequest(name, cid, 13) for cid, name in enumerate(names)]
        asker.sendto(b"".join(map(bytes, [version, *requests])), ("127.0.0.1", wire.ca.port))
        data, address = asker.recvfrom(65536)

    head, *answers = ca.Broadcaster(ca.CLIENT).recv(data, address)
    assert (head.header.data_type, head.header.parameter1) == (1, 4711)
    assert [(answer.cid, answer.port) for answer in answers] == [(0, wire.ca.tcp_port), (2, wire.ca.tcp_port)]


def test_a_search_over_tcp_is_answered(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        client.send(ca.SearchRequest(f"{PREFIX}Text", 5, 13), ca.SearchRequest("Y:No", 6, 13, ca.DO_REPLY))

        assert client.receive(ca.SearchResponse).port == wire.ca.tcp_port
        assert client.receive(ca.NotFoundResponse).cid == 6


def test_searches_for_foreign_names_and_fields_leave_nothing_behind(wire: Wire) -> None:
    search(wire.ca.port, f"{PREFIX}Text")
    known = wire.do(lambda: len(list(wire.ca.channels)))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for first in range(0, 500, 25):
            names = [f"Y:Foreign{number}" for number in range(first, first + 25)]
            names += [f"{PREFIX}Text.X{first}", f"{PREFIX}Text{first}.DESC"]
            requests = [ca.SearchRequest(name, number, 13) for number, name in enumerate(names)]
            asker.sendto(b"".join(map(bytes, requests)), ("127.0.0.1", wire.ca.port))

    assert search(wire.ca.port, f"{PREFIX}Text") == [wire.ca.tcp_port]
    assert wire.do(lambda: len(list(wire.ca.channels))) == known


def test_clients_that_are_to_be_ignored_get_no_answer(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPICS_CAS_IGNORE_ADDR_LIST", "127.0.0.1")

    with second(wire, port=spare_port()) as server:
        assert search(server.port, f"{PREFIX}Text", timeout_s=0.2) == []


@pytest.mark.parametrize("name", ["EPICS_CAS_BEACON_PORT", "EPICS_CA_REPEATER_PORT"])
def test_in_the_box_beacons_go_to_loopback(wire: Wire, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as repeater:
        repeater.settimeout(5)
        repeater.bind(("127.0.0.1", 0))
        monkeypatch.setenv(name, str(repeater.getsockname()[1]))
        with second(wire, port=spare_port()) as server:
            heard = [ca.Broadcaster(ca.CLIENT).recv(*repeater.recvfrom(100))[0] for _ in range(3)]

    assert [(beacon.server_port, beacon.beacon_id) for beacon in heard] == [
        (server.port, n) for n in range(3)
    ]


def test_the_environment_says_where_beacons_go(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(Beacons, "_send", lambda self, beacon, target: sent.append(target))
    monkeypatch.setenv("EPICS_CAS_BEACON_ADDR_LIST", "127.0.0.5 127.0.0.6:7000")
    monkeypatch.setenv("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "NO")

    with second(wire, port=spare_port()):
        wire.wait_for(lambda: len(sent) >= 2)

    assert set(sent) == {("127.0.0.5", 5065), ("127.0.0.6", 7000)}


def test_a_beacon_that_cannot_be_sent_is_one_log_line(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Nobody may broadcast to this address of the documentation's network from loopback.
    monkeypatch.setenv("EPICS_CAS_BEACON_ADDR_LIST", "192.0.2.1")
    monkeypatch.setenv("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "NO")
    rounds: list[int] = []
    real = Beacons._send

    def count(self: Beacons, beacon: bytes, target: tuple[str, int]) -> None:
        rounds.append(1)
        real(self, beacon, target)

    monkeypatch.setattr(Beacons, "_send", count)

    with second(wire, port=spare_port()):
        wire.wait_for(lambda: len(rounds) >= 4)

    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["CA beacon to 192.0.2.1"]


def test_a_background_task_that_breaks_off_is_begun_again_and_the_server_serves(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def break_off(self: Beacons, beacon: bytes, target: tuple[str, int]) -> None:
        calls.append(1)
        raise RuntimeError("the dog ate it")

    monkeypatch.setattr(Beacons, "_send", break_off)
    monkeypatch.setattr(ca_face, "RESTART_S", 0.01)

    with second(wire, port=spare_port()) as server, RawCa(server.port) as client:
        wire.wait_for(lambda: len(calls) >= 6)
        assert client.open(f"{PREFIX}Text") is not None

    lines = [record.getMessage() for record in caplog.records]
    assert set(lines) == {"CA beacons broke off (RuntimeError('the dog ate it')) and are begun again"}
    # One for each server: that of the house may have had a beacon to send meanwhile too.
    assert len(lines) <= 2
