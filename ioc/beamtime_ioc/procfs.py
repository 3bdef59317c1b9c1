"""What Linux says of this process, read from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

OWN = Path("/proc/self")
ESTABLISHED = "01"


@dataclass(frozen=True, kw_only=True)
class ProcessUse:
    """What the process uses.

    Parameters
    ----------
    cpu_s
        Time of all its threads on a CPU since its start.
    """

    memory_bytes: int
    descriptors: int
    cpu_s: float


def process_use() -> ProcessUse:
    """Ask the kernel, in some 50 microseconds.

    The kernel answers from its own memory, but takes locks for it: a thread asks, so that nobody waits.
    """
    pages = int((OWN / "statm").read_text().split()[1])
    times = os.times()
    return ProcessUse(
        memory_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        descriptors=len(os.listdir(OWN / "fd")) - 1,  # without the one that lists them
        cpu_s=times.user + times.system,
    )


def connections_to(port: int) -> int:
    """How many clients are connected to a TCP port of this computer.

    Raises
    ------
    OSError
        /proc cannot be read.
    """
    count = 0
    for name in ("tcp", "tcp6"):
        table = OWN / "net" / name
        if not table.exists():  # a kernel without IPv6
            continue
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            count += state == ESTABLISHED and int(local.rpartition(":")[2], 16) == port
    return count
