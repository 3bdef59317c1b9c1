"""A small HTTP server on loopback: one function answers, threads of their own carry it."""

import json
import select
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from beamtime_sim.errors import PortTakenError

HOST = "127.0.0.1"
LONGEST_BODY = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asked, and whether anybody still waits for the answer."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    waits: Callable[[float], bool]

    @property
    def segments(self) -> list[str]:
        """The path, cut at its slashes and then percent-decoded."""
        path = urlsplit(self.target).path
        return [unquote(segment) for segment in path.strip("/").split("/")]

    def pause(self, seconds: float) -> bool:
        """Let the client wait for so long; say whether it still does."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self.waits(min(left, 0.1)):
                return False
        return True


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the client gets."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def json_reply(status: int, body: Any, **headers: str) -> Reply:
    """Return a reply with a JSON body, in UTF-8."""
    text = json.dumps(body, ensure_ascii=False)
    return Reply(status=status, body=text.encode(errors="replace"), headers=headers)


class WebServer:
    """Serves ``answer`` on a loopback port until it is stopped.

    An answer of None closes the connection without a word. ``port`` 0 takes a free one.
    """

    def __init__(self, answer: Callable[[Request], Reply | None], port: int = 0) -> None:
        self._answer = answer
        self._wanted_port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on, or will listen on."""
        return self._wanted_port if self._server is None else self._server.server_address[1]

    def start(self) -> None:
        """Listen and answer.

        Raises
        ------
        PortTakenError
            Another process has the port.
        """
        try:
            self._server = _Server((HOST, self._wanted_port), self._answer)
        except OSError as error:
            raise PortTakenError(self._wanted_port) from error
        self._wanted_port = self.port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection, also those that hang."""
        if self._server is None or self._thread is None:
            return
        self._server.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.close_connections()
        self._server = self._thread = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], answer: Callable[[Request], Reply | None]) -> None:
        self.answer = answer
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer asks the name service for the host's full name here, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # The client was faster.

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that leaves early is what the knobs provoke; anything else is a fault of the box.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "beamtime-sim"
    sys_version = ""
    # Header and body leave in one packet: two would wait 40 ms for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    @property
    def _owner(self) -> _Server:
        return cast("_Server", self.server)

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > LONGEST_BODY:
            self.close_connection = True
            return
        request = Request(
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(length)),
            waits=self._waits,
        )
        reply = self._owner.answer(request)
        if reply is None or self._owner.stopping.is_set():
            self.close_connection = True
            return
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_PUT = do_POST = do_DELETE = _serve

    def _waits(self, seconds: float) -> bool:
        """Pause; say whether the client still waits and the server still serves."""
        if self._owner.stopping.wait(seconds):
            return False
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return not readable or bool(self.connection.recv(1, socket.MSG_PEEK))
        except ConnectionError:
            return False

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the box counts its requests itself."""
