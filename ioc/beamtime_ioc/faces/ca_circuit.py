"""The TCP connection of one Channel Access client: bytes in, bytes out, in their order."""
# pyright: basic

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import caproto as ca

from beamtime_ioc.faces.ca_surroundings import Surroundings
from beamtime_ioc.model import one_line

log = logging.getLogger(__name__)

READ_BYTES = 16384
BUFFER_BYTES = 1 << 20
PATIENCE_S = 0.02
DEAF_S = 120.0
"""A client to which nothing could be sent for so long is let go; it comes back when it lives again."""
WAITING_LIMIT = 1000
LAST_COMMAND = 27
IN_ORDER = (
    *(ca.WriteRequest, ca.WriteNotifyRequest, ca.ClearChannelRequest),
    *(ca.ClientNameRequest, ca.HostNameRequest),
)
"""What overtakes no put: a channel is not closed before what was put to it, nobody is renamed before it."""
# A computer that lost its power is forgotten after two minutes, not after two hours.
KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 4}


class Recipient(Protocol):
    """Who gets what a client sends: its session."""

    def handle(self, message: Any) -> None:
        """Do what the client asks; raises whatever nonsense leads to."""
        ...

    def post_late(self) -> None:
        """The client listens again."""
        ...

    def announce_new_rights(self) -> None:
        """Others may write than before."""
        ...

    def end(self) -> None:
        """The client has gone."""
        ...


class Circuit(asyncio.Protocol):
    """Reads a client's messages and hands them to its session.

    What follows a put waits until the put is accepted, as in C, but no read waits longer than 20 ms. A
    client that does not listen is not heard either, until it does. What a client has put before it left is
    done, as in C.

    Parameters
    ----------
    welcome, farewell
        Told when the client has come, which begins its session, and when it has gone.

    Attributes
    ----------
    peer
        The client's address, the only thing it does not claim.
    listening
        It takes what is sent to it.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        welcome: Callable[["Circuit"], Recipient],
        farewell: Callable[["Circuit"], None],
    ) -> None:
        self._surroundings, self._welcome, self._farewell = surroundings, welcome, farewell
        self.peer = ""
        self.listening = True
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._put: asyncio.Task[Any] | None = None
        self._waiting: deque[Any] = deque()
        self._raw = bytearray()
        self._impatient = self._gone = False
        self._deaf: asyncio.TimerHandle | None = None

    # -- the connection -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        address = transport.get_extra_info("peername") or ("", 0)
        self.peer = address[0]
        made: socket.socket = transport.get_extra_info("socket")
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES)
        self._parser = ca.VirtualCircuit(ca.SERVER, address, None)
        self.session = self._welcome(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = self.listening = True
        self._raw.clear()
        self._stop_looking()
        self._waiting = deque(message for message in self._waiting if isinstance(message, IN_ORDER))
        if not self._waiting:
            self._leave()

    def _leave(self) -> None:
        self._farewell(self)
        self.session.end()

    def abort(self) -> None:
        """Let the client go; what it has put and is not begun is dropped."""
        self._waiting.clear()
        self.transport.abort()
        if self._gone:
            self._leave()

    def pause_writing(self) -> None:
        self.listening = False
        self.transport.pause_reading()
        self._look_later()

    def _look_later(self) -> None:
        waiting_bytes = self.transport.get_write_buffer_size()
        self._deaf = self._surroundings.loop.call_later(DEAF_S, self._look, waiting_bytes)

    def _look(self, waited_bytes: int) -> None:
        """Has anything of what waits been taken since?"""
        if self.transport.get_write_buffer_size() < waited_bytes:
            self._look_later()
            return
        words = f"CA client {self.peer} has read nothing for {DEAF_S:g} s: closed"
        self._surroundings.seldom.warning(f"deaf {self.peer}", 60, words)
        self.abort()

    def _stop_looking(self) -> None:
        if self._deaf is not None:
            self._deaf.cancel()
            self._deaf = None

    def resume_writing(self) -> None:
        self._stop_looking()
        self.listening = True
        self.session.post_late()
        if self._put is None:
            self._go_on()
            return
        self._parse()
        if not self._raw:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._raw += data
        self._parse()
        if self._raw:
            self.transport.pause_reading()

    def _parse(self) -> None:
        """Turn bytes into messages, no more than can be dealt with: a message is fifty times its bytes."""
        try:
            while self._raw and self.listening and len(self._waiting) <= WAITING_LIMIT:
                piece = bytes(self._raw[:READ_BYTES])  # the parser copies the rest for each message
                del self._raw[:READ_BYTES]
                messages, missing = self._parser.recv(piece)
                for message in messages:
                    self._take(message)
                self._check_begun(missing)
        except Exception as error:
            self._give_up(error)

    def _check_begun(self, missing: int) -> None:
        """Look at a message of which only the beginning is there: its end may never come."""
        if missing > self._surroundings.message_limit_bytes:
            raise ca.RemoteProtocolError(f"a message of {missing} bytes")
        begun = self._parser._data
        if len(begun) >= 2 and int.from_bytes(begun[:2], "big") > LAST_COMMAND:
            raise ca.RemoteProtocolError(f"it begins with {bytes(begun[:16])!r}")

    def _give_up(self, error: Exception) -> None:
        reason = one_line(f"{type(error).__name__} {error}".partition("\n")[0], 200)
        words = f"CA client {self.peer} sent nonsense ({reason}): closed"
        log.debug("CA client %s: given up", self.peer, exc_info=error)
        self._surroundings.seldom.warning(f"nonsense {self.peer}", 60, words)
        self.abort()

    def send(self, *messages: bytes) -> None:
        """Write at the end of this turn of the loop: many answers, one packet."""
        if not self._out:
            self._surroundings.loop.call_soon(self._flush)
        self._out += messages
        self._out_bytes += sum(map(len, messages))
        if self._out_bytes > BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        data, self._out, self._out_bytes = b"".join(self._out), [], 0
        if data and not self.transport.is_closing():
            self.transport.write(data)

    # -- the order of what the client asks ----------------------------------------------------

    def hold(self, put: asyncio.Task[Any]) -> None:
        """Let what comes next wait until a put is accepted."""
        self._put = put
        self._surroundings.loop.call_later(PATIENCE_S, self._overtake, put)
        put.add_done_callback(lambda _: self._go_on())

    def _take(self, message: Any) -> None:
        free = self._put is None and not self._waiting
        if not free and self._impatient:
            free = not isinstance(message, IN_ORDER)
        if free and self.listening:
            self.session.handle(message)
            return
        self._waiting.append(message)
        if len(self._waiting) > WAITING_LIMIT:
            self.transport.pause_reading()

    def _go_on(self) -> None:
        """Nothing is in the way any more of what waited, up to the next put."""
        self._put, self._impatient = None, False
        try:
            while self._waiting and self._put is None and self.listening:
                self.session.handle(self._waiting.popleft())
        except Exception as error:
            self._give_up(error)
        if self._gone and self._put is None:
            self._leave()
        self._read_on()

    def _overtake(self, put: asyncio.Task[Any]) -> None:
        """The put takes long: reads go on, puts stay in their order."""
        if self._put is not put:
            return
        self._impatient = True
        waiting, self._waiting = self._waiting, deque()
        try:
            for message in waiting:
                self._take(message)
        except Exception as error:
            self._give_up(error)
        self._read_on()

    def _read_on(self) -> None:
        """Take what was read meanwhile, and read more when there is room for it."""
        self._parse()
        if not self._raw and self.listening and len(self._waiting) < WAITING_LIMIT:
            self.transport.resume_reading()
