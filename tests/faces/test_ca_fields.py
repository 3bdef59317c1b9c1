"""Fields over Channel Access: what the record file and the live cell say; reading one never does anything."""

import pytest

from beamtime_ioc.alarm import Alarm, Severity, Status
from beamtime_ioc.board import Cell
from beamtime_ioc.model import Who
from beamtime_ioc.values import Value
from c_client import CClient
from raw_ca import NORMAL, NOWTACCESS, PUTFAIL, RawCa, element, search
from wire_house import PREFIX, Walk, Wire

STRING, SHORT, ENUM, CHAR, LONG, DOUBLE = 0, 1, 3, 4, 5, 6
EVERY = {
    "DTYP": (ENUM, 0),
    "SCAN": (ENUM, 0),
    "PINI": (ENUM, 0),
    "STAT": (ENUM, 0),
    "SEVR": (ENUM, 0),
    "AMSG": (STRING, ""),
    "UDF": (CHAR, 0),
    "PACT": (CHAR, 0),
    "DISP": (CHAR, 0),
    "TPRO": (CHAR, 0),
    "PROC": (CHAR, 0),
    "ASG": (STRING, ""),
}
FIELDS = {
    "Text": {
        "RTYP": (STRING, "waveform"),
        "DESC": (STRING, "a text with a µ"),
        "NELM": (DOUBLE, 256),
        "NORD": (DOUBLE, 6),
        "FTVL": (ENUM, 1),
        "EGU": (STRING, ""),
        "PREC": (SHORT, 0),
        "HOPR": (DOUBLE, 0),
        "LOPR": (DOUBLE, 0),
    },
    "Small": {"FTVL": (ENUM, 2), "NELM": (DOUBLE, 8), "NORD": (DOUBLE, 1)},
    "Text39": {"RTYP": (STRING, "stringin"), "DESC": (STRING, "a text with a µ")},
    "Stringout": {"RTYP": (STRING, "stringout"), "DESC": (STRING, "a string")},
    "Stringin": {"RTYP": (STRING, "stringin"), "DESC": (STRING, "")},
    "Bo": {"RTYP": (STRING, "bo"), "ZNAM": (STRING, "Done"), "ONAM": (STRING, "Go")},
    "Bi": {"RTYP": (STRING, "bi"), "ZNAM": (STRING, "Off"), "ONAM": (STRING, "On")},
    "Mbbo": {
        "RTYP": (STRING, "mbbo"),
        "ZRST": (STRING, "Red"),
        "TWST": (STRING, "Blue"),
        "THST": (STRING, ""),
        "FFST": (STRING, ""),
    },
    "Longout": {
        "RTYP": (STRING, "longout"),
        "EGU": (STRING, "counts"),
        "HOPR": (LONG, 100),
        "LOPR": (LONG, -100),
        "DRVH": (LONG, 80),
        "DRVL": (LONG, -80),
        "HIHI": (LONG, 0),
        "MDEL": (LONG, 0),
    },
    "Ao": {
        "RTYP": (STRING, "ao"),
        "EGU": (STRING, "mm"),
        "PREC": (SHORT, 3),
        "HOPR": (DOUBLE, 10),
        "DRVH": (DOUBLE, 8),
        "DRVL": (DOUBLE, -8),
        "HIHI": (DOUBLE, 9),
        "HIGH": (DOUBLE, 0),
        "LOW": (DOUBLE, 0),
        "LOLO": (DOUBLE, 0),
        "MDEL": (DOUBLE, 0.5),
        "ADEL": (DOUBLE, 0),
    },
    "AoLimits": {
        "HHSV": (ENUM, 2),
        "HSV": (ENUM, 1),
        "LSV": (ENUM, 1),
        "LLSV": (ENUM, 2),
        "HIGH": (DOUBLE, 5),
        "HYST": (DOUBLE, 1),
        "UDFS": (ENUM, 3),
    },
    "LonginLimits": {"HSV": (ENUM, 2), "HHSV": (ENUM, 0), "HYST": (LONG, 0)},
    "BoAlarms": {"ZSV": (ENUM, 2), "OSV": (ENUM, 0), "COSV": (ENUM, 1)},
    "MbboAlarms": {"ZRSV": (ENUM, 3), "TWSV": (ENUM, 2), "FFSV": (ENUM, 0), "UNSV": (ENUM, 2)},
    "Walk": {"RTYP": (STRING, "bo"), "ASG": (STRING, "button"), "ONAM": (STRING, "Start")},
}
ABSENT = {
    "Text": ["TIME", "NOSUCH", "ZNAM", "HIHI", "val", "VAL.VAL", "INP", "{}", "[0:3]"],
    "Stringout": ["EGU", "PREC", "HOPR", "NELM"],
    "Bo": ["ZRST", "EGU", "HIGH", "PREC"],
    "Mbbo": ["ZNAM", "ONAM", "SXTS"],
    "Longin": ["DRVH", "PREC"],
    "Ai": ["DRVL", "ZNAM"],
}
CASES = [(suffix, field, *wanted) for suffix, fields in FIELDS.items() for field, wanted in fields.items()]


@pytest.mark.parametrize(("suffix", "field", "kind", "value"), CASES)
def test_a_field_says_what_the_record_file_says(
    wire: Wire, c_client: CClient, suffix: str, field: str, kind: int, value: object
) -> None:
    name = f"{PREFIX}{suffix}.{field}"

    assert c_client("info", name) == [kind, 1, 1, 0]
    assert c_client("get", name) == value


@pytest.mark.parametrize("suffix", ["Text", "Stringout", "Bi", "Mbbi", "Longin", "Ao"])
def test_every_record_has_the_common_fields(wire: Wire, c_client: CClient, suffix: str) -> None:
    names = [f"{PREFIX}{suffix}.{field}" for field in (*EVERY, "NAME")]

    found = dict(zip(EVERY, c_client("get_all", names[:-1]), strict=True))

    assert found == {field: value for field, (_, value) in EVERY.items()}
    assert c_client("get", names[-1]) == PREFIX + suffix
    assert [c_client("info", name)[0] for name in names[:-1]] == [kind for kind, _ in EVERY.values()]


def test_what_is_no_field_of_the_record_is_not_answered(wire: Wire) -> None:
    names = [f"{PREFIX}{suffix}.{field}" for suffix, fields in ABSENT.items() for field in fields]
    names += [
        f"{PREFIX}Bo$",
        f"{PREFIX}Ao.PREC$",
        f"{PREFIX}NoSuch",
        "Y:Text",
        "",
        ".",
        "$",
        f"{PREFIX}Text39.NELM",
    ]

    with RawCa(wire.ca.port) as client:
        assert [name for name in names if client.open(name) is not None] == []
    assert search(wire.ca.port, *names, f"{PREFIX}Text") == [wire.ca.tcp_port]


@pytest.mark.parametrize(
    ("name", "shape", "value"),
    [
        ("Text.", [CHAR, 256], b"first"),
        ("Text.VAL", [CHAR, 256], b"first"),
        ("Text$", [CHAR, 256], b"first"),
        ("Text.VAL$", [CHAR, 256], b"first"),
        ("TextAlias", [CHAR, 256], b"first"),
        ("TextAlias.DESC$", [CHAR, 41], "a text with a µ".encode()),
        ("Text.NAME$", [CHAR, 61], b"X:Wire:Text"),
        ("Stringout$", [CHAR, 40], b"out"),
        ("Stringout.VAL$", [CHAR, 40], b"out"),
        ("Text39$", [CHAR, 40], b"first"),
        ("Bo.ZNAM$", [CHAR, 26], b"Done"),
        ("Ao.EGU$", [CHAR, 16], b"mm"),
    ],
)
def test_a_name_has_its_other_forms(
    wire: Wire, c_client: CClient, name: str, shape: list[int], value: bytes
) -> None:
    assert c_client("info", PREFIX + name)[:2] == shape
    assert bytes(c_client("get", PREFIX + name)).rstrip(b"\0") == value


def test_an_alias_tells_the_true_name(wire: Wire, c_client: CClient) -> None:
    assert c_client("get", f"{PREFIX}TextAlias.NAME") == f"{PREFIX}Text"


def test_reading_every_field_calls_no_hook_and_puts_nothing(wire: Wire, c_client: CClient) -> None:
    called: list[str] = []

    async def hook(cell: Cell, value: Value, who: Who) -> None:
        called.append(cell.name)

    for suffix in FIELDS:
        wire.hook(suffix, hook)
    before = {suffix: wire.cell(suffix).reading for suffix in FIELDS}
    names = [
        f"{PREFIX}{suffix}.{field}" for suffix, fields in FIELDS.items() for field in (*fields, *EVERY, "VAL")
    ]

    for _ in range(3):
        c_client("get_all", names)

    assert called == []
    assert {suffix: wire.cell(suffix).reading for suffix in FIELDS} == before


def test_alarm_fields_live_and_tell_each_change_once(wire: Wire, c_client: CClient) -> None:
    name = f"{PREFIX}Stringin"
    for field in ("SEVR", "STAT", "AMSG"):
        c_client("watch", f"{name}.{field}")

    wire.do(lambda: wire.cell("Stringin").set("one", Alarm(Severity.MAJOR, Status.COMM, "no answer")))
    wire.do(lambda: wire.cell("Stringin").set("two", Alarm(Severity.MAJOR, Status.COMM, "no answer")))
    wire.do(
        lambda: wire.cell("Stringin").set("three", Alarm(Severity.MAJOR, Status.COMM, "no answer, twice"))
    )
    wire.do(lambda: wire.cell("Stringin").set("four"))

    values = [[event[0] for event in c_client("events", f"{name}.{field}", 3)] for field in ("SEVR", "STAT")]
    assert values == [[0, 2, 0], [0, 9, 0]]
    messages = [event[0] for event in c_client("events", f"{name}.AMSG", 4)]
    assert messages == ["", "no answer", "no answer, twice", ""]
    assert c_client("get", f"{name}.SEVR", STRING) == "NO_ALARM"


def test_a_long_alarm_message_is_cut_at_a_letter_and_whole_as_a_long_string(
    wire: Wire, c_client: CClient
) -> None:
    wire.do(lambda: wire.cell("Stringin").set("x", Alarm(Severity.MINOR, Status.STATE, "é" * 60)))

    assert c_client("get", f"{PREFIX}Stringin.AMSG") == "é" * 19
    whole = bytes(c_client("get", f"{PREFIX}Stringin.AMSG$"))
    assert whole == ("é" * 60).encode().ljust(256, b"\0")


def test_used_bytes_count_the_closing_nul_up_to_nelm(wire: Wire, c_client: CClient) -> None:
    name = f"{PREFIX}Small"
    c_client("watch", f"{name}.NORD")

    for words in ("abc", "é", "12345678", ""):
        wire.do(lambda words=words: wire.cell("Small").set(words))

    assert [event[0] for event in c_client("events", f"{name}.NORD", 5)] == [1, 4, 3, 8, 1]


def test_a_button_is_active_while_its_action_runs(wire: Wire, c_client: CClient) -> None:
    walk = Walk(wire)

    c_client("put_plain", f"{PREFIX}Walk", LONG, 1, "01000000")
    wire.wait_for(lambda: walk.begun)
    active = c_client("get", f"{PREFIX}Walk.PACT")
    walk.end()
    wire.wait_for(lambda: walk.ended)

    assert (active, c_client("get", f"{PREFIX}Walk.PACT")) == (1, 0)


@pytest.mark.parametrize(
    ("field", "value"), [("DESC", "x"), ("ASG", "x"), ("NELM", 1), ("SEVR", 1), ("SCAN", 1)]
)
def test_a_field_is_written_by_nobody(wire: Wire, c_client: CClient, field: str, value: object) -> None:
    assert c_client("caput", f"{PREFIX}Text.{field}", value) == "CASeverityException"
    with RawCa(wire.ca.port) as client:  # one that does not care about its rights
        assert client.put(client.sid(f"{PREFIX}Text.{field}"), STRING, "1") == PUTFAIL


def test_a_put_to_proc_passes_the_gate_and_starts_nothing(wire: Wire) -> None:
    walk = Walk(wire)

    with RawCa(wire.ca.port) as client:
        for suffix in ("Walk", "Text", "Ai"):
            assert client.put(client.sid(f"{PREFIX}{suffix}.PROC"), CHAR, 1) == NORMAL
        closed = client.open(f"{PREFIX}Closed.PROC")
        assert closed is not None
        assert not closed.may_write
        assert client.put(closed.sid, CHAR, 1) == NOWTACCESS

    assert (walk.begun, wire.value("Walk")) == ([], 0)


@pytest.mark.parametrize(
    ("suffix", "kind"), [("Text", b"waveform"), ("Walk", b"bo"), ("Text39", b"stringin")]
)
def test_the_record_type_is_told_to_who_asks_for_the_class(wire: Wire, suffix: str, kind: bytes) -> None:
    with RawCa(wire.ca.port) as client:
        answer = client.read(client.sid(PREFIX + suffix), 38)

    assert bytes(answer.buffers[0]).rstrip(b"\0") == kind


def test_acknowledging_an_alarm_is_taken_and_ignored(wire: Wire) -> None:
    before = wire.cell("Ao").reading

    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Ao")
        assert [client.put_bytes(sid, kind, 1, element(ENUM, 1)) for kind in (35, 36)] == [NORMAL, NORMAL]

    assert wire.cell("Ao").reading is before
