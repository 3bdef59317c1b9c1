"""The Channel Access server as a program on a network: ports, searches, clients that misbehave."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import caproto as ca
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamtime_ioc.errors import BeamtimeError, PortTakenError
from beamtime_ioc.faces import ca as ca_face
from beamtime_ioc.faces.ca import CaServer
from beamtime_ioc.faces.ca_search import Beacons
from c_client import CClient
from raw_ca import NORMAL, RawCa, search
from wire_house import LOOPBACK, PREFIX, Wire, pva_context, spare_port

DOUBLE, CHAR = 6, 4


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


def test_a_flood_of_searches_for_foreign_names_leaves_nothing_behind(wire: Wire) -> None:
    search(wire.ca.port, f"{PREFIX}Text")
    known = wire.do(lambda: len(list(wire.ca.channels)))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for first in range(0, 5000, 25):
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
        wire.wait_for(lambda: len(calls) >= 3)
        assert client.open(f"{PREFIX}Text") is not None

    assert [record.getMessage() for record in caplog.records] == [
        "CA beacons broke off (RuntimeError('the dog ate it')) and are begun again"
    ]


# -- connections -------------------------------------------------------------------------------------------


def test_an_accepted_socket_is_quick_and_notices_dead_clients(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        client.open(f"{PREFIX}Text")
        circuits: list[Any] = wire.do(lambda: list(wire.ca.circuits))
        ours = client.socket.getsockname()
        made = next(c.transport for c in circuits if c.transport.get_extra_info("peername") == ours)
        options = made.get_extra_info("socket")

        assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert options.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_the_first_stamp_is_that_of_the_start(wire: Wire, c_client: CClient) -> None:
    seconds = c_client("timed", f"{PREFIX}Ao")[3]

    assert abs(seconds - time.time()) < 10


def test_many_connections_leave_nothing_behind(wire: Wire) -> None:
    process = psutil.Process()

    def connect(times: int) -> None:
        for _ in range(times):
            with RawCa(wire.ca.port) as client:
                client.subscribe(client.sid(f"{PREFIX}Text"), CHAR)
                client.receive(ca.EventAddResponse)

    clients = wire.do(lambda: wire.ca.clients)
    connect(200)
    wire.wait_for(lambda: wire.ca.clients == clients)
    before, watchers = process.memory_info().rss, wire.do(lambda: len(wire.cell("Text").watchers))
    connect(1500)
    wire.wait_for(lambda: wire.ca.clients == clients)

    assert process.memory_info().rss - before < 5_000_000
    assert wire.do(lambda: len(wire.cell("Text").watchers)) == watchers


def test_a_client_that_stops_listening_holds_nobody_and_gets_the_latest_later(wire: Wire) -> None:
    names = [f"{PREFIX}{suffix}" for suffix in ("Text", "Long", "Ai")]

    with RawCa(wire.ca.port, small=True) as deaf, RawCa(wire.ca.port) as other:
        sids = [deaf.sid(name) for name in names]
        for _ in range(60):  # one post is 80 kB for it
            for sid in sids:
                deaf.subscribe(sid, CHAR)
        other.subscribe(other.sid(f"{PREFIX}Ai"), DOUBLE)
        other.receive(ca.EventAddResponse)
        for number in range(300):

            def post(number: int = number) -> None:
                for suffix in ("Text", "Long"):
                    wire.cell(suffix).set(f"{number}".ljust(250, "."))
                wire.cell("Ai").set(float(number))

            wire.do(post)
            assert other.receive(ca.EventAddResponse).data[0] == number
        held = max(
            circuit.transport.get_write_buffer_size() for circuit in wire.do(lambda: list(wire.ca.circuits))
        )
        last = [""]
        while not last[0].startswith("299"):
            event = deaf.receive(ca.EventAddResponse)
            last = [bytes(event.data).decode(errors="replace")]

    assert held < 3_000_000


def test_a_hundred_clients_at_ten_posts_a_second_are_no_news(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    clients = [RawCa(wire.ca.port) for _ in range(100)]
    try:
        for client in clients:
            client.subscribe(client.sid(f"{PREFIX}Ai"), DOUBLE)
        with caplog.at_level(logging.INFO):
            for number in range(20):
                wire.do(lambda number=number: wire.cell("Ai").set(float(number)))
                time.sleep(0.1)
        for client in clients:
            events = [client.receive(ca.EventAddResponse).data[0] for _ in range(21)]
            assert events[1:] == [float(number) for number in range(20)]
    finally:
        for client in clients:
            client.socket.close()

    assert len(caplog.records) < 10


# -- nonsense ----------------------------------------------------------------------------------------------

COMMANDS = st.builds(
    lambda command, size, kind, count, first, second: (
        b"".join((number % 2**16).to_bytes(2, "big") for number in (command, size, kind, count))
        + (first % 2**32).to_bytes(4, "big")
        + (second % 2**32).to_bytes(4, "big")
    ),
    st.sampled_from([*range(0, 30), 0xFFFF]),
    st.sampled_from([0, 1, 8, 16, 40, 0xFFF8, 0xFFFF]),
    st.sampled_from([*range(0, 40), 0xFFFF]),
    st.sampled_from([0, 1, 2, 256, 257, 0xFFFF]),
    st.sampled_from([0, 1, 2, 0xFFFFFFFF]),
    st.sampled_from([0, 1, 2, 0xFFFFFFFF]),
)


@settings(max_examples=150)
@given(pieces=st.lists(st.one_of(COMMANDS, st.binary(max_size=60)), min_size=1, max_size=12))
def test_no_bytes_end_the_server(whole_wire: Wire, pieces: list[bytes]) -> None:
    hello = b"".join(map(bytes, (ca.VersionRequest(0, 13), ca.CreateChanRequest(f"{PREFIX}Text", 1, 13))))

    with RawCa(whole_wire.ca.port) as client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        client.socket.sendall(hello + b"".join(pieces))
        asker.sendto(b"".join(pieces), ("127.0.0.1", whole_wire.ca.port))
        with RawCa(whole_wire.ca.port) as other:
            assert other.put(other.sid(f"{PREFIX}Ao"), DOUBLE, 2.0) == NORMAL


def test_a_client_that_sends_nonsense_is_closed_with_one_log_line_a_minute(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    clients = wire.do(lambda: wire.ca.clients)

    for _ in range(20):
        with RawCa(wire.ca.port, source="127.0.0.77") as client:
            client.socket.sendall(b"GET / HTTP/1.1\r\nHost: ioc.example.org\r\n\r\n")
            with pytest.raises(ConnectionError):
                client.receive(ca.EchoResponse)

    wire.wait_for(lambda: wire.ca.clients == clients)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].startswith("CA client 127.0.0.77 sent nonsense")
    assert "\n" not in lines[0]


def test_a_message_that_claims_to_be_endless_is_not_waited_for(wire: Wire) -> None:
    header = (
        bytes.fromhex("0004ffff00040000") + bytes(8) + (2**31).to_bytes(4, "big") + (2**31).to_bytes(4, "big")
    )

    with RawCa(wire.ca.port) as client:
        client.socket.sendall(header + bytes(1000))
        with pytest.raises(ConnectionError):
            client.receive(ca.EchoResponse)


def test_a_client_that_asks_for_more_than_there_is_is_told(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Ao")

        assert client.read(sid, DOUBLE, 2).status.name == "ECA_BADCOUNT"
        client.subscribe(sid, DOUBLE, count=9)
        assert client.receive(ca.ErrorResponse).status.name == "ECA_BADCOUNT"
        assert client.read(sid, DOUBLE).data[0] == 1.5


def test_a_client_that_asks_for_every_count_fills_no_memory(wire: Wire) -> None:
    process = psutil.Process()

    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}WalkPlan")
        before = process.memory_info().rss
        for count in range(1, 8000, 20):
            client.read(sid, 0, count)

    assert process.memory_info().rss - before < 20_000_000


def test_a_text_longer_than_a_short_message_goes_through(wire: Wire) -> None:
    """The extended header: as strings the 8192 bytes of a plan are 327680."""
    with RawCa(wire.ca.port) as client:
        answer = client.read(client.sid(f"{PREFIX}WalkPlan"), 0)

    assert (answer.data_count, answer.header.payload_size) == (8192, 8192 * 40)
