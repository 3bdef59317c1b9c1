"""Floods: of searches for foreign names, of wrong puts, and of events to somebody who never reads."""

import itertools
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import caproto as ca
import psutil
import pytest

from beamtime_ioc.faces import ca_circuit
from fuzz.target import Target
from raw_ca import NORMAL, RawCa, search
from raw_pva import GET, MONITOR, START, RawPva, message, numbered, searching
from wire_house import PREFIX, Wire

CHAR, DOUBLE = 4, 6
SEARCHES, IN_ONE = 10_000, 20
GROWTH_MB, GET_S = 5.0, 0.25


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with Target(Path(tmp_path_factory.mktemp("floods")) / "server.log") as started:
        yield started


def foreign(first: int) -> list[str]:
    """Names, some of which begin as ours do."""
    return [
        f"{PREFIX}Text.X{number}" if number % 7 == 0 else f"Y:Foreign{number}"
        for number in range(first, first + IN_ONE)
    ]


def datagrams(port: int, make: Callable[[int], bytes]) -> Callable[[int], None]:
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.bind(("127.0.0.1", 0))
    asker.connect(("127.0.0.1", port))

    def ask(first: int) -> None:
        asker.send(make(first))

    return ask


def ca_datagram(first: int) -> bytes:
    requests = [ca.SearchRequest(name, first + n, 13) for n, name in enumerate(foreign(first))]
    return b"".join(map(bytes, [ca.VersionRequest(0, 13), *requests]))


@pytest.mark.parametrize("way", ["CA datagrams", "CA connection", "PVA datagrams", "PVA connection"])
def test_10000_searches_for_foreign_names_slow_nobody_and_leave_nothing(target: Target, way: str) -> None:
    circuit, connection = RawCa(target.ca), RawPva(target.pva_tcp)
    ask = {
        "CA datagrams": datagrams(target.ca, ca_datagram),
        "CA connection": lambda first: circuit.socket.sendall(ca_datagram(first)),
        "PVA datagrams": datagrams(target.pva, lambda first: searching(first, 9, *foreign(first))),
        "PVA connection": lambda first: connection.send(searching(first, 9, *foreign(first))),
    }[way]

    with circuit, connection, RawCa(target.ca) as other:
        sid = other.sid(f"{PREFIX}Ao")
        for first in range(0, 1000, IN_ONE):  # pools are filled once
            ask(first)
        target.check()
        before_mb, lines, longest_s = target.rss_mb, target.said().count("\n"), 0.0
        for first in range(0, SEARCHES, IN_ONE):
            ask(first)
            began = time.perf_counter()
            assert other.read(sid, DOUBLE).header.parameter1 == NORMAL
            longest_s = max(longest_s, time.perf_counter() - began)
        target.check()

    assert target.rss_mb - before_mb < GROWTH_MB
    assert target.said().count("\n") == lines
    assert longest_s < GET_S


def test_a_flood_of_wrong_puts_does_not_fill_the_log_and_a_later_mistake_is_told(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = struct.pack(">d", 1e9)
    with caplog.at_level(logging.INFO), RawCa(wire.ca.port, source="127.0.0.1") as client:
        sid = client.sid(f"{PREFIX}Ao")
        began = time.monotonic()
        for _ in range(3000):
            client.send(client.put_request(sid, DOUBLE, 1, wrong, waits=False))
        client.echo()
        seconds = time.monotonic() - began
        lines = len(caplog.records)

        def told() -> bool:
            client.put_bytes(sid, DOUBLE, 1, wrong)
            return "more like it since the last line" in caplog.records[-1].getMessage()

        wire.wait_for_outside(told)

    assert 1 <= lines <= 2 + seconds
    assert wire.value("Ao") == 1.5


def flooded(wire: Wire, turns: int) -> None:
    for turn in range(turns):

        def post(turn: int = turn) -> None:
            wire.cell("Long").set(f"{turn}".ljust(1000, "."))
            wire.cell("Text").set(f"{turn}".ljust(250, "."))

        wire.do(post)


def test_a_ca_client_that_never_reads_holds_nobody_and_little_and_is_let_go(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ca_circuit, "DEAF_S", 0.5)
    process = psutil.Process()

    with RawCa(wire.ca.port, small=True, source="127.0.0.78") as deaf, RawCa(wire.ca.port) as other:
        for sid in [deaf.sid(f"{PREFIX}{suffix}") for suffix in ("Long", "Text")]:
            for _ in range(60):
                deaf.subscribe(sid, CHAR)
        sid = other.sid(f"{PREFIX}Ai")
        before = process.memory_info().rss
        flooded(wire, 500)  # 75 MB for it
        began = time.perf_counter()
        assert other.read(sid, DOUBLE).header.parameter1 == NORMAL
        waited_s = time.perf_counter() - began
        grown = process.memory_info().rss - before
        wire.wait_for(lambda: all("127.0.0.78" not in circuit.peer for circuit in wire.ca.circuits))
        assert other.read(sid, DOUBLE).header.parameter1 == NORMAL

    assert waited_s < GET_S
    assert grown < 15_000_000
    told = [record.getMessage() for record in caplog.records if "127.0.0.78" in record.getMessage()]
    assert told == ["CA client 127.0.0.78 has read nothing for 0.5 s: closed"]


def test_a_ca_client_that_reads_slowly_is_kept(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca_circuit, "DEAF_S", 0.4)
    total, busy_s = 8000, 0.0

    with RawCa(wire.ca.port, small=True) as slow:
        sid = slow.sid(f"{PREFIX}Long")
        slow.send(*(ca.ReadNotifyRequest(CHAR, 0, sid, number) for number in range(total)))
        wire.wait_for(lambda: any(not circuit.listening for circuit in wire.ca.circuits))
        began = time.monotonic()
        for number in range(total):
            if number % 300 == 0:
                end = time.monotonic() + 0.05
                while time.monotonic() < end:
                    if wire.do(lambda: any(not circuit.listening for circuit in wire.ca.circuits)):
                        busy_s = time.monotonic() - began
            assert slow.receive(ca.ReadNotifyResponse).ioid == number

    assert busy_s > 0.5  # longer than somebody who reads nothing is borne


def test_a_pva_client_that_never_reads_holds_nobody_and_little(wire: Wire) -> None:
    process = psutil.Process()

    with RawPva(wire.pva.tcp_port, small=True) as deaf, RawPva(wire.pva.tcp_port) as other:
        numbers = itertools.count(1)
        for channel, suffix in enumerate(("Long", "Text")):
            sid = deaf.open(channel, PREFIX + suffix)
            assert sid is not None
            for number in itertools.islice(numbers, 60):
                deaf.begin(MONITOR, sid, number)
                deaf.send(numbered(MONITOR, sid, number, START))
        sid = other.open(1, f"{PREFIX}Ai")
        assert sid is not None
        other.begin(GET, sid, 1)
        flooded(wire, 100)
        before = process.memory_info().rss
        flooded(wire, 1000)
        began = time.perf_counter()
        assert other.go_on(GET, sid, 1)[0] == 0xFF
        waited_s = time.perf_counter() - began
        grown = process.memory_info().rss - before

    assert waited_s < GET_S
    assert grown < 30_000_000  # kept for each of the 120, all would be 75 MB


def test_what_a_stranger_makes_pvxs_say_is_one_line_of_ours_a_minute(
    target: Target,
) -> None:
    lines = target.said().count("\n")

    for _ in range(300):
        with RawPva(target.pva_tcp, source="127.0.0.2") as client:
            client.send(numbered(GET, 4711, 1, 0), message(0x77, b"nonsense" * 30), b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(ConnectionError):
                client.receive(GET)

    target.check()
    assert target.said().count("\n") - lines < 20


def test_after_all_of_this_searches_are_answered(target: Target) -> None:
    assert search(target.ca, f"{PREFIX}Text") == [target.ca]
    target.check()
