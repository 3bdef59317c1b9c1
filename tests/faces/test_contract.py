"""One client script, run against every shipped record in a C IOC with QSRV and here; answers are compared.

`DIFFERENT` holds what may differ, with reasons. What differs besides fails, and what differs no more, too.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pprint import pformat
from typing import Any

import caproto as ca
import pytest
from p4p.client.thread import RemoteError

from beamtime_ioc.export import flat_db
from beamtime_ioc.record import Record
from beamtime_ioc.records import Kind, db_dir
from box_house import until
from c_client import CClient
from c_differences import DIFFERENT
from c_ioc import environment
from raw_ca import NORMAL, RawCa, search
from wire_house import DATA, PvaClient, Wire, pva_context

SITE = "99bm:Beamtime:"
STRING, ENUM, CHAR, LONG, DOUBLE = 0, 3, 4, 5, 6
FIELDS = (
    *(
        "NAME",
        "DESC",
        "RTYP",
        "DTYP",
        "SCAN",
        "PINI",
        "ASG",
        "STAT",
        "SEVR",
        "AMSG",
        "UDF",
        "PACT",
        "DISP",
        "PROC",
    ),
    *("NELM", "NORD", "FTVL", "EGU", "PREC", "HOPR", "LOPR", "HIHI", "HIGH", "LOW", "LOLO", "DRVH", "DRVL"),
    *("MDEL", "ADEL", "ZNAM", "ONAM", "ZRST", "ONST", "FFST", "TPRO", "HHSV", "OSV", "ZSV"),
)
KINDS = (*range(35), 37, 38)


@dataclass
class Side:
    """One of the two IOCs, with clients of it."""

    ca_port: int
    c: CClient
    pva: PvaClient


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """The shipped records without what stands behind them, and one of each type; we may write."""
    each = tmp_path_factory.mktemp("each") / "each.db"
    each.write_bytes((DATA / "wire.template").read_bytes())
    wire = Wire([db_dir() / "beamtime.substitutions", each], prefix=SITE, access=DATA / "wire.acf")
    try:
        yield wire
    finally:
        wire.stop()


@pytest.fixture(scope="module")
def here(ours: Wire) -> Iterator[Side]:
    with CClient(ours.ca.port) as c, pva_context(ours.pva.port) as pva:
        yield Side(ours.ca.port, c, pva)


@pytest.fixture(scope="module")
def there(ours: Wire, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """A C IOC that has read the flat file of `beamtime export`, and serves it by QSRV too."""
    flat = tmp_path_factory.mktemp("contract") / "flat.db"
    flat.write_text(flat_db(ours.board.records), encoding="utf-8")
    settings = {**environment(), "PVXS_QSRV_ENABLE": "YES"}
    command = [sys.executable, "-m", "pvxslibs.ioc", "-m", "P=99bm:,R=Beamtime:", "-d", str(flat)]
    ca_port, pva_port = (int(settings[f"EPICS_{name}"]) for name in ("CA_SERVER_PORT", "PVAS_BROADCAST_PORT"))
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(settings),
        text=True,
    ) as ioc:
        try:
            assert ioc.stderr is not None
            assert any("IOC Running" in line for line in ioc.stderr)
            with CClient(ca_port) as c, pva_context(pva_port) as pva:
                yield Side(ca_port, c, pva)
        finally:
            ioc.kill()


@pytest.fixture(scope="module")
def records(ours: Wire) -> list[Record]:
    """All that a C IOC has too."""
    every = ours.board.records.records.values()
    # Digits beyond the fifteenth, in which C changes to another form, have a test of their own.
    own = (f"{SITE}Wide",)
    return [r for r in every if r.view_of is None and r.asg not in ("closed", "alices") and r.name not in own]


class Findings:
    """What differed, and where first."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], str] = {}

    def compare(self, record: Record, what: str, here: object, there: object) -> None:
        if here != there:
            self.found.setdefault((record.type, what), f"{record.name}: here {here!r}, in C {there!r}")

    def check(self, *words: str) -> None:
        """That exactly those of `DIFFERENT` that begin so were found."""
        known = {key for key in DIFFERENT if key[1].split()[0] in words}
        more = {key: said for key, said in self.found.items() if key not in known}
        assert not more, pformat(more)
        assert known - set(self.found) == set()


PADDING = {
    **{11: (4, 5), 13: (4, 8), 15: (12, 14), 17: (12, 14), 18: (12, 15), 20: (12, 16)},
    **{23: (6, 8), 27: (6, 8), 30: (6, 8), 34: (6, 8), 25: (18, 19), 32: (20, 21)},
}
"""Bytes before the value that mean nothing; C leaves there what was before."""


def elements(side: RawCa, sid: int, kind: int, count: int) -> tuple[int, bytes]:
    """Status and payload, without alarm and time, which are those of two different starts."""
    answer = side.read(sid, kind, count)
    if isinstance(answer, ca.ErrorResponse):
        return -1, b""
    payload = b"".join(map(bytes, answer.buffers))
    begin, end = PADDING.get(kind, (0, 0))
    payload = payload[:begin] + payload[end:]
    if 6 < kind < 35:
        payload = payload[12:] if 14 <= kind <= 20 else payload[4:]
    if kind in (STRING, 7, 14, 21, 28, 38):
        payload = payload.partition(b"\0")[0]
    if kind % 7 == CHAR and kind < 35:  # one byte, and what fills the message up
        payload = payload[: len(payload) // 8 * 8]
    return answer.header.parameter1, payload.rstrip(b"\0")


def test_over_ca_types_rights_and_fields_are_those_of_c(
    here: Side, there: Side, records: list[Record]
) -> None:
    findings = Findings()
    with RawCa(here.ca_port) as mine, RawCa(there.ca_port) as theirs:
        for record in records:
            pair = [side.open(record.name) for side in (mine, theirs)]
            assert pair[0] is not None
            assert pair[1] is not None
            findings.compare(record, "type", (pair[0].kind, pair[0].count), (pair[1].kind, pair[1].count))
            findings.compare(record, "rights", pair[0].rights, pair[1].rights)
            for field in FIELDS:
                name = f"{record.name}.{field}"
                both = [side.open(name) for side in (mine, theirs)]
                shapes = [each and (each.kind, each.count) for each in both]
                findings.compare(record, f"field {field}", *shapes)
                if all(both):
                    values = [
                        elements(side, each.sid, STRING, 1)
                        for side, each in zip((mine, theirs), both, strict=True)
                        if each
                    ]
                    findings.compare(record, f"field {field}", *values)
    findings.check("type", "rights", "field")


def test_over_ca_every_type_says_what_c_says(here: Side, there: Side, records: list[Record]) -> None:
    findings = Findings()
    with RawCa(here.ca_port) as mine, RawCa(there.ca_port) as theirs:
        for record in records:
            sids = [side.sid(record.name) for side in (mine, theirs)]
            for kind in KINDS:
                if kind == 37 or record.kind is Kind.TEXT:
                    continue
                found = [elements(side, sid, kind, 1) for side, sid in zip((mine, theirs), sids, strict=True)]
                findings.compare(record, f"DBR {kind}", *found)
    findings.check("DBR")


def structure(value: Any, kind: Kind) -> dict[str, Any]:
    """What a client makes of it."""
    types = value.type()
    found: dict[str, Any] = {"id": value.getID(), "value type": str(types["value"])}
    if kind is Kind.STATES:
        found |= {"value type": "enum", "index": value.value.index, "choices": list(value.value.choices)}
    else:
        held = value.value
        found["value"] = bytes(held).rstrip(b"\0").decode() if hasattr(held, "tobytes") else held
    for place in ("display.description", "display.units", "display.precision"):
        if value.has(place):
            found[place] = value[place]
    for place in ("display.limitLow", "display.limitHigh", "control.limitLow", "control.limitHigh"):
        if value.has(place):
            found[place] = value[place]
    return found


def test_over_pva_structures_and_metadata_are_those_of_qsrv(
    here: Side, there: Side, records: list[Record]
) -> None:
    findings = Findings()
    for record in records:
        mine, theirs = (
            structure(side.pva.get(record.name, timeout=10), record.kind) for side in (here, there)
        )
        for key in sorted({*mine, *theirs}):
            findings.compare(record, f"pva {key}", mine.get(key), theirs.get(key))
    findings.check("pva")


PUTS: Mapping[Kind, list[tuple[str, int, int, bytes]]] = {
    Kind.TEXT: [
        ("caput -S", CHAR, 9, b"caput -S\0"),
        ("caput -S of nothing", CHAR, 2, b"\0\0"),
        ("caput -S without NUL", CHAR, 3, b"abc"),
        ("caput -S with an accent", CHAR, 3, "µm".encode()),
        ("caput", STRING, 1, b"plain".ljust(40, b"\0")),
    ],
    Kind.STRING: [
        ("caput", STRING, 1, b"plain".ljust(40, b"\0")),
        ("caput of nothing", STRING, 1, bytes(40)),
        ("number", LONG, 1, (42).to_bytes(4, sys.byteorder)),
    ],
    Kind.STATES: [
        ("index", LONG, 1, (1).to_bytes(4, sys.byteorder)),
        ("zero", LONG, 1, bytes(4)),
        ("digits", STRING, 1, b"1".ljust(40, b"\0")),
        ("index as enum", ENUM, 1, bytes(2)),
        ("wrong label", STRING, 1, b"no such state".ljust(40, b"\0")),
        ("index out of range", LONG, 1, (77).to_bytes(4, sys.byteorder)),
    ],
    Kind.INTEGER: [
        ("number", LONG, 1, (42).to_bytes(4, sys.byteorder)),
        ("too great a number", LONG, 1, (1000).to_bytes(4, sys.byteorder)),
        ("digits", STRING, 1, b"7".ljust(40, b"\0")),
        ("no number", STRING, 1, b"abc".ljust(40, b"\0")),
    ],
    Kind.FLOAT: [
        ("number", LONG, 1, (42).to_bytes(4, sys.byteorder)),
        ("digits", STRING, 1, b"2.5".ljust(40, b"\0")),
        ("no number", STRING, 1, b"abc".ljust(40, b"\0")),
    ],
}


def shown(side: Side, name: str) -> Any:
    value = side.c("get", name)
    return bytes(value).rstrip(b"\0") if isinstance(value, list) else value


def assert_told(side: Side, name: str, value: Any, *, later: bool) -> None:
    """A monitor says it too; C tells it by a thread of its own, it may be `later` than the put's answer."""

    def told() -> Any:
        last = side.c("events", name, 1)[-1][0]
        return bytes(last).rstrip(b"\0") if isinstance(last, list) else last

    if later:
        until(lambda: told() == value, f"a monitor of {name} that says {value!r}")
    assert told() == value, name


def test_over_ca_puts_with_callback_do_what_they_do_in_c_and_monitors_tell_it(
    here: Side, there: Side, records: list[Record]
) -> None:
    findings = Findings()
    for record in records:
        if not record.writable:
            continue
        puts = list(PUTS[record.kind])
        if record.kind is Kind.STATES:
            puts.insert(0, ("label", STRING, 1, record.states[0].encode().ljust(40, b"\0")))
        for side in (here, there):
            side.c("watch", record.name)
        for what, kind, count, data in puts:
            found: list[Any] = []
            for side in (here, there):
                status = side.c("put", record.name, kind, count, data.hex())
                value = shown(side, record.name)
                words = (
                    side.c("text", record.name)
                    if record.kind is Kind.TEXT
                    else side.c("get", record.name, STRING)
                )
                found.append((status == NORMAL, value, words))
                assert_told(side, record.name, value, later=side is there)
            findings.compare(record, f"put {what}", *found)
    findings.check("put")


def test_over_ca_what_only_the_ioc_writes_is_refused_here_and_taken_in_c(
    here: Side, there: Side, records: list[Record]
) -> None:
    for record in records:
        if record.writable:
            continue
        kind, data = (CHAR, b"x") if record.kind is Kind.TEXT else (LONG, bytes(4))
        before = shown(here, record.name)
        assert here.c("put", record.name, kind, 1, data.hex()) != NORMAL
        assert shown(here, record.name) == before
        assert there.c("info", record.name)[3] == 1


def test_over_pva_puts_do_what_they_do_in_qsrv_and_monitors_tell_it(
    here: Side, there: Side, records: list[Record]
) -> None:
    findings = Findings()
    for record in records:
        if not record.writable:
            continue
        texts = [("text", "by PVA"), ("no text", "")]
        values: list[tuple[str, Any]] = {
            Kind.STATES: [
                ("index", 1),
                ("label", record.states[1] if record.states else ""),
                ("no state", 9),
            ],
            Kind.INTEGER: [("number", 5)],
            Kind.FLOAT: [("number", 2.5), ("not a number", float("nan"))],
        }.get(record.kind, texts)
        for what, value in values:
            found: list[Any] = []
            for side in (here, there):
                sent = {"value.index": value} if what in ("index", "no state") else value
                if record.kind is Kind.TEXT:
                    sent = {"value": value}
                try:
                    side.pva.put(record.name, sent, timeout=10, get=what == "label")
                    taken = True
                except (RemoteError, ValueError, TypeError) as error:
                    taken = type(error).__name__
                got = structure(side.pva.get(record.name, timeout=10), record.kind)
                found.append((taken, str(got.get("value", got.get("index")))))
            findings.compare(record, f"pvput {what}", *found)
    findings.check("pvput")


def test_names_that_are_not_there_are_answered_by_neither(here: Side, there: Side) -> None:
    for side in (here, there):
        assert search(side.ca_port, f"{SITE}NoSuch", timeout_s=0.2) == []
        with pytest.raises(TimeoutError):
            side.pva.get(f"{SITE}NoSuch", timeout=0.3)
