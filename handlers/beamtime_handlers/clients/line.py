"""The connection of an HTTP session that another thread may cut when it is late."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection


class Session(requests.Session):
    """Asks over one line."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.mount("https://", self.line)
        self.mount("http://", self.line)


class Line(HTTPAdapter):
    """The connection of a session, which another thread may cut when it is late.

    Attributes
    ----------
    held
        What is cut then: a session has one connection at a time.
    """

    late = False
    held: socket.socket | None = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool for an address, through a proxy or not, whose connections are held here."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if not issubclass(pool.ConnectionCls, _HeldConnection):
            pool.ConnectionCls = type("_Connection", (_HeldConnection, pool.ConnectionCls), {"line": self})
        return pool

    def cut(self) -> None:
        """End whatever is waited for, and open and keep no connection any more."""
        self.late = True
        held = self.held
        if held is not None:
            with suppress(OSError):
                # The plain socket's word: TLS would forget its state under the hands of the reading thread.
                socket.socket.shutdown(held, socket.SHUT_RDWR)
        self.close()


class _HeldConnection(HTTPConnection):
    """One that its line holds from the first moment on."""

    line: Line
    _twin: socket.socket | None = None

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            # TLS within the TLS of a proxy is no socket, but has one.
            self.line.held = getattr(self.sock, "socket", self.sock)
            if self._twin:
                self._twin.close()
            if self.line.late:
                # It may have been the twin that was cut, at the moment when it was closed.
                self.line.cut()

    def _new_conn(self) -> socket.socket:
        self.socket_options = _UntilLate(self.line, self.socket_options or ())
        connected = super()._new_conn()
        # While TLS shakes hands, the socket itself is in nobody's reach.
        self.line.held = self._twin = connected.dup()
        if self.line.late:
            connected.close()
            raise TimeoutError
        return connected

    def _tunnel(self) -> None:
        super()._tunnel()
        if self.line.late:
            # TLS would not close a socket that was cut before its handshake.
            raise TimeoutError


class _UntilLate(list[tuple[int, int, int | bytes]]):
    """Options of a socket: urllib3 sets them before it tries an address, of which a host may have many."""

    def __init__(self, line: Line, options: Sequence[tuple[int, int, int | bytes]]) -> None:
        super().__init__(options)
        self._line = line

    def __iter__(self) -> Iterator[tuple[int, int, int | bytes]]:
        if self._line.late:
            raise TimeoutError
        return super().__iter__()
