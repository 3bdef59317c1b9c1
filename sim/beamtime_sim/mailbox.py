"""The mails that the box keeps: one .eml file a recipient, and one line each in log.jsonl."""

import os
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import compat32, default
from pathlib import Path
from typing import Any

from beamtime_sim.errors import BoxError
from beamtime_sim.json_lines import NAME, JsonLines

_NUMBERED = re.compile(r"(\d{4,})-.*\.eml")
_SUSPECT = re.compile(r"[^\w.@+-]")


@dataclass(frozen=True, kw_only=True)
class KeptMail:
    """One message as one recipient got it."""

    number: int
    sender: str
    to: str
    subject: str
    message_id: str
    path: Path
    received_at: datetime

    def as_json(self) -> dict[str, Any]:
        """Return the mail's line in the log, with an absolute path and an ISO time."""
        return {
            "number": self.number,
            "sender": self.sender,
            "to": self.to,
            "subject": self.subject,
            "message_id": self.message_id,
            "path": str(self.path),
            "received_at": self.received_at.isoformat(timespec="milliseconds"),
        }


class Mailbox:
    """Append-only: a number is used once, over restarts and kills too.

    A file is named ``0001-zoe.mueller@example.edu.eml``. It begins with the envelope, as a mail server
    delivers it: ``Return-Path`` and ``Delivered-To``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log = JsonLines(self.directory / NAME)
        self._lock = threading.Lock()
        self._mails = self._mend()

    def keep(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Write one message for each recipient; it is on disk when this returns.

        Raises
        ------
        OSError
            The disk is full, or the directory may not be written.
        """
        with self._lock:
            for recipient in recipients:
                number = self._mails[-1].number + 1 if self._mails else 1
                path = self.directory / f"{number:04}-{_SUSPECT.sub('_', recipient)[:120]}.eml"
                envelope = f"Return-Path: <{sender}>\r\nDelivered-To: {recipient}\r\n"
                _write(path, envelope.encode("utf-8", "surrogateescape") + content)
                self._note(_read_mail(path, datetime.now(UTC)))

    def mails(self) -> list[KeptMail]:
        """Return all kept mails in the order of their arrival, those of earlier starts included."""
        with self._lock:
            return list(self._mails)

    def _note(self, mail: KeptMail) -> None:
        self._log.append({**mail.as_json(), "path": mail.path.name})
        self._mails.append(mail)

    def _mend(self) -> list[KeptMail]:
        """Read the log, and bring it up to the files: a kill may fall between a file and its line."""
        try:
            self._mails = [_logged(self.directory, line) for line in self._log.mend()]
        except (ValueError, TypeError, KeyError) as error:
            raise BoxError(
                f"{self._log.path} is damaged; remove it, and it is written anew from the .eml files"
            ) from error
        known = {mail.path for mail in self._mails}
        for path in sorted(self.directory.glob("*.eml")):
            if path not in known and _NUMBERED.fullmatch(path.name):
                self._note(_read_mail(path, datetime.fromtimestamp(path.stat().st_mtime, UTC)))
        return self._mails


def _write(path: Path, content: bytes) -> None:
    half = path.with_suffix(".part")
    with half.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    half.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _logged(directory: Path, line: dict[str, Any]) -> KeptMail:
    parsed: dict[str, Any] = {
        "path": directory / line["path"],
        "received_at": datetime.fromisoformat(line["received_at"]),
    }
    return KeptMail(**{**line, **parsed})


def _read_mail(path: Path, received_at: datetime) -> KeptMail:
    content = path.read_bytes()
    headers = message_from_bytes(content, policy=default)
    # On a broken Message-ID the modern parser stumbles; the old one takes the header as it stands.
    message_id = message_from_bytes(content, policy=compat32).get("Message-ID", "")
    return KeptMail(
        number=int(path.name.partition("-")[0]),
        sender=str(headers.get("Return-Path", "")).strip("<>"),
        to=str(headers.get("Delivered-To", "")),
        subject=str(headers.get("Subject", "")),
        message_id=str(message_id).strip(),
        path=path,
        received_at=received_at,
    )
