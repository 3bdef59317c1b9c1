"""Puts of every type and length to every record, on both protocols: what is not valid changes nothing."""

import contextlib
import logging
import math
import struct
from collections.abc import Iterator
from typing import Any

import caproto as ca
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4p.client.thread import RemoteError

from beamtime_ioc.board import Cell
from beamtime_ioc.records import Kind, db_dir
from beamtime_ioc.values import Value
from c_client import CClient
from put_rules import ACKNOWLEDGE, FORMATS, Refused, in_range, meaning, single
from raw_ca import NORMAL, RawCa
from raw_pva import PUT, RPC, RawPva
from wire_house import PREFIX, PvaClient, Wire, pva_context

SITE = "99bm:Beamtime:"
WRITE, WRITE_NOTIFY = 4, 19
TYPES = st.one_of(st.integers(0, 6), st.integers(0, 40), st.sampled_from([35, 36, 0xFFFF]))
COUNTS = st.one_of(st.integers(0, 3), st.integers(0, 300), st.sampled_from([1024, 0x7FFF, 0xFFFF, 2**31]))
DATA = st.one_of(
    st.binary(max_size=80),
    st.binary(min_size=200, max_size=1200),
    st.text(max_size=45).map(str.encode),
    st.sampled_from([b"Green", b"Go", b"1", b"-1", b"2.5", b"nan", b"inf", b"1e400", b"Start", b"\0" * 256]),
    *(st.integers(0, 70).map(lambda number, letter=f: struct.pack(f">{letter}", number)) for f in "hHBi"),
    st.floats().map(lambda number: struct.pack(">d", number)),
    st.floats(width=32).map(lambda number: struct.pack(">f", number)),
)


@st.composite
def sent(draw: st.DrawFn) -> tuple[int, int, bytes]:
    """Type, count and data: one number as it should be in every other put, and anything in the others."""
    if draw(st.booleans()):
        return draw(TYPES), draw(COUNTS), draw(DATA)
    kind = draw(st.sampled_from([0, *FORMATS]))
    number = draw(st.integers(0 if kind in (0, 3, 4) else -2, 17))
    return kind, 1, f"{number}".encode() if kind == 0 else struct.pack(f">{FORMATS[kind]}", number)


@pytest.fixture(scope="module")
def site_wire() -> Iterator[Wire]:
    """The records that we ship, without what stands behind them."""
    wire = Wire([db_dir() / "beamtime.substitutions"], prefix=SITE, access=db_dir() / "access.acf")
    try:
        yield wire
    finally:
        wire.stop()


@pytest.fixture(scope="module")
def site_pva(site_wire: Wire) -> Iterator[PvaClient]:
    with pva_context(site_wire.pva.port) as context:
        yield context


@pytest.fixture(scope="module")
def site_c(site_wire: Wire) -> Iterator[CClient]:
    with CClient(site_wire.ca.port) as client:
        yield client


class Put:
    """Puts to any record of one or the other board, and sees to it that only valid ones count."""

    def __init__(self, *wires: Wire) -> None:
        self.places = [(wire, cell) for wire in wires for cell in wire.board.cells.values()]

    def choose(self, number: int) -> tuple[Wire, Cell]:
        return self.places[number % len(self.places)]


@pytest.fixture(scope="module")
def puts(whole_wire: Wire, site_wire: Wire) -> Put:
    return Put(whole_wire, site_wire)


def may_write(cell: Cell) -> bool:
    """By the access files: this computer, and no account but alice for hers."""
    return cell.record.asg not in ("closed", "alices") and not (
        cell.name.startswith(SITE) and cell.record.asg in ("", "DEFAULT")
    )


def raw_put(command: int, sid: int, kind: int, count: int, data: bytes) -> bytes:
    """A put as its header says, whatever the truth."""
    data += bytes(-len(data) % 8)
    if count > 0xFFFF or len(data) >= 0xFFFF:
        return struct.pack(">HHHHIIII", command, 0xFFFF, kind, 0, sid, 77, len(data), count) + data
    return struct.pack(">HHHHII", command, len(data), kind, count, sid, 77) + data


@settings(max_examples=700)
@given(
    number=st.integers(0, 200),
    put=sent(),
    command=st.sampled_from([WRITE, WRITE_NOTIFY]),
)
def test_over_ca_a_put_of_any_type_count_and_length_counts_only_if_it_is_valid(
    puts: Put, number: int, put: tuple[int, int, bytes], command: int
) -> None:
    kind, count, data = put
    wire, cell = puts.choose(number)
    before, alarm = wire.do(lambda: (cell.value, cell.reading.alarm))
    padded = data + bytes(-len(data) % 8)
    try:
        # Acknowledging an alarm is taken from everybody, and means nothing.
        wanted = before if kind in ACKNOWLEDGE else meaning(cell.record, kind, count, padded)
        if kind not in ACKNOWLEDGE and not may_write(cell):
            raise Refused
        valid = True
    except Refused:
        wanted, valid = before, False

    with RawCa(wire.ca.port) as client:
        sid = client.sid(cell.name)
        with contextlib.suppress(ConnectionError):  # it may be let go, if it lies
            client.socket.sendall(raw_put(command, sid, kind, count, data))
            if command == WRITE_NOTIFY:
                answer = client.receive(ca.WriteNotifyResponse)
                assert valid == (answer.header.parameter1 == NORMAL)
            else:
                client.echo()

    assert same(wire.do(lambda: cell.value), wanted)
    assert valid or wire.do(lambda: cell.reading.alarm) == alarm
    with RawCa(wire.ca.port) as other:
        assert other.read(other.sid(cell.name), 0).header.parameter1 == NORMAL


@pytest.mark.parametrize("count", [0, 2, 5000, 0xFFFF])
def test_over_ca_a_put_that_lies_about_its_size_changes_nothing(wire: Wire, count: int) -> None:
    before = wire.value("Ao")

    with RawCa(wire.ca.tcp_port) as client:
        client.send(raw_put(WRITE_NOTIFY, client.sid(f"{PREFIX}Ao"), 6, count, struct.pack(">d", 7.0)))

    with RawCa(wire.ca.tcp_port) as other:
        other.echo()
        other.read(other.sid(f"{PREFIX}Ao"), 6)
    assert wire.value("Ao") == before


def same(found: Value, wanted: Value) -> bool:
    return type(found) is type(wanted) and found == wanted


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-5, 20),
    st.floats(),
    st.text(max_size=300),
    st.sampled_from(["Green", "Start", "Done", "1", "0", "-1", "nan"]),
    st.lists(st.integers(0, 255), max_size=5),
    st.dictionaries(st.sampled_from(["value", "index", "value.index", "alarm.severity", "x"]), st.integers()),
)


@pytest.mark.filterwarnings("ignore:enum_t assignment with empty choices")
@settings(max_examples=500)
@given(number=st.integers(0, 200), value=VALUES)
def test_over_pva_a_put_of_any_value_counts_only_if_it_is_valid(
    puts: Put, pva: PvaClient, site_pva: PvaClient, number: int, value: Any
) -> None:
    wire, cell = puts.choose(number)
    client = site_pva if cell.name.startswith(SITE) else pva
    before, alarm = wire.do(lambda: (cell.value, cell.reading.alarm))

    try:
        client.put(cell.name, value, timeout=10, get=False)
        taken = True
    except (RemoteError, TypeError, ValueError, KeyError, OverflowError, RuntimeError, AttributeError):
        taken = False  # refused, or nothing that a client could send

    after = wire.do(lambda: cell.value)
    assert taken or wire.do(lambda: cell.reading.alarm) == alarm
    if not same(after, before):
        assert taken
        assert may_write(cell)
        assert agrees(after, by_pva(cell, value))
    assert client.get(cell.name, timeout=10) is not None


def agrees(found: Value, wanted: Value) -> bool:
    """Whether it is what was wanted; of a number in a text pvxs chooses the digits."""
    if isinstance(found, str) and isinstance(wanted, float):
        return math.isclose(float(found), wanted, rel_tol=1e-4) or (math.isnan(wanted) and "nan" in found)
    return same(found, wanted)


def by_pva(cell: Cell, value: Any) -> Value:
    """What a put of a client's value may mean: pvxs makes the number or the text out of it."""
    if isinstance(value, dict):
        value = value.get("value.index", value.get("value"))
    if cell.record.kind in (Kind.TEXT, Kind.STRING):
        if isinstance(value, bool):
            return str(value).lower()
        return value if isinstance(value, float) else str(value).partition("\0")[0]
    if isinstance(value, str):
        return single(cell.record, value)
    number = float(value)
    if cell.record.kind is not Kind.FLOAT:
        # The client has made an integer of it before: cut, and anything at all if it was too great.
        number = math.trunc(number) if abs(number) < 2**31 else cell.value
    return in_range(cell.record, float(number))


@settings(max_examples=400)
@given(number=st.integers(0, 200), mask=st.binary(min_size=1, max_size=4), data=DATA)
def test_over_pva_a_put_of_any_bytes_counts_only_if_it_is_valid(
    puts: Put, number: int, mask: bytes, data: bytes
) -> None:
    wire, cell = puts.choose(number)
    before = wire.do(lambda: cell.value)

    with RawPva(wire.pva.tcp_port) as client:
        sid = client.open(1, cell.name)
        assert sid is not None
        client.begin(PUT, sid, 2)
        with contextlib.suppress(ConnectionError):
            client.go_on(PUT, sid, 2, bytes([len(mask)]) + mask + data)

    after = wire.do(lambda: cell.value)
    assert same(after, before) or (cell.record.writable and may_write(cell))
    if cell.record.kind is Kind.TEXT or cell.record.kind is Kind.STRING:
        assert len(str(after).encode()) <= cell.record.nelm
    else:
        assert same(after, in_range(cell.record, float(after)))
    with RawPva(wire.pva.tcp_port) as other:
        assert other.open(1, cell.name) is not None


def test_over_pva_an_account_that_is_no_text_is_refused_in_words_and_logged_once(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    data = b"\x01\x02" + struct.pack("<d", 2.0)
    with caplog.at_level(logging.INFO), RawPva(wire.pva.tcp_port, account=b"\xff\xfe") as client:
        sid = client.open(1, f"{PREFIX}Wide")
        assert sid is not None
        client.begin(PUT, sid, 2)
        answers = [client.go_on(PUT, sid, 2, data) for _ in range(3)]

    assert all(b"the account is no Unicode text; name yourself in UTF-8" in answer for answer in answers)
    assert wire.value("Wide") == 0.0
    (line,) = caplog.records
    assert "127.0.0.1" in line.getMessage()
    assert line.exc_info is None


WRONG = [
    (0, 1, b"no such state".ljust(40, b"\0")),
    (0, 2, b"1".ljust(40, b"\0") + b"2".ljust(40, b"\0")),
    (1, 2, struct.pack("2h", 1, 1)),
    (2, 1, struct.pack("f", float("nan"))),
    (3, 1, struct.pack("H", 999)),
    (5, 1, struct.pack("i", -(2**31))),
    (5, 2, struct.pack("2i", 1, 1)),
    (6, 1, struct.pack("d", float("inf"))),
    (6, 1, struct.pack("d", 1e300)),
]
"""Type, count and bytes as libca takes them."""


def test_over_libca_wrong_puts_to_every_shipped_record_change_nothing(
    site_wire: Wire, site_c: CClient
) -> None:
    cells = list(site_wire.board.cells.values())
    before = {cell.name: site_wire.do(lambda cell=cell: cell.value) for cell in cells}

    wrong: list[tuple[str, int]] = []
    for cell in cells:
        for kind, count, data in WRONG:
            big = (
                b"".join(
                    struct.pack(f">{FORMATS[kind]}", *each)
                    for each in struct.iter_unpack(FORMATS[kind], data)
                )
                if kind
                else data
            )
            try:
                meaning(cell.record, kind, count, big)
            except Refused:
                if site_c("put", cell.name, kind, count, data.hex()) == NORMAL:
                    wrong.append((cell.name, kind))

    assert wrong == []
    assert {cell.name: site_wire.do(lambda cell=cell: cell.value) for cell in cells} == before


def test_over_pva_a_state_that_there_is_not_is_refused_by_every_shipped_record(
    site_wire: Wire, site_pva: PvaClient
) -> None:
    states = [cell for cell in site_wire.board.cells.values() if cell.record.kind is Kind.STATES]
    before = {cell.name: site_wire.do(lambda cell=cell: cell.value) for cell in states}

    for cell in states:
        for index in (-1, len(cell.record.states), 2**31 - 1):
            with pytest.raises(RemoteError):
                site_pva.put(cell.name, {"value.index": index}, timeout=10, get=False)

    assert {cell.name: site_wire.do(lambda cell=cell: cell.value) for cell in states} == before


def test_a_call_by_an_account_that_is_no_text_is_refused_in_words(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    empty = b"\x80\x00\x00"  # a structure without a name and without fields
    with RawPva(wire.pva.tcp_port, account=b"\xff\xfe") as client:
        sid = client.open(1, f"{PREFIX}Press")
        assert sid is not None
        client.begin(RPC, sid, 2)
        answer = client.go_on(RPC, sid, 2, empty)

    assert b"the account is no Unicode text; name yourself in UTF-8" in answer
    assert "Traceback" not in caplog.text
