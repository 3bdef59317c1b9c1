"""A schedule in a file, whatever its format: the port, YAML, and what is wrong in it."""

import json
import os
import re
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from aps_house import SAMPLE, SCHEDULE
from beamtime_handlers.clients.file_schedule import Settings
from beamtime_handlers.clients.file_schedule.entries import Contents, Rules
from beamtime_ioc.errors import (
    BadResponseError,
    NobodyOnBeamError,
    NoCycleError,
    ServiceDeniedError,
    ServiceUnavailableError,
    SeveralOnBeamError,
)
from beamtime_ioc.model import Beamtime
from beamtime_ioc.on_beam import on_beam
from file_house import SITE, faults, file_schedule, listed

GOOD = """\
beamtimes:
  - id: "2026-3-017"
    proposal_id: 0123
    title: "Crack growth in invented alloys"
    start: 2026-10-30T08:00:00-05:00
    end: 2026-11-02T08:00:00-06:00
    safety_form_id: 8800011
    people:
      - {first: Ren, last: O'Brien, email: ren@example.org, external_id: 000102}
      - {first: Zoë, last: Müller-Łukasik, email: zoe@example.edu, external_id: "900101", role: pi}
"""


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(SITE.zone)


def entry(**changes: object) -> str:
    """A file with one good entry, changed; None leaves a key out."""
    content = yaml.safe_load(GOOD)
    one = content["beamtimes"][0]
    one.update(start="2026-10-30T08:00:00-05:00", end="2026-11-02T08:00:00-06:00")
    one.update(changes)
    content["beamtimes"][0] = {key: value for key, value in one.items() if value is not None}
    return yaml.safe_dump(content, allow_unicode=True)


# -- what is read -------------------------------------------------------------------------------


def test_in_the_place_of_a_service_the_experiments_are_the_same_ones(tmp_path: Path) -> None:
    schedule = file_schedule(tmp_path, entry(id="300011"), keys="aps")

    (found,) = listed(schedule)

    assert found.key == "aps:300011"
    assert schedule.by_id("aps:300011") == schedule.by_id("300011") == found
    assert schedule.by_id("file:300011") is None


@pytest.mark.parametrize("keys", ["", "APS", "a b", "aps:", "../aps", "a" * 21, 7])
def test_what_cannot_stand_in_a_key_is_refused(tmp_path: Path, keys: object) -> None:
    with pytest.raises(ValidationError, match="keys"):
        file_schedule(tmp_path, GOOD, keys=keys)


def test_an_entry_is_a_beamtime_with_its_people_the_pi_first(tmp_path: Path) -> None:
    [beamtime] = listed(file_schedule(tmp_path, GOOD))

    assert (beamtime.key, beamtime.proposal, beamtime.esaf) == ("file:2026-3-017", "0123", "8800011")
    assert beamtime.end - beamtime.start == timedelta(hours=73)
    assert [(p.full_name, p.badge, p.is_pi, p.pi_inferred) for p in beamtime.people] == [
        ("Zoë Müller-Łukasik", "900101", True, False),
        ("Ren O'Brien", "000102", False, False),
    ]


def test_every_value_is_taken_as_the_text_that_it_is(tmp_path: Path) -> None:
    [beamtime] = listed(file_schedule(tmp_path, GOOD.replace('"2026-3-017"', "017").replace("Zoë", "No")))

    assert beamtime.id == "017"
    assert beamtime.people[0].first_name == "No"


def test_what_is_null_blank_or_none_is_empty(tmp_path: Path) -> None:
    people = [
        {"last": "Doe", "email": None},
        {"last": "Roe", "email": "  "},
        {"last": "Poe", "email": "None"},
    ]
    [beamtime] = listed(file_schedule(tmp_path, entry(title=None, people=people)))

    assert beamtime.title == ""
    assert [person.email for person in beamtime.people] == ["", "", ""]
    assert beamtime.people[0].pi_inferred


@pytest.mark.parametrize("people", [None, [], [{}], [{"role": "pi"}]])
def test_a_beamtime_without_people_is_one(tmp_path: Path, people: object) -> None:
    [beamtime] = listed(file_schedule(tmp_path, entry(people=people)))

    assert beamtime.people == ()


def test_people_who_are_listed_twice_are_one_and_the_first_pi_counts(tmp_path: Path) -> None:
    people = [
        {"last": "Doe", "external_id": "1"},
        {"last": "Doe", "external_id": "1", "role": "PI"},
        {"last": "Roe", "external_id": "2", "role": "pi"},
    ]
    [beamtime] = listed(file_schedule(tmp_path, entry(people=people)))

    assert [(p.last_name, p.is_pi) for p in beamtime.people] == [("Doe", True), ("Roe", False)]


@pytest.mark.parametrize("title", ["two\nlines", "x" * 300, "🔬 grains", 'quoted "so"', "'; drop"])
def test_any_title_becomes_one_line(tmp_path: Path, title: str) -> None:
    [beamtime] = listed(file_schedule(tmp_path, entry(title=title)))

    assert beamtime.title == title.replace("\n", " ")


def test_entries_of_other_beamlines_are_not_ours(tmp_path: Path) -> None:
    assert listed(file_schedule(tmp_path, entry(beamline="98-ID-C"))) == []
    assert len(listed(file_schedule(tmp_path, entry(beamline="99-bm-A, B")))) == 1


def test_only_what_overlaps_the_window_is_listed(tmp_path: Path) -> None:
    schedule, hour = file_schedule(tmp_path, GOOD), timedelta(hours=1)
    start, end = local("2026-10-30T08:00:00-05:00"), local("2026-11-02T08:00:00-06:00")

    assert schedule.list_between(start - hour, start) == []
    assert len(schedule.list_between(start - hour, start + timedelta(seconds=1))) == 1
    assert schedule.list_between(end, end + hour) == []


@pytest.mark.parametrize("key", ["2026-3-017", "file:2026-3-017"])
def test_a_beamtime_is_found_by_its_id(tmp_path: Path, key: str) -> None:
    schedule = file_schedule(tmp_path, GOOD)

    assert schedule.by_id(key) == listed(schedule)[0]
    assert schedule.by_id("2026-3-018") is None


def test_local_times_are_read_where_the_site_file_says_so(tmp_path: Path) -> None:
    text = entry(start="2026-10-30T08:00:00", end="2026-11-02 08:00:00")

    [beamtime] = listed(file_schedule(tmp_path, text, times="local"))

    assert beamtime.end - beamtime.start == timedelta(hours=73)


# -- the sample as a file -----------------------------------------------------------------------


def as_yaml() -> str:
    """What the sample of the APS has, in our format."""
    beamtimes = []
    for activity in SAMPLE[SCHEDULE][0]["activities"]:
        proposal = (activity["beamtime"] or {}).get("proposal") or {}
        people = [
            {"first": e["firstName"], "last": e["lastName"], "role": "pi" if e["piFlag"] == "Y" else None}
            for e in proposal.get("experimenters", [])
        ]
        beamtimes.append(
            {
                "id": str(activity["activityId"]),
                "proposal_id": str(proposal.get("gupId") or ""),
                "title": activity["activityName"],
                "start": activity["startTime"],
                "end": activity["endTime"],
                "people": people,
            }
        )
    cycles = [
        {"name": run["runName"], "start": run["startTime"], "end": run["endTime"]}
        for run in SAMPLE["run/getAllRuns"]
    ]
    return yaml.safe_dump({"cycles": cycles, "beamtimes": beamtimes}, allow_unicode=True)


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        ("2026-10-30T07:59:59-05:00", NobodyOnBeamError),
        ("2026-10-30T08:00:00-05:00", "11"),
        ("2026-11-01T01:30:00-05:00", "11"),
        ("2026-11-01T01:30:00-06:00", "11"),
        ("2026-11-02T07:59:59-06:00", "11"),
        ("2026-11-02T08:00:00-06:00", "12"),
        ("2026-11-04T21:00:00-06:00", SeveralOnBeamError),
        ("2026-11-05T08:00:00-06:00", "13"),
        ("2026-11-05T20:00:00-06:00", NobodyOnBeamError),
        ("2026-11-10T12:00:00-06:00", NobodyOnBeamError),
        ("2026-11-20T12:00:00-06:00", NobodyOnBeamError),
        ("2026-12-18T08:00:00-06:00", NoCycleError),
        ("2026-12-25T12:00:00-06:00", NoCycleError),
    ],
)
def test_a_file_says_what_the_service_says(tmp_path: Path, moment: str, found: str | type[Exception]) -> None:
    schedule = file_schedule(tmp_path, as_yaml())

    if isinstance(found, str):
        assert on_beam(schedule, local(moment), 0).id == found
    else:
        with pytest.raises(found):
            on_beam(schedule, local(moment), 0)


def test_without_cycles_of_its_own_no_moment_lies_outside(tmp_path: Path) -> None:
    schedule = file_schedule(tmp_path, GOOD)

    assert schedule.cycles() is None
    with pytest.raises(NobodyOnBeamError):
        on_beam(schedule, local("2026-12-25T12:00:00-06:00"), 0)


def test_the_tolerance_of_the_site_file_counts(tmp_path: Path) -> None:
    assert file_schedule(tmp_path, GOOD, tolerance_min=60).early_min == 60


# -- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": ""}, "has no id"),
        ({"id": None}, "has no id"),
        ({"id": "October 30"}, "id 'October 30' could not be chosen; write letters, digits and"),
        ({"id": "../../etc"}, "id '../../etc' could not be chosen"),
        ({"id": "9" * 200}, f"id {'9' * 40!r} could not be chosen"),
        ({"start": None}, "has no start"),
        ({"start": "soon"}, "start is no time"),
        ({"start": "2026-10-30T08:00:00"}, "start is a time without a zone"),
        ({"start": "2026-10-30"}, "start is a date without a time of day"),
        ({"end": "2026-10-30T08:00:00-05:00"}, "end does not lie behind start"),
        ({"end": "2026-10-29T08:00:00-05:00"}, "end does not lie behind start"),
        ({"pi": "Doe"}, "unknown key 'pi'; allowed are id, proposal_id"),
        ({"title": ["a", "list"]}, "title should be a text"),
        ({"people": "Doe"}, "people should be a list"),
        ({"people": ["Doe"]}, "should hold keys and values"),
        ({"people": [{"mail": "x@example.org"}]}, "unknown key 'mail'"),
        ({"people": [{"last": "Doe", "role": "boss"}]}, "role is pi, or nothing"),
    ],
)
def test_a_wrong_entry_is_left_out_and_the_good_ones_stay(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    good = yaml.safe_load(entry(id="good"))["beamtimes"]
    bad = yaml.safe_load(entry(**changes))["beamtimes"]
    schedule = file_schedule(tmp_path, yaml.safe_dump({"beamtimes": bad + good}))

    assert [beamtime.id for beamtime in listed(schedule)] == ["good"]
    [fault] = faults(schedule)
    assert re.fullmatch(rf"line \d+: {re.escape(words)}.*", fault)


def test_a_fault_names_the_line_of_what_is_wrong(tmp_path: Path) -> None:
    text = GOOD + GOOD.partition("\n")[2].replace("2026-10-30T08", "2026-13-30T08")
    schedule = file_schedule(tmp_path, text)

    assert faults(schedule) == ["line 14: start is no time; write it like 2026-10-30T08:00:00-05:00"]


def test_an_id_that_stands_for_two_proposals_is_a_fault(tmp_path: Path) -> None:
    text = GOOD + GOOD.partition("\n")[2].replace("0123", "0124")
    schedule = file_schedule(tmp_path, text)

    assert len(listed(schedule)) == 1
    assert faults(schedule) == ["line 11: id 2026-3-017 stands above for proposal 0123"]


def test_the_log_names_some_of_many_wrong_entries_and_counts_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed(file_schedule(tmp_path, GOOD + "  - {id: 1}\n" * 1000))

    assert len(caplog.messages) == 21
    assert "line 12: has no start; this entry is left out" in caplog.text
    assert "980 more are wrong, and left out" in caplog.text


def test_entries_that_are_left_out_turn_the_lamp(tmp_path: Path) -> None:
    bad = yaml.safe_load(entry(start="soon"))["beamtimes"]
    good = yaml.safe_load(entry(id="good"))["beamtimes"]

    fine = file_schedule(tmp_path, GOOD).check()
    health = file_schedule(tmp_path, yaml.safe_dump({"beamtimes": bad + good})).check()

    assert fine.ok
    assert not health.ok
    assert "has 1 beamtime" in health.sentence
    assert "start is no time" in health.sentence
    assert "mend that line" in health.sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "should hold the key beamtimes:"),
        ("- id: 1\n", "should hold the key beamtimes:"),
        ("beamtime: []\n", "unknown key 'beamtime'; allowed are beamtimes, cycles"),
        ("cycles: []\n", "should hold the key beamtimes:"),
        ("beamtimes: 7\n", "line 1: beamtimes: should be a list"),
        ("beamtimes: [\n", "no YAML"),
        ("beamtimes: []\nbeamtimes: []\n", "line 2: beamtimes stands twice"),
        ("beamtimes: [\x01]\n", "no YAML"),
        ("a: &a [1]\nbeamtimes: *a\n", "line 2: *a: write the value out"),
        (f"beamtimes: {'[' * 3000}\n", "line 1: is nested too deep"),
        ("beamtimes: []\n--- {}\n", "no YAML"),
        (entry(start="soon"), "start is no time"),
        (b"beamtimes: [\xff]\n", "is no UTF-8 text"),
    ],
)
def test_a_file_of_no_use_is_a_bad_response(tmp_path: Path, text: str | bytes, words: str) -> None:
    schedule = file_schedule(tmp_path, text)

    with pytest.raises(BadResponseError, match=re.escape(words)) as caught:
        listed(schedule)

    assert str(tmp_path / "schedule.yaml") in caught.value.sentence
    assert caught.value.advice
    assert not schedule.check().ok


def test_a_file_without_beamtimes_is_an_empty_schedule(tmp_path: Path) -> None:
    assert listed(file_schedule(tmp_path, "beamtimes: []\n")) == []
    assert listed(file_schedule(tmp_path, "beamtimes:\n")) == []


def test_a_wrong_cycle_is_a_fault_and_no_beamtime_is_lost(tmp_path: Path) -> None:
    schedule = file_schedule(tmp_path, "cycles: [{name: 2026-3, start: soon}]\n" + GOOD)

    assert len(listed(schedule)) == 1
    assert faults(schedule) == ["line 1: start is no time; write it like 2026-10-30T08:00:00-05:00"]


def test_a_mark_at_the_beginning_of_the_file_does_not_matter(tmp_path: Path) -> None:
    assert len(listed(file_schedule(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()))) == 1


# -- the file itself ----------------------------------------------------------------------------


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    schedule = file_schedule(tmp_path, GOOD)
    assert len(listed(schedule)) == 1

    half = tmp_path / "new"
    half.write_text("beamtimes: []\n")
    half.replace(schedule.path)

    assert listed(schedule) == []


def test_a_file_that_does_not_change_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule, parses = file_schedule(tmp_path, GOOD), list[bytes]()
    parse = schedule._parse
    monkeypatch.setattr(schedule, "_parse", lambda raw: parses.append(raw) or parse(raw))

    for _ in range(3):
        listed(schedule)

    assert len(parses) == 1


def test_a_file_that_becomes_bad_and_good_again_is_followed(tmp_path: Path) -> None:
    schedule = file_schedule(tmp_path, GOOD)
    listed(schedule)

    schedule.path.write_text(GOOD[:100])
    with pytest.raises(BadResponseError):
        listed(schedule)
    schedule.path.write_text(GOOD)

    assert len(listed(schedule)) == 1


def test_a_file_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    schedule = file_schedule(tmp_path, GOOD)
    schedule.path.unlink()

    with pytest.raises(ServiceUnavailableError, match="cannot be read: No such file"):
        listed(schedule)


def test_a_file_that_may_not_be_read_is_denied(tmp_path: Path) -> None:
    schedule = file_schedule(tmp_path, GOOD)
    schedule.path.chmod(0)

    with pytest.raises(ServiceDeniedError, match="may not be read by this user") as caught:
        listed(schedule)

    assert str(schedule.path) in caught.value.advice


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: object) -> None:
    schedule = file_schedule(tmp_path, GOOD)
    schedule.path.unlink()
    make(schedule.path)  # type: ignore[operator]

    with pytest.raises((BadResponseError, ServiceUnavailableError)):
        listed(schedule)


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    schedule = file_schedule(tmp_path, GOOD)
    with schedule.path.open("ab") as file:
        file.truncate(3 << 20)

    with pytest.raises(BadResponseError, match="has more than 2 MB"):
        listed(schedule)


# -- settings, and texts of any kind ------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("path", "schedule.xls", "must end in one of .yaml, .yml, .csv, .ics"),
        ("path", "a\0.yaml", "must end in one of"),
        ("tolerance_min", -1, "greater than or equal to 0"),
        ("times", "utc", "'offset' or 'local'"),
        ("day_begins", "8:00", "must be a time of day in quotes"),
        ("day_begins", 28800, "must be a time of day in quotes"),
        ("day_begins", "24:00", "must be a time of day in quotes"),
        ("url", "http://x", "not permitted"),
    ],
)
def test_a_wrong_setting_is_refused(key: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Settings.model_validate({"backend": "file", "path": "schedule.yaml", key: value})


NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


class Counted(str):
    """A text that counts how often texts are compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_a_long_file_is_no_work_of_each_entry_with_each() -> None:
    Counted.compared = 0
    contents, rules, begin = Contents(), Rules(beamline="", zone=SITE.zone), datetime.now(SITE.zone)

    for number in range(1000):
        contents.take(Beamtime(source="file", id=Counted(number), start=begin, end=begin), number, rules)

    assert len(contents.beamtimes) == 1000
    assert Counted.compared < 5000


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=NAMES, first=NAMES, last=NAMES, email=NAMES, badge=st.from_regex(r"[0-9]{0,8}", fullmatch=True))
def test_any_text_comes_through_as_one_line(
    tmp_path: Path, title: str, first: str, last: str, email: str, badge: str
) -> None:
    people = [{"first": first, "last": last, "email": email, "external_id": badge}]
    content = yaml.safe_load(entry(title=title, people=people))

    [beamtime] = listed(file_schedule(tmp_path, json.dumps(content)))

    for text in (beamtime.title, *(vars(p)["first_name"] for p in beamtime.people)):
        assert "\n" not in text
    assert [person.badge for person in beamtime.people] in ([badge], [])
    assert SITE.experiment(beamtime).name.isascii()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.binary(max_size=200),
    at=st.integers(0, len(GOOD)),
    suffix=st.sampled_from([".yaml", ".csv", ".ics"]),
)
def test_no_bytes_make_it_fail_in_another_way(tmp_path: Path, raw: bytes, at: int, suffix: str) -> None:
    text = GOOD.encode()
    schedule = file_schedule(tmp_path, text[:at] + raw + text[at:], suffix)

    with suppress(BadResponseError):
        listed(schedule)
    schedule.check()
