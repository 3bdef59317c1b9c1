"""A mail relay, and what its answers mean."""

import binascii
import smtplib
import socket
import ssl
import stat
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from beamtime_handlers.clients.files import read_file
from beamtime_handlers.clients.smtp_mail.talk import EndlessReplyError, Talk, UnaskedReplyError
from beamtime_ioc.errors import (
    BadResponseError,
    BeamtimeError,
    DeferredError,
    DefinitelyRefusedError,
    OutcomeUnknownError,
    ServiceDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)
from beamtime_ioc.model import NO_COPY, Address, one_line

Connection = Literal["relay", "starttls", "tls"]
PORTS: dict[Connection, int] = {"relay": 25, "starttls": 587, "tls": 465}
LATER = "press DeliverOutbox in some minutes, or this again: nobody gets the letter twice"
LONGEST_PASSWORD = 65_536
KEEPERS = "ask those who keep the relay"


@dataclass(frozen=True, kw_only=True)
class Relay:
    """Where it is and how we come in.

    Parameters
    ----------
    hello
        Our own name in EHLO.
    timeout_s
        For each answer.
    deadline_s
        For one letter, also when each answer comes drop by drop.
    """

    host: str
    port: int
    connection: Connection
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    hello: str = ""
    timeout_s: float = 10
    deadline_s: float = 60

    def __str__(self) -> str:
        return f"mail relay {self.host}:{self.port}"

    def deliver(self, sender: str, to: Address, content: bytes, bcc: Sequence[Address] = ()) -> str:
        """Hand over one message for one recipient, and return the relay's answer.

        Parameters
        ----------
        bcc
            Who gets a copy, and is not named in it. A copy that is refused is told behind the answer.

        Raises
        ------
        DefinitelyRefusedError, DeferredError
            The relay's own words.
        ServiceUnavailableError, ServiceDeniedError, BadResponseError
            It came to nothing before the text was begun.
        OutcomeUnknownError
            It broke off after the text was begun.
        """
        with self._session() as smtp:
            options = self._options(smtp, to)
            self._demand(smtp.mail(sender, options), f"the sender {sender}", "correct `mail.sender`")
            mend = "correct the address, then press again: only who has no letter yet gets one"
            self._demand(smtp.rcpt(to.text), to.text, mend)
            uncopied = "".join(_uncopied(smtp, copy) for copy in bcc)
            self._demand(smtp.docmd("DATA"), f"a letter to {to.text}", mend, go_on=354)
            smtp.require_quiet()  # an answer to the text that was there before would be none
            try:
                smtp.send(_dotted(content))
                reply = smtp.getreply()
            except OSError as error:  # every smtplib error is one
                raise self._unknown(to, self._reason(error, smtp)) from error
            if reply[0] // 100 not in (2, 4, 5):
                raise self._unknown(to, f"answered {_shown(reply)}")
            return self._demand(reply, f"the letter to {to.text}", mend) + uncopied

    def look(self) -> float:
        """Come in and say NOOP; returns how long it took, in s."""
        began = time.monotonic()
        with self._session() as smtp:
            self._demand(smtp.noop(), "NOOP", KEEPERS)
        return time.monotonic() - began

    # -- coming in --------------------------------------------------------------------------

    @contextmanager
    def _session(self) -> Generator[Talk]:
        """A relay that has let us in; whatever fails is put into our words."""
        smtp = Talk(local_hostname=self.hello or socket.gethostname())
        watch = threading.Timer(self.deadline_s, smtp.cut)
        watch.daemon = True
        try:
            password = self._password()
            context = None if self.connection == "relay" else self._trust()
            plain = socket.create_connection((self.host, self.port), self.timeout_s)
            smtp.speak_through(plain)
            watch.start()
            if context and self.connection == "tls":
                smtp.speak_tls(plain, context, self.host)
            self._let_in(smtp.getreply())
            smtp.ehlo_or_helo_if_needed()
            if context and self.connection == "starttls":
                self._start_tls(smtp, plain, context)
            if self.user:
                self._log_in(smtp, password)
            yield smtp
        except OSError as error:
            raise self._in_words(error, smtp) from _harmless(error)
        finally:
            with suppress(OSError):
                smtp.putcmd("quit")  # its answer changes nothing, so nobody waits for it
            watch.cancel()
            smtp.close()

    def _trust(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context()
            if self.ca_file:
                context.load_verify_locations(self.ca_file)
        except OSError as error:
            raise ServiceDeniedError(
                f"{self.ca_file} cannot be read as certificates: {error.strerror or error}",
                advice="correct `mail.ca_file` in the site file",
            ) from error
        return context

    def _start_tls(self, smtp: Talk, plain: socket.socket, context: ssl.SSLContext) -> None:
        if not smtp.has_extn("starttls"):
            raise ServiceDeniedError(
                f"{self} does not offer STARTTLS", advice="correct `mail.connection` in the site file"
            )
        self._let_in(smtp.docmd("STARTTLS"))
        smtp.speak_tls(plain, context, self.host)
        smtp.ehlo_or_helo_if_needed()

    def _log_in(self, smtp: Talk, password: str) -> None:
        try:
            smtp.login(self.user, password)
        except binascii.Error as error:
            said = "asks for our login in words that are no base64"
            raise BadResponseError(f"{self} {said}", advice=KEEPERS) from error

    def _password(self) -> str:
        if not self.user:
            return ""
        path = self.password_file
        assert path is not None
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            password = read_file(path, LONGEST_PASSWORD).decode("utf-8").strip("\r\n")
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ServiceDeniedError(
                f"the password of {self} cannot be read from {path}: {reason}",
                advice="correct the file or `mail.password_file`, then press again",
            ) from None
        if not password:
            raise ServiceDeniedError(f"{path} holds no password", advice="write it there, then press again")
        if not password.isascii():
            raise ServiceDeniedError(
                f"the password in {path} has letters other than ASCII, which cannot be sent",
                advice="choose another password",
            )
        if mode & 0o077:
            raise ServiceDeniedError(
                f"others may read the password in {path} (mode {mode:o})", advice=f"run chmod 600 {path}"
            )
        return password

    def _options(self, smtp: smtplib.SMTP, to: Address) -> tuple[str, ...]:
        if not to.needs_utf8:
            return ()
        if not smtp.has_extn("smtputf8"):
            raise DefinitelyRefusedError(
                f"{self} cannot carry the address {to.text}: it does not know SMTPUTF8",
                advice="ask for an address in ASCII letters",
            )
        return ("SMTPUTF8", "BODY=8BITMIME")

    # -- what its answers mean --------------------------------------------------------------

    def _let_in(self, reply: tuple[int, bytes]) -> None:
        if reply[0] // 100 == 5:
            raise ServiceDeniedError(f"{self} does not serve us: {_shown(reply)}", advice=KEEPERS)
        self._demand(reply, "us", KEEPERS)

    def _demand(self, reply: tuple[int, bytes], what: str, mend: str, *, go_on: int = 0) -> str:
        """The relay's answer if it agrees: with this code, or with any 2xx where there is none."""
        shown = _shown(reply)
        match reply[0] // 100:
            case kind if reply[0] == go_on or (kind == 2 and not go_on):
                return shown
            case 4:
                raise DeferredError(f"{self} puts {what} off: {shown}", advice=LATER)
            case 5:
                raise DefinitelyRefusedError(f"{self} refuses {what}: {shown}", advice=mend)
            case _:
                raise BadResponseError(f"{self} answered {shown}", advice=KEEPERS)

    def _unknown(self, to: Address, reason: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"whether the letter to {to.text} went out is not known: {self} {reason}",
            advice=f"ask {to.text} whether it arrived, then answer with Resolve: "
            "it is not sent again by itself",
        )

    def _in_words(self, error: OSError, smtp: Talk) -> BeamtimeError:
        match error:
            case _ if smtp.late:
                return ServiceUnavailableError(str(self), self._reason(error, smtp))
            case ssl.SSLCertVerificationError():
                return ServiceDeniedError(
                    f"{self} shows a certificate that is not trusted: {error.verify_message}",
                    advice="check `mail.relay` and `mail.ca_file` in the site file",
                )
            case smtplib.SMTPAuthenticationError() if error.smtp_code // 100 == 4:
                return DeferredError(f"{self} cannot check our login now: {error.smtp_code}", advice=LATER)
            case smtplib.SMTPAuthenticationError():
                return WrongPasswordError(
                    f"{self} does not accept user {self.user} with the password in {self.password_file} "
                    f"({error.smtp_code})",
                    advice="correct `mail.user` or the password file, then press again",
                )
            case UnaskedReplyError():
                said = "answers what it was not asked; nothing was handed over"
                return BadResponseError(f"{self} {said}", advice=KEEPERS)
            case smtplib.SMTPServerDisconnected() if isinstance(error.__context__, EndlessReplyError):
                return BadResponseError(f"{self} {self._reason(error, smtp)}", advice=KEEPERS)
            case smtplib.SMTPServerDisconnected():
                return ServiceUnavailableError(str(self), self._reason(error, smtp))
            case smtplib.SMTPResponseException():
                text = error.smtp_error
                shown = _shown((error.smtp_code, text.encode() if isinstance(text, str) else text))
                if error.smtp_code // 100 == 4:
                    return DeferredError(f"{self} puts us off: {shown}", advice=LATER)
                return BadResponseError(f"{self} answered {shown}", advice=KEEPERS)
            case smtplib.SMTPException():
                return ServiceDeniedError(
                    f"{self} does not offer what was asked of it: {one_line(str(error), 200)}",
                    advice="correct `mail.connection` or `mail.user` in the site file",
                )
            case _:
                return ServiceUnavailableError(str(self), self._reason(error, smtp))

    def _reason(self, error: OSError, smtp: Talk) -> str:
        if smtp.late:
            return f"was not done within {self.deadline_s:g} s"
        cause = error.__context__ if isinstance(error, smtplib.SMTPServerDisconnected) else error
        match cause:
            case EndlessReplyError():
                return "answered more than a relay may"
            case TimeoutError():
                return f"did not answer within {self.timeout_s:g} s"
            case ConnectionRefusedError():
                return "refuses the connection"
            case socket.gaierror():
                return "is not known by that name (`mail.relay` in the site file, or the name server)"
            case ssl.SSLError():
                return f"does not speak TLS with us: {cause.reason or 'it hung up'}"
            case None | smtplib.SMTPServerDisconnected() | ConnectionError():
                return "broke off the connection"
            case _:
                return f"cannot be reached: {getattr(cause, 'strerror', None) or type(cause).__name__}"


def _uncopied(smtp: Talk, copy: Address) -> str:
    """Why there is no copy for somebody; empty if there is one."""
    reply = smtp.rcpt(copy.text)
    return "" if reply[0] // 100 == 2 else f"{NO_COPY}{copy.text}: {_shown(reply)}"


def _harmless(error: OSError) -> OSError | None:
    """The cause to show in a log: what a relay says about a login may repeat the password."""
    return None if isinstance(error, smtplib.SMTPAuthenticationError) else error


def _shown(reply: tuple[int, bytes]) -> str:
    code, text = reply
    return f"{code} {one_line(text.decode('utf-8', 'replace'), 200)}".strip()


def _dotted(content: bytes) -> bytes:
    """The text of DATA: a leading dot doubled, and its end."""
    lines = content.removesuffix(b"\r\n").split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b"\r\n.\r\n"
