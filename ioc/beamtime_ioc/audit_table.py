"""The last lines of the audit as rows of a table."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from zoneinfo import ZoneInfo

from beamtime_ioc.audit import AuditEntry, AuditLog
from beamtime_ioc.auditor import Auditor
from beamtime_ioc.board import Found
from beamtime_ioc.engine.thread import in_thread


class AuditSource:
    """The newest lines first (source `audit`).

    Parameters
    ----------
    zone
        Of the beamline: times are shown in it.
    """

    columns = (
        *("at", "what", "user", "host", "peer", "via", "action", "run", "experiment", "text"),
        *("record", "old", "new"),
    )

    def __init__(self, log: AuditLog, auditor: Auditor, zone: ZoneInfo) -> None:
        self.log, self.auditor, self.zone = log, auditor, zone

    async def rows(self, limit: int) -> Sequence[Found]:
        return await in_thread("audit table", self._read, limit)

    def _read(self, limit: int) -> Sequence[Found]:
        return [self._row(entry) for entry in self.log.last(limit)]

    def _row(self, entry: AuditEntry) -> Found:
        return {
            **{"record": "", "old": "", "new": ""},
            **entry.as_json(),
            "at": entry.at.astimezone(self.zone).isoformat(timespec="milliseconds"),
        }

    def tell_changes(self, changed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody looks at the table
                loop.call_soon_threadsafe(changed)

        self.auditor.written = tell
