"""One board, two protocols: both show the same, and both refuse the same."""

import math
import queue
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4p.client.thread import RemoteError

from beamtime_ioc.alarm import Alarm, Severity, Status
from beamtime_ioc.progress import RunView
from beamtime_ioc.records import Kind
from beamtime_ioc.values import Value
from c_client import CClient
from raw_ca import NORMAL, PUTFAIL, RawCa
from wire_house import PREFIX, PvaClient, Wire

EPICS_EPOCH_S = 631152000
CHAR, LONG, DOUBLE = 4, 5, 6
OF_EACH_KIND = [
    ("Text", "über 漢"),
    ("Text39", None),
    ("Stringout", "kurz"),
    ("Stringin", None),
    ("Bo", 1),
    ("Mbbo", 2),
    ("Mbbi", None),
    ("Longout", -42),
    ("Longin", None),
    ("Ao", 0.125),
    ("Ai", None),
]


class Both:
    """Subscriptions to one record on both protocols."""

    def __init__(self, c_client: CClient, pva: PvaClient, name: str) -> None:
        self._c_client, self._name = c_client, name
        self._posts: queue.Queue[Any] = queue.Queue()
        self._subscription = pva.monitor(name, self._posts.put)
        self._posts.get(timeout=10)
        c_client("watch", name)
        self._seen = len(c_client("events", name, 1))

    def next(self) -> tuple[tuple[Any, ...], tuple[Any, ...], str]:
        """Value, severity, status, seconds, nanoseconds on CA and on PVA, and PVA's message."""
        self._seen += 1
        event = self._c_client("events", self._name, self._seen)[self._seen - 1]
        post = self._posts.get(timeout=10)
        value = post.value.index if "enum_t" in str(post.type()["value"]) else post.value
        if isinstance(event[0], list):
            event[0] = bytes(event[0]).rstrip(b"\0").decode()
        stamp = (post.timeStamp.secondsPastEpoch, post.timeStamp.nanoseconds)
        shown = (value, post.alarm.severity, post.alarm.status, *stamp)
        return tuple(event), shown, post.alarm.message

    def close(self) -> None:
        self._subscription.close()


@pytest.mark.parametrize(("suffix", "value"), OF_EACH_KIND)
def test_a_change_by_the_ioc_looks_the_same_on_both(
    wire: Wire, c_client: CClient, pva: PvaClient, suffix: str, value: Value | None
) -> None:
    both = Both(c_client, pva, PREFIX + suffix)
    source = {"Text39": "Text"}.get(suffix, suffix)
    new: Value = (
        value
        if value is not None
        else {Kind.STRING: "neu", Kind.FLOAT: 0.5}.get(wire.cell(source).record.kind, 1)
    )
    if suffix == "Text39":
        new = "neu"

    wire.do(lambda: wire.cell(source).set(new, Alarm(Severity.MAJOR, Status.COMM, "no answer, 漢")))
    ca_event, pva_event, message = both.next()
    both.close()

    assert ca_event == pva_event
    assert (pva_event[:3], message) == ((new, 2, 9), "no answer, 漢")
    assert c_client("get", f"{PREFIX}{suffix}.AMSG") == "no answer, 漢"


@pytest.mark.parametrize(("suffix", "value"), [case for case in OF_EACH_KIND if case[1] is not None])
def test_a_put_on_one_is_seen_on_both(
    wire: Wire, c_client: CClient, pva: PvaClient, suffix: str, value: Any
) -> None:
    name, states = PREFIX + suffix, wire.cell(suffix).record.kind is Kind.STATES
    both = Both(c_client, pva, name)

    if isinstance(value, str):
        data = value.encode()
        c_client("put", name, CHAR, len(data), data.hex()) if suffix == "Text" else c_client(
            "caput", name, value
        )
    else:
        c_client("caput", name, value)
    by_ca = both.next()
    pva.put(name, {"value.index": 0} if states else value)
    by_pva = both.next()
    both.close()

    assert by_ca[0] == by_ca[1]
    assert by_ca[0][0] == value
    assert by_pva[0] == by_pva[1]
    assert by_pva[0][0] == (0 if states else value)
    assert by_ca[1][1] == {"Bo": 1, "Mbbo": 2}.get(suffix, 0)


def test_a_text_that_is_no_unicode_is_shown_with_question_marks(
    wire: Wire, c_client: CClient, pva: PvaClient
) -> None:
    broken, shown = "file \udcff.h5", "file ?.h5"

    wire.do(lambda: wire.cell("Text").set(broken, Alarm(Severity.MAJOR, Status.SOFT, broken)))
    wire.do(lambda: wire.board.progress["walk"].set(RunView(action="walk", message=broken)))

    assert c_client("text", f"{PREFIX}Text") == shown
    assert c_client("get", f"{PREFIX}Text.AMSG") == shown
    assert (pva.get(f"{PREFIX}Text").value, pva.get(f"{PREFIX}Text").alarm.message) == (shown, shown)
    assert pva.get(f"{PREFIX}WalkProgress").message == shown


def test_a_value_that_a_face_cannot_show_does_not_hurt_who_set_it(
    wire: Wire, c_client: CClient, pva: PvaClient, caplog: pytest.LogCaptureFixture
) -> None:
    both = Both(c_client, pva, f"{PREFIX}Ai")
    nothing: Any = None

    wire.do(lambda: wire.cell("Ai").set(nothing))

    assert {record.getMessage() for record in caplog.records} == {
        "X:Wire:Ai cannot be shown over CA",
        "X:Wire:Ai cannot be shown over PVA",
    }
    wire.do(lambda: wire.cell("Ai").set(2.0))
    ca_event, pva_event, _ = both.next()
    both.close()
    assert ca_event == pva_event


def test_many_posts_are_seen_in_the_same_order_with_the_same_stamps(
    wire: Wire, c_client: CClient, pva: PvaClient
) -> None:
    both = Both(c_client, pva, f"{PREFIX}Ai")

    for number in range(20):
        wire.do(lambda number=number: wire.cell("Ai").set(float(number)))
        ca_event, pva_event, _ = both.next()
        assert ca_event == pva_event
        assert ca_event[0] == number
    both.close()


def test_an_alarm_of_a_limit_is_the_same_on_both_with_its_words(
    wire: Wire, c_client: CClient, pva: PvaClient
) -> None:
    name = f"{PREFIX}LonginLimits"
    both = Both(c_client, pva, name)

    wire.do(lambda: wire.cell("LonginLimits").set(2))
    ca_event, pva_event, message = both.next()
    both.close()

    assert ca_event == pva_event
    assert ca_event[:3] == (2, 2, 4)
    assert message == bytes(c_client("get", f"{name}.AMSG$")).rstrip(b"\0").decode()
    assert message == "2 is at or above HIGH (1)"


def test_limits_that_alarm_are_told_to_pva_clients(wire: Wire, pva: PvaClient) -> None:
    limits = pva.get(f"{PREFIX}AoLimits").valueAlarm

    assert (limits.active, limits.hysteresis) == (True, 1)
    assert [limits[f"{word}Limit"] for word in ("lowAlarm", "lowWarning", "highWarning", "highAlarm")] == [
        -10,
        -5,
        5,
        10,
    ]
    assert (limits.lowAlarmSeverity, limits.highWarningSeverity) == (2, 1)


# -- whatever is put --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw(whole_wire: Wire) -> Iterator[RawCa]:
    with RawCa(whole_wire.ca.port) as client:
        yield client


def ask(put: Any) -> bool:
    """Whether a PVA put was taken; it must be answered either way."""
    try:
        put()
    except RemoteError:
        return False
    return True


def held(wire: Wire, raw: RawCa, pva: PvaClient, suffix: str, kind: int) -> tuple[Any, Any, Value]:
    """The record on CA, on PVA, and in the cell."""
    answer = raw.read(raw.sid(PREFIX + suffix), kind)
    assert answer.header.parameter1 == NORMAL
    shown = pva.get(PREFIX + suffix).value
    found = bytes(answer.data) if kind == CHAR else answer.data[0]
    states = wire.cell(suffix).record.kind is Kind.STATES
    return found, shown.index if states else shown, wire.value(suffix)


@settings(max_examples=80)
@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=130).map(lambda words: words.encode())))
def test_any_bytes_over_ca_are_a_text_or_are_refused(
    whole_wire: Wire, raw: RawCa, pva: PvaClient, data: bytes
) -> None:
    before = whole_wire.value("Text")

    status = raw.put_bytes(raw.sid(f"{PREFIX}Text"), CHAR, len(data), data)
    by_ca, by_pva, value = held(whole_wire, raw, pva, "Text", CHAR)

    assert status in (NORMAL, PUTFAIL)
    assert by_ca == str(value).encode().ljust(256, b"\0")
    assert by_pva == value
    if status == PUTFAIL:
        assert value == before
    else:
        sent = data.partition(b"\0")[0]
        assert str(value).encode() == sent or str(value) == sent.decode("latin-1")


@settings(max_examples=80)
@given(words=st.text(max_size=150))
def test_any_text_over_pva_arrives_or_is_refused(
    whole_wire: Wire, raw: RawCa, pva: PvaClient, words: str
) -> None:
    for suffix in ("Text", "Stringout"):
        before, nelm = whole_wire.value(suffix), whole_wire.cell(suffix).record.nelm

        taken = ask(lambda suffix=suffix: pva.put(PREFIX + suffix, {"value": words}))

        sent = words.partition("\0")[0]  # pvxs sends no more
        assert taken == (len(sent.encode()) <= nelm)
        assert whole_wire.value(suffix) == (sent if taken else before)
        by_ca = bytes(raw.read(raw.sid(f"{PREFIX}{suffix}$"), CHAR).data).rstrip(b"\0")
        assert by_ca == str(whole_wire.value(suffix)).encode()


@settings(max_examples=80)
@given(number=st.floats(width=64))
def test_any_float_arrives_or_is_refused_alike_on_both(
    whole_wire: Wire, raw: RawCa, pva: PvaClient, number: float
) -> None:
    for suffix, fits in (("Ao", -8 <= number <= 8), ("Wide", math.isfinite(number))):
        before = whole_wire.value(suffix)

        status = raw.put_bytes(raw.sid(PREFIX + suffix), DOUBLE, 1, struct.pack(">d", number))
        by_ca = held(whole_wire, raw, pva, suffix, DOUBLE)
        whole_wire.do(lambda suffix=suffix, before=before: whole_wire.cell(suffix).set(before))
        taken = ask(lambda suffix=suffix: pva.put(PREFIX + suffix, number))
        by_pva = held(whole_wire, raw, pva, suffix, DOUBLE)

        assert (status == NORMAL) == taken == fits
        assert by_ca == by_pva == ((number if fits else before),) * 3


@settings(max_examples=80)
@given(number=st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-100, 100)))
def test_any_integer_arrives_or_is_refused_alike_on_both(
    whole_wire: Wire, raw: RawCa, pva: PvaClient, number: int
) -> None:
    for suffix, fits in (("Longout", -80 <= number <= 80), ("Free", True), ("Mbbo", 0 <= number <= 2)):
        before, states = whole_wire.value(suffix), suffix == "Mbbo"

        status = raw.put_bytes(raw.sid(PREFIX + suffix), LONG, 1, struct.pack(">i", number))
        by_ca = held(whole_wire, raw, pva, suffix, LONG)
        whole_wire.do(lambda suffix=suffix, before=before: whole_wire.cell(suffix).set(before))
        sent = {"value.index": number} if states else number
        taken = ask(lambda suffix=suffix, sent=sent: pva.put(PREFIX + suffix, sent))
        by_pva = held(whole_wire, raw, pva, suffix, LONG)

        assert (status == NORMAL) == taken == fits
        assert by_ca == by_pva == ((number if fits else before),) * 3


@settings(max_examples=80)
@given(words=st.one_of(st.text(max_size=45), st.sampled_from(["Red", "blue", "2", "3", "1e0", "-0", "１"])))
def test_any_string_over_ca_is_a_state_or_is_refused(
    whole_wire: Wire, raw: RawCa, pva: PvaClient, words: str
) -> None:
    before = whole_wire.value("Mbbo")

    status = raw.put_bytes(raw.sid(f"{PREFIX}Mbbo"), 0, 1, words.encode()[:39].ljust(40, b"\0"))
    by_ca, by_pva, value = held(whole_wire, raw, pva, "Mbbo", LONG)

    assert status in (NORMAL, PUTFAIL)
    assert by_ca == by_pva == value
    assert value in (0, 1, 2)
    assert status == NORMAL or value == before
    reading = whole_wire.cell("Mbbo").reading
    assert reading.alarm.severity is (Severity.MAJOR if value == 2 else Severity.NO_ALARM)
