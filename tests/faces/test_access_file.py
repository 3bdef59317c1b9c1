"""The access file that is shipped: what it lets through, in a C IOC and here."""

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile

import pytest
from caproto.sync import client
from p4p.asLib import Engine

from beamtime_ioc.records import db_dir, load_records
from c_ioc import SERVE, START, environment

PREFIX = "99bm:Beamtime:"


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A C IOC with the shipped records behind the shipped access file."""
    settings = environment()
    for name in ("EPICS_CA_SERVER_PORT", "EPICS_CA_ADDR_LIST", "EPICS_CA_AUTO_ADDR_LIST"):
        monkeypatch.setenv(name, settings[name])
    access = """
ctypes.c_int.in_dll(c.dbCore, "asCheckClientIP").value = 1
c_loads(c.dbCore.asSetFilename, os.path.abspath("access.acf"))
c_loads(c.dbCore.dbLoadTemplate, "beamtime.substitutions", "P=99bm:,R=Beamtime:")
"""
    ioc = subprocess.Popen(
        [sys.executable, "-c", START + access + SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=db_dir(),
        env=settings,
        text=True,
    )
    assert ioc.stdout is not None
    with ioc:
        try:
            said = list(takewhile(lambda line: line != "running\n", ioc.stdout))
            assert said[:2] == ["access.acf=read\n", "beamtime.substitutions=read\n"]
            yield
        finally:
            ioc.kill()


def put(suffix: str, value: int | bytes) -> str:
    answer = client.write(f"{PREFIX}{suffix}", value, notify=True, timeout=20, repeater=False)
    assert answer is not None
    return answer.status.name


@pytest.mark.usefixtures("guarded")
def test_behind_the_access_file_this_computer_writes_buttons_and_identity_only() -> None:
    values = {"EmailUsers": 1, "UserName": b"Ada", "ExperimentKey": b"aps:1", "EmailUsersMessage": b"Done"}

    statuses = {suffix: put(suffix, value) for suffix, value in values.items()}

    assert statuses == {
        "EmailUsers": "ECA_NORMAL",
        "UserName": "ECA_NORMAL",
        "ExperimentKey": "ECA_NOWTACCESS",
        "EmailUsersMessage": "ECA_NOWTACCESS",
    }
    for suffix, shown in {"EmailUsers": [b"Send"], "UserName": list(b"Ada"), "ExperimentKey": []}.items():
        assert list(client.read(f"{PREFIX}{suffix}", timeout=20, repeater=False).data) == shown


class Channel:
    """What the access engine of p4p asks of a channel."""

    name = "X"

    def access(self, *, put: bool, rpc: bool, uncached: bool, audit: bool) -> None:
        self.put, self.audit = put, audit


@pytest.mark.parametrize(
    ("group", "host", "put"),
    [
        ("button", "127.0.0.1", True),
        ("identity", "127.0.0.1", True),
        ("DEFAULT", "127.0.0.1", False),
        ("unheard-of", "127.0.0.1", False),
        ("button", "192.0.2.17", False),
        ("identity", "192.0.2.17", False),
    ],
)
def test_the_access_file_means_the_same_to_our_own_engine(group: str, host: str, put: bool) -> None:
    engine = Engine((db_dir() / "access.acf").read_text(encoding="utf-8"))
    channel = Channel()

    engine.create(channel, group, "somebody", host, 1)

    assert (channel.put, channel.audit) == (put, put)


def test_every_access_group_of_the_records_stands_in_the_access_file() -> None:
    text = (db_dir() / "access.acf").read_text(encoding="utf-8")
    shipped = load_records([db_dir() / "beamtime.substitutions"], prefix=PREFIX)

    groups = {record.asg for record in shipped.records.values()}

    assert groups == set(re.findall(r"^ASG\((\w+)\)", text, re.MULTILINE))
    assert not re.search(r"^\s*(INP[A-L]|CALC)\b", text, re.MULTILINE)
