"""A question that is late leaves nothing behind: no thread, and no socket."""

import gc
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from select import select
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from urllib3.connection import HTTPConnection

from aps_house import Talk, Talks, always, http, talking
from beamtime_handlers.clients.web import Web
from beamtime_ioc.errors import ServiceUnavailableError
from engine_world import until
from mail_house import certificate

GONE_S = 2.0
FAR = "schedule.example.org"
HEADER = b"HTTP/1.1 200 OK\r\nX-Slow: "
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


def make_web(url: str, overall_timeout_s: float = 0.5) -> Web:
    """Its own time-outs are long: the deadline alone ends a question."""
    return Web(
        url, lambda: None, connect_timeout_s=60, read_timeout_s=60, overall_timeout_s=overall_timeout_s
    )


def drip(connection: socket.socket, talks: Talks, start: bytes = b"", each: bytes = b"1") -> None:
    connection.sendall(start)
    while not talks.ended.wait(0.02):
        connection.sendall(each)


def dripping(start: bytes, each: bytes = b"1") -> Talk:
    def talk(connection: socket.socket, talks: Talks) -> None:
        talks.request(connection)
        drip(connection, talks, start, each)

    return talk


def sockets(port: int) -> set[int]:
    """Our ends of the connections to a port."""
    found = psutil.Process().net_connections("tcp")
    return {one.fd for one in found if one.raddr and one.raddr.port == port}


@contextmanager
def nothing_left(url: str) -> Generator[None]:
    """Once the questions are over, whatever the server does."""
    port = urlsplit(url).port or 0
    threads, ends = set(threading.enumerate()), sockets(port)

    def asking() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name == "schedule" and one not in threads]

    yield
    until(lambda: not asking(), "the end of the thread", GONE_S)
    until(lambda: not sockets(port) - ends, "the end of the connection", GONE_S)


@contextmanager
def hung_up_on(talk: Talk) -> Generator[tuple[str, Talks]]:
    """A server of which nothing is left, not even a socket whose connection is over."""
    before = descriptors()
    with talking(talk) as (url, talks), nothing_left(url):
        yield url, talks
    until(lambda: not descriptors() - before, "the end of the sockets", GONE_S)


def descriptors() -> set[tuple[str, str]]:
    """Of all our sockets."""
    found = set[tuple[str, str]]()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add((one.name, str(one.readlink())))
    return {(name, link) for name, link in found if link.startswith("socket:")}


def ask_in_vain(web: Web) -> None:
    with pytest.raises(ServiceUnavailableError, match=f"did not answer within {web.overall_timeout_s:g} s;"):
        web.get("x", what="it")


@pytest.mark.parametrize(
    ("start", "each"),
    [
        (HEADER, b"a"),
        (HEADER, b"a\r\nX: "),
        (b"", b"H"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (CHUNKED, b"0"),
        (CHUNKED + b"40\r\n", b"["),
        (CLOSING, b"["),
        (http(b"", Content_Length="90000"), b"["),
        (HEADER, b""),
    ],
    ids=["header", "headers", "status", "continue", "chunk size", "chunk", "closing", "body", "silence"],
)
def test_a_server_that_drips_any_part_of_its_answer_is_hung_up_on(start: bytes, each: bytes) -> None:
    with hung_up_on(dripping(start, each)) as (url, _):
        ask_in_vain(make_web(url))


def test_a_server_that_drips_on_a_kept_connection_is_hung_up_on() -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        for _ in range(2):
            talks.request(connection)
            connection.sendall(http(b"[]"))
        dripping(HEADER)(connection, talks)

    with hung_up_on(talk) as (url, talks):
        web = make_web(url, 1)
        assert [web.get("x", what="it") for _ in range(2)] == [b"[]"] * 2

        ask_in_vain(web)

        assert talks.connections == 1


def test_each_question_in_vain_leaves_nothing_and_the_next_is_answered() -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        while talks.request(connection):
            if len(talks.requests) < 3:
                drip(connection, talks, HEADER)
            connection.sendall(http(b"[]"))

    with talking(talk) as (url, talks):
        web = make_web(url, 1)
        with nothing_left(url):
            for _ in range(2):
                ask_in_vain(web)

        assert [web.get("x", what="it") for _ in range(3)] == [b"[]"] * 3
        assert talks.connections == 3
        assert len(sockets(urlsplit(url).port or 0)) == 1


def test_an_answer_that_comes_at_the_very_deadline_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("beamtime_handlers.clients.web.SimpleQueue", LateQueue)

    gc.disable()  # it would find the connection some time later
    try:
        with hung_up_on(always(http(b"[]"))) as (url, _):
            ask_in_vain(make_web(url))
    finally:
        gc.enable()


class LateQueue(SimpleQueue[Any]):
    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        super().get(block, 30)
        raise Empty


@pytest.mark.parametrize("start", [b"", b"\x16\x03\x03\x40\x00"], ids=["nothing", "a long record"])
def test_a_tls_handshake_that_drips_is_hung_up_on(start: bytes) -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        connection.recv(4096)
        drip(connection, talks, start, b"\x02" if start else b"")

    with hung_up_on(talk) as (url, _):
        ask_in_vain(make_web(url.replace("http:", "https:")))


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context, with a certificate that requests trusts."""
    chain, context = certificate(tmp_path / "tls", f"IP:127.0.0.1,DNS:{FAR}")
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(chain))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(chain))  # counts where a proxy does
    return context


def in_tls(context: ssl.SSLContext, talk: Talk) -> Talk:
    def wrapped(connection: socket.socket, talks: Talks) -> None:
        with context.wrap_socket(connection, server_side=True) as inside:
            talk(inside, talks)

    return wrapped


@pytest.mark.parametrize(
    "start", [HEADER, b"", CHUNKED, CLOSING], ids=["header", "status", "size", "closing"]
)
def test_a_server_that_drips_in_tls_is_hung_up_on(start: bytes, tls: ssl.SSLContext) -> None:
    with hung_up_on(in_tls(tls, dripping(start))) as (url, _):
        ask_in_vain(make_web(url.replace("http:", "https:")))


def test_a_server_in_tls_is_asked_over_one_connection(tls: ssl.SSLContext) -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        while talks.request(connection):
            connection.sendall(http(b"[]"))

    with talking(in_tls(tls, talk)) as (url, talks):
        port = urlsplit(url).port or 0
        before = sockets(port)  # of another test, to a server that had this port
        web = make_web(url.replace("http:", "https:"), 10)
        assert [web.get("x", what="it") for _ in range(3)] == [b"[]"] * 3

        assert talks.connections == 1
        assert len(sockets(port) - before) == 1


@contextmanager
def proxy(talk: Talk, monkeypatch: pytest.MonkeyPatch, scheme: str = "http") -> Generator[Talks]:
    """Leads to a schedule that is far."""
    with hung_up_on(talk) as (url, talks):
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"{scheme}://127.0.0.1:{urlsplit(url).port}")
        monkeypatch.delenv("no_proxy", raising=False)
        yield talks


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_drips_is_hung_up_on(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(dripping(b"HTTP/1.1 200 O"), monkeypatch) as talks:
        ask_in_vain(make_web(f"{scheme}://{FAR}/"))

    assert talks.requests[0].startswith(b"CONNECT" if scheme == "https" else b"GET http:")


def test_a_handshake_that_begins_late_is_hung_up_on_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        talks.request(connection)
        talks.ended.wait(2.6)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        talks.ended.wait(60)

    with proxy(talk, monkeypatch):
        ask_in_vain(make_web(f"https://{FAR}/", 3))


def test_tls_within_the_tls_of_a_proxy_is_hung_up_on(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk(connection: socket.socket, talks: Talks) -> None:
        talks.request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        drip_inside(connection, talks, tls)

    with proxy(in_tls(tls, talk), monkeypatch, "https"):
        ask_in_vain(make_web(f"https://{FAR}/"))


def drip_inside(outer: socket.socket, talks: Talks, context: ssl.SSLContext) -> None:
    """TLS on what is TLS already: the module cannot wrap such a socket."""
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
    inner = context.wrap_bio(come, go, server_side=True)

    def do(step: Callable[[], object]) -> None:
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                outer.sendall(go.read())
                come.write(outer.recv(16384))
            else:
                outer.sendall(go.read())
                return

    do(inner.do_handshake)
    do(lambda: inner.read(4096))
    do(lambda: inner.write(HEADER))
    while not talks.ended.wait(0.02):
        do(lambda: inner.write(b"a"))


def test_a_host_of_many_addresses_that_do_not_answer_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ExitStack() as ends:
        full = ends.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        fill(full.getsockname(), ends)
        find_always(full.getsockname(), monkeypatch, times=50)
        url = f"http://{FAR}:{full.getsockname()[1]}/"

        with nothing_left(url):
            ask_in_vain(make_web(url))


def fill(address: tuple[str, int], ends: ExitStack) -> None:
    """Let nobody else be answered."""
    while True:
        waiting = ends.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(address)
        if not select([], [waiting], [], 0.2)[1]:
            return


def find_always(
    address: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
    times: int = 1,
    wait: Callable[[], object] = lambda: None,
) -> None:
    def find(*_: object, **__: object) -> list[Any]:
        wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)] * times

    monkeypatch.setattr("socket.getaddrinfo", find)


def test_an_address_that_is_found_too_late_is_not_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()
    with hung_up_on(dripping(HEADER)) as (url, talks):
        port = urlsplit(url).port or 0
        find_always(("127.0.0.1", port), monkeypatch, wait=lambda: found.wait(60))
        ask_in_vain(make_web(f"http://{FAR}:{port}/", 0.2))

        found.set()

    assert talks.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_comes_too_late_is_hung_up_on(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    connect = HTTPConnection._new_conn  # pyright: ignore[reportPrivateUsage]

    def connect_slowly(connection: HTTPConnection) -> socket.socket:
        connected = connect(connection)
        over.wait(60)
        return connected

    monkeypatch.setattr(HTTPConnection, "_new_conn", connect_slowly)
    with hung_up_on(dripping(HEADER)) as (url, _):
        ask_in_vain(make_web(url.replace("http", scheme, 1), 0.2))

        over.set()
