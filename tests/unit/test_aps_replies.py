"""What the APS service sends, read into beamtimes."""

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aps_house import SAMPLE, SCHEDULE, SITE, changed
from beamtime_handlers.clients.aps_schedule.replies import parse_cycles, parse_schedule
from beamtime_ioc.errors import BadResponseError, BeamtimeError
from beamtime_ioc.model import Beamtime, Person, from_json, to_json


def read(data: dict[str, Any]) -> list[Beamtime]:
    body = json.dumps(data[SCHEDULE]).encode()
    return parse_schedule(body, "the schedule", cycle="2026-3", beamline="99-BM-A,B")


def one(data: dict[str, Any], key: str) -> Beamtime:
    (found,) = [beamtime for beamtime in read(data) if beamtime.id == key]
    return found


def proposal(activities: list[dict[str, Any]]) -> dict[str, Any]:
    """That of 300011, whose PI is the second of three."""
    return activities[0]["beamtime"]["proposal"]


def test_a_beamtime_is_read_whole() -> None:
    beamtime = one(SAMPLE, "300011")

    assert beamtime.key == "aps:300011"
    assert (beamtime.proposal, beamtime.title) == ("9100001", "Crack growth in invented alloys")
    assert (beamtime.esaf, beamtime.cycle, beamtime.beamline) == ("8800011", "2026-3", "99-BM-A,B")
    assert beamtime.start == datetime.fromisoformat("2026-10-30T08:00:00-05:00")
    assert beamtime.end == datetime.fromisoformat("2026-11-02T08:00:00-06:00")
    names = [person.full_name for person in beamtime.people]
    assert names == ["Zoë Müller-Łukasik", "Ana María García López", "Ren O'Brien"]
    assert beamtime.people[0] == Person(
        first_name="Zoë",
        last_name="Müller-Łukasik",
        email="zoe.mueller@example.edu",
        institution="Example University",
        badge="900101",
        is_pi=True,
    )


def test_a_beamtime_over_the_clock_change_is_an_hour_longer() -> None:
    beamtime = one(SAMPLE, "300011")

    assert beamtime.end - beamtime.start == timedelta(hours=73)


def test_without_a_flag_the_first_of_the_list_is_the_pi_and_marked_as_inferred() -> None:
    data = changed(lambda a: a[1]["beamtime"]["proposal"]["experimenters"].reverse())

    sample, reversed_list = one(SAMPLE, "300012"), one(data, "300012")

    assert [(p.full_name, p.pi_inferred) for p in sample.people if p.is_pi] == [("Ren O'Brien", True)]
    assert [p.full_name for p in reversed_list.people if p.is_pi] == ["Ana María García López"]
    assert sample.esaf == ""


@pytest.mark.parametrize("email", [None, "", "  ", "None", "none "])
def test_what_is_no_address_is_empty(email: str | None) -> None:
    data = changed(lambda a: proposal(a)["experimenters"][1].update(email=email))

    assert one(data, "300011").people[0].email == ""


def test_a_person_without_the_field_has_no_address() -> None:
    data = changed(lambda a: proposal(a)["experimenters"][1].pop("email"))

    assert one(data, "300011").people[0].email == ""


def test_blanks_around_a_text_are_lost() -> None:
    person = {"badge": "900101 ", "firstName": " Zoë\t", "lastName": "M\u00fcller ", "institution": "EU  "}

    def blank(activities: list[dict[str, Any]]) -> None:
        activities[0]["activityName"] = " a "
        proposal(activities).update(proposalTitle="Cracks   ", experimenters=[{**person, "piFlag": "Y "}])

    found = one(changed(blank), "300011")

    [zoe] = found.people
    assert (found.title, zoe.badge, zoe.first_name, zoe.last_name) == ("Cracks", "900101", "Zoë", "Müller")
    assert (zoe.institution, zoe.is_pi, zoe.pi_inferred) == ("EU", True, False)


def test_shifts_and_flags_that_are_null_do_no_harm() -> None:
    def nothing(activities: list[dict[str, Any]]) -> None:
        activities[0]["beamtime"].update(grantedShifts=None, actualShifts=None, scheduledBeamline1=None)
        proposal(activities).update(proprietaryFlag=None, mailInFlag=None, totalShiftsRequested=None)

    assert one(changed(nothing), "300011") == one(SAMPLE, "300011")


def test_an_address_keeps_its_letters_and_loses_its_blanks() -> None:
    data = changed(lambda a: proposal(a)["experimenters"][1].update(email=" Zoe@Example.EDU "))

    assert one(data, "300011").people[0].email == "Zoe@Example.EDU"


def test_names_of_any_alphabet_are_kept() -> None:
    assert one(SAMPLE, "300013").people[0].full_name == "小明 王"


def test_a_badge_keeps_its_leading_zero() -> None:
    data = changed(lambda a: proposal(a)["experimenters"][1].update(badge="000101"))

    assert one(data, "300011").people[0].badge == "000101"


def test_a_person_listed_twice_is_one_and_stays_the_pi() -> None:
    data = changed(lambda a: proposal(a)["experimenters"].append({"badge": "900101", "lastName": "Again"}))

    people = one(data, "300011").people
    assert [(p.badge, p.is_pi) for p in people] == [("900101", True), ("900103", False), ("900102", False)]


def test_of_two_flagged_the_first_of_the_list_is_the_pi() -> None:
    data = changed(lambda a: proposal(a)["experimenters"][0].update(piFlag="Yes"))

    assert [p.full_name for p in one(data, "300011").people if p.is_pi] == ["Ren O'Brien"]


@pytest.mark.parametrize("experimenters", [None, [], [{"badge": None}, {"firstName": " "}]])
def test_a_proposal_without_people_is_valid(experimenters: object) -> None:
    data = changed(lambda a: proposal(a).update(experimenters=experimenters))

    beamtime = one(data, "300011")
    assert (beamtime.proposal, beamtime.people) == ("9100001", ())


def test_a_partner_user_proposal_counts_where_there_is_no_general_one() -> None:
    data = changed(lambda a: proposal(a).update(gupId=None, pupId=77001))

    assert one(data, "300011").proposal == "77001"


def test_a_title_becomes_one_line_and_keeps_its_length_and_signs() -> None:
    title = "Ti\u2013alloys\r\n at 1 \u00b5m \N{ROCKET}\x00 " + "long " * 60
    data = changed(lambda a: proposal(a).update(proposalTitle=title))

    found = one(data, "300011").title
    assert found == "Ti\u2013alloys at 1 \u00b5m \N{ROCKET} " + " ".join(["long"] * 60)
    assert len(found) > 300


def test_missing_optional_fields_and_unknown_ones_do_no_harm() -> None:
    def bare(activities: list[dict[str, Any]]) -> None:
        times = {key: activities[0][key] for key in ("activityId", "startTime", "endTime")}
        beamtime: dict[str, Any] = {"beamtimeId": 300011, "proposal": {"gupId": 9100001, "novel": [{}]}}
        activities[0] = {**times, "beamtime": {**beamtime, "novel": 1}, "novel": {"a": []}}

    assert one(changed(bare), "300011").proposal == "9100001"


@pytest.mark.parametrize("how", ["null beamtime", "no beamtime", "null proposal"])
def test_machine_studies_have_neither_a_proposal_nor_people(how: str) -> None:
    def change(activities: list[dict[str, Any]]) -> None:
        if how == "no beamtime":
            del activities[3]["beamtime"]
        if how == "null proposal":
            activities[3]["beamtime"] = {"beamtimeId": 300014, "proposal": None}

    entry = one(changed(change), "activity-14")

    assert (entry.proposal, entry.people, entry.title) == ("", (), "machine studies")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-10-30T13:00:00Z", 0),
        ("2026-10-30T08:00:00-0500", 0),
        ("2026-10-30T08:00:00-05:00", 0),
        ("2026-10-30T08:00:00.500-0500", 0.5),
        (" 2026-10-30T08:00:00-05:00 ", 0),
    ],
)
def test_times_are_read_in_every_form_with_a_zone(text: str, seconds: float) -> None:
    data = changed(lambda a: a[0].update(startTime=text))

    wanted = datetime(2026, 10, 30, 13, tzinfo=UTC) + timedelta(seconds=seconds)
    assert one(data, "300011").start == wanted


def test_the_activities_of_all_elements_are_taken() -> None:
    data = copy.deepcopy(SAMPLE)
    element = data[SCHEDULE][0]
    activities = element["activities"]
    data[SCHEDULE] = [
        {**element, "activities": activities[:1]},
        {**element, "activities": None},
        {**element, "scheduleName": "99-bm-B", "activities": activities[1:]},
    ]

    assert [b.id for b in read(data)] == ["300011", "300012", "300013", "activity-14"]


def test_the_order_of_the_service_makes_no_difference() -> None:
    def turn_round(activities: list[dict[str, Any]]) -> None:
        proposal(activities)["experimenters"].reverse()
        activities.reverse()

    assert read(changed(turn_round)) == read(SAMPLE)


def test_an_empty_schedule_is_a_valid_answer() -> None:
    assert read({SCHEDULE: []}) == []


def parts(*spans: tuple[str, str, int | None]) -> dict[str, Any]:
    """The sample with 300011 in several activities: start, end, safety form."""

    def split(activities: list[dict[str, Any]]) -> None:
        activities[:1] = [
            {
                **activities[0],
                "activityId": 110 + number,
                "startTime": f"2026-{start}:00:00-0600",
                "endTime": f"2026-{end}:00:00-0600",
                "experimentId": form,
            }
            for number, (start, end, form) in enumerate(spans)
        ]

    return changed(split)


def test_activities_of_one_beamtime_that_touch_or_overlap_are_one() -> None:
    data = parts(("11-06T08", "11-07T08", None), ("11-07T08", "11-08T08", 88), ("11-07T20", "11-08T06", 88))

    beamtime = one(data, "300011")

    assert (f"{beamtime.start:%d %H}", f"{beamtime.end:%d %H}", beamtime.esaf) == ("06 14", "08 14", "88")


def test_a_beamtime_with_a_pause_has_two_parts() -> None:
    data = parts(("11-06T08", "11-07T08", 88), ("11-07T09", "11-08T08", 88))

    assert [b.start.day for b in read(data) if b.id == "300011"] == [6, 7]


def test_parts_under_different_safety_forms_stay_apart() -> None:
    data = parts(("11-06T08", "11-07T08", 88), ("11-07T08", "11-08T08", 99))

    assert [b.esaf for b in read(data) if b.id == "300011"] == ["88", "99"]


@pytest.mark.parametrize(
    ("where", "value", "sentence"),
    [
        (("startTime",), None, r"\[0\]\.activities\[0\]\.startTime: is no time"),
        (("startTime",), "2026-10-30T08:00:00", r"startTime: is a time without a zone"),
        (("startTime",), "2026-10-30", r"startTime: is a date without a time of day"),
        (("startTime",), 1793365200, r"startTime: is no time"),
        (("startTime",), "9999-12-31T23:00:00-14:00", r"startTime: is a time out of all reason"),
        (("startTime",), "2026-12-24T08:00:00Z", r"activities\[0\]: endTime lies before startTime"),
        (("endTime",), "soon", r"endTime: is no time"),
        (("activityId",), None, r"activityId"),
        (("beamtime",), "none", r"activities\[0\]\.beamtime"),
        (("beamtime", "beamtimeId"), None, r"beamtime\.beamtimeId"),
        (("beamtime", "proposal"), [], r"beamtime\.proposal"),
        (("beamtime", "proposal", "gupId"), 1.5, r"proposal\.gupId: is no text"),
        (("beamtime", "proposal", "gupId"), True, r"proposal\.gupId: is no text"),
        (("beamtime", "proposal", "proposalTitle"), {}, r"proposal\.proposalTitle: is no text"),
        (("beamtime", "proposal", "experimenters"), {}, r"proposal\.experimenters"),
        (("beamtime", "proposal", "experimenters", 1), None, r"proposal\.experimenters\[1\]"),
        (("beamtime", "proposal", "experimenters", 1, "email"), [], r"experimenters\[1\]\.email: is no text"),
    ],
)
def test_a_wrong_shape_is_named_by_its_field(
    where: tuple[str | int, ...], value: object, sentence: str
) -> None:
    def change(activities: list[dict[str, Any]]) -> None:
        target: Any = activities[0]
        for step in where[:-1]:
            target = target[step]
        target[where[-1]] = value

    with pytest.raises(BadResponseError, match=sentence):
        read(changed(change))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{}", "valid array"),
        (b"null", "valid array"),
        (b"[null]", r"\[0\]"),
        (b"[[]]", r"\[0\]"),
        (b'[{"scheduleName": "99-BM-A,B"}]', r"\[0\]\.activities: Field required"),
        (b'[{"activities": {}}]', r"\[0\]\.activities"),
        (b'[{"activities": [{}]}]', r"\[0\]\.activities\[0\]\.startTime: Field required"),
        (b"", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b'[{"activities": [', "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b"[" + b"9" * 100_000 + b"]", r"\[0\]|Invalid JSON"),
    ],
)
def test_another_shape_altogether_is_a_bad_response(body: bytes, sentence: str) -> None:
    with pytest.raises(BadResponseError, match=sentence):
        parse_schedule(body, "the schedule", cycle="2026-3", beamline="99-BM-A,B")


def test_the_schedule_of_another_beamline_is_refused() -> None:
    data = copy.deepcopy(SAMPLE)
    data[SCHEDULE][0]["scheduleName"] = "98-ID-C"

    with pytest.raises(BadResponseError, match="the schedule of 98-ID-C, asked for 99-BM-A,B"):
        read(data)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TIMES = st.datetimes(timezones=st.timezones()).map(datetime.isoformat)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to each value within a JSON value."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        items = [*(value.items() if isinstance(value, dict) else enumerate(value))]  # pyright: ignore
    below = [place for step, inner in items for place in places(inner, (*at, step))]
    return [*([at] if at else []), *below]


@st.composite
def mutated(draw: st.DrawFn, key: str) -> bytes:
    """The sample's reply with one to three of its values replaced, dropped, or cut off."""
    reply: Any = copy.deepcopy(SAMPLE[key])
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(reply) or [(0,)]))
        target = reply
        for step in way:
            target = target[step]
        if draw(st.booleans()) and target:
            del target[last]
        elif target:
            target[last] = draw(JUNK | TIMES)
    text = json.dumps(reply, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


@given(body=mutated(SCHEDULE) | st.binary(max_size=200))
@example(json.dumps(SAMPLE[SCHEDULE]).encode())
def test_whatever_comes_gives_beamtimes_or_an_error_of_ours(body: bytes) -> None:
    try:
        beamtimes = parse_schedule(body, "the schedule", cycle="2026-3", beamline="99-BM-A,B")
    except BeamtimeError as error:
        beamtimes, told = [], str(error)
    else:
        told = ""

    assert len(told) < 1500
    for beamtime in beamtimes:
        assert from_json(Beamtime, to_json(beamtime)) == beamtime
        assert SITE.experiment(beamtime).key == beamtime.key
        assert sum(person.is_pi for person in beamtime.people) == min(1, len(beamtime.people))


@given(body=mutated("run/getAllRuns") | st.binary(max_size=200))
def test_whatever_comes_gives_cycles_or_an_error_of_ours(body: bytes) -> None:
    try:
        cycles = parse_cycles(body, "the schedule")
    except BadResponseError:
        cycles = []

    assert all(cycle.name and cycle.start <= cycle.end for cycle in cycles)
