"""The same records in a C IOC and here, asked by the same client: what differs is written down."""

import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beamtime_ioc.values import Value
from c_client import CClient
from c_ioc import SERVE, START, environment
from raw_ca import NORMAL, RawCa
from wire_house import DATA, PREFIX, Wire

STRING, CHAR, LONG, DOUBLE = 0, 4, 5, 6
RECORDS = [
    *(
        "Text",
        "Long",
        "Small",
        "Stringout",
        "Stringin",
        "Bo",
        "Bi",
        "Mbbo",
        "Mbbi",
        "Many",
        "Longout",
        "Longin",
    ),
    *("Ao", "Ai", "Wide"),
    *("AoLimits", "LongoutLimits", "AiLimits", "LonginLimits"),
    *("BoAlarms", "BiAlarms", "MbboAlarms", "MbbiAlarms"),
]
TEXTS = ("Text", "Long", "Small")
FIELDS = [
    *(
        "VAL",
        "NAME",
        "DESC",
        "RTYP",
        "DTYP",
        "SCAN",
        "PINI",
        "ASG",
        "PACT",
        "DISP",
        "TPRO",
        "PROC",
        "NELM",
        "FTVL",
    ),
    *("EGU", "PREC", "HOPR", "LOPR", "HIHI", "HIGH", "LOW", "LOLO", "DRVH", "DRVL", "MDEL", "ADEL"),
    *("ZNAM", "ONAM", "ZRST", "ONST", "TWST", "THST", "FFST", "STAT", "SEVR", "AMSG", "UDF", "NORD"),
    *("HHSV", "HSV", "LSV", "LLSV", "HYST", "ZSV", "OSV", "COSV", "ZRSV", "ONSV", "TWSV", "THSV", "FFSV"),
    *("UNSV", "UDFS"),
    *("VAL$", "DESC$", "NAME$", "EGU$", "ZNAM$"),
]

# A C record is undefined until it is processed; ours has the value of its file at the start, and its alarm.
UNDEFINED_IN_C = {"STAT", "SEVR", "UDF", "AMSG"}
# A C text that was never written has no bytes; ours has its closing NUL. Its text is not padded.
LENGTH_DIFFERS = {"VAL", "NORD", "VAL$"}
# Fields of C that are not served, and what stands for them.
NOT_SERVED = {
    ("Bo", "HIGH"): "a button goes back by itself when its action has ended",
    ("Mbbo", "FTVL"): "the value of a state: states are counted from 0",
    ("Mbbi", "FTVL"): "the value of a state: states are counted from 0",
    ("Many", "FTVL"): "the value of a state: states are counted from 0",
    ("BoAlarms", "HIGH"): "a button goes back by itself when its action has ended",
    ("MbboAlarms", "FTVL"): "the value of a state: states are counted from 0",
    ("MbbiAlarms", "FTVL"): "the value of a state: states are counted from 0",
}
# More lenient than C.
ONLY_HERE = {("Text", "VAL$"), ("Long", "VAL$"), ("Small", "VAL$")}
# In C clients may write what the IOC writes here, and every field.
INPUTS = {"Stringin", "Bi", "Mbbi", "Longin", "Ai", "AiLimits", "LonginLimits", "BiAlarms", "MbbiAlarms"}


@pytest.fixture(scope="module")
def c_side() -> Iterator[CClient]:
    """A C IOC with the test's records, and a client of it."""
    ports = environment()
    load = f'c_loads(c.dbCore.dbLoadRecords, "{DATA / "wire.template"}", "P=X:,R=Wire:")\n'
    ioc = subprocess.Popen(
        [sys.executable, "-c", START + load + SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(ports),
        text=True,
    )
    assert ioc.stdout is not None
    with ioc:
        try:
            said = list(takewhile(lambda line: line != "running\n", ioc.stdout))
            assert said[0] == "wire.template=read\n"
            with CClient(int(ports["EPICS_CA_SERVER_PORT"])) as client:
                yield client
        finally:
            ioc.kill()


def words(value: Any) -> Any:
    """An array of bytes as its text."""
    return bytes(value).rstrip(b"\0") if isinstance(value, list) else value


@pytest.mark.parametrize("suffix", RECORDS)
def test_fields_have_the_types_and_values_of_c(
    wire: Wire, c_client: CClient, c_side: CClient, suffix: str
) -> None:
    with RawCa(wire.ca.port) as ours, RawCa(c_side.port) as theirs:
        found = {field: ours.open(f"{PREFIX}{suffix}.{field}") for field in FIELDS}
        in_c = {field: theirs.open(f"{PREFIX}{suffix}.{field}") for field in FIELDS}

    assert {f for f in FIELDS if in_c[f] and not found[f]} == {
        f for record, f in NOT_SERVED if record == suffix
    }
    assert {f for f in FIELDS if found[f] and not in_c[f]} == {
        f for record, f in ONLY_HERE if record == suffix
    }
    for field in FIELDS:
        here, there = found[field], in_c[field]
        if here is None or there is None:
            continue
        assert (field, here.kind, here.count) == (field, there.kind, there.count)
        if field not in UNDEFINED_IN_C and not (suffix in TEXTS and field in LENGTH_DIFFERS):
            name = f"{PREFIX}{suffix}.{field}"
            assert (field, words(c_client("get", name))) == (field, words(c_side("get", name)))


@pytest.mark.parametrize("suffix", RECORDS)
def test_every_type_has_the_layout_of_c(wire: Wire, c_side: CClient, suffix: str) -> None:
    with RawCa(wire.ca.port) as ours, RawCa(c_side.port) as theirs:
        here, there = ours.open(PREFIX + suffix), theirs.open(PREFIX + suffix)
        assert here is not None
        assert there is not None
        for kind in (*range(35), 37, 38):
            count = 1 if kind > 34 else here.count
            answers = ours.read(here.sid, kind, count), theirs.read(there.sid, kind, count)
            sizes = [answer.header.payload_size for answer in answers]
            # C leaves out what follows the text of a lone string.
            assert sizes[1] <= sizes[0] if kind % 7 == 0 or kind > 34 else sizes[0] == sizes[1], kind


def test_a_string_stands_where_it_stands_in_c(wire: Wire, c_side: CClient) -> None:
    for port in (wire.ca.port, c_side.port):
        with RawCa(port) as client:
            sid = client.sid(f"{PREFIX}Stringout")
            found = {kind: client.read(sid, kind, 1) for kind in (0, 7, 14, 21, 28)}
            payloads = {kind: b"".join(map(bytes, answer.buffers)) for kind, answer in found.items()}
            places = {kind: payload.index(b"out") for kind, payload in payloads.items()}
            assert places == {0: 0, 7: 4, 14: 12, 21: 4, 28: 4}


@pytest.mark.parametrize("suffix", RECORDS)
def test_limits_labels_and_units_are_those_of_c(
    wire: Wire, c_client: CClient, c_side: CClient, suffix: str
) -> None:
    ours, theirs = c_client("control", PREFIX + suffix), c_side("control", PREFIX + suffix)

    for found in (ours, theirs):
        for key in ("status", "severity", "timestamp", "posixseconds", "nanoseconds"):
            found.pop(key, None)
    assert str(ours) == str(theirs)  # NaN is not equal to itself


@pytest.mark.parametrize("suffix", RECORDS)
def test_values_may_be_put_where_c_has_outputs(
    wire: Wire, c_client: CClient, c_side: CClient, suffix: str
) -> None:
    (*_, ours), (*_, theirs) = c_client("info", PREFIX + suffix), c_side("info", PREFIX + suffix)

    assert theirs == 1
    assert ours == (0 if suffix in INPUTS else 1)


@pytest.mark.parametrize(
    ("suffix", "kind", "data", "shown"),
    [
        ("Text", CHAR, b"caput -S", "caput -S"),
        ("Text", CHAR, "µ".encode(), "µ"),
        ("Stringout", STRING, b"new".ljust(40, b"\0"), "new"),
        ("Bo", STRING, b"Go".ljust(40, b"\0"), "Go"),
        ("Mbbo", STRING, b"1".ljust(40, b"\0"), "Green"),
        ("Longout", STRING, b"42".ljust(40, b"\0"), "42"),
        ("Ao", STRING, b"2.5".ljust(40, b"\0"), "2.500"),
    ],
)
def test_a_put_gives_what_it_gives_in_c(
    wire: Wire, c_client: CClient, c_side: CClient, suffix: str, kind: int, data: bytes, shown: str
) -> None:
    name, count = PREFIX + suffix, len(data) if kind == CHAR else 1
    for client in (c_client, c_side):
        assert client("put", name, kind, count, data.hex()) == NORMAL
        found = words(client("get", name)).decode() if kind == CHAR else client("get", name, STRING)
        assert found == shown


def test_used_bytes_after_a_put_are_counted_as_in_c(wire: Wire, c_client: CClient, c_side: CClient) -> None:
    for client in (c_client, c_side):
        client("put", f"{PREFIX}Text", CHAR, 4, b"abc\0".hex())
        assert client("get", f"{PREFIX}Text.NORD") == 4


@pytest.mark.parametrize(("suffix", "value"), [("Mbbo", 7), ("Longout", 1000)])
def test_what_c_stores_or_clips_is_refused_here(
    wire: Wire, c_client: CClient, c_side: CClient, suffix: str, value: int
) -> None:
    data = value.to_bytes(4, sys.byteorder).hex()

    in_c = c_side("put", PREFIX + suffix, LONG, 1, data)
    here = c_client("put", PREFIX + suffix, LONG, 1, data)

    assert in_c == NORMAL
    assert here != NORMAL


# -- alarms -----------------------------------------------------------------------------------------------

STEPS: dict[str, list[Value]] = {
    "AoLimits": [0.0, 4.9, 5.0, 4.5, 4.0, 3.9, 11.0, 9.5, 9.0, 8.9, 5.5, -5.0, -4.2, -3.9, -10.0, -9.1, -8.0],
    "LongoutLimits": [0, 5, 4, 3, 2, 12, 9, 8, 7, 4, -5, -10, -9, -8, -7, 0],
    "AiLimits": [0.0, 7.0, 10.0, 9.6, 9.5, 9.4, -5.0, -4.5, -4.4, 1.0],
    "LonginLimits": [0, 1, 2, 0, -3],
    "BoAlarms": [1, 1, 0, 0, 1, 0],
    "BiAlarms": [1, 1, 0, 0, 1, 0],
    "MbboAlarms": [1, 1, 0, 0, 3, 3, 2, 2, 1],
    "MbbiAlarms": [0, 1, 1, 0],
}


def put_data(value: Value) -> str:
    return struct.pack("=d", value).hex()


def alarms_after(client: CClient, suffix: str, value: Value) -> list[Any]:
    """Value, severity and status after a put, and what stands in SEVR and STAT."""
    name = f"{PREFIX}{suffix}"
    assert client("put", name, DOUBLE, 1, put_data(value)) == NORMAL
    return seen_of(client, name)


def seen_of(client: CClient, name: str) -> list[Any]:
    return [*client("timed", name)[:3], client("get", f"{name}.SEVR"), client("get", f"{name}.STAT")]


def alarms_here(wire: Wire, client: CClient, suffix: str, value: Value) -> list[Any]:
    """The same here, where the IOC alone writes input records."""
    if suffix not in INPUTS:
        return alarms_after(client, suffix, value)
    wire.do(lambda: wire.cell(suffix).set(value))
    return seen_of(client, f"{PREFIX}{suffix}")


@pytest.mark.parametrize("suffix", STEPS)
def test_the_same_values_give_the_alarms_of_c(
    wire: Wire, c_client: CClient, c_side: CClient, suffix: str
) -> None:
    for value in STEPS[suffix]:
        here = alarms_here(wire, c_client, suffix, value)

        assert (value, here) == (value, alarms_after(c_side, suffix, value))


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.integers(-26, 26).map(lambda half: half / 2), max_size=12))
def test_any_numbers_give_the_alarms_of_c(
    wire: Wire, c_client: CClient, c_side: CClient, values: list[float]
) -> None:
    for value in (0.0, *values):
        assert alarms_after(c_client, "AoLimits", value) == alarms_after(c_side, "AoLimits", value)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.integers(0, 3), max_size=12))
def test_any_states_give_the_alarms_of_c(
    wire: Wire, c_client: CClient, c_side: CClient, values: list[int]
) -> None:
    # A state that none of them was before: both judge a change after the value that they had.
    for client in (c_client, c_side):
        alarms_after(client, "MbboAlarms", 1)
    for value in values:
        assert alarms_after(c_client, "MbboAlarms", value) == alarms_after(c_side, "MbboAlarms", value)
