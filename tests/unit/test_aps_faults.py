"""A schedule that fails, refuses, drips, or answers something else."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aps_house import AUTUMN, House, Talks, always, http, make_client, schedule_house, talking
from beamtime_ioc.errors import BadResponseError, ServiceDeniedError, ServiceError, ServiceUnavailableError


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with schedule_house(tmp_path) as house:
        yield house


def test_wrong_credentials_are_sent_once_and_the_advice_names_their_file(house: House) -> None:
    house.write_credentials("svc-99bm|an older one")

    with pytest.raises(ServiceDeniedError, match="does not accept our credentials") as caught:
        house.client().list_between(*AUTUMN)

    assert house.server.request_count == 1
    assert str(house.directory / "credentials.txt") in caught.value.advice


def test_without_credentials_the_advice_says_where_to_give_them(house: House) -> None:
    with pytest.raises(ServiceDeniedError) as caught:
        house.client(credentials=None).list_between(*AUTUMN)

    assert "schedule.credentials" in caught.value.advice


def test_a_beamline_that_the_account_may_not_see_is_denied_once(house: House) -> None:
    client = house.client()
    client.web.get("run", "getAllRuns", what="the run cycles")
    house.server.knobs.set("schedule.status", 403)
    house.server.forget_requests()

    with pytest.raises(ServiceDeniedError, match="does not let this account see"):
        client.list_between(*AUTUMN)

    assert house.server.request_count == 1


def test_a_path_that_is_not_there_names_the_keys_to_look_at(house: House) -> None:
    url = house.server.url.replace("sched-api", "sched-apo")

    with pytest.raises(BadResponseError, match=r"\(404\)") as caught:
        house.client(url).list_between(*AUTUMN)

    assert "beamline and schedule.url" in caught.value.advice


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_is_asked_three_times(house: House, status: int) -> None:
    house.server.knobs.set("schedule.status", status)

    with pytest.raises(ServiceUnavailableError, match=f"answered {status}"):
        house.client().list_between(*AUTUMN)

    assert house.server.request_count == 3


def test_a_server_that_fails_twice_is_no_failure(house: House) -> None:
    house.server.knobs.set_all({"schedule.status": 503, "schedule.fail_times": 2})

    assert len(house.client().list_between(*AUTUMN)) == 4


def test_a_server_that_asks_to_wait_is_not_asked_again(house: House) -> None:
    house.server.knobs.set("schedule.status", 429)

    with pytest.raises(ServiceUnavailableError, match="asks to wait"):
        house.client().list_between(*AUTUMN)

    assert house.server.request_count == 1


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("html", r"answered a page \(text/html\) instead of JSON"),
        ("garbage", "Invalid JSON"),
        ("truncated", "Invalid JSON"),
        ("no-bytes", "Invalid JSON"),
        ("wrong-shape", "valid array"),
    ],
)
def test_a_body_that_is_not_the_schedule_is_a_bad_response(house: House, body: str, sentence: str) -> None:
    house.server.knobs.set("schedule.body", body)

    with pytest.raises(BadResponseError, match=sentence) as caught:
        house.client().list_between(*AUTUMN)

    assert "schedule.url" in caught.value.advice


def test_a_slow_server_is_waited_for(house: House) -> None:
    house.server.knobs.set("schedule.delay_s", 0.2)

    assert len(house.client(read_timeout_s=5).list_between(*AUTUMN)) == 4


def test_a_silent_server_is_left_after_the_read_timeout(house: House) -> None:
    house.server.knobs.set("schedule.hang", True)

    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:\d+ did not answer within 0.3 s"):
        house.client(read_timeout_s=0.3).list_between(*AUTUMN)

    assert house.server.request_count == 1


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\n", http(b"", Content_Length="90000")])
def test_a_server_that_drips_is_left_after_the_overall_timeout(part: bytes) -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        talks.request(connection)
        connection.sendall(part)
        while not talks.ended.wait(0.05):
            connection.sendall(b"[" if part.endswith(b"\r\n\r\n") else b"H")

    with talking(talk) as (url, _):
        began = time.monotonic()
        with pytest.raises(ServiceUnavailableError, match=r"did not answer within 0.6 s"):
            make_client(Path(), url, overall_timeout_s=0.6).cycles()

    assert time.monotonic() - began < 3


def test_after_a_server_that_hangs_the_next_look_up_is_answered() -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        while talks.request(connection):
            if len(talks.requests) == 1:
                talks.ended.wait(60)
            connection.sendall(http(b"[]"))

    with talking(talk) as (url, talks):
        client = make_client(Path(), url, read_timeout_s=60, overall_timeout_s=0.5)
        with pytest.raises(ServiceUnavailableError):
            client.cycles()

        assert client.cycles() == ()

        talks.ended.set()


def test_nobody_waits_longer_for_another_look_up_that_hangs(house: House) -> None:
    house.server.knobs.set("schedule.hang", True)
    client = house.client(read_timeout_s=60, overall_timeout_s=0.5)

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        errors = [future.exception() for future in [pool.submit(client.cycles) for _ in range(8)]]

    assert [type(error) for error in errors] == [ServiceUnavailableError] * 8
    assert time.monotonic() - began < 2.5  # one after another: 4


def test_a_server_that_drips_its_answer_is_hung_up_on() -> None:
    hung_up = threading.Event()

    def talk(connection: socket.socket, talks: Talks) -> None:
        talks.request(connection)
        connection.sendall(http(b"", Content_Length="90000"))
        try:
            while not talks.ended.wait(0.05):
                connection.sendall(b"[")
        except OSError:
            hung_up.set()

    with talking(talk) as (url, _):
        with pytest.raises(ServiceUnavailableError):
            make_client(Path(), url, overall_timeout_s=0.4).cycles()

        assert hung_up.wait(5)


def test_a_refused_connection_says_so(house: House) -> None:
    url = house.server.url
    house.server.stop()

    with pytest.raises(ServiceUnavailableError, match="cannot be reached: Connection refused"):
        house.client(url).list_between(*AUTUMN)


def test_a_host_without_an_address_says_so(house: House) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"the schedule at schedule\.invalid cannot be reached"):
        house.client("http://schedule.invalid/sched-api").list_between(*AUTUMN)


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        while talks.request(connection):
            if len(talks.requests) < 3:
                connection.sendall(http(b"[", Content_Length="100"))
                return
            connection.sendall(http(b"[]"))

    with talking(talk) as (url, talks):
        assert make_client(Path(), url).cycles() == ()

    assert len(talks.requests) == 3


def test_a_redirect_is_not_followed_and_named() -> None:
    with talking(always(http(b"[]"))) as (other, others):
        reply = http(b"", status="302 Found", Location=other.replace("//", "//who:secret@"))
        with (
            talking(always(reply)) as (url, _),
            pytest.raises(BadResponseError, match=r"sends us on to 127\.0\.0\.1 \(302\)") as caught,
        ):
            make_client(Path(), url).cycles()

    assert others.requests == []
    assert "secret" not in str(caught.value)


def test_an_answer_without_end_is_cut() -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        talks.request(connection)
        connection.sendall(http(b"", Content_Length=str(1 << 40)))
        while not talks.ended.is_set():
            connection.sendall(b" " * (1 << 20))

    with talking(talk) as (url, _), pytest.raises(BadResponseError, match="answered more than 32 MB"):
        make_client(Path(), url, overall_timeout_s=30).cycles()


def test_a_server_without_tls_is_named_and_asked_once() -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        connection.recv(4096)
        connection.sendall(http(b"", status="400 Bad Request"))

    with (
        talking(talk) as (url, talks),
        pytest.raises(ServiceUnavailableError, match="cannot be spoken to safely: it does not speak TLS"),
    ):
        make_client(Path(), url.replace("http:", "https:"), read_timeout_s=1).cycles()

    assert talks.connections == 1


def test_no_http_at_all_is_a_plain_error() -> None:
    with talking(always(b"220 mail.example.org ESMTP\r\n")) as (url, _), pytest.raises(ServiceError):
        make_client(Path(), url).cycles()
