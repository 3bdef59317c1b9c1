"""Texts over Channel Access: CHAR arrays and strings, as C clients send and read them."""

import pytest

from beamtime_ioc.alarm import Severity
from c_client import CClient
from raw_ca import NORMAL, PUTFAIL, RawCa
from wire_house import PREFIX, Wire

CHAR, STRING = 4, 0
TEXT, LONG = f"{PREFIX}Text", f"{PREFIX}Long"
NELM = 256


def put_text(client: CClient, name: str, data: bytes) -> int:
    return client("put", name, CHAR, len(data), data.hex())


@pytest.mark.parametrize(
    "words",
    [
        "a",
        " ",
        "   ",
        "é µ ü 漢 😀",
        "'quotes' \"and\" \\ back\\slashes",
        "two\nlines\tand a tab",
        "x" * (NELM - 1),
        "x" * NELM,
        "é" * (NELM // 2),
        "漢" * (NELM // 3),
    ],
)
def test_a_text_arrives_as_it_was_sent(wire: Wire, c_client: CClient, words: str) -> None:
    status = put_text(c_client, TEXT, words.encode())

    assert status == NORMAL
    assert wire.value("Text") == words
    assert bytes(c_client("get", TEXT)).rstrip(b"\0").decode() == words


def test_a_text_of_1024_bytes_arrives(wire: Wire, c_client: CClient) -> None:
    words = ("Ein langer Satz über Röntgenlicht. " * 27).ljust(1024 - 2 * 27, ".")
    assert len(words.encode()) == 1024

    put_text(c_client, LONG, words.encode())

    assert wire.value("Long") == words
    assert c_client("get", LONG)[: len(words.encode())] == list(words.encode())


@pytest.mark.parametrize(
    "words",
    ["x" * (NELM + 1), "x" + "é" * (NELM // 2), "漢" * (NELM // 3 + 1)],
    ids=["ascii", "two", "three"],
)
def test_a_text_that_is_too_long_is_refused_and_not_cut(wire: Wire, words: str) -> None:
    before = wire.cell("Text").reading
    data = words.encode()

    with RawCa(wire.ca.port) as client:
        status = client.put_bytes(client.sid(TEXT), CHAR, len(data), data)

    assert status == PUTFAIL
    assert wire.cell("Text").reading is before


def test_an_empty_put_of_pyepics_clears_the_text(wire: Wire, c_client: CClient) -> None:
    assert wire.value("Text") == "first"

    c_client("caput", TEXT, "")

    assert wire.value("Text") == ""
    assert c_client("text", TEXT) == ""


def test_bytes_that_are_no_utf_8_arrive_as_latin_1(wire: Wire, c_client: CClient) -> None:
    status = put_text(c_client, TEXT, "Müller, 5 µm".encode("latin-1"))

    assert status == NORMAL
    assert wire.value("Text") == "Müller, 5 µm"
    assert wire.cell("Text").reading.alarm.severity is Severity.NO_ALARM


def test_letters_that_pyepics_loses_are_taken_with_a_caution(wire: Wire, c_client: CClient) -> None:
    c_client("caput", TEXT, "Müller")

    value, severity, *_ = c_client("timed", TEXT)
    assert bytes(value).rstrip(b"\0") == "Mýýller".encode()
    assert severity == Severity.MINOR
    assert "pyepics" in wire.cell("Text").reading.alarm.message
    assert "letters may be lost" in c_client("get", f"{TEXT}.AMSG")


def test_the_next_whole_text_takes_the_caution_away(wire: Wire, c_client: CClient) -> None:
    c_client("caput", TEXT, "Müller")

    c_client("caput", TEXT, "Mueller")

    assert wire.cell("Text").reading.alarm.severity is Severity.NO_ALARM


def test_what_stands_behind_a_nul_is_dropped(wire: Wire, c_client: CClient) -> None:
    put_text(c_client, TEXT, b"before\0after")

    assert wire.value("Text") == "before"


def test_signed_bytes_are_the_same_as_unsigned_ones(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        sid = client.sid(TEXT)
        data = b"".join(value.to_bytes(2, "big", signed=True) for value in (-61, -87, 33))  # é! as shorts
        status = client.put_bytes(sid, 1, 3, data)

    assert (status, wire.value("Text")) == (NORMAL, "é!")


def test_elements_that_are_no_bytes_are_refused(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        assert client.put_bytes(client.sid(TEXT), 1, 2, b"\x01\x00\x00\x41") == PUTFAIL

    assert wire.value("Text") == "first"


def test_a_string_put_into_a_char_array_is_its_text(wire: Wire, c_client: CClient) -> None:
    status = c_client("put", TEXT, STRING, 1, "caput of a string µ".encode().ljust(40, b"\0").hex())

    assert (status, wire.value("Text")) == (NORMAL, "caput of a string µ")


def test_several_strings_are_the_bytes_that_caput_a_sends(wire: Wire, c_client: CClient) -> None:
    data = b"".join(word.ljust(40, b"\0") for word in (b"72", b"105"))

    status = c_client("put", TEXT, STRING, 2, data.hex())

    assert (status, wire.value("Text")) == (NORMAL, "Hi")


def test_a_shorter_text_leaves_nothing_of_the_longer_one(wire: Wire, c_client: CClient) -> None:
    put_text(c_client, TEXT, b"a long text that stands first")

    put_text(c_client, TEXT, b"short")

    assert c_client("get", TEXT) == [*b"short", *[0] * (NELM - 5)]


def test_put_then_get_is_never_cut(wire: Wire, c_client: CClient) -> None:
    sizes = [1 + (37 * n) % 120 for n in range(200)]
    texts = [f"{n:03d}".ljust(max(size, 3), "x") for n, size in enumerate(sizes)]

    found = c_client("put_and_get", TEXT, texts)

    assert [pair for pair in zip(texts, found, strict=True) if pair[0] != pair[1]] == []


def test_a_monitor_sends_all_bytes_of_the_array(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        client.subscribe(client.sid(TEXT), CHAR)
        client.receive()
        wire.do(lambda: wire.cell("Text").set("ab"))
        event = client.receive()

    assert bytes(event.data) == b"ab".ljust(NELM, b"\0")


@pytest.mark.parametrize("count", [1, 3, NELM])
def test_a_client_that_asks_for_some_bytes_gets_so_many(wire: Wire, c_client: CClient, count: int) -> None:
    found = c_client("get", TEXT, None, count)

    assert (found if isinstance(found, list) else [found]) == [*b"first".ljust(NELM, b"\0")][:count]


def test_a_string_record_takes_39_bytes(wire: Wire, c_client: CClient) -> None:
    words = "é" * 19 + "x"

    c_client("put", f"{PREFIX}Stringout", STRING, 1, words.encode().ljust(40, b"\0").hex())

    assert wire.value("Stringout") == words
    assert c_client("get", f"{PREFIX}Stringout") == words


def test_a_string_record_refuses_40_bytes(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        status = client.put_bytes(client.sid(f"{PREFIX}Stringout"), STRING, 1, b"x" * 40)

    assert (status, wire.value("Stringout")) == (PUTFAIL, "out")


def test_a_string_that_the_ioc_made_too_long_is_shown_up_to_39_bytes(wire: Wire) -> None:
    wire.do(lambda: wire.cell("Stringin").set("x" * 38 + "éé"))

    with RawCa(wire.ca.port) as client:
        answer = client.read(client.sid(f"{PREFIX}Stringin"), STRING)

    assert bytes(answer.buffers[1]) == b"x" * 38 + b"\0\0"


def test_a_long_string_put_reaches_a_string_record(wire: Wire, c_client: CClient) -> None:
    status = put_text(c_client, f"{PREFIX}Stringout.VAL$", b"caput -S")

    assert (status, wire.value("Stringout")) == (NORMAL, "caput -S")


@pytest.mark.parametrize(
    ("words", "short"),
    [
        ("", ""),
        ("x" * 39, "x" * 39),
        ("x" * 40, "x" * 39),
        ("x" * 38 + "é", "x" * 38),
        ("漢" * 14, "漢" * 13),
    ],
)
def test_the_short_view_ends_at_a_whole_letter(wire: Wire, c_client: CClient, words: str, short: str) -> None:
    wire.do(lambda: wire.cell("Text").set(words))

    assert c_client("get", f"{PREFIX}Text39") == short
    _, severity, status, *stamp = c_client("timed", f"{PREFIX}Text39")
    assert stamp == c_client("timed", TEXT)[3:]
    assert (severity, status) == ((0, 0) if short == words else (1, 7))  # cut: MINOR, STATE


def test_the_short_view_is_written_by_nobody(wire: Wire, c_client: CClient) -> None:
    assert c_client("info", f"{PREFIX}Text39") == [STRING, 1, 1, 0]
    assert c_client("caput", f"{PREFIX}Text39", "x") == "CASeverityException"
