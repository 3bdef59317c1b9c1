"""A C IOC out of pip's EPICS base, on loopback and on ports of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from beamtime_ioc.records import db_dir
from spare_ports import spare_port

MODULE = ("-m", "epicscorelibs.ioc")

# The steps of that module, with those between that it has no options for; `c_loads` says how each went.
START = """
import code, ctypes, os, sys
import epicscorelibs.ioc as c

def c_loads(load, *arguments):
    refused = load(*(argument.encode() for argument in arguments)) != 0
    os.write(1, f"{os.path.basename(arguments[0])}={'refused' if refused else 'read'}\\n".encode())

c.iocshRegisterCommon()
c.dbLoadDatabase(b"base.dbd", c.DEFAULT_DBD_PATH.encode(), None)
c.registerRecordDeviceDriver(c.pdbbase)
"""
SERVE = """
if c.iocInit():
    sys.exit("iocInit failed")
os.write(1, b"running\\n")
code.interact(banner="", local={"ioc": c.ioc})
"""


def environment() -> Mapping[str, str]:
    """Settings for one IOC and its clients."""
    port = str(spare_port())
    return {
        **os.environ,
        "EPICS_CA_SERVER_PORT": port,
        "EPICS_CAS_SERVER_PORT": port,
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVAS_SERVER_PORT": str(spare_port()),
        "EPICS_PVAS_BROADCAST_PORT": str(spare_port()),
        "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1",
    }


def ask(answer: Path, arguments: Sequence[str], *commands: str) -> list[str]:
    """Run a C IOC in `db/`, give it shell commands, and return the lines that these wrote when it has ended.

    Parameters
    ----------
    answer
        A file for the lines: what goes to the terminal is mixed up by two buffers.
    """
    ended = subprocess.run(
        [sys.executable, *arguments],
        input="".join(f"ioc({f'{command} >> {answer}'!r})\n" for command in commands),
        capture_output=True,
        cwd=db_dir(),
        env=environment(),
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "ERROR" not in ended.stderr, ended.stderr
    assert "WARNING" not in ended.stderr, ended.stderr
    return answer.read_text(encoding="utf-8").splitlines()
