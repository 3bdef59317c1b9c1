"""The file that lies in a directory is the beamtime: none, one, two, and what can be wrong in it."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beamtime_handlers.clients.desy_schedule import DesySchedule, Settings, build
from beamtime_ioc.errors import (
    BadResponseError,
    NobodyOnBeamError,
    ServiceDeniedError,
    ServiceUnavailableError,
    SeveralOnBeamError,
)
from beamtime_ioc.model import Beamtime, Site
from beamtime_ioc.on_beam import on_beam
from beamtime_ioc.ports import Context
from beamtime_ioc.testing import MemoryOutbox

BERLIN = ZoneInfo("Europe/Berlin")
DURING = datetime(2026, 3, 2, 12, tzinfo=BERLIN)
GOOD: dict[str, Any] = {
    "applicant": {
        "email": "None",
        "institute": "Example",
        "lastname": "Muster",
        "userId": "7",
        "username": "amuster",
    },
    "beamline": "p99",
    "beamtimeId": "11009999",
    "contact": "None",
    "corePath": "/asap3/petra3/gpfs/p99/2026/data/11009999",
    "event-start": "2026-03-02 09:00:00",
    "event-end": "2026-03-05 09:00:00",
    "facility": "PETRA III",
    "pi": {
        "email": "zoe@example.edu",
        "firstname": "Zoë",
        "institute": "Example",
        "lastname": "Łukasik",
        "userId": "0042",
        "username": "zlukasik",
    },
    "proposalId": 20260001,
    "proposalType": "I",
    "title": "None",
    "users": {"door-db": ["zlukasik", "rbrien"], "special": [], "unknown": []},
}


class House:
    """Two directories, and a client for them."""

    def __init__(self, directory: Path) -> None:
        self.current, self.commissioning = directory / "current", directory / "commissioning"
        self.current.mkdir()
        self.commissioning.mkdir()
        self.moment = DURING
        self.client = DesySchedule(
            [self.current, self.commissioning], beamline="P99", zone=BERLIN, clock=lambda: self.moment
        )

    def write(self, changes: dict[str, Any] | None = None, directory: Path | None = None) -> Path:
        content = {key: value for key, value in {**GOOD, **(changes or {})}.items() if value is not None}
        path = (directory or self.current) / f"beamtime-metadata-{content.get('beamtimeId')}.json"
        path.write_text(json.dumps(content))
        return path

    def who(self, moment: datetime = DURING) -> Beamtime:
        self.moment = moment
        return on_beam(self.client, moment, self.client.early_min)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_the_file_that_lies_there_is_the_beamtime(house: House) -> None:
    house.write()

    found = house.who()

    assert (found.key, found.proposal, found.title) == ("desy:11009999", "20260001", "")
    assert found.start == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert found.end == datetime(2026, 3, 5, 8, tzinfo=UTC)
    assert [(p.full_name, p.badge, p.email, p.is_pi) for p in found.people] == [
        ("Zoë Łukasik", "zlukasik", "zoe@example.edu", True),
        ("rbrien", "rbrien", "", False),
        ("Muster", "amuster", "", False),
    ]


@pytest.mark.parametrize("seconds", [2**34, 2**38, 2**62])
def test_a_file_whose_own_time_is_out_of_all_reason_is_named(seconds: int) -> None:
    with TemporaryDirectory(dir="/dev/shm") as directory:  # other disks keep no such times
        house = House(Path(directory))
        os.utime(house.write(), (seconds, seconds))
        assert house.who().id == "11009999"

        os.utime(house.write({"event-start": None}), (seconds, seconds))
        if seconds > 2**35:
            with pytest.raises(BadResponseError, match=r"-11009999\.json: a time is .* reason"):
                house.who()
        else:
            with pytest.raises(NobodyOnBeamError):
                house.who()


def test_no_file_is_nobody(house: House) -> None:
    (house.current / "notes.txt").touch()
    (house.current / "beamtime-metadata-.json").touch()

    with pytest.raises(NobodyOnBeamError):
        house.who()


def test_two_files_are_never_chosen_from(house: House) -> None:
    house.write()
    house.write(
        {"beamtimeId": "11009998", "event-start": "2026-04-02 09:00:00", "event-end": "2026-04-03 09:00:00"}
    )

    with pytest.raises(SeveralOnBeamError, match="those of 11009998 and 11009999") as caught:
        house.who()

    assert "end the beamtime that is over" in caught.value.advice


@pytest.mark.parametrize(
    ("moment", "start", "end"),
    [
        (datetime(2026, 2, 28, 12, tzinfo=BERLIN), "2026-03-02T09:00", "2026-03-05T09:00"),
        (datetime(2026, 3, 5, 9, tzinfo=BERLIN), "2026-03-02T09:00", "2026-03-06T00:00"),
        (datetime(2026, 3, 9, 23, tzinfo=BERLIN), "2026-03-02T09:00", "2026-03-10T00:00"),
    ],
    ids=["before its start", "at its end", "long over"],
)
def test_while_the_file_lies_there_its_dates_do_not_count(
    house: House, moment: datetime, start: str, end: str
) -> None:
    house.write()

    found = house.who(moment)

    assert f"{found.start.astimezone(BERLIN):%Y-%m-%dT%H:%M}" == start
    assert f"{found.end.astimezone(BERLIN):%Y-%m-%dT%H:%M}" == end


def test_a_file_without_times_begins_with_itself_and_ends_at_midnight(house: House) -> None:
    path = house.write({"event-start": "None", "event-end": None})
    os.utime(path, (DURING.timestamp() - 7200, DURING.timestamp() - 7200))

    found = house.who()

    assert found.start == DURING - timedelta(hours=2)
    assert found.end == datetime(2026, 3, 3, tzinfo=BERLIN)


def test_both_spellings_of_a_time_are_read(house: House) -> None:
    house.write(
        {
            "event-start": None,
            "event-end": None,
            "eventStart": "2026-03-02 09:00:00",
            "eventEnd": "2026-03-05T09:00:00",
        }
    )

    assert house.who().end == datetime(2026, 3, 5, 8, tzinfo=UTC)


def test_of_an_hour_that_comes_twice_the_whole_is_meant(house: House) -> None:
    house.write({"event-start": "2026-10-25 02:30:00", "event-end": "2026-10-25 02:30:00"})
    house.moment = datetime(2026, 10, 20, tzinfo=UTC)

    [found] = house.client.list_between(house.moment, house.moment + timedelta(days=9))

    assert found.end - found.start == timedelta(hours=1)


def test_the_directory_of_commissioning_counts_while_the_other_is_empty(house: House) -> None:
    house.write({"beamtimeId": "c99"}, house.commissioning)
    assert house.who().id == "c99"

    house.write()
    assert house.who().id == "11009999"


def test_a_beamtime_is_found_by_its_number_only_while_its_file_lies_there(house: House) -> None:
    house.write()

    assert house.client.by_id("desy:11009999") is not None
    assert house.client.by_id("../../etc/passwd") is None
    assert house.client.by_id("11009998") is None


def test_the_file_of_another_beamline_is_refused(house: House) -> None:
    house.write({"beamline": "p98"})

    with pytest.raises(BadResponseError, match="is of the beamline p98, this one is P99"):
        house.who()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Invalid JSON"),
        (json.dumps(GOOD)[:200], "Invalid JSON"),
        ("[]", "an object"),
        ("null", "an object"),
        (json.dumps({**GOOD, "beamtimeId": "None"}), "beamtimeId: String should have at least 1 character"),
        (json.dumps({**GOOD, "pi": "x", "users": ["a"]}), "users"),
        (json.dumps({**GOOD, "title": {}}), "title: is no text"),
        (json.dumps({**GOOD, "event-end": "soon"}), "a time is no time"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_bad_response(house: House, content: str, words: str) -> None:
    path = house.write()
    path.write_text(content)

    with pytest.raises(BadResponseError, match=re.escape(words)) as caught:
        house.who()

    assert str(path) in caught.value.sentence
    assert caught.value.advice
    assert not house.client.check().ok


def test_a_directory_that_is_not_there_is_unavailable_and_never_nobody(house: House) -> None:
    house.current.rmdir()

    with pytest.raises(ServiceUnavailableError, match="No such file or directory"):
        house.who()


def test_a_file_that_may_not_be_read_is_denied(house: House) -> None:
    house.write().chmod(0)

    with pytest.raises(ServiceDeniedError, match="may not be read by this user"):
        house.who()


def test_a_pipe_is_not_waited_for(house: House) -> None:
    os.mkfifo(house.current / "beamtime-metadata-1.json")

    with pytest.raises(BadResponseError):
        house.who()


def test_a_check_says_what_lies_there(house: House) -> None:
    assert house.client.check().sentence.endswith("names nobody")
    house.write()
    assert house.client.check().sentence.endswith("names 11009999")


def test_the_site_file_names_the_directories(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    site = Site(prefix="p99:", beamline="P99", zone=BERLIN)
    context = Context(site=site, directory=tmp_path, state=tmp_path, outbox=MemoryOutbox())

    client = build(Settings.model_validate({"backend": "desy-file", "directory": "current"}), context)

    assert client.check().ok
    assert client.cycles() is None


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(sorted(GOOD)),
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(st.characters(exclude_categories=("Cs",)), max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
        ),
        max_leaves=5,
    ),
)
def test_any_value_of_any_key_is_read_or_a_bad_response(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    house = House(tmp_path_factory.mktemp("desy"))
    (house.current / "beamtime-metadata-1.json").write_text(json.dumps({**GOOD, key: value}))

    try:
        found = house.client.list_between(DURING - timedelta(days=9), DURING + timedelta(days=9))
    except BadResponseError:
        found = []

    assert len(found) <= 1
