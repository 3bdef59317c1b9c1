"""The audit: who pressed what, when, from where, and how it ended; a line each, in files of a month."""

import errno
import json
import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from beamtime_ioc.audit_tail import lines_backwards
from beamtime_ioc.errors import AuditError
from beamtime_ioc.model import Who

DIRECTORY_NAME = "audit"
TEXT_LENGTH, NAME_LENGTH = 2000, 200
"""Of a field, in characters: what clients send has no bound of its own."""
LINE_BYTES = 100_000
AT_ONCE = 100
"""Lines that are written together at most."""
MONTH = re.compile(r"\d{4,}-\d\d\.jsonl")
CHECK_ADVICE = "look at its disk, and that this user may write there"


class Deed(StrEnum):
    """What was done, or asked for."""

    PRESS = "press"
    REFUSED = "refused"
    PREVIEW = "preview"
    ABORT = "abort"
    RESOLVE = "resolve"
    SCHEDULE = "schedule"
    ARM = "arm"
    ACCESS = "access"
    PUT = "put"
    OVERRIDE = "override"
    END = "end"


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One line.

    Parameters
    ----------
    at
        With a zone; written as UTC.
    run
        Empty where there is none: of a preview, and of most refusals.
    experiment
        Its key, `aps:300011`; empty if there is none.
    text
        The reason, the answer, or how it ended: state and message.
    record, old, new
        What was put to, what it said before, and what was asked for; empty if no put led to this.
    """

    what: Deed
    who: Who
    action: str
    run: str = ""
    experiment: str = ""
    text: str = ""
    record: str = ""
    old: str = ""
    new: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, str]:
        """Its fields as they are written, each no longer than it may be."""
        put = {"record": self.record, "old": self.old, "new": self.new} if self.record else {}
        return {
            "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "what": self.what.value,
            "user": _cut(self.who.user),
            "host": _cut(self.who.claim),
            "peer": _cut(self.who.peer),
            "via": _cut(self.who.via),
            "action": _cut(self.action),
            "run": _cut(self.run),
            "experiment": _cut(self.experiment),
            "text": _cut(self.text, TEXT_LENGTH),
            **{key: _cut(value) for key, value in put.items()},
        }

    def as_line(self) -> str:
        """One line of ASCII without its end: no field can begin a second line, or move a cursor."""
        return json.dumps(self.as_json())  # escapes all but the printable characters of ASCII


def _cut(text: str, length: int = NAME_LENGTH) -> str:
    return text if len(text) <= length else f"{text[: length - 4]} ..."


@dataclass(frozen=True, kw_only=True)
class DamagedLine:
    """What stands in a file and is no entry, such as a line that a full disk has cut."""

    path: Path
    number: int
    why: str

    def __str__(self) -> str:
        return f"{self.path}:{self.number}: this line is damaged: {self.why}"


class AuditLog:
    """The files `audit/YYYY-MM.jsonl` of a state directory, only appended to; blocks as its disk does."""

    def __init__(self, state_directory: Path) -> None:
        self.directory = state_directory / DIRECTORY_NAME
        self._synced: set[Path] = set()

    def path_of(self, at: datetime) -> Path:
        """The file of a moment's month in UTC."""
        moment = at.astimezone(UTC)
        return self.directory / f"{moment.year:04d}-{moment.month:02d}.jsonl"

    def write(self, *entries: AuditEntry) -> None:
        """Append a line each; they are on the disk when this returns, which waits for it once a month's file.

        Raises
        ------
        AuditError
            Each may or may not stand there; whoever tries all of them again doubles none for the reader.
        """
        for path, lines in groupby(entries, lambda entry: self.path_of(entry.at)):
            try:
                self._append(path, "".join(f"{entry.as_line()}\n" for entry in lines).encode("ascii"))
            except OSError as error:
                raise AuditError(
                    f"the audit cannot be written: {path}: {error.strerror}", advice=CHECK_ADVICE
                ) from error

    def _append(self, path: Path, line: bytes) -> None:
        if not self.directory.is_dir():
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self._synced.clear()
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
        try:
            size = os.fstat(file).st_size
            if size == 0:
                self._synced.discard(path)  # it may have been taken away meanwhile
            elif os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line  # the one before was torn by a crash or a full disk
            if os.write(file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        finally:
            os.close(file)
        if path not in self._synced:  # also the name of a new file must survive a power cut
            _sync(self.directory)
            _sync(self.directory.parent)
            self._synced.add(path)

    def read(self, since: datetime | None = None) -> Iterator[AuditEntry | DamagedLine]:
        """The entries from a moment on, in the order in which they were written; also while the IOC writes.

        A line that stands there twice, as after a write whose success was not known, is given once.

        Raises
        ------
        AuditError
            A file cannot be read.
        """
        first = self.path_of(since).name if since else ""
        for path in self._months():
            if path.name >= first:
                for found in _read_file(path):
                    if since is None or isinstance(found, DamagedLine) or found.at >= since:
                        yield found

    def last(self, limit: int) -> Sequence[AuditEntry]:
        """The newest entries, newest first; damaged lines are left out.

        Raises
        ------
        AuditError
            A file cannot be read.
        """
        found: list[AuditEntry] = []
        try:
            for path in reversed(self._months()):
                if not path.is_file():
                    raise AuditError(f"{path} is no file", advice="look what it is")
                lately: deque[bytes] = deque(maxlen=2 * AT_ONCE)
                for line in lines_backwards(path):
                    if len(found) >= limit:
                        return found
                    if line not in lately:  # twice, after a write of many whose success was not known
                        with suppress(ValueError):
                            found.append(_entry(line))
                    lately.append(line)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _unreadable(self.directory, error) from error
        return found

    def _months(self) -> Sequence[Path]:
        """The files that there are, the oldest first."""
        try:
            return sorted(path for path in self.directory.iterdir() if MONTH.fullmatch(path.name))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _unreadable(self.directory, error) from error


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _unreadable(path: Path, error: OSError) -> AuditError:
    return AuditError(
        f"the audit cannot be read: {path}: {error.strerror}", advice="ask as the user that the IOC runs as"
    )


def _read_file(path: Path) -> Iterator[AuditEntry | DamagedLine]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise AuditError(f"the audit cannot be read: {path} is no file", advice="look what it is")
        with path.open("rb") as file:
            number, inside = 0, False
            lately: deque[bytes] = deque(maxlen=2 * AT_ONCE)
            while line := file.readline(LINE_BYTES):
                whole = line.endswith(b"\n")
                number += not inside
                skipped = inside or not line.strip() or line in lately
                inside = not whole
                if skipped:
                    continue
                lately.append(line)
                try:
                    yield _entry(line)
                except ValueError as error:
                    why = str(error) if whole else "it does not end"
                    yield DamagedLine(path=path, number=number, why=why)
    except OSError as error:
        raise _unreadable(path, error) from error


def _entry(line: bytes) -> AuditEntry:
    """Raises ValueError, with a reason in words, for what is no entry."""
    try:
        loaded: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(loaded, dict):
        raise ValueError("it is no JSON object")
    fields = cast(dict[str, object], loaded)
    said = {key: str(value) for key, value in fields.items()}
    try:
        at, what = datetime.fromisoformat(said["at"]), Deed(said["what"])
    except (KeyError, ValueError):
        raise ValueError("it does not say what was done, and when") from None
    if at.tzinfo is None:
        raise ValueError("its time has no zone")
    return AuditEntry(
        at=at,
        what=what,
        who=Who(
            via=said.get("via", ""),
            user=said.get("user", ""),
            claim=said.get("host", ""),
            peer=said.get("peer", ""),
        ),
        action=said.get("action", ""),
        run=said.get("run", ""),
        experiment=said.get("experiment", ""),
        text=said.get("text", ""),
        record=said.get("record", ""),
        old=said.get("old", ""),
        new=said.get("new", ""),
    )
