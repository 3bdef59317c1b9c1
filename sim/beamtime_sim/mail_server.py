"""A mail relay on loopback that keeps what it gets, with its knobs."""

import asyncio
import threading
from collections import Counter
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

from aiosmtpd.smtp import SMTP, Envelope, Session

from beamtime_sim.errors import PortTakenError
from beamtime_sim.knobs import Knobs, listed
from beamtime_sim.mailbox import KeptMail, Mailbox
from beamtime_sim.server import Server
from beamtime_sim.web import HOST

NAME = "mail.example.org"


class MailServer(Server):
    """SMTP without login, as a facility's relay.

    Parameters
    ----------
    directory
        Where the mails are kept.
    port
        0 takes a free one.
    """

    def __init__(self, directory: Path, *, port: int = 0, knobs: Knobs | None = None) -> None:
        self.mailbox = Mailbox(directory)
        self.knobs = knobs or Knobs()
        self.port = port
        self._counts: Counter[str] = Counter()
        self._open: WeakSet[_Relay | _Mute] = WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def mails(self) -> list[KeptMail]:
        """All mails kept in the directory, in the order of their arrival."""
        return self.mailbox.mails()

    @property
    def counts(self) -> dict[str, int]:
        """How many connections came, and recipients were kept, refused, deferred or dropped."""
        words = ("connections", "kept", "refused", "deferred", "dropped")
        return {word: self._counts[word] for word in words}

    def forget_counts(self) -> None:
        """Count from zero again; the mails stay."""
        self._counts.clear()

    def start(self) -> None:
        """Listen and keep.

        Raises
        ------
        PortTakenError
            Another process has the port.
        """
        loop = asyncio.new_event_loop()
        try:
            listening = loop.create_server(lambda: self._protocol(loop), HOST, self.port)
            server = loop.run_until_complete(listening)
        except OSError as error:
            loop.close()
            raise PortTakenError(self.port) from error
        self.port = server.sockets[0].getsockname()[1]
        self._loop = loop
        self._thread = threading.Thread(target=self._serve, args=(loop, server), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection, also those that hang."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop = self._thread = None

    def _protocol(self, loop: asyncio.AbstractEventLoop) -> "_Relay | _Mute":
        self._counts["connections"] += 1
        if self.knobs.mail.hang == "connect":
            protocol = _Mute(self.knobs)
        else:
            protocol = _Relay(_Desk(self.mailbox, self.knobs, self._counts), loop)
        self._open.add(protocol)
        return protocol

    def _serve(self, loop: asyncio.AbstractEventLoop, server: asyncio.Server) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
        loop.run_until_complete(self._ended())
        server.close()
        loop.close()

    async def _ended(self) -> None:
        """Close every connection and let every conversation see its end."""
        # What is being accepted right now takes a few rounds of the loop to become a connection. The server
        # must not be closed before: asyncio would forget the connection and leave it open.
        for _ in range(10):
            for protocol in self._open:
                if protocol.transport is not None:
                    cast("asyncio.Transport", protocol.transport).abort()
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for conversation in left:
            conversation.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class _Desk:
    """What happens to each recipient and each text; the hooks of aiosmtpd carry these names."""

    def __init__(self, mailbox: Mailbox, knobs: Knobs, counts: Counter[str]) -> None:
        self.mailbox, self.knobs, self.counts = mailbox, knobs, counts

    def touches(self, recipients: list[str]) -> bool:
        return any(listed(self.knobs.mail.only, recipient) for recipient in recipients)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if listed(self.knobs.mail.refuse, address):
            self.counts["refused"] += 1
            return "550 5.1.1 no such mailbox here"
        if self.knobs.take_grey(address):
            self.counts["deferred"] += 1
            return "451 4.7.1 grey-listed, try again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient is known"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        touched = self.touches(envelope.rcpt_tos)
        if touched and self.knobs.mail.hang == "data":
            while self.knobs.mail.hang == "data":
                await asyncio.sleep(0.05)
            await self.drop(server)
        content = envelope.original_content or b""
        try:
            self.mailbox.keep(envelope.mail_from or "", envelope.rcpt_tos, content)
        except OSError as error:
            self.counts["deferred"] += 1
            return f"452 4.3.1 cannot keep the message: {error.strerror}"
        self.counts["kept"] += len(envelope.rcpt_tos)
        if touched and (self.knobs.mail.drop == "after-data" or self.knobs.take_lost_reply("mail")):
            await self.drop(server)
        if touched and self.knobs.mail.delay_s:
            await asyncio.sleep(self.knobs.mail.delay_s)
        return "250 2.0.0 kept"

    async def drop(self, server: SMTP) -> None:
        """Cut the connection; does not return, the end of the connection cancels the caller."""
        self.counts["dropped"] += 1
        transport: Any = server.transport
        if transport is not None:
            transport.abort()
        await asyncio.Event().wait()


class _Relay(SMTP):
    """aiosmtpd, which can also drop a connection at the word DATA."""

    def __init__(self, desk: _Desk, loop: asyncio.AbstractEventLoop) -> None:
        self._desk = desk
        # The name is given because aiosmtpd asks the name service otherwise, once a connection.
        super().__init__(desk, hostname=NAME, ident="beamtime-sim", enable_SMTPUTF8=True, loop=loop)

    async def smtp_DATA(self, arg: str) -> None:
        drop = self._desk.knobs.mail.drop
        if self.envelope is not None and self._desk.touches(self.envelope.rcpt_tos):
            if drop == "before-data":
                await self._desk.drop(self)
            if drop == "during-data":
                await self.push("354 go ahead")
                await self._reader.readline()
                await self._desk.drop(self)
        await super().smtp_DATA(arg)


class _Mute(asyncio.Protocol):
    """Accepts a connection and never speaks; hangs up when the knob is turned back."""

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def _wait(self) -> None:
        if self.transport is None:
            return
        if self._knobs.mail.hang == "connect":
            asyncio.get_running_loop().call_later(0.05, self._wait)
        else:
            self.transport.close()
