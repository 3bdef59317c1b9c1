"""How many clients may wait to be accepted: pvxs lets four wait, and has no setting for it."""

import os
import socket

BACKLOG = 200
_FAMILIES = socket.AF_INET, socket.AF_INET6


def lengthen(port: int) -> int:
    """Let `BACKLOG` clients wait at each socket with which this process listens on a TCP port.

    Clients that come while the computer stands still are not lost then: in PVAccess the server speaks
    first, and a client that the kernel could not put into the queue waits for it in silence.

    Returns
    -------
    int
        How many sockets there are.

    Raises
    ------
    OSError
        /proc cannot be read.
    """
    return sum(_lengthened(int(name), port) for name in os.listdir("/proc/self/fd"))


def _lengthened(descriptor: int, port: int) -> bool:
    try:
        # Neither copied nor closed: closing a copy of a database's file would end the locks on it.
        borrowed = socket.socket(fileno=descriptor)
    except OSError:  # no socket, or no longer open
        return False
    try:
        if borrowed.family not in _FAMILIES or not _listens(borrowed) or borrowed.getsockname()[1] != port:
            return False
        borrowed.listen(BACKLOG)
        return True
    finally:
        borrowed.detach()


def _listens(made: socket.socket) -> bool:
    return bool(made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
