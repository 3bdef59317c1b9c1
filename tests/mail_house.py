"""Letters, and relays that behave as badly as a test wants."""

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from beamtime_handlers.clients import smtp_mail
from beamtime_handlers.clients.smtp_mail import Settings, SmtpMail
from beamtime_ioc.model import Experiment, Letter, Person, Place, Site
from beamtime_ioc.ports import Context, Outbox
from beamtime_ioc.testing import MemoryOutbox

ZONE = ZoneInfo("America/Chicago")
ZOE = Person(first_name="Zoë", last_name="Müller-Łukasik", email="zoe.mueller@example.edu", is_pi=True)
REN = Person(first_name="Ren", last_name="O'Brien", email="ren.obrien@example.org")
LIV = Person(first_name="Liv", last_name="Ørsted", email="liv.orsted@example.edu")
PLACES = (
    Place(name="det1", top=PurePosixPath("/local/data")),
    Place(name="ana1", top=PurePosixPath("/data/99BM")),
)
SITE = Site(prefix="99bm:Beamtime:", beamline="99-BM-A,B", zone=ZONE, places=PLACES)
EXPERIMENT = Experiment(
    key="aps:300011",
    name="2026-11-Muller_Lukasik-9100001",
    start=datetime(2026, 11, 20, 8, tzinfo=ZONE),
    end=datetime(2026, 11, 23, 8, tzinfo=ZONE),
    proposal="9100001",
    title="Foam under load",
    beamline="99-BM-A,B",
    people=(ZOE, REN),
)
SENDER, CONTACT = "Beamline 99-BM <bm99@example.edu>", "Staff of 99-BM <staff@example.edu>"


def people_of(*people: Person) -> Experiment:
    return replace(EXPERIMENT, people=people)


def mail_for(directory: Path, outbox: Outbox | None = None, **settings: Any) -> SmtpMail:
    """The client, in dry runs unless told; its state lies in `directory/state`."""
    context = Context(
        site=SITE, directory=directory, state=directory / "state", outbox=outbox or MemoryOutbox()
    )
    return smtp_mail.build(Settings(**{"sender": SENDER, "contact": CONTACT, **settings}), context)


def live_mail(directory: Path, port: int, outbox: Outbox | None = None, **settings: Any) -> SmtpMail:
    patience = {"timeout_s": 5, "deadline_s": 10}
    where = {"mode": "live", "relay": "127.0.0.1", "port": port}
    return mail_for(directory, outbox, **{**patience, **where, **settings})


def letter_from(mail: SmtpMail, person: Person = ZOE) -> Letter:
    (letter,) = mail.compose(people_of(person), PLACES, "run-1").letters
    return letter


def parsed(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def body_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


# -- relays ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HangUp:
    """Close the connection instead of an answer."""


@dataclass(frozen=True)
class Mute:
    """Say nothing until the client goes."""


@dataclass(frozen=True)
class Drip:
    """Say one byte after another, and never the end of the line."""


@dataclass(frozen=True)
class Endless:
    """Say one line after another, and never the last."""


@dataclass(frozen=True)
class Turns:
    """One answer after another, each time the word is heard."""

    answers: "list[Answer]"


Answer = str | HangUp | Mute | Drip | Endless | Turns
GOOD: dict[str, Answer] = {
    "greeting": "220 relay",
    "EHLO": "250-relay\r\n250 SIZE 1000000",
    "HELO": "250 relay",
    "MAIL": "250 2.1.0 sender is known",
    "RCPT": "250 2.1.5 recipient is known",
    "DATA": "354 go ahead",
    "text": "250 2.0.0 kept",
    "NOOP": "250 here",
    "QUIT": "221 bye",
}


class ScriptedRelay:
    """Answers each word as it is told, and remembers what it heard.

    Parameters
    ----------
    answers
        By word; besides the words of SMTP, `greeting` and `text`.
    """

    def __init__(
        self,
        answers: dict[str, Answer],
        *,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
    ) -> None:
        self.answers, self.tls, self.starttls = {**GOOD, **answers}, tls, starttls
        self.heard: list[str] = []
        self.texts: list[bytes] = []
        self.over = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                with suppress(OSError):  # the client went, or TLS failed
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True)
        with connection:
            last = self._say_and_hear(connection, "greeting")
            if last == "STARTTLS" and self.starttls:
                with self.starttls.wrap_socket(connection, server_side=True) as inside:
                    self._say_and_hear(inside, None)

    def _say_and_hear(self, connection: socket.socket, word: str | None) -> str:
        """Answer each word until the client goes, or TLS begins; returns the last word."""
        with connection.makefile("rb") as lines:
            while word is None or self._answer(connection, word):
                if word == "QUIT" or (word == "STARTTLS" and self.starttls):
                    return word
                if word == "DATA" and str(self.answers[word]).startswith("354"):
                    word = "text"
                    self.texts.append(_text_of(lines))
                elif line := lines.readline():
                    self.heard.append(line.decode("utf-8", "replace").strip())
                    word = self.heard[-1].partition(" ")[0].upper()
                else:
                    break
        return ""

    def _answer(self, connection: socket.socket, word: str) -> bool:
        answer = self.answers.get(word, "502 not known")
        match answer.answers.pop(0) if isinstance(answer, Turns) else answer:
            case HangUp():
                return False
            case Mute():
                self.over.wait(10)
                return False
            case Endless():
                while not self.over.is_set():
                    connection.sendall(b"250-and more\r\n" * 100)
                return False
            case Drip():
                while not self.over.wait(0.02):
                    connection.sendall(b"2")
                return False
            case text:
                connection.sendall(f"{text}\r\n".encode())
                return True

    def __enter__(self) -> "ScriptedRelay":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody listens any more."""
        if not self.over.is_set():
            self.over.set()
            self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()
            self.thread.join(10)


def _text_of(lines: BinaryIO) -> bytes:
    """Everything up to the single dot; what a client leaves in the middle of it is an error."""
    text = b""
    while (line := lines.readline()) != b".\r\n":
        if not line:
            raise ConnectionResetError
        text += line
    return text


class Keeper:
    """What aiosmtpd calls; keeps the texts."""

    def __init__(self) -> None:
        self.kept: list[tuple[list[str], bytes]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.kept.append((list(envelope.rcpt_tos), envelope.content))
        return "250 2.0.0 kept"


def only(user: str, password: str) -> Callable[..., AuthResult]:
    def check(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=good, handled=good)  # handled and not successful: the client waits for ever

    return check


@contextmanager
def aiosmtpd_relay(
    *, tls: ssl.SSLContext | None = None, at_once: bool = False, **options: Any
) -> Generator[tuple[int, Keeper]]:
    """A real server of another make: its port, and what it got."""
    loop, keeper = asyncio.new_event_loop(), Keeper()
    starttls = {} if at_once or tls is None else {"tls_context": tls, "require_starttls": True}

    def protocol() -> SMTP:
        return SMTP(keeper, hostname="relay.example.org", loop=loop, **starttls, **options)

    server = loop.run_until_complete(
        loop.create_server(protocol, "127.0.0.1", 0, ssl=tls if at_once else None)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1], keeper
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        server.close()
        loop.run_until_complete(_end_tasks())
        loop.close()


async def _end_tasks() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def certificate(directory: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for `IP:...` or `DNS:...`, and a server's context with it."""
    directory.mkdir()
    key, chain = directory / "key.pem", directory / "chain.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    what = ["-days", "2", "-subj", "/CN=relay", "-addext", f"subjectAltName={name}"]
    subprocess.run([*new, *what, "-keyout", key, "-out", chain], check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return chain, context
