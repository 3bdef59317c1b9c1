"""How many files and sockets the process may have open: enough for its clients, and some for itself."""

import logging
import resource
from contextlib import suppress

log = logging.getLogger(__name__)

MOST = 65_536
ENOUGH = 4096
RESERVE = 256
"""Kept for the state database, ssh and the like, where the limit is not a small one."""


def raise_limit() -> None:
    """Let this process open as much as it may, up to `MOST`; a limit that is higher stays.

    The usual 1024 is for programs that use select(): nothing that serves does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(_countable(hard), MOST)
    if _countable(soft) < wanted:
        with suppress(OSError, ValueError):  # the hard limit is above what the kernel now allows
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    limit = _limit()
    if limit < ENOUGH:
        log.warning(
            "this process may have no more than %d files and sockets open, each client is one: raise the hard"
            " limit, such as by LimitNOFILE=%d in the unit of systemd, or by ulimit -Hn",
            limit,
            MOST,
        )


def is_reserved(descriptor: int) -> bool:
    """Whether a client got a descriptor that is kept for the program's own files.

    The kernel gives the lowest that is free: its number says how many are in use, whoever has them.
    """
    limit = _limit()
    return descriptor >= limit - min(RESERVE, limit // 4)


def _limit() -> int:
    return _countable(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _countable(limit: int) -> int:
    return 1 << 31 if limit == resource.RLIM_INFINITY else limit
