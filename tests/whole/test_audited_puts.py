"""Each put of a control record is one line of the audit, whoever sent it, and however it ended."""

import json
from collections.abc import Callable, Generator
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from box_house import PREFIX, Box, Ioc, beamtime, until
from c_client import CClient
from raw_ca import RawCa

STRING = 0
DENY_ALL = """
HAG(here) { "127.0.0.1" }
ASG(DEFAULT) { RULE(1, READ) }
ASG(button) { RULE(1, READ) }
ASG(identity) { RULE(1, READ) }
ASG(staff) { RULE(1, READ) }
ASG(admin) { RULE(1, WRITE) { HAG(here) } }
"""
Putter = Callable[[str, str], str]
"""Puts a text to a record of this name; what went wrong, or an empty text."""


@pytest.fixture(params=["ca", "pva"])
def putter(request: pytest.FixtureRequest, ioc: Ioc) -> Generator[tuple[str, Putter]]:
    if request.param == "pva":
        with ioc.client() as client:

            def put(suffix: str, text: str) -> str:
                try:
                    client.write(suffix, text)
                except BeamtimeError as error:
                    return str(error)
                return ""

            yield "pva", put
        return
    with RawCa(ioc.ca, user="operator", host="console1") as raw:

        def put_ca(suffix: str, text: str) -> str:
            status = raw.put(raw.sid(PREFIX + suffix), STRING, text)
            return "" if status == 1 else f"status {status}"

        yield "ca", put_ca


def lines(box: Box, *words: str) -> list[dict[str, Any]]:
    told = beamtime("audit", "--json", "--site", str(box.site), *words)
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


def lines_of(box: Box, suffix: str, count: int = 1) -> list[dict[str, Any]]:
    """The lines of one record, when there are so many."""

    def found() -> list[dict[str, Any]] | None:
        all_of_it = [line for line in lines(box) if line.get("record") == PREFIX + suffix]
        return all_of_it if len(all_of_it) >= count else None

    return until(found, f"{count} lines of {suffix}")


PUTS = [
    ("CreateDirectories", "7", "refused", "Done", "no state 7"),
    ("CreateDirectories", "Create", "refused", "Done", "no current experiment"),
    ("ProposalNumber", "12", "refused", "", "is not typed in"),
    ("EmailUsersResolve", "give up", "refused", "-", "in doubt"),
    ("Resolve", "nonsense", "refused", "", "this is no answer"),
    ("CreateDirectoriesPreview", "Preview", "preview", "Done", ""),
    ("AccessReload", "Reload", "access", "Done", ""),
    ("UserEmail", "new@example.org", "put", "", ""),
    ("UpdateUserInfo", "Done", "put", "Done", ""),
    ("UpdateUserInfo", "Update", "press", "Done", ""),
]
"""Record, what is put; of its line what, the old value, and words of a refusal. The experiment comes last."""


def test_each_put_is_one_line_with_record_old_and_new_value(box: Box, putter: tuple[str, Putter]) -> None:
    protocol, put = putter

    said = [put(suffix, text) for suffix, text, *_ in PUTS]

    def found() -> list[dict[str, Any]] | None:
        all_of_them = [line for line in lines(box) if "record" in line]
        return all_of_them if len(all_of_them) >= len(PUTS) else None

    told = until(found, "a line for each put")
    for (suffix, text, what, old, why), error, line in zip(PUTS, said, told, strict=True):
        assert (line["record"], line["old"], line["new"]) == (PREFIX + suffix, old, text)
        assert (line["what"], line["via"], line["peer"]) == (what, protocol, "127.0.0.1"), suffix
        assert bool(line["run"]) is (what == "press"), suffix
        assert why in line["text"]
        assert bool(error) is bool(why), suffix
        if protocol == "pva":
            assert why in error
        else:
            assert (line["user"], line["host"]) == ("operator", "console1")


def test_a_switch_of_a_schedule_and_an_abort_are_lines_with_their_values(
    box: Box, putter: tuple[str, Putter]
) -> None:
    _, put = putter
    for suffix, label in (("UpdateUserInfoSchedule", "On"), ("UpdateUserInfoAbort", "Abort")):
        put(suffix, label)

        (line,) = lines_of(box, suffix)
        assert line["new"] == label


def test_who_may_not_write_is_one_line_that_says_so_and_the_screen_says_it_too(
    box: Box, ioc: Ioc, client: Client, putter: tuple[str, Putter]
) -> None:
    _, put = putter
    (box.directory / "access.acf").write_text(DENY_ALL)
    client.press("AccessReload")

    for _ in range(20):
        assert put("CreateDirectories", "Create")

    (line,) = lines_of(box, "CreateDirectories")
    assert line["what"] == "refused"
    assert "may not write records of the access group button" in line["text"]
    assert (line["old"], line["new"]) == ("Done", "Create")
    assert "may not write records" in client.read("CreateDirectoriesMessage")


def test_what_is_put_begins_no_second_line_and_moves_no_cursor(box: Box, client: Client) -> None:
    hostile = 'x\n{"what": "press"}\r\x1b[2J' + "y" * 200
    client.write("UserLastName", hostile)

    (line,) = lines_of(box, "UserLastName")
    assert line["new"].startswith("x")
    assert "\n" not in line["new"]
    assert len(line["new"]) <= 200
    told = beamtime("audit", "--site", str(box.site), "--record", "UserLastName").stdout
    assert len(told.splitlines()) == 1
    assert told.rstrip("\n").isprintable()


def test_a_refused_second_press_names_the_first(box: Box, ioc: Ioc, client: Client) -> None:
    box.set(schedule__delay_s=1.5)
    client.press("UpdateUserInfo")
    with CClient(ioc.ca) as c:
        c("caput", f"{PREFIX}UpdateUserInfo", 1)

    first, second = lines_of(box, "UpdateUserInfo", 2)
    assert (first["what"], second["what"]) == ("press", "refused")
    assert "UpdateUserInfo runs since" in second["text"]
    assert second["via"] == "ca"
    assert second["old"] == "Update"
