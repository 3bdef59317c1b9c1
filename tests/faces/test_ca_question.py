"""Who else serves a name, asked of real servers and of ones that answer nonsense."""

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.faces import ca_question
from beamtime_ioc.faces.ca_question import find_instances, read_text, search, targets
from beamtime_ioc.instance import Instance
from c_ioc import SERVE, START, environment
from spare_ports import spare_port
from wire_house import PREFIX, Wire

HERE = "127.0.0.1"
NOON = Instance(host="ana1", pid=42, since=1_800_000_000.25, id="0123456789abcdef", works=True)


def test_our_own_server_is_found_and_read(wire: Wire) -> None:
    wire.do(lambda: wire.cell("Text").set(str(NOON)))

    found = find_instances(f"{PREFIX}Text", [(HERE, wire.ca.port)], 0.1)

    assert [(one.address, one.instance) for one in found] == [(f"{HERE}:{wire.ca.tcp_port}", NOON)]


def test_a_c_ioc_that_has_the_name_is_found_and_says_who_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text(
        'record(waveform, "X:Instance") { field(FTVL, "CHAR") field(NELM, "256") '
        f'field(INP, {{const:"{NOON}"}}) }}\n'
    )
    settings = environment()
    program = f"{START}c_loads(lambda p: c.dbLoadRecords(p, b''), {str(tmp_path / 'x.db')!r})\n{SERVE}"
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=settings,
        text=True,
    )
    try:
        assert child.stdout is not None
        while "running" not in (line := child.stdout.readline()):
            assert line

        found = find_instances("X:Instance", [(HERE, int(settings["EPICS_CA_SERVER_PORT"]))], 0.5)
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()

    assert [one.instance for one in found] == [NOON]


def test_a_name_that_nobody_has_is_answered_by_nobody_and_waited_for_as_long_as_was_said(wire: Wire) -> None:
    began = time.monotonic()

    assert search(f"{PREFIX}NoSuchRecord", [(HERE, wire.ca.port)], 0.2) == []

    assert 0.2 <= time.monotonic() - began < 2


def test_a_port_where_nobody_listens_does_no_harm(wire: Wire) -> None:
    nobody = (HERE, spare_port())

    found = search(f"{PREFIX}Text", [nobody, (HERE, wire.ca.port)], 0.2)

    assert found == [(HERE, wire.ca.tcp_port)]


def test_if_the_question_can_be_sent_to_nobody_it_is_an_error() -> None:
    with pytest.raises(OSError, match=r"unreachable|Invalid|denied|assign"):
        search("X:Instance", [("255.255.255.255", 0)], 0.1)


@contextmanager
def udp_server(answer: Callable[[bytes], list[bytes]]) -> Iterator[tuple[str, int]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HERE, 0))

        def serve() -> None:
            with suppress(OSError):
                while True:
                    question, asker = server.recvfrom(65536)
                    if not question:
                        return
                    for part in answer(question):
                        server.sendto(part, asker)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender:
                ender.sendto(b"", server.getsockname())
            thread.join()


@contextmanager
def tcp_server(*parts: bytes, hold: bool = False) -> Iterator[tuple[str, int]]:
    """Sends these parts, one for each time that it hears something, then hangs up or says nothing more."""
    ends: list[socket.socket] = []
    with socket.socket() as server:
        server.bind((HERE, 0))
        server.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    ends.append(client)
                    for part in parts:
                        if not client.recv(65536):
                            break
                        client.sendall(part)
                    if not hold:
                        client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for client in ends:
                client.close()
            thread.join()


def header(
    command: int, size: int = 0, kind: int = 0, count: int = 0, first: int = 0, second: int = 0
) -> bytes:
    return struct.pack(">HHHHII", command, size, kind, count, first, second)


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_nonsense_in_answer_to_a_search_is_passed_over(parts: list[bytes]) -> None:
    with udp_server(lambda _: parts) as address:
        found = search("X:Instance", [address], 0.02)

    assert all(0 < port < 65536 for _, port in found)


def test_somebody_who_answers_with_a_thousand_servers_is_heard_only_so_far() -> None:
    flood = [header(6, kind=port, first=ca_question.SENDER, second=1) for port in range(1000, 2000)]

    with udp_server(lambda _: flood) as address:
        found = search("X:Instance", [address], 0.2)

    assert len(found) <= ca_question.MOST_ANSWERS


CREATED = header(18, kind=4, count=256, first=1, second=7)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"\xff" * 100,),
        (header(26, first=1),),
        (header(18, 0xFFFF),),
        (CREATED, header(15, 8, kind=0, count=1, first=1, second=1) + b"whatever"),
        (CREATED, header(15, 8, kind=4, count=8, first=999, second=1) + b"whatever"),
        (CREATED, header(15, 8, kind=4, count=8, first=1, second=1) + b"\xff" * 8),
        (CREATED, header(15, 8, kind=4, count=8, first=1, second=1) + b"half"),
    ],
)
def test_a_server_that_answers_nonsense_is_somebody_who_does_not_say_who_it_is(
    parts: tuple[bytes, ...],
) -> None:
    with tcp_server(*parts) as tcp:
        answer = header(6, 8, kind=tcp[1], first=ca_question.SENDER, second=1) + b"\0\x0d" + b"\0" * 6
        with udp_server(lambda _: [answer]) as udp:
            found = find_instances("X:Instance", [udp], 0.1)

    assert [(one.address, one.instance) for one in found] == [(f"{HERE}:{tcp[1]}", None)]


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with tcp_server(header(0), hold=True) as tcp, pytest.raises(TimeoutError):
        read_text(tcp, "X:Instance", 0.2)


def test_on_loopback_it_asks_on_loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EPICS_CA_ADDR_LIST", raising=False)

    assert targets([HERE], 5064, []) == [(HERE, 5064)]


def test_it_asks_where_the_environment_and_the_site_file_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", "127.0.0.2 127.0.0.3:5070")

    assert targets([HERE], 5064, ["127.0.0.4:99", "127.0.0.2"]) == [
        (HERE, 5064),
        ("127.0.0.2", 5064),
        ("127.0.0.3", 5070),
        ("127.0.0.4", 99),
    ]


def test_an_address_that_cannot_be_resolved_is_named_with_the_setting() -> None:
    with pytest.raises(BeamtimeError, match=r"twin\.addresses of the site file: nobody\.invalid cannot"):
        targets([HERE], 5064, ["nobody.invalid"])
