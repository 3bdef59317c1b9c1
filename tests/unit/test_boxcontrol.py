"""Where a site file may say that a box is, and what answers there: a box, nobody, or something else."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from beamtime_ioc.boxcontrol import BoxControl, BoxSettings
from beamtime_ioc.config import read_site_file
from beamtime_ioc.errors import BadResponseError, BadValueError, ServiceError, SiteFileError
from beamtime_sim.box import Box

SITE = """\
prefix: "99bm:Beamtime:"
beamline: "99-BM-A,B"
timezone: America/Chicago
sim:
  url: URL
"""


def site(tmp_path: Path, url: str) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(SITE.replace("URL", url))
    return path


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://127.0.0.1:8090/", "http://127.0.0.1:8090/"),
        ("http://127.0.0.1:8090", "http://127.0.0.1:8090/"),
        ("http://localhost:8090/", "http://localhost:8090/"),
        ('"http://[::1]:8090/"', "http://[::1]:8090/"),
    ],
)
def test_a_box_on_this_computer_may_be_named(tmp_path: Path, url: str, taken: str) -> None:
    sim = read_site_file(site(tmp_path, url)).frame.sim

    assert sim is not None
    assert sim.url == taken


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://192.0.2.7:8090/", "192.0.2.7 is not this computer; faults are for training only, on a box"),
        ("http://box.example.org:8090/", "box.example.org is not this computer"),
        ("http://0.0.0.0:8090/", "0.0.0.0 is not this computer"),
        ("http://127.0.0.1.example.org:8090/", "127.0.0.1.example.org is not this computer"),
        ("http://2130706433:8090/", "2130706433 is not this computer"),
        ("https://127.0.0.1:8090/", "http, and nothing else"),
        ("ftp://127.0.0.1:8090/", "http, and nothing else"),
        ("http://127.0.0.1/", "with its port"),
        ("http://127.0.0.1:99999/", "with its port"),
        ("http://127.0.0.1:8090/knobs", "only a host and a port"),
        ("http://me:secret@127.0.0.1:8090/", "only a host and a port"),
        ("http://192.0.2.7:1@127.0.0.1:8090/", "only a host and a port"),
        ('"http://127.0.0.1:8090/?to=192.0.2.7"', "only a host and a port"),
        ('"http://127.0.0.1:8090/#"', "only a host and a port"),
        ('"http://127.0.0.1:8090/\\r\\nHost: x"', "with its port"),
        ("8090", "has to be a text"),
        ("", "has to be a text"),
    ],
)
def test_any_other_address_is_refused_with_its_line(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(SiteFileError) as caught:
        read_site_file(site(tmp_path, url))

    assert str(caught.value).startswith(f"{tmp_path}/site.yaml:5: sim.url: ")
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def control(port: int, directory: Path = Path("/nowhere")) -> BoxControl:
    return BoxControl(BoxSettings(url=f"http://127.0.0.1:{port}/"), directory)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxControl]:
    directory = tmp_path_factory.mktemp("box")
    started = Box(directory)
    started.start()
    sim = read_site_file(directory / "site.yaml").frame.sim
    assert sim is not None
    yield BoxControl(sim, directory)
    started.stop()


def test_the_site_file_of_a_box_names_its_control(box: BoxControl) -> None:
    state = box.state()

    assert state.knobs == state.defaults
    assert state.knobs["mail.only"] == ["*"]
    assert (state.requests, state.mails) == (0, 0)


def test_a_turn_is_answered_with_what_the_box_has_and_a_wrong_one_in_its_words(box: BoxControl) -> None:
    turned = box.turn("mail.refuse", "A@example.org,b@example.org")
    with pytest.raises(BadValueError, match=r"schedule.status cannot be 7; allowed is an HTTP status"):
        box.turn("schedule.status", 7)
    with pytest.raises(BadValueError, match=r"there is no knob 'no.knob'; the knobs are schedule.delay_s"):
        box.turn("no.knob", 7)

    assert turned["mail.refuse"] == ["a@example.org", "b@example.org"]
    assert box.state().knobs == {**box.state().defaults, "mail.refuse": turned["mail.refuse"]}
    assert box.turn("mail.refuse", None)["mail.refuse"] == []
    with pytest.raises(BadValueError, match=r"cannot be .* half a letter"):
        box.turn("schedule.pi_last_name", "\ud800 half a letter")
    assert box.reset() == box.state().defaults


def test_who_does_not_answer_is_told_with_what_starts_it(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        (tmp_path / "sim.yaml").touch()

        with pytest.raises(ServiceError) as caught:
            control(port, tmp_path).state()
        with pytest.raises(ServiceError, match="start it with: beamtime sim --dir DIR"):
            control(port).reset()

    assert str(caught.value) == (
        f"the box at http://127.0.0.1:{port}/ does not answer; start it with: beamtime sim --dir {tmp_path}"
    )


@contextmanager
def speaker(words: bytes) -> Iterator[BoxControl]:
    """Who says the same to everybody."""

    def serve() -> None:
        while True:
            try:
                talk, _ = listening.accept()
            except OSError:
                return
            with talk:
                talk.recv(65536)
                talk.sendall(words)

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield control(listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def reply(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "words",
    [
        b"220 relay.example.org ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n<html>sign in</html>",
        reply(b"[1, 2]"),
        reply(b'{"knobs": 5}'),
        reply(b'{"knobs": {}, "defaults": {}, "requests": "many", "mails": 0}'),
        reply(b'{"error": "here are other things"}', "404 Not Found"),
        reply(b'{"error": 5}', "400 Bad Request"),
        reply(b"[" * 200_000),
        reply(b"1" * 50_000),
        reply(b"\xff\xfe"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
    ],
)
def test_what_is_no_box_is_told_so(words: bytes) -> None:
    with speaker(words) as box, pytest.raises((BadResponseError, ServiceError)) as caught:
        box.state()

    assert "is no box, or one of another version; correct sim.url" in str(caught.value)
