"""One question over HTTP, answered or refused within a bounded time."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from urllib.parse import quote, urlsplit

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth

from beamtime_handlers.clients.line import Session
from beamtime_ioc.errors import (
    BadResponseError,
    ServiceDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)

PAUSES_S = (0.2, 0.6)
"""Waits before the second and the third try."""
LARGEST_BODY = 32 << 20
CHUNK = 1 << 16

_URL_ADVICE = "look whether schedule.url is right, and whether the service is being maintained"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """User and password; `source` says where they are written, for advice."""

    user: str
    password: str = field(repr=False)
    source: str


@dataclass(frozen=True, kw_only=True)
class _Answer:
    status: int
    content_type: str
    location: str
    body: bytes


class Web:
    """GET below one address, with one connection that is kept.

    Safe to use from any thread; questions are asked one after another.

    Parameters
    ----------
    credentials
        Read again for each question, so that a new password counts at once.
    overall_timeout_s
        Longest time for one question, with its repeats: also when the server drips its answer, and when the
        name service hangs.
    """

    def __init__(
        self,
        url: str,
        credentials: Callable[[], Credentials | None],
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        overall_timeout_s: float,
    ) -> None:
        self.url, self.credentials = url, credentials
        self.connect_timeout_s, self.read_timeout_s = connect_timeout_s, read_timeout_s
        self.overall_timeout_s = overall_timeout_s
        self.service = f"the schedule at {urlsplit(url).netloc}"
        self._late = f"did not answer within {overall_timeout_s:g} s"
        self._turn = threading.Lock()
        self._session = self._new_session()

    def find(self, *path: str, what: str) -> bytes | None:
        """The body of a JSON reply, or None where the service knows no such thing (404)."""
        return self._body(path, what, or_none=True)

    def get(self, *path: str, what: str) -> bytes:
        """The body of a JSON reply.

        Parameters
        ----------
        path
            Segments below the address; each is percent-encoded.
        what
            What is asked for, in words, for the errors.

        Raises
        ------
        ServiceUnavailableError, ServiceDeniedError, BadResponseError
        """
        body = self._body(path, what, or_none=False)
        assert body is not None
        return body

    def _body(self, path: Sequence[str], what: str, *, or_none: bool) -> bytes | None:
        url = "/".join([self.url, *(quote(segment, safe="") for segment in path)])
        credentials = self.credentials()
        deadline = time.monotonic() + self.overall_timeout_s
        if not self._turn.acquire(timeout=self.overall_timeout_s):
            raise ServiceUnavailableError(self.service, self._late)
        try:
            answer = self._ask(url, _auth(credentials), deadline)
        finally:
            self._turn.release()
        if or_none and answer.status == 404:
            return None
        self._refuse_bad_status(answer, credentials, what)
        if answer.content_type and "json" not in answer.content_type.lower():
            kind = answer.content_type.partition(";")[0].strip()[:60]
            raise BadResponseError(
                f"{self.service} answered a page ({kind}) instead of JSON", advice=_URL_ADVICE
            )
        if len(answer.body) > LARGEST_BODY:
            raise BadResponseError(
                f"{self.service} answered more than {LARGEST_BODY >> 20} MB", advice=_URL_ADVICE
            )
        return answer.body

    def _ask(self, url: str, auth: AuthBase, deadline: float) -> _Answer:
        """Ask until the answer is no fault that may pass by itself."""
        reason, cause = "", None
        for pause in (0.0, *PAUSES_S):
            if reason and time.monotonic() + pause >= deadline:
                break
            if pause:
                time.sleep(pause)
            try:
                answer = self._try(url, auth, deadline)
            except TimeoutError as error:
                raise ServiceUnavailableError(self.service, self._late) from error
            except requests.exceptions.SSLError as error:
                raise ServiceUnavailableError(
                    self.service, f"cannot be spoken to safely: {_tls_reason(error)}"
                ) from error
            except requests.ConnectTimeout as error:
                reason, cause = f"did not answer within {self.connect_timeout_s:g} s", error
            except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
                raise ServiceUnavailableError(
                    self.service, f"did not answer within {self.read_timeout_s:g} s"
                ) from error
            except (requests.ConnectionError, urllib3.exceptions.ProtocolError) as error:
                reason, cause = f"cannot be reached: {_system_reason(error)}", error
            except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
                raise BadResponseError(
                    f"{self.service} does not speak HTTP as it should ({type(error).__name__})",
                    advice=_URL_ADVICE,
                ) from error
            except OSError as error:
                reason, cause = f"cannot be reached: {_system_reason(error)}", error
            else:
                if answer.status < 500:
                    return answer
                reason, cause = f"answered {answer.status}", None
        raise ServiceUnavailableError(self.service, reason) from cause

    def _try(self, url: str, auth: AuthBase, deadline: float) -> _Answer:
        """One request, in a thread that is cut off at the deadline: no time-out of a socket bounds the whole.

        Only a name service that hangs keeps the thread for longer, until the system gives up.

        Raises
        ------
        TimeoutError
            The deadline has passed; whatever else requests, urllib3 and the system raise passes through.
        """
        session, outcomes = self._session, SimpleQueue[_Answer | Exception]()
        left = max(deadline - time.monotonic(), 0.001)
        timeout = (min(self.connect_timeout_s, left), self.read_timeout_s)

        def fetch() -> None:
            try:
                outcomes.put(_fetch(session, url, auth, timeout))
            except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
                outcomes.put(error)

        threading.Thread(target=fetch, name="schedule", daemon=True).start()
        try:
            outcome = outcomes.get(timeout=left)
        except Empty:
            session.line.cut()
            self._session = self._new_session()
            raise TimeoutError from None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _new_session(self) -> Session:
        session = Session()
        session.headers["Accept"] = "application/json"
        # No proxy leads to this computer, whatever the environment says.
        session.trust_env = not _is_here(urlsplit(self.url).hostname or "")
        return session

    def _refuse_bad_status(self, answer: _Answer, credentials: Credentials | None, what: str) -> None:
        source = (
            credentials.source
            if credentials
            else "schedule.credentials of the site file, which names no file"
        )
        match answer.status:
            case 200:
                return
            case 401:
                raise WrongPasswordError(
                    f"{self.service} does not accept our credentials (401)",
                    advice=f"look at {source}; it is not tried again by itself, that can lock the account",
                )
            case 403:
                raise ServiceDeniedError(
                    f"{self.service} does not let this account see {what} (403)",
                    advice=f"ask its maintainers to authorise the account in {source}",
                )
            case 404:
                raise BadResponseError(
                    f"{self.service} does not know {what} (404)",
                    advice="look at the keys beamline and schedule.url of the site file",
                )
            case 429:
                raise ServiceUnavailableError(self.service, "asks to wait (429)")
            case status if 300 <= status < 400:
                # It often leads to a sign-in page, and our credentials are for this address only.
                raise BadResponseError(
                    f"{self.service} sends us on to {_host(answer.location)} ({status})",
                    advice="if that is its new address, write it into schedule.url",
                )
            case status:
                raise BadResponseError(f"{self.service} answered {status} for {what}", advice=_URL_ADVICE)


class _NoAuth(AuthBase):
    """Keeps requests from sending what it finds in a .netrc file."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        return r


def _auth(credentials: Credentials | None) -> AuthBase:
    if credentials is None:
        return _NoAuth()
    return HTTPBasicAuth(credentials.user.encode(), credentials.password.encode())


def _fetch(session: Session, url: str, auth: AuthBase, timeout: tuple[float, float]) -> _Answer:
    with session.get(url, auth=auth, timeout=timeout, stream=True, allow_redirects=False) as response:
        body = bytearray()
        while len(body) <= LARGEST_BODY and (chunk := response.raw.read1(CHUNK, decode_content=True)):
            body += chunk
        return _Answer(
            status=response.status_code,
            content_type=response.headers.get("Content-Type", ""),
            location=response.headers.get("Location", ""),
            body=bytes(body),
        )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """What lies below the libraries' wrappings."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _system_reason(error: BaseException) -> str:
    reasons = [link.strerror for link in _chain(error) if isinstance(link, OSError) and link.strerror]
    return reasons[0] if reasons else "the connection broke"


def _tls_reason(error: BaseException) -> str:
    for link in _chain(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted here ({link.verify_message})"
    return "it does not speak TLS"


def _host(location: str) -> str:
    try:
        return urlsplit(location).hostname or "another page"
    except ValueError:
        return "another page"


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
