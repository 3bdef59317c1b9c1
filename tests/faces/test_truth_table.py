"""Who may write: every combination of person, host and condition, asked by real clients of both protocols."""

import grp
import itertools
import os
import pwd
from pathlib import Path

import caproto as ca
import pytest
from p4p.client.thread import RemoteError

from beamtime_ioc.access import AccessFile
from raw_ca import NORMAL, NOWTACCESS, RawCa
from wire_house import PREFIX, PvaClient, Wire

STRING = 0
ACCOUNT = pwd.getpwuid(os.getuid()).pw_name
ROLE = f"role/{grp.getgrgid(os.getgid()).gr_name}"
HERE, AWAY = "127.0.0.1", "192.0.2.1"
CONDITIONS = {
    "person": "{ UAG(people) }",
    "host": "{ HAG(hosts) }",
    "both": "{ UAG(people) HAG(hosts) }",
    "nobody": "{ UAG(others) }",
    "anybody": "",
}
TABLE = list(
    itertools.product((ACCOUNT, ROLE, "not-me", "role/not-mine"), (HERE, AWAY), CONDITIONS, (True, False))
)


def expected(member: str, host: str, condition: str, *, named: bool, roles: bool) -> bool:
    """The rule, said another way: the record's own group decides; without one DEFAULT, which is closed."""
    person = member == ACCOUNT or (roles and member == ROLE)
    holds = {
        "person": person,
        "host": host == HERE,
        "both": person and host == HERE,
        "nobody": False,
        "anybody": True,
    }
    return named and holds[condition]


@pytest.fixture
def ruled(wire: Wire, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, str, str, bool]:
    """The board under the rules of one line of the table."""
    member, host, condition, named = request.param
    group = "alices" if named else "of-others"
    file = tmp_path / "table.acf"
    file.write_text(
        f'UAG(people) {{ "{member}" }}\nUAG(others) {{ "nobody-at-all" }}\nHAG(hosts) {{ "{host}" }}\n'
        f"ASG(DEFAULT) {{ RULE(1, READ) }}\n"
        f"ASG({group}) {{ RULE(1, READ) RULE(1, WRITE) {CONDITIONS[condition]} }}\n"
    )
    rules = AccessFile(file)
    wire.do(lambda: setattr(wire.cell("Alices"), "gate", rules))
    return request.param


@pytest.mark.parametrize("ruled", TABLE, indirect=True, ids=str)
def test_over_ca_the_rights_and_the_answers_are_those_of_the_table(
    wire: Wire, ruled: tuple[str, str, str, bool]
) -> None:
    *line, named = ruled
    may = expected(*line, named=named, roles=False)

    with RawCa(wire.ca.port, user=ACCOUNT) as client:
        opened = client.open(f"{PREFIX}Alices")
        assert opened is not None
        waited = client.put(opened.sid, STRING, "waited")
        client.send(client.put_request(opened.sid, STRING, 1, b"plain\0", waits=False), ca.EchoRequest())
        said = client.receive(ca.ErrorResponse, ca.EchoResponse)

    assert opened.may_write is may
    assert waited == (NORMAL if may else NOWTACCESS)
    assert isinstance(said, ca.EchoResponse) is may
    if not may:
        assert (
            b"may not write records of the access group alices; table.acf says who may" in said.error_message
        )
    assert wire.value("Alices") == ("plain" if may else "hers")


@pytest.mark.parametrize("ruled", TABLE, indirect=True, ids=str)
def test_over_pva_the_answers_are_those_of_the_table(
    wire: Wire, pva: PvaClient, ruled: tuple[str, str, str, bool]
) -> None:
    *line, named = ruled
    may = expected(*line, named=named, roles=True)

    try:
        pva.put(f"{PREFIX}Alices", "new")
        error = ""
    except RemoteError as caught:
        error = str(caught)

    refused = f"{ACCOUNT} from 127.0.0.1 by pva may not write records of the access group alices"
    refused += "; table.acf says who may"
    assert error == ("" if may else refused)
    assert wire.value("Alices") == ("new" if may else "hers")
