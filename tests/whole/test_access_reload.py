"""Other rules of access come into force while clients stay connected; a wrong file changes nothing."""

import os
import select
import signal

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from box_house import PREFIX, Box, Ioc, beamtime, until
from c_client import CClient

CLOSED = """
HAG(far) { "192.0.2.17" }
HAG(here) { "127.0.0.1" }
ASG(DEFAULT) { RULE(1, READ) }
ASG(button) { RULE(1, READ) RULE(1, WRITE) { HAG(far) } }
ASG(identity) { RULE(1, READ) }
ASG(staff) { RULE(1, READ) }
ASG(admin) { RULE(1, WRITE) { HAG(here) } }
"""
WRONG = {
    "syntax": ('HAG(here) { "127.0.0.1" }\nASG(admin) { RULE(1, WRITE { HAG(here) } }\n', "access.acf:2"),
    "empty": ("# nothing\n", "says nothing"),
    "calc": ('ASG(admin) { INPA("x:y") RULE(1, WRITE) { CALC("A=1") } }\n', "not supported"),
    "inp": ('ASG(admin) { INPA("x:y") RULE(1, WRITE) }\n', "not supported"),
    "unknown group": ("ASG(admin) { RULE(1, WRITE) { UAG(nobody) } }\n", "UAG(nobody), which is not defined"),
}


def access_message(client: Client) -> tuple[str, int]:
    found = client._get(f"{PREFIX}AccessMessage")  # pyright: ignore[reportPrivateUsage]
    return str(found["value"]), int(found["alarm"]["severity"])


def test_after_a_reload_old_connections_of_both_protocols_go_by_the_new_rules(
    box: Box, ioc: Ioc, client: Client
) -> None:
    with CClient(ioc.ca) as c:
        open_rights = c("info", f"{PREFIX}CreateDirectories")[3]
        client.write("CreateDirectoriesAbort", 0)  # a connection that was let in

        (box.directory / "access.acf").write_text(CLOSED)
        client.press("AccessReload")

        until(lambda: not c("info", f"{PREFIX}CreateDirectories")[3], "new rights at the old channel")
        with pytest.raises(BeamtimeError, match="may not write records of the access group button"):
            client.write("CreateDirectoriesAbort", 0)
        assert open_rights == 1
        text, severity = access_message(client)
        assert text.startswith("access.acf, as it was at ")
        assert severity == 0

        (box.directory / "access.acf").write_text(CLOSED.replace("HAG(far) } }", "HAG(far, here) } }"))
        os.kill(ioc.program.pid, signal.SIGHUP)

        until(lambda: c("info", f"{PREFIX}CreateDirectories")[3], "rights again")
        client.write("CreateDirectoriesAbort", 0)
    audited = beamtime("audit", "--site", str(box.site)).stdout
    assert audited.count("access.acf, as it was at") == 2
    assert "SIGHUP" in audited


def test_a_signal_that_comes_while_the_file_is_read_is_heard_when_it_has_been(
    box: Box, ioc: Ioc, client: Client
) -> None:
    file = box.directory / "access.acf"
    good, users = file.read_text(), ", ".join(f"u{number}" for number in range(90_000))
    file.write_text(f"UAG(many) {{ {users} }}\n{good}")  # a second of work
    os.kill(ioc.program.pid, signal.SIGHUP)
    select.select([], [], [], 0.2)

    file.write_text(CLOSED)
    os.kill(ioc.program.pid, signal.SIGHUP)

    def is_closed() -> bool:
        try:
            client.write("CreateDirectoriesAbort", 0)
        except BeamtimeError as error:
            return "may not write" in str(error)
        return False

    until(is_closed, "the later rules", 10)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_keeps_the_rules_before_and_is_an_alarm_until_it_is_mended(
    standing: tuple[Box, Client], kind: str
) -> None:
    box, client = standing
    file = box.directory / "access.acf"
    good, (wrong, words) = file.read_text(), WRONG[kind]
    file.write_text(wrong)

    with pytest.raises(BeamtimeError) as refused:
        client.press("AccessReload")

    text, severity = access_message(client)
    assert words in text
    assert "the rules before stay in force; mend the file, then reload it" in text
    assert severity == 2
    assert words in str(refused.value)
    client.write("CreateDirectoriesAbort", 0)
    until(lambda: words in client.read("EngineMessage"), "the trouble on EngineMessage")

    file.write_text(good)
    client.press("AccessReload")

    assert access_message(client)[1] == 0
    until(lambda: client.read("EngineMessage") == "", "all is well again")
