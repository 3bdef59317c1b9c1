"""An SMTP connection of `smtplib` that can be cut, and takes no half answer."""

import smtplib
import socket
import ssl
from contextlib import suppress


class Talk(smtplib.SMTP):
    """An SMTP connection that another thread may cut when it is late."""

    late = False

    def speak_through(self, connection: socket.socket) -> None:
        self.sock, self.file = connection, _WholeLines(connection)

    def speak_tls(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Go on in TLS; what was said before does not count."""
        tls = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self.speak_through(tls)
        tls.do_handshake()
        self.helo_resp = self.ehlo_resp = None

    def cut(self) -> None:
        self.late = True
        if self.sock is not None:
            with suppress(OSError):
                # The plain socket's word: TLS would forget its state under the hands of the reading thread.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _WholeLines:
    """Reads lines as `smtplib` wants them, but takes one that was cut for the end of the connection.

    A `250` without its end of line is no answer: the rest may have said otherwise.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def readline(self, limit: int) -> bytes:
        line = self._file.readline(limit)
        return line if line.endswith(b"\n") or len(line) == limit else b""

    def close(self) -> None:
        self._file.close()
