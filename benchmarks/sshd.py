"""Hosts for a bench: the two sshd of the tests."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
sys.path.append(str(Path(__file__).parent.parent / "tests"))

from tests.ssh_house import PROGRAMS, SshHouse, program, ssh_house

MISSING = "A program is missing here, and nothing was measured: `apt-get install openssh-server acl`."


@contextmanager
def hosts() -> Generator[SshHouse | None, None, None]:
    """Two hosts, for as long as the block lasts; None if what they need is not installed."""
    try:
        for name in ("sshd", "setpriv", "ssh-keygen", *PROGRAMS):
            program(name)
    except FileNotFoundError:
        yield None
        return
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as Debian's service does before it starts one
    with ssh_house() as house:
        yield house
