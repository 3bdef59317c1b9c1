"""Free ports for the box, chosen once and kept."""

import random
import socket

# Below Linux' range for outgoing connections (32768 and up): nothing takes one by chance between two starts.
FIRST, LAST = 20_000, 32_000


def free_ports(count: int) -> list[int]:
    """Return different ports that are free for TCP and for UDP on every interface.

    EPICS searches by UDP on the port that it serves by TCP. Nothing stays bound: another process may still
    take one later.
    """
    found: list[int] = []
    for port in random.sample(range(FIRST, LAST), LAST - FIRST):
        if len(found) == count:
            break
        if _is_free(port, socket.SOCK_STREAM) and _is_free(port, socket.SOCK_DGRAM):
            found.append(port)
    return found


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
