"""Broken messages at every port, made of real ones: the server serves on, and no value changes.

`make fuzz` does the same for as long as one likes.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import caproto as ca
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.edits import CHANGES, LENGTH_BYTES, NUMBERS, Edit, edited
from fuzz.real import DATAGRAMS, FIRST_SID, PAUSE, RECORDS, STREAMS, ca_stream, pva_stream
from fuzz.target import Target, throw, throw_datagram
from raw_ca import NORMAL, RawCa
from raw_pva import GET, MONITOR, OPEN, PUT, RPC, RawPva
from wire_house import Wire

EDITS = st.lists(
    st.builds(
        Edit,
        what=st.sampled_from(sorted(CHANGES)),
        which=st.integers(0, 60),
        where=st.integers(0, 300),
        number=st.one_of(st.sampled_from(NUMBERS), st.integers(0, 2**32 - 1)),
    ),
    min_size=1,
    max_size=6,
)
PROTOCOLS = sorted(STREAMS)
LINES = 60
"""In the log of a whole test: some for each kind of nonsense, and none for each throw."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with Target(Path(tmp_path_factory.mktemp("fuzz")) / "server.log") as started:
        yield started


def ports(target: Target, protocol: str) -> tuple[int, int]:
    return (target.ca, target.ca) if protocol == "ca" else (target.pva_tcp, target.pva)


@pytest.mark.filterwarnings("ignore:ReadResponse was deprecated")
def test_over_ca_the_fuzz_begins_with_messages_that_a_server_takes(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        client.socket.sendall(b"".join(ca_stream()))
        made = [client.receive(ca.CreateChanResponse).cid for _ in RECORDS]
        events = [client.receive(ca.EventAddResponse).subscriptionid for _ in range(2)]
        puts = [client.receive(ca.WriteNotifyResponse).header.parameter1 for _ in RECORDS]

    assert made == list(range(len(RECORDS)))
    assert [status == NORMAL for status in puts] == [True] * 6 + [False]  # the last is an input
    assert events[0] == 20
    assert (wire.value("Mbbo"), wire.value("Longout"), wire.value("Stringout")) == (1, 5, "new")


def test_over_pva_the_fuzz_begins_with_messages_that_a_server_takes(wire: Wire) -> None:
    with RawPva(wire.pva.tcp_port) as client:
        first, second = (at for at, each in enumerate(pva_stream()) if each == PAUSE)
        client.send(*pva_stream()[1:first])
        made = [struct.unpack_from("<II", client.receive(OPEN).payload) for _ in RECORDS]
        client.send(*pva_stream()[first:second])
        begun = [client.receive(GET, PUT, MONITOR, RPC).payload[5] for _ in range(3 * len(RECORDS) + 2)]
        client.send(*pva_stream()[second:])
        answers = [client.receive(GET, PUT, MONITOR) for _ in range(3 * len(RECORDS))]

    assert made == [(number, FIRST_SID + number) for number in range(len(RECORDS))]
    assert set(begun) == {0xFF}
    assert {answer.command for answer in answers} == {GET, PUT, MONITOR}
    wire.wait_for(lambda: wire.cell("Walk").value == 1)  # among the last of its puts
    assert (wire.value("Mbbo"), wire.value("Longout"), wire.value("Stringout")) == (1, 5, "new")
    assert (wire.value("Ao"), wire.value("Text")) == (2.0, "new")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("way", ["connection", "datagram"])
def test_broken_messages_change_no_value_and_stop_nobody(target: Target, protocol: str, way: str) -> None:
    port, search_port = ports(target, protocol)
    before, lines = target.values(), target.said().count("\n")

    @settings(max_examples=120)
    @given(edits=EDITS)
    def break_them(edits: list[Edit]) -> None:
        if way == "connection":
            throw(port, edited(STREAMS[protocol](), edits))
        else:
            throw_datagram(search_port, edited(DATAGRAMS[protocol](), edits))
        target.check()

    break_them()
    assert target.values() == before
    assert target.said().count("\n") - lines < LINES


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=60)
@given(data=st.binary(max_size=400))
def test_bytes_that_are_no_messages_stop_nobody(target: Target, protocol: str, data: bytes) -> None:
    port, search_port = ports(target, protocol)

    throw(port, [data])
    throw_datagram(search_port, [data])

    target.check()


def test_connections_that_say_nothing_or_half_a_message_are_let_go(wire: Wire) -> None:
    idle = wire.do(lambda: len(wire.ca.circuits))

    for message in ca_stream():
        throw(wire.ca.tcp_port, [message[: len(message) // 2]])
        throw(wire.ca.tcp_port, [])

    wire.wait_for(lambda: len(wire.ca.circuits) <= idle)


@given(edits=EDITS)
def test_what_is_thrown_has_a_bound(edits: list[Edit]) -> None:
    assert sum(map(len, edited(ca_stream(), edits))) <= LENGTH_BYTES
