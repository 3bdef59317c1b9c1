"""The service account: where it is read from, what is refused, and that it is never shown."""

import base64
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aps_house import AUTUMN, PASSWORD, House, always, http, make_client, schedule_house, talking
from beamtime_ioc.errors import ServiceError, SiteFileError


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with schedule_house(tmp_path) as house:
        yield house


@pytest.mark.parametrize("text", ["svc-99bm|{0}", "svc-99bm | {0} \r\n", "\ufeffsvc-99bm|{0}\n\n"])
def test_credentials_are_read_with_a_bar(house: House, text: str) -> None:
    house.write_credentials(text.format(PASSWORD))

    assert house.client().check().ok


def test_credentials_are_read_with_a_blank_and_in_any_alphabet(house: House) -> None:
    house.server.credentials = ("svc-99bm", "пароль")
    house.write_credentials("svc-99bm пароль\n")

    assert house.client().check().ok


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        ("", 0o600, "is empty"),
        (" \n", 0o600, "is empty"),
        ("svc-99bm:hush", 0o600, "is not one line user|password"),
        ("svc-99bm|", 0o600, "is not one line user|password"),
        ("svc-99bm hush hush", 0o600, "is not one line user|password"),
        ("svc-99bm|hush\nsvc-98id|hush", 0o600, "is not one line user|password"),
        ("svc-99bm|hush", 0o604, r"others can open it \(mode 0604\); type: chmod 600"),
        ("svc-99bm|hush", 0o640, "others can open it"),
    ],
)
def test_credentials_that_cannot_be_used_are_refused_by_the_name_of_their_file(
    house: House, text: str, mode: int, sentence: str
) -> None:
    house.write_credentials(text, mode)

    with pytest.raises(SiteFileError, match=sentence) as caught:
        house.client()

    assert str(caught.value).startswith(str(house.directory / "credentials.txt"))
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_credentials_file_is_named(house: House) -> None:
    with pytest.raises(SiteFileError, match=r"nowhere\.txt: the credentials cannot be read: No such file"):
        house.client(credentials="nowhere.txt")


def test_the_environment_counts_before_the_file(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAMTIME_SCHEDULE_CREDENTIALS", f"svc-99bm|{PASSWORD}")
    house.write_credentials("")

    assert house.client().check().ok


def test_a_wrong_variable_is_named_and_not_shown(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAMTIME_SCHEDULE_CREDENTIALS", "hush")

    with pytest.raises(SiteFileError, match=r"^BEAMTIME_SCHEDULE_CREDENTIALS: is not one line") as caught:
        house.client()

    assert "hush" not in str(caught.value)


def test_a_new_password_counts_at_once(house: House) -> None:
    client = house.client()
    client.check()
    house.server.credentials = ("svc-99bm", "fresh")
    house.write_credentials("svc-99bm|fresh")

    assert client.check().ok


def test_a_proxy_of_the_environment_is_used_and_gets_no_password_of_a_netrc_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine schedule.example.org login someone password hush\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    with talking(always(http(b"[]"))) as (proxy, talks):
        monkeypatch.setenv("http_proxy", proxy)
        cycles = make_client(tmp_path, "http://schedule.example.org/sched-api").cycles()

    assert cycles == ()
    assert talks.requests[0].startswith(b"GET http://schedule.example.org/sched-api/run/getAllRuns ")
    assert b"uthorization" not in talks.requests[0]


def test_a_proxy_is_not_asked_for_this_computer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert house.client().check().ok


@pytest.mark.parametrize(
    "knobs",
    [
        {"schedule.status": 401},
        {"schedule.status": 403},
        {"schedule.status": 404},
        {"schedule.status": 500},
        {"schedule.body": "html"},
        {"schedule.body": "truncated"},
        {"schedule.hang": True},
    ],
)
def test_no_password_stands_in_an_error_or_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture, knobs: dict[str, Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    house.server.knobs.set_all(knobs)
    client = house.client()

    with pytest.raises(ServiceError) as caught:
        client.list_between(*AUTUMN)

    told = (
        "".join(traceback.format_exception(caught.value))
        + repr(caught.value)
        + repr(vars(client))
        + caplog.text
    )
    secret = base64.b64encode(f"svc-99bm:{PASSWORD}".encode()).decode()
    assert PASSWORD not in told
    assert secret not in told
