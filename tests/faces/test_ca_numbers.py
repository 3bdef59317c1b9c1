"""States and numbers over Channel Access: every form a client may send, and what is refused."""

import math
import struct

import pytest

from c_client import CClient
from raw_ca import GETFAIL, NORMAL, PUTFAIL, RawCa, element
from wire_house import PREFIX, Wire

STRING, SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE = range(7)
LABELS = [f"state-{n}-of-25-characters".ljust(25, "-") for n in range(16)]
RECORDS = ["Text", "Stringout", "Stringin", "Bo", "Bi", "Mbbo", "Many", "Longout", "Longin", "Ao", "Ai"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (STRING, "Blue"),
        (STRING, "2"),
        (STRING, "2.0"),
        (STRING, " 2"),
        (SHORT, 2),
        (FLOAT, 2.0),
        (ENUM, 2),
        (CHAR, 2),
        (LONG, 2),
        (DOUBLE, 2.0),
    ],
)
def test_a_state_is_put_as_label_number_or_digits(wire: Wire, kind: int, value: object) -> None:
    with RawCa(wire.ca.port) as client:
        status = client.put(client.sid(f"{PREFIX}Mbbo"), kind, value)

    assert (status, wire.value("Mbbo")) == (NORMAL, 2)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (STRING, "blue"),
        (STRING, "Bl"),
        (STRING, ""),
        (STRING, "3"),
        (STRING, "-1"),
        (STRING, "nan"),
        (SHORT, 3),
        (SHORT, -1),
        (ENUM, 7),
        (ENUM, 65535),
        (LONG, 2**31 - 1),
        (DOUBLE, 1.5),
        (DOUBLE, math.nan),
        (DOUBLE, math.inf),
        (DOUBLE, -math.inf),
        (FLOAT, 1e30),
    ],
)
def test_what_is_no_state_is_refused_and_nothing_changes(
    wire: Wire, c_client: CClient, kind: int, value: object
) -> None:
    wire.do(lambda: wire.cell("Mbbo").set(1))
    before = c_client("timed", f"{PREFIX}Mbbo")

    with RawCa(wire.ca.port) as client:
        status = client.put(client.sid(f"{PREFIX}Mbbo"), kind, value)

    assert status == PUTFAIL
    assert c_client("timed", f"{PREFIX}Mbbo") == before == [1, 0, 0, *before[3:]]


def test_an_index_that_is_no_state_leaves_the_record_readable_by_c(wire: Wire, c_client: CClient) -> None:
    status = c_client("put", f"{PREFIX}Mbbo", SHORT, 1, struct.pack("=h", 7).hex())

    assert status == PUTFAIL
    assert c_client("get", f"{PREFIX}Mbbo", STRING) == "Red"


def test_sixteen_states_of_25_letters_are_shown_and_put(wire: Wire, c_client: CClient) -> None:
    assert c_client("control", f"{PREFIX}Many")["enum_strs"] == LABELS

    for index, label in enumerate(LABELS):
        assert c_client("caput", f"{PREFIX}Many", label) == 1
        assert wire.value("Many") == index
        assert c_client("get", f"{PREFIX}Many", STRING) == label


def test_a_label_that_is_a_number_is_a_label_first(wire: Wire, c_client: CClient) -> None:
    for words, index in {"20": 1, "0": 2, "10": 0, "1": 1}.items():
        status = c_client("put", f"{PREFIX}Digits", STRING, 1, words.encode().ljust(40, b"\0").hex())
        assert (status, wire.value("Digits")) == (NORMAL, index)


def test_a_state_without_a_label_is_not_chosen_by_an_empty_text(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Gap")
        assert client.put(sid, STRING, "") == PUTFAIL
        assert client.put(sid, STRING, "third") == NORMAL

    assert wire.value("Gap") == 2


@pytest.mark.parametrize(
    ("suffix", "kind", "value", "wanted"),
    [
        ("Longout", LONG, -80, -80),
        ("Longout", LONG, 80, 80),
        ("Longout", DOUBLE, 3.7, 3),
        ("Longout", DOUBLE, -3.7, -3),
        ("Longout", STRING, "42", 42),
        ("Longout", STRING, "4e1", 40),
        ("Free", LONG, -(2**31), -(2**31)),
        ("Free", DOUBLE, 2.0**31 - 1, 2**31 - 1),
        ("Ao", DOUBLE, -8.0, -8.0),
        ("Ao", FLOAT, 0.5, 0.5),
        ("Ao", SHORT, -7, -7.0),
        ("Ao", STRING, "2.5", 2.5),
        ("Ao", CHAR, 7, 7.0),
        ("Wide", DOUBLE, 1.7976931348623157e308, 1.7976931348623157e308),
        ("Wide", DOUBLE, -0.0, 0.0),
    ],
)
def test_a_number_is_taken_in_every_type(
    wire: Wire, suffix: str, kind: int, value: object, wanted: float
) -> None:
    with RawCa(wire.ca.port) as client:
        status = client.put(client.sid(PREFIX + suffix), kind, value)

    assert (status, wire.value(suffix)) == (NORMAL, wanted)


@pytest.mark.parametrize(
    ("suffix", "kind", "value"),
    [
        ("Longout", LONG, 81),
        ("Longout", LONG, -81),
        ("Free", DOUBLE, 2.0**31),
        ("Free", DOUBLE, -(2.0**31) - 1),
        ("Free", DOUBLE, math.nan),
        ("Free", STRING, "many"),
        ("Free", STRING, ""),
        ("Ao", DOUBLE, 8.001),
        ("Ao", DOUBLE, math.nan),
        ("Ao", FLOAT, math.inf),
        ("Wide", STRING, "1e999"),
        ("Ai", DOUBLE, 0.5),
        ("Longin", LONG, 1),
        ("Bi", ENUM, 1),
        ("Mbbi", ENUM, 1),
        ("Stringin", STRING, "x"),
    ],
)
def test_a_number_out_of_its_range_and_an_input_are_refused(
    wire: Wire, suffix: str, kind: int, value: object
) -> None:
    before = wire.cell(suffix).reading

    with RawCa(wire.ca.port) as client:
        status = client.put(client.sid(PREFIX + suffix), kind, value)

    assert status == PUTFAIL
    assert wire.cell(suffix).reading is before


def test_two_elements_are_refused_where_one_is_held(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Ao")
        assert client.put_bytes(sid, DOUBLE, 2, element(DOUBLE, 1.0) * 2) == PUTFAIL
        assert client.put_bytes(sid, DOUBLE, 2, element(DOUBLE, 1.0)) == PUTFAIL
        assert client.put_bytes(sid, DOUBLE, 0, b"") == PUTFAIL

    assert wire.value("Ao") == 1.5


def test_a_put_with_time_or_limits_is_refused(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        assert client.put_bytes(client.sid(f"{PREFIX}Ao"), 20, 1, bytes(16) + element(DOUBLE, 1.0)) == PUTFAIL

    assert wire.value("Ao") == 1.5


@pytest.mark.parametrize("suffix", RECORDS)
def test_every_record_is_read_in_every_type_without_a_broken_circuit(wire: Wire, suffix: str) -> None:
    with RawCa(wire.ca.port) as client:
        sid = client.sid(PREFIX + suffix)
        for kind in (*range(35), 37, 38):
            answer = client.read(sid, kind)
            assert answer.header.parameter1 in (NORMAL, GETFAIL), kind
            client.subscribe(sid, kind)
            assert client.receive().header.parameter1 in (NORMAL, GETFAIL), kind


@pytest.mark.parametrize(
    ("suffix", "kind", "shown"),
    [
        ("Ao", STRING, "1.500"),
        ("Ai", STRING, "0.25"),
        ("Longout", STRING, "3"),
        ("Bo", STRING, "Done"),
        ("Bo", DOUBLE, 0.0),
        ("Ao", LONG, 1),
        ("Longout", DOUBLE, 3.0),
    ],
)
def test_a_number_is_shown_in_another_type_as_c_does(
    wire: Wire, c_client: CClient, suffix: str, kind: int, shown: object
) -> None:
    assert c_client("get", PREFIX + suffix, kind) == shown


def test_a_number_that_is_too_great_for_the_type_is_shown_as_its_limit(wire: Wire, c_client: CClient) -> None:
    wire.do(lambda: wire.cell("Wide").set(1e300))

    assert c_client("get", f"{PREFIX}Wide", LONG) == 2**31 - 1
    assert c_client("get", f"{PREFIX}Wide", FLOAT) == math.inf
    assert len(c_client("get", f"{PREFIX}Wide", STRING)) < 40


def test_a_text_that_is_no_number_is_not_shown_as_one(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Stringout")
        assert client.read(sid, DOUBLE).header.parameter1 == GETFAIL
        wire.do(lambda: wire.cell("Stringout").set("2.5"))
        assert client.read(sid, DOUBLE).data[0] == 2.5


def test_limits_units_and_precision_are_those_of_the_record_file(wire: Wire, c_client: CClient) -> None:
    found = c_client("control", f"{PREFIX}Ao")

    nothing = [
        found.pop(f"{side}_{word}_limit") for side in ("upper", "lower") for word in ("alarm", "warning")
    ]
    assert all(math.isnan(limit) for limit in nothing)
    assert found == {
        "upper_disp_limit": 10.0,
        "lower_disp_limit": -10.0,
        "upper_ctrl_limit": 8.0,
        "lower_ctrl_limit": -8.0,
        "precision": 3,
        "units": "mm",
        "status": 0,
        "severity": 0,
    }
