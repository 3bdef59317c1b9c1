"""The access gate: who may write, and which files are refused before anybody may."""

import logging
import os
import threading
from pathlib import Path

import pytest

from beamtime_ioc.access import AccessFile, NobodyWrites, load_gate
from beamtime_ioc.errors import AccessFileError, NotAllowedError
from beamtime_ioc.model import Who
from beamtime_ioc.records import db_dir

RULES = """
# Who may press: the beamline's account and the staff, from the consoles.
UAG(beamline) { beamline, "role/staff" }
HAG(console)  { "192.0.2.17", localhost }
ASG(DEFAULT)  { RULE(1, READ) }
ASG(button)   { RULE(1, WRITE, TRAPWRITE) { UAG(beamline) HAG(console) } }
ASG(open)     { RULE(1, WRITE) }
ASG(either)   { RULE(1, WRITE) { UAG(beamline) } RULE(1, WRITE) { HAG(console) } }
ASG(nothing)  { RULE(1, WRITE) RULE(1, NONE) }   # rules only add: NONE takes nothing away
ASG(second)   { RULE(0, WRITE) { HAG(console) } }
"""


def who(user: str = "beamline", peer: str = "127.0.0.1", claim: str = "", roles: tuple[str, ...] = ()) -> Who:
    return Who(via="ca", user=user, peer=peer, claim=claim, roles=roles)


def may(gate: AccessFile | NobodyWrites, group: str, somebody: Who) -> bool:
    try:
        gate.require(group, somebody)
    except NotAllowedError:
        return False
    return True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.acf"


@pytest.fixture
def gate(file: Path) -> AccessFile:
    file.write_text(RULES)
    return AccessFile(file)


@pytest.mark.parametrize(
    ("group", "somebody", "allowed"),
    [
        ("button", who(), True),
        ("button", who(peer="192.0.2.17"), True),
        ("button", who(peer="192.0.2.18"), False),
        ("button", who(user="guest"), False),
        ("button", who(user="guest", roles=("staff",)), True),
        ("button", who(user="guest", roles=("students",)), False),
        ("button", who(user="guest", roles=("staff",), peer="192.0.2.18"), False),
        ("button", who(user="staff"), False),
        ("button", who(user="", peer=""), False),
        ("DEFAULT", who(), False),
        ("no such group", who(), False),
        ("open", who(user="", peer=""), True),
        ("either", who(user="guest"), True),
        ("either", who(peer="192.0.2.99"), True),
        ("either", who(user="guest", peer="192.0.2.99"), False),
        ("nothing", who(user="guest", peer="192.0.2.99"), True),
        ("second", who(user="guest"), True),
    ],
)
def test_group_account_address_and_role_decide(
    gate: AccessFile, group: str, somebody: Who, allowed: bool
) -> None:
    assert may(gate, group, somebody) is allowed


def test_the_claimed_host_is_not_asked_about(gate: AccessFile) -> None:
    assert not may(gate, "button", who(peer="192.0.2.99", claim="localhost"))
    assert not may(gate, "button", who(peer="192.0.2.99", claim="127.0.0.1"))
    assert may(gate, "button", who(peer="127.0.0.1", claim="elsewhere.example.org"))


def test_a_role_does_not_stick_to_its_user(gate: AccessFile) -> None:
    assert may(gate, "button", who(user="guest", roles=("staff",)))

    assert not may(gate, "button", who(user="guest"))


def test_a_refusal_says_who_and_where_the_rules_are(gate: AccessFile) -> None:
    with pytest.raises(NotAllowedError) as caught:
        gate.require("button", who(user="guest", claim="console1"))

    assert str(caught.value) == (
        "guest from console1 (127.0.0.1) by ca may not write records of the access group button; "
        "access.acf says who may"
    )


def test_without_a_file_nobody_writes() -> None:
    gate = load_gate(None)

    assert not may(gate, "DEFAULT", who())
    assert gate.check_groups(["button"]) == ()
    with pytest.raises(NotAllowedError, match="this IOC has no access file; name one in the site file"):
        gate.require("button", who())


@pytest.mark.parametrize(
    "text",
    ["", " \n\t\n", "# only a comment", "# one\n\n   # two\n"],
    ids=["empty", "blank", "comment", "comments"],
)
def test_a_file_that_says_nothing_is_refused(file: Path, text: str) -> None:
    file.write_text(text)

    with pytest.raises(AccessFileError, match=rf"{file}: says nothing"):
        load_gate(file)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            'ASG(a) {\n  INPA(x:pv)\n  RULE(1, WRITE) { CALC("A=1") }\n}',
            2,
            "reads a PV by INPA: not supported",
        ),
        ('ASG(a) {\n  RULE(1, WRITE) {\n    CALC("A<1")\n  }\n}', 3, "has CALC: not supported"),
        ("# CALC\nASG(a) { RULE(1, WRITE) { CALC(\"__import__('os')\") } }", 2, "has CALC: not supported"),
        (
            "HAG(a) {\n  10.0.0.1\n}",
            2,
            "is wrong at or before '10'; addresses, and words like HAGEN, need quotes",
        ),
        ('UAG(a) { b }\nASG(a) { RULE(1, WRITE) { METHOD("ca") } }', 2, "is wrong at or before 'METHOD'"),
        ("ASG(a) { RULE(1, WRITE)\n", 2, "ends too early; a bracket is open"),
        ("ASG(a) { RULE(1, WRITE) }\n\n}", 3, "is wrong at or before '}'"),
        ("ASG(a) {\n ! }", 2, "which means nothing here"),
        ('ASG(a) {\n RULE(1, "WRITE }', 2, "which means nothing here"),
        ("ASG(a) {\n  RULE(1, WRIT)\n}", 2, "RULE(1, WRIT) is no right; these are: NONE, READ, WRITE"),
        ("ASG(a) { RULE(1, READ)\n RULE(2, WRITE) }", 2, "the level is 0 or 1"),
        ("ASG(a) {\n RULE(1, WRITE, TRAP) }", 2, "must be 'TRAPWRITE' or 'NOTRAPWRITE'"),
        ("ASG(a) {\n RULE(1, WRITE) { UAG(them) } }", 2, "names UAG(them), which is not defined"),
        ("UAG(us) { me }\nASG(a) { RULE(1, WRITE) { HAG(us) } }", 2, "names HAG(us), which is not defined"),
        ("UAG(us) { me }\nUAG(us) { you }", 2, "UAG(us) is defined twice"),
        ("ASG(a) { RULE(1, READ) }\n\nASG(a) { RULE(1, WRITE) }", 3, "ASG(a) is defined twice"),
        ("ASG(a)", 1, "ASG(a) is empty"),
        ("UAG(us)\nASG(a) { RULE(1, READ) }", 1, "UAG(us) is empty"),
        ("ASG(a) {\n RULE(" + "9" * 5000 + ", READ) }", 2, "a level has thousands of digits; it is 0 or 1"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(file: Path, text: str, line: int, words: str) -> None:
    file.write_text(text)

    with pytest.raises(AccessFileError) as caught:
        load_gate(file)

    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(AccessFileError, match=r"access\.acf: cannot be read: No such file"):
        load_gate(file)
    with pytest.raises(AccessFileError, match="cannot be read: Is a directory"):
        load_gate(tmp_path)

    file.write_bytes(b"ASG(DEFAULT) { RULE(1, WRITE) } # \xff\xfe")
    with pytest.raises(AccessFileError, match="is no text; save it as UTF-8"):
        load_gate(file)


def test_a_pipe_lets_nobody_wait_and_a_device_or_what_never_ends_is_refused(file: Path) -> None:
    os.mkfifo(file)
    errors: list[AccessFileError] = []

    def load() -> None:
        try:
            load_gate(file)
        except AccessFileError as error:
            errors.append(error)

    loading = threading.Thread(target=load, daemon=True)
    loading.start()
    loading.join(5)
    assert [str(error) for error in errors] == [f"{file}: is no file; put a file there"]

    with pytest.raises(AccessFileError, match="is no file"):
        load_gate(Path("/dev/null"))
    file.unlink()
    file.write_bytes(b"#" * 1_000_001)
    with pytest.raises(AccessFileError, match="has more than 1 MB"):
        load_gate(file)


@pytest.mark.parametrize("end", ["\n", "\r\n", " # no line end behind this comment"])
def test_line_ends_and_a_last_comment_do_no_harm(file: Path, end: str) -> None:
    file.write_bytes(f"ASG(open) {{ RULE(1, WRITE) }}{end}".encode())

    assert may(load_gate(file), "open", who())


def test_a_byte_order_mark_does_no_harm(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfASG(open) { RULE(1, WRITE) }")

    assert may(load_gate(file), "open", who())


def test_words_that_look_like_keywords_stand_in_quotes(file: Path) -> None:
    file.write_text('UAG("CALCULATORS") { "RULER" }\nASG(a) { RULE(1, WRITE) { UAG("CALCULATORS") } }')

    assert may(load_gate(file), "a", who(user="RULER"))


def test_a_host_that_cannot_be_resolved_and_a_subnet_are_errors_in_the_log(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(
        'HAG(all) { "nosuchhost.invalid", "192.0.2.0/24", "192.0.2.17" }\n'
        "ASG(button) { RULE(1, WRITE) { HAG(all) } }"
    )

    gate = load_gate(file)

    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "host nosuchhost.invalid in a HAG lets nobody in: it cannot be resolved" in errors[0]
    assert "192.0.2.0/24 in a HAG lets nobody in: subnets are not supported" in errors[1]
    assert [may(gate, "button", who(peer=peer)) for peer in ("192.0.2.17", "192.0.2.18", "192.0.2.0")] == [
        True,
        False,
        False,
    ]


def test_groups_that_the_file_lacks_are_warned_about(
    gate: AccessFile, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert gate.check_groups(["button", "", "identity", "identity", "DEFAULT"]) == ("identity",)
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}: has no ASG(identity), which records name: DEFAULT decides"
    ]


def test_without_a_default_group_the_warning_says_that_nobody_writes(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text("ASG(button) { RULE(1, WRITE) }")
    gate = load_gate(file)

    assert gate.check_groups(["", "button"]) == ("DEFAULT",)
    assert "nobody may write its records" in caplog.text
    assert not may(gate, "other", who())


def test_the_shipped_file_lets_this_computer_press_and_others_read() -> None:
    gate = load_gate(db_dir() / "access.acf")

    assert may(gate, "button", who(user="anybody"))
    assert not may(gate, "button", who(user="anybody", peer="192.0.2.17"))
    assert not may(gate, "DEFAULT", who(user="anybody"))


def test_every_address_of_a_host_lets_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(host: str, *_: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", (address, 0)) for address in ("192.0.2.1", "192.0.2.2")]

    monkeypatch.setattr("socket.getaddrinfo", two)
    file.write_text('HAG(consoles) { "consoles.example.org" }\nASG(a) { RULE(1, WRITE) { HAG(consoles) } }')

    gate = load_gate(file)

    assert [may(gate, "a", who(peer=f"192.0.2.{last}")) for last in (1, 2, 3)] == [True, True, False]
