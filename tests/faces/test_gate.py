"""Who may write, on both protocols: by group, account, address and role."""

import grp
import os
from pathlib import Path

import pytest
from p4p.client.thread import RemoteError

from beamtime_ioc.access import AccessFile, NobodyWrites
from raw_ca import NORMAL, NOWTACCESS, RawCa
from wire_house import PREFIX, PvaClient, Wire, pva_context

STRING = 0
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.9"


@pytest.mark.parametrize(
    ("suffix", "user", "source", "may"),
    [
        ("Stringout", "anybody", HERE, True),
        ("Stringout", "anybody", ELSEWHERE, False),
        ("Stringout", "alice", ELSEWHERE, False),
        ("Alices", "alice", HERE, True),
        ("Alices", "bob", HERE, False),
        ("Alices", "alice", ELSEWHERE, False),
        ("Alices", "Alice", HERE, False),
        ("Alices", "role/staff", HERE, True),  # a name that only looks like a role is a name
        ("Closed", "alice", HERE, False),
        ("Closed", "root", HERE, False),
    ],
)
def test_over_ca_group_account_and_address_decide(
    wire: Wire, suffix: str, user: str, source: str, may: bool
) -> None:
    before = wire.value(suffix)

    with RawCa(wire.ca.port, user=user, source=source) as client:
        status = client.put(client.sid(PREFIX + suffix), STRING, "new")

    assert status == (NORMAL if may else NOWTACCESS)
    assert wire.value(suffix) == ("new" if may else before)


def test_the_claimed_host_lets_nobody_in(wire: Wire) -> None:
    with RawCa(wire.ca.port, host="127.0.0.1", source=ELSEWHERE) as client:
        assert client.put(client.sid(f"{PREFIX}Stringout"), STRING, "new") == NOWTACCESS


@pytest.mark.parametrize(
    ("suffix", "user", "source", "announced"),
    [
        ("Stringout", "anybody", HERE, True),
        ("Stringout", "anybody", ELSEWHERE, False),
        ("Alices", "alice", HERE, True),
        ("Alices", "bob", HERE, False),
        ("Closed", "alice", HERE, False),
        ("Stringin", "alice", HERE, False),
        ("Text39", "alice", HERE, False),
    ],
)
def test_rights_are_announced_at_connect_as_a_courtesy(
    wire: Wire, suffix: str, user: str, source: str, announced: bool
) -> None:
    with RawCa(wire.ca.port, user=user, source=source) as client:
        opened = client.open(PREFIX + suffix)

    assert opened is not None
    assert opened.may_write is announced


def test_a_name_that_comes_late_changes_the_rights(wire: Wire) -> None:
    import caproto as ca

    with RawCa(wire.ca.port, user="bob") as client:
        sid = client.sid(f"{PREFIX}Alices")
        client.send(ca.ClientNameRequest("alice"))

        assert int(client.receive(ca.AccessRightsResponse).access_rights) == 3
        assert client.put(sid, STRING, "new") == NORMAL


def test_everybody_reads_what_nobody_writes(wire: Wire, pva: PvaClient) -> None:
    with RawCa(wire.ca.port, source=ELSEWHERE) as client:
        assert client.read(client.sid(f"{PREFIX}Closed"), STRING).data[0] == b"shut"

    assert pva.get(f"{PREFIX}Closed").value == "shut"


def test_over_pva_a_denied_put_says_so(wire: Wire, pva: PvaClient) -> None:
    with pytest.raises(
        RemoteError, match=r"may not write records of the access group alices; wire\.acf says"
    ):
        pva.put(f"{PREFIX}Alices", "new")

    assert wire.value("Alices") == "hers"


@pytest.mark.parametrize("rule", ["account", "role"])
def test_over_pva_the_account_or_its_group_on_this_computer_lets_in(
    wire: Wire, pva: PvaClient, tmp_path: Path, rule: str
) -> None:
    import pwd

    account = pwd.getpwuid(os.getuid()).pw_name
    member = account if rule == "account" else f"role/{grp.getgrgid(os.getgid()).gr_name}"
    file = tmp_path / "access.acf"
    file.write_text(f'UAG(us) {{ "{member}" }}\nASG(alices) {{ RULE(1, WRITE) {{ UAG(us) }} }}\n')
    wire.cell("Alices").gate = AccessFile(file)

    pva.put(f"{PREFIX}Alices", "new")

    assert wire.value("Alices") == "new"


def test_over_ca_nobody_has_a_role(wire: Wire, tmp_path: Path) -> None:
    file = tmp_path / "access.acf"
    file.write_text('UAG(us) { "role/root", "role/users" }\nASG(alices) { RULE(1, WRITE) { UAG(us) } }\n')
    wire.cell("Alices").gate = AccessFile(file)

    with RawCa(wire.ca.port, user="root") as client:
        assert client.put(client.sid(f"{PREFIX}Alices"), STRING, "new") == NOWTACCESS


def test_other_rules_hold_for_connections_that_stand_already(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client, pva_context(wire.pva.port) as pva:
        sid = client.sid(f"{PREFIX}Stringout")
        assert client.put(sid, STRING, "before") == NORMAL
        pva.put(f"{PREFIX}Stringout", "before", timeout=10)

        def shut() -> None:
            wire.cell("Stringout").gate = NobodyWrites()

        wire.do(shut)

        assert client.put(sid, STRING, "after") == NOWTACCESS
        with pytest.raises(RemoteError, match="may not write"):
            pva.put(f"{PREFIX}Stringout", "after", timeout=10)
    assert wire.value("Stringout") == "before"
