"""Clients of the Channel Access server: many, dead, deaf, and talking nonsense."""

import logging
import socket
import threading
import time
from typing import Any

import caproto as ca
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c_client import CClient
from raw_ca import NORMAL, RawCa
from wire_house import PREFIX, Wire

DOUBLE, CHAR = 6, 4


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
        error = client.receive(ca.ErrorResponse)
        assert client.read(sid, DOUBLE).data[0] == 1.5

    assert error.status.name == "ECA_BADCOUNT"
    assert bytes(error.error_message).rstrip(b"\0").decode() == f"{PREFIX}Ao: it has 1 elements"


def test_a_client_that_gives_a_number_to_two_subscriptions_is_told(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Ao")
        number = client.subscribe(sid, DOUBLE)
        client.receive(ca.EventAddResponse)

        client.send(ca.EventAddRequest(DOUBLE, 1, sid, number, 0, 0, 0, 5))
        error = client.receive(ca.ErrorResponse)

    said = bytes(error.error_message).rstrip(b"\0").decode()
    assert said == f"{PREFIX}Ao: there is a subscription {number} already"


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


def test_a_client_that_asks_and_does_not_read_costs_little_and_gets_every_answer_in_order(wire: Wire) -> None:
    total = 20_000
    kept: list[int] = []

    with RawCa(wire.ca.port, small=True) as client:
        sid = client.sid(f"{PREFIX}Text")
        first = client.number()
        requests = b"".join(
            bytes(ca.ReadNotifyRequest(CHAR, 0, sid, first + number)) for number in range(total)
        )
        sending = threading.Thread(target=client.socket.sendall, args=(requests,))
        sending.start()
        wire.wait_for(lambda: any(not circuit.listening for circuit in wire.ca.circuits))
        kept += wire.do(lambda: [len(circuit._waiting) for circuit in wire.ca.circuits])
        answers = [client.receive(ca.ReadNotifyResponse).ioid for _ in range(total)]
        sending.join()

    assert answers == [first + number for number in range(total)]
    assert max(kept) < 3000
