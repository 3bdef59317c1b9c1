"""A count of files that goes on in one thread while another may read how far it came."""

import os
import stat
import time
from collections.abc import Generator
from contextlib import suppress

from beamtime_handlers.clients.hosts import marker

UNREAD = "not all of it could be read"
TO_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tally:
    """How many regular files lie in a directory, at any depth, and how large they are.

    Attributes
    ----------
    reason
        Why it is not the whole; empty when it is.
    """

    def __init__(self, limit_s: float) -> None:
        self.files = self.size_bytes = 0
        self._end = time.monotonic() + limit_s
        self.reason = f"it was not done after {limit_s:g} s"

    @property
    def left_s(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def count(self, directory: int) -> None:
        """Count in an open directory until the time is over; follows no link."""
        unread = list[OSError]()
        for status in _walk(directory, unread):
            if stat.S_ISREG(status.st_mode):
                self.files, self.size_bytes = self.files + 1, self.size_bytes + status.st_size
            if not self.left_s:
                return
        self.reason = UNREAD if unread else ""


def _walk(top: int, unread: list[OSError]) -> Generator[os.stat_result]:
    """What lies in an open directory, at any depth, but our marker; what cannot be read is noted."""
    way = [(os.dup(top), ["."])]  # the directories down to where it is, with those still to be entered
    try:
        while way:
            above, names = way[-1]
            if not names:
                os.close(way.pop()[0])
                continue
            try:
                way.append((os.open(names.pop(), TO_ENTER, dir_fd=above), []))
                with os.scandir(way[-1][0]) as entries:
                    for entry in entries:
                        if len(way) == 2 and marker.is_ours(entry.name):
                            continue
                        with suppress(FileNotFoundError):  # taken away meanwhile
                            status = entry.stat(follow_symlinks=False)
                            if stat.S_ISDIR(status.st_mode):
                                way[-1][1].append(entry.name)
                            yield status
            except FileNotFoundError:
                pass
            except OSError as error:
                unread.append(error)
    finally:
        for directory, _ in way:
            os.close(directory)
