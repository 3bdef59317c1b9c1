"""An SMTP connection of `smtplib` that can be cut, and takes no half answer and no double one."""

import smtplib
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MOST_BYTES = 65_536
"""Of one reply, which may have many lines."""


class EndlessReplyError(OSError):
    """A relay answers more than a relay may."""


class UnaskedReplyError(OSError):
    """A relay has answered more often than it was asked: the next answer would be an old one."""


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

    def send(self, s: "ReadableBuffer | str") -> None:
        self.require_quiet()
        super().send(s)

    def require_quiet(self) -> None:
        """Raise UnaskedReplyError if there is an answer that nobody has asked for."""
        if isinstance(self.file, _WholeLines) and self.file.unread:
            raise UnaskedReplyError

    def getreply(self) -> tuple[int, bytes]:
        if isinstance(self.file, _WholeLines):
            self.file.begin()
        code, text = super().getreply()
        # `smtplib` takes the code of the last line: `550-no` before `250 ok` would be a yes.
        doubtful = isinstance(self.file, _WholeLines) and len(self.file.kinds) > 1
        return -1 if doubtful else code, text

    def cut(self) -> None:
        self.late = True
        if self.sock is not None:
            with suppress(OSError):
                # The plain socket's word: TLS would forget its state under the hands of the reading thread.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _WholeLines:
    """Reads lines as `smtplib` wants them, but takes one that was cut for the end of the connection.

    A `250` without its end of line is no answer: the rest may have said otherwise. Nor are lines of `250-`
    without end, which `smtplib` would collect for as long as they come.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.unread = b""
        self.begin()

    def begin(self) -> None:
        """What follows is one reply."""
        self.left, self.kinds = MOST_BYTES, set[bytes]()

    def readline(self, limit: int) -> bytes:
        while b"\n" not in self.unread and len(self.unread) < limit:
            if not (more := self._connection.recv(limit)):
                return b""
            self.unread += more
        length = self.unread.find(b"\n") + 1 or limit
        line, self.unread = self.unread[:length], self.unread[length:]
        self.left -= length
        if self.left < 0 or length >= limit:
            raise EndlessReplyError
        self.kinds.add(line[:1])
        return line

    def close(self) -> None:
        self.unread = b""
