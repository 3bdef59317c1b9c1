"""A C IOC reads the same files: templates, substitutions, the flat export; and what we refuse, it refuses."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.export import flat_db
from beamtime_ioc.records import RecordSet, db_dir, load_records
from beamtime_ioc.substitutions import parse_substitutions
from c_ioc import MODULE, SERVE, START, ask, environment

PREFIX = "99bm:Beamtime:"
SHIPPED = db_dir() / "beamtime.substitutions"
TRAINING = db_dir() / "sim.substitutions"


@pytest.fixture(scope="module")
def shipped() -> RecordSet:
    return load_records([SHIPPED, TRAINING], prefix=PREFIX)


def descriptions(records: RecordSet) -> dict[str, str]:
    """What a C IOC shows of them; the short views are ours alone."""
    return {record.name: record.desc for record in records.records.values() if record.view_of is None}


def as_shown(text: str) -> str:
    """As `dbgf` writes a text: escaped as in C."""
    escaped = re.sub(r"""([\\'"])""", r"\\\1", text)
    return "".join(c if c.isascii() else "".join(f"\\x{byte:02x}" for byte in c.encode()) for c in escaped)


def shown(lines: Sequence[str]) -> list[str]:
    return [line.split(":", 1)[1].strip() for line in lines]


def test_every_row_loads_as_macros_of_its_template(shipped: RecordSet, tmp_path: Path) -> None:
    macros = {"P": "99bm:", "R": "Beamtime:"}
    files = (SHIPPED, TRAINING)
    rows = [row for one in files for row in parse_substitutions(one.read_text(), path=one, macros=macros)]
    arguments = list(MODULE)
    for row in rows:
        given = ",".join(f'{name}="{value}"' for name, value in row.macros.items())
        arguments += ["-m", given, "-d", row.template]

    names = ask(tmp_path / "answer", arguments, "dbl")

    assert [row.template for row in rows].count("action.template") == len(shipped.actions())
    assert set(names) == set(descriptions(shipped))


def test_c_reads_the_substitutions_themselves(shipped: RecordSet, tmp_path: Path) -> None:
    load = "; ".join(
        f"c_loads(c.dbCore.dbLoadTemplate, {one.name!r}, 'P=99bm:,R=Beamtime:')"
        for one in (SHIPPED, TRAINING)
    )
    expected = descriptions(shipped)

    lines = ask(
        tmp_path / "answer", ["-c", START + load + SERVE], *(f"dbgf {name}.DESC" for name in expected)
    )

    assert shown(lines) == [f'"{as_shown(desc)}"' for desc in expected.values()]


def test_c_reads_the_flat_export(tmp_path: Path) -> None:
    own = tmp_path / "own.db"
    own.write_text(
        r"""
        record(ao, "$(P)$(R)Energy") {
            field(DESC, "say \"keV\"\\ é") alias("elsewhere:E") info(a, "$(X=$)(Y)")
        }
        record(waveform, "elsewhere:Note") {
            field(DESC, "first") field(FTVL, CHAR) field(NELM, 80) field(INP, {const:"a \"b\""})
        }
        """,
        encoding="utf-8",
    )
    site = load_records([SHIPPED, own], prefix=PREFIX)
    flat = tmp_path / "flat.db"
    flat.write_text(flat_db(site), encoding="utf-8")
    expected = descriptions(site)

    lines = ask(
        tmp_path / "answer",
        [*MODULE, "-m", "P=99bm:,R=Beamtime:", "-d", str(flat)],
        *(f"dbgf {name}.DESC" for name in expected),
        "dbgf elsewhere:E.NAME",
        "dbgf elsewhere:Note.VAL",
    )

    assert shown(lines) == [
        f'"{as_shown(desc)}"' for desc in [*expected.values(), f"{PREFIX}Energy", 'a "b"']
    ]


ACCEPTED = [
    r'record(stringin, "X") { field(DESC, "a \"q\" \t \\ \q \/ b") }',
    'record(stringin, "X") { field(DESC, "$(A=$(B=b) c)") }',
    'record(stringin, "X") { field(DESC, "$(A="x, y")") }',
    '# no "\nrecord(stringin, "X") { # nor "\n field(DESC, "# text") # yes\n}',
    'record(stringin, "X")\r\n{\r\n field(DESC, "é µ 漢")\r\n}\r\n',
    'record("stringin", "X") { field("DESC", abc.d-e) info(beamtime:group, a-b) info("a b", "c") }',
    'grecord(stringin, "X") { alias("Y") } record("*", "Y") { field(DESC, "x") } alias("X", "Z")',
    f'record(stringin, "X") record(stringin, "X") {{ field(VAL, "{"x" * 39}") }}',
    'record(waveform, "X") { field(FTVL, CHAR) field(NELM, 9) field(INP, {const:"a{b}"}) info(q, {a:[1]}) }',
    r'record(waveform, "X") { field(FTVL, CHAR) field(NELM, 9) field(INP, "{ \"const\" : \"a\" }") }',
    'record(ai, "X") { field(VAL, +.5e1) field(HOPR, 0x10) field(PREC, "") field(INP, "3") }',
    'record(mbbi, "X") { field(ZRST, "A") field(FTVL, "3") field(FTSV, MAJOR) field(VAL, 0) }',
    'record(bo, "X{a}-1#b") { field(ZNAM, A) field(ONAM, B) field(OMSL, supervisory) field(DOL, "1") }',
    f'record(bo, "X") {{ field(ZNAM, "{"x" * 25}") field(ONAM, "b") field(ASG, "{"x" * 28}") }}',
    f'record(ai, "X") {{ field(DESC, "{"é" * 20}") field(EGU, "{"x" * 15}") }}',
]
REFUSED = [
    'record(stringin, "X") { field(DESC, "$(NOPE)") }',
    'record(stringin, "X") { field(DESC, "a\tb") }',
    'record(stringin, "X") { field(DESC "x") }',
    'record(stringin, "X") { field(DESC, "x" }',
    'record(stringin, "X") { field(DESC, "x"), field(VAL, "x") }',
    'record("", "X")',
    'record(stringin, "")',
    'record(stringin, "X Y")',
    'record(stringin, "X.Y")',
    'record(stringin, "X") record(bi, "X")',
    'record("*", "X")',
    'alias("X", "Y")',
    'record(stringin, "X") { alias("X") }',
    'record(stringin, "X") { field(NOPE, "1") }',
    f'record(stringin, "X") {{ field(DESC, "{"x" * 41}") }}',
    f'record(stringin, "X") {{ field(DESC, "{"é" * 21}") }}',
    f'record(stringin, "X") {{ field(ASG, "{"x" * 29}") }}',
    f'record(stringin, "X") {{ field(VAL, "{"x" * 40}") }}',
    f'record(ai, "X") {{ field(EGU, "{"x" * 16}") }}',
    f'record(bo, "X") {{ field(ZNAM, "{"x" * 26}") field(ONAM, "b") }}',
    f'record(mbbi, "X") {{ field(ZRST, "{"x" * 26}") }}',
    'record(mbbi, "X") { field(ZRST, "A") field(ZRSV, "BAD") }',
    'record(mbbi, "X") { field(ZRST, "A") field(VAL, "A") }',
    'record(ai, "X") { field(HOPR, "abc") }',
    'record(longin, "X") { field(HOPR, "1.5") }',
    'record(waveform, "X") { field(FTVL, CHAR) field(NELM, 9) field(VAL, "x") }',
]


@pytest.mark.parametrize(("texts", "verdict"), [(ACCEPTED, "read"), (REFUSED, "refused")])
def test_c_judges_as_we_do(texts: Sequence[str], verdict: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.db" for number in range(len(texts))]
    for number, (file, text) in enumerate(zip(files, texts, strict=True)):
        # Names of their own, since all are loaded into one C IOC.
        own = re.sub(r'"([XYZ]\b)', rf'"R{number}\1', text)
        file.write_text(own, encoding="utf-8", newline="")

    loads = "".join(f"c_loads(c.dbLoadRecords, {str(file)!r}, '')\n" for file in files)
    ended = subprocess.run(
        [sys.executable, "-c", START + loads], capture_output=True, timeout=60, env=environment(), check=True
    )

    assert ended.stdout.decode().splitlines() == [f"{file.name}={verdict}" for file in files]
    for file in files:
        if verdict == "read":
            load_records([file], prefix=PREFIX)
        else:
            with pytest.raises(RecordFileError):
                load_records([file], prefix=PREFIX)
