"""What a service sends may be wrong a million times: the first fault is named, the others cost nothing."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from beamtime_handlers.clients.aps_schedule.replies import parse_cycles, parse_schedule
from beamtime_handlers.clients.desy_schedule import DesySchedule
from beamtime_handlers.clients.nsls2_schedule.replies import parse_cycle, parse_proposal
from beamtime_handlers.clients.replies import Reply, check, parse
from beamtime_handlers.clients.safety_form import read_form
from beamtime_ioc.errors import BadResponseError

MANY = 300_000
ZONE = ZoneInfo("America/Chicago")
TIMES = '"startTime": "2026-11-01T08:00:00Z", "endTime": "2026-11-02T08:00:00Z"'
PROPOSAL = '{"proposal": {"proposal_id": 1, "instruments": %s, "cycles": %s, "users": %s, "safs": %s}}'

Read = Callable[[bytes, Path], object]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer with a list or a mapping of many.

    Attributes
    ----------
    whole
        With a place for the many.
    wrong, right
        One of them; a mapping has a place for its key.
    """

    read: Read
    whole: str
    wrong: str
    right: str
    fault: str

    def many(self, one: str, count: int) -> bytes:
        items = ",".join(one % number if "%" in one else one for number in range(count))
        return (self.whole % items).encode()


def read_cycles(body: bytes, _: Path) -> object:
    return parse_cycles(body, "the service")


def read_schedule(body: bytes, _: Path) -> object:
    return parse_schedule(body, "the service", cycle="2026-3", beamline="99-BM")


def read_proposal(body: bytes, _: Path) -> object:
    return parse_proposal(body, "the service")


def read_file(body: bytes, directory: Path) -> object:
    (directory / "beamtime-metadata-1.json").write_bytes(body)
    return DesySchedule([directory], beamline="P99", zone=ZONE).by_id("1")


def read_safety_form(body: bytes, _: Path) -> object:
    return read_form(json.loads(body), "the service", ZONE)


RUN = f'{{"runName": "2026-3", {TIMES}}}'
ACTIVITY = f'{{"activityId": 1, {TIMES}}}'
MEMBERS = (
    f'[{{"activities": [{{"activityId": 1, {TIMES}, "beamtime": {{"beamtimeId": 1, "proposal": %s}}}}]}}]'
)
ANSWERS = {
    "aps cycles": Answer(
        read=read_cycles, whole="[%s]", wrong="{}", right=RUN, fault=r"\[0\]\.startTime: Field required"
    ),
    "aps cycles, numbers": Answer(
        read=read_cycles, whole="[%s]", wrong="0", right=RUN, fault=r"\[0\]: Input should be an object"
    ),
    "aps elements": Answer(
        read=read_schedule,
        whole="[%s]",
        wrong="{}",
        right='{"activities": []}',
        fault=r"\[0\]\.activities: Field required",
    ),
    "aps activities": Answer(
        read=read_schedule,
        whole='[{"activities": [%s]}]',
        wrong="{}",
        right=ACTIVITY,
        fault=r"\[0\]\.activities\[0\]\.startTime: Field required",
    ),
    "aps experimenters": Answer(
        read=read_schedule,
        whole=MEMBERS % '{"experimenters": [%s]}',
        wrong="0",
        right='{"badge": "1"}',
        fault=r"experimenters\[0\]: Input should be an object",
    ),
    "nsls2 instruments": Answer(
        read=read_proposal,
        whole=PROPOSAL % ("[%s]", "[]", "[]", "[]"),
        wrong="{}",
        right='"SRX"',
        fault=r"proposal\.instruments\[0\]: is no text",
    ),
    "nsls2 cycles": Answer(
        read=read_proposal,
        whole=PROPOSAL % ("[]", "[%s]", "[]", "[]"),
        wrong="[]",
        right='"2026-3"',
        fault=r"proposal\.cycles\[0\]: is no text",
    ),
    "nsls2 users": Answer(
        read=read_proposal,
        whole=PROPOSAL % ("[]", "[]", "[%s]", "[]"),
        wrong="0",
        right='{"username": "zl"}',
        fault=r"proposal\.users\[0\]: Input should be",
    ),
    "nsls2 forms": Answer(
        read=read_proposal,
        whole=PROPOSAL % ("[]", "[]", "[]", "[%s]"),
        wrong="0",
        right='{"saf_id": 1}',
        fault=r"proposal\.safs\[0\]: Input should be",
    ),
    "desy users": Answer(
        read=read_file,
        whole='{"beamtimeId": 1, "users": {"door-db": [%s]}}',
        wrong="0",
        right='"zlukasik"',
        fault=r"users\.door-db\[0\]: Input should be an object",
    ),
    "desy groups": Answer(
        read=read_file,
        whole='{"beamtimeId": 1, "users": {%s}}',
        wrong='"%d": 0',
        right='"%d": []',
        fault=r"users\.0: Input should be a valid array",
    ),
    "safety form": Answer(
        read=read_safety_form,
        whole='{"esafId": 1, "experimentUsers": [%s]}',
        wrong="0",
        right='{"badge": "1"}',
        fault=r"experimentUsers\[0\]: Input should be",
    ),
}


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_wrong_very_often_costs_no_more_than_a_right_one(
    answer: Answer, tmp_path: Path
) -> None:
    wrong = answer.many(answer.wrong, MANY)
    right = answer.many(answer.right, len(wrong) // (len(answer.right) + 8))

    def refused() -> None:
        with pytest.raises(BadResponseError, match=answer.fault):
            answer.read(wrong, tmp_path)

    answer.read(answer.many(answer.right, 1), tmp_path)  # what the first reading alone makes
    assert peak_of(refused) <= peak_of(lambda: answer.read(right, tmp_path)) + len(wrong)


class _Row(Reply):
    number: int


class _New(Reply):
    """A reply of a service that nobody has thought of yet."""

    rows: list[_Row] | None = None
    pair: tuple[int, ...] = ()
    names: frozenset[int] = frozenset()
    table: dict[str, list[_Row]] | None = None
    either: list[int] | dict[int, int] | None = None


class _Nested(Reply):
    new: _New


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({"rows": [{}] * 1000}, 1),
        ({"rows": [{"number": 1}, *[0] * 1000]}, 1),
        ({"pair": ["a"] * 1000}, 1),
        ({"names": [f"a{number}" for number in range(1000)]}, 1),
        ({"table": {str(number): 0 for number in range(1000)}}, 1),
        ({"table": {"a": [0] * 1000}}, 1),
        ({"either": ["a"] * 1000}, 2),  # one for each of the two that it may be
        ({"either": {f"a{number}": "a" for number in range(1000)}}, 2),
        ({"rows": 0, "pair": [[]] * 1000, "table": {str(number): [[]] * 9 for number in range(1000)}}, 3),
        ({str(number): 0 for number in range(1000)} | {"pair": 0}, 1),  # fields that nobody asked for
    ],
)
def test_a_new_kind_of_reply_stops_at_the_first_fault_of_each_field(
    given: dict[str, Any], faults: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(
        "beamtime_handlers.clients.replies.first_fault",
        lambda error: counts.append(error.error_count()) or "a fault",  # pyright: ignore
    )

    for kind, value in ((_New, given), (_Nested, {"new": given}), (list[_New], [given] * 9)):
        with pytest.raises(BadResponseError):
            parse(kind, json.dumps(value).encode(), "the service")
        with pytest.raises(BadResponseError):
            check(kind, value, "the service")

    assert counts == [faults] * 6


def test_what_is_right_is_read_whole() -> None:
    given = {
        "rows": [{"number": 1}, {"number": 2}],
        "pair": [1, 2],
        "names": [1],
        "table": {"a": [{"number": 3}]},
    }

    found = parse(_New, json.dumps(given).encode(), "the service")

    assert found.rows == [_Row(number=1), _Row(number=2)]
    assert (found.pair, found.names, found.table) == ((1, 2), frozenset({1}), {"a": [_Row(number=3)]})


def test_no_reply_counts_the_fields_that_nobody_asked_for() -> None:
    body = b'{"cycle": "2026-3", %s}' % b",".join(b'"%d": 0' % number for number in range(MANY))

    assert parse_cycle(body, "the service") == "2026-3"
    assert {kind.model_config.get("extra") for kind in _kinds(Reply)} == {"ignore"}


def _kinds(kind: type[Reply]) -> list[type[Reply]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _kinds(child))]
