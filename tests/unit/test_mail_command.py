"""`beamtime mail`: what is seen of letters without an IOC."""

import json
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from beamtime_handlers.clients.smtp_mail.command import app
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Letter
from beamtime_ioc.store import Store
from beamtime_ioc.stored_outbox import StoredOutbox
from beamtime_sim.mail_server import MailServer
from box_house import beamtime
from mail_house import CONTACT, SENDER, parsed

LETTER = Letter(
    key="k1", to="zoe@example.edu", name="Zoë", subject="Yours", text="t\n", experiment="2026-11-Zoe"
)


@pytest.fixture
def server(tmp_path: Path) -> Generator[MailServer]:
    with MailServer(tmp_path / "mails") as server:
        yield server


def site_file(directory: Path, **mail: Any) -> Path:
    content = {
        "prefix": "99bm:Beamtime:",
        "beamline": "99-BM-A,B",
        "timezone": "America/Chicago",
        "mail": {"backend": "smtp", "sender": SENDER, "contact": CONTACT, **mail},
    }
    path = directory / "site.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def output(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


# -- render -----------------------------------------------------------------------------------------------


def test_our_letter_is_shown_and_filled_for_hostile_experiments() -> None:
    text = output("render")

    assert text.startswith("Subject: Your beamtime at 99-BM: Foam under load\n")
    assert "Dear Zoë Müller-Łukasik," in text
    assert text.splitlines()[-6:] == [
        "ok    a usual experiment",
        "ok    quotes and marks of HTML",
        "ok    another script",
        "ok    lines in a long title",
        "ok    nothing but a name",
        "ok    nobody as PI",
    ]


def test_a_site_s_letter_is_shown_with_the_site_s_settings_whatever_its_mode(tmp_path: Path) -> None:
    site = site_file(tmp_path, mode="off", data_link="https://data.example.org/{{ experiment.proposal }}")

    assert "https://data.example.org/9100001" in output("render", "--site", site)
    assert "<b>99-BM-A,B</b>" in output("render", "--site", site, "--html")


def test_a_letter_that_cannot_be_filled_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.subject").write_text("x")
    (tmp_path / "own.txt").write_text("one\n{{ gup }}")

    result = run("render", "--template", tmp_path / "own")

    assert isinstance(result.exception, BeamtimeError)
    assert "own.txt:2: " in str(result.exception)


def test_a_letter_that_only_an_empty_title_breaks_is_found(tmp_path: Path) -> None:
    (tmp_path / "own.subject").write_text("{{ experiment.title | needed('a title') }}")
    (tmp_path / "own.txt").write_text("x")

    result = run("render", "--template", tmp_path / "own")

    assert "it needs a title, which is empty" in str(result.exception)


def test_html_that_is_not_there_is_said(tmp_path: Path) -> None:
    for ending in ("subject", "txt"):
        (tmp_path / f"own.{ending}").write_text("x")

    result = run("render", "--template", tmp_path / "own", "--html")

    assert (result.exit_code, result.stderr) == (2, "beamtime: this letter has no HTML\n")


def test_rendering_writes_nothing(tmp_path: Path) -> None:
    site = site_file(tmp_path)

    output("render", "--site", site)

    assert list(tmp_path.iterdir()) == [site]


# -- send-test --------------------------------------------------------------------------------------------


def test_a_test_goes_to_the_contact_alone_and_is_not_kept(tmp_path: Path, server: MailServer) -> None:
    site = site_file(tmp_path, mode="dry-run", relay="127.0.0.1", port=server.port)

    assert output("send-test", "--site", site) == "staff@example.edu: 250 2.0.0 kept\n"
    assert output("send-test", "--site", site)

    assert [kept.to for kept in server.mails] == ["staff@example.edu"] * 2
    assert server.mails[0].message_id != server.mails[1].message_id
    assert str(parsed(server.mails[0].path.read_bytes())["Subject"]).startswith("[TEST] Your beamtime")
    assert not (tmp_path / "state").exists()


def test_a_relay_that_refuses_is_a_sentence_and_exit_code_1(tmp_path: Path, server: MailServer) -> None:
    server.knobs.set("mail.refuse", "*")

    result = run("send-test", "--site", site_file(tmp_path, relay="127.0.0.1", port=server.port))

    assert result.exit_code == 1
    assert "refuses staff@example.edu: 550 5.1.1" in result.stderr


def test_a_site_file_without_a_relay_is_named_with_its_line(tmp_path: Path) -> None:
    result = run("send-test", "--site", site_file(tmp_path))

    assert "mode test needs `relay`" in str(result.exception)


@pytest.mark.parametrize("word", ["render", "send-test"])
def test_a_site_without_mail_is_said(tmp_path: Path, word: str) -> None:
    site = site_file(tmp_path)
    content = yaml.safe_load(site.read_text())
    del content["mail"]
    site.write_text(yaml.safe_dump(content))

    result = run(word, "--site", site)

    assert result.exit_code == 2
    assert "has no section mail:" in result.stderr


# -- outbox -----------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> Path:
    store = Store(tmp_path / "state", "99bm:Beamtime:")
    kept = StoredOutbox(store)
    kept.claim(LETTER)
    kept.settle("k1", "accepted", "250 kept")
    kept.claim(replace(LETTER, key="k2", to="ren@example.org"))
    kept.settle("k2", "deferred", "451 later", due=datetime(2026, 11, 26, 18, tzinfo=UTC))
    store.close()
    return tmp_path / "state"


def test_the_letters_are_listed_the_newest_first(state: Path) -> None:
    heading, second, first = output("outbox", "--state", state).splitlines()

    assert heading.split() == ["At", "To", "State", "Tries", "Experiment", "Answer"]
    assert second.split()[2:] == ["ren@example.org", "deferred", "1", "2026-11-Zoe", "451", "later"]
    assert first.split()[2:] == ["zoe@example.edu", "accepted", "1", "2026-11-Zoe", "250", "kept"]


def test_they_are_chosen_by_state_and_told_to_programs(state: Path) -> None:
    (line,) = output("outbox", "--state", state, "--only", "deferred", "--json").splitlines()

    told = json.loads(line)
    assert (told["to"], told["due"], told["key"]) == ("ren@example.org", "2026-11-26T18:00:00+00:00", "k2")
    assert output("outbox", "--state", state, "--only", "unsure") == ""
    assert run("outbox", "--state", state, "--only", "lost").exit_code == 2


def test_a_state_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "there is no state database" in str(run("outbox", "--state", tmp_path).exception)


# -- import-dmagic ----------------------------------------------------------------------------------------


def test_a_letter_of_dmagic_is_taken_over_and_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / "message.txt").write_text("<html><p>Data link: %%DATA_LINK%%</p>%%WHO%%</html>")

    result = run("import-dmagic", tmp_path / "message.txt", tmp_path / "letters" / "ours")

    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "letters").iterdir()) == [
        "ours.html",
        "ours.subject",
        "ours.txt",
    ]
    assert f"template: {tmp_path}/letters/ours" in result.stdout
    assert "%%WHO%% is nothing that DMagic fills" in result.stderr
    site = site_file(tmp_path, template="letters/ours", data_link="https://data.example.org/1")
    assert "Data link: https://data.example.org/1\n" in output("render", "--site", site)


def test_what_to_write_into_the_site_file_holds_wherever_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "message.txt").write_text("Data link: x")
    (tmp_path / "site").mkdir()
    monkeypatch.chdir(tmp_path)

    said = output("import-dmagic", "message.txt", "site/letters/ours")
    (template,) = [line.split()[1] for line in said.splitlines() if "template:" in line]

    site = site_file(tmp_path / "site", template=template, data_link="https://data.example.org/1")
    assert "Data link: https://data.example.org/1\n" in output("render", "--site", site)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "message.txt").write_text("Data link: x")
    (tmp_path / "ours.txt").write_text("mine")

    result = run("import-dmagic", tmp_path / "message.txt", tmp_path / "ours")

    assert (result.exit_code, (tmp_path / "ours.txt").read_text()) == (2, "mine")
    assert not (tmp_path / "ours.subject").exists()


def test_a_letter_that_cannot_be_filled_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "message.txt").write_text("Data link: x")
    taken = ("import-dmagic", tmp_path / "message.txt", tmp_path / "ours")

    wrong = run(*taken, "--subject", "{{ gup }}")
    left = sorted(path.name for path in tmp_path.iterdir())

    assert "ours.subject:1: " in str(wrong.exception)
    assert left == ["message.txt"]
    assert "ours.subject" in output(*taken, "--subject", "{{ experiment.proposal }}")


@pytest.mark.parametrize("content", [None, b"\xff", b" \n", b"\xef\xbb\xbf"])
def test_what_is_no_letter_is_said(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "message.txt"
    if content is not None:
        file.write_bytes(content)

    result = run("import-dmagic", file, tmp_path / "ours")

    assert result.exit_code != 0
    assert str(file) in (result.stderr + str(result.exception))
    assert not (tmp_path / "ours.txt").exists()


def test_as_it_is_typed_a_fault_is_one_line(tmp_path: Path) -> None:
    ended = beamtime("mail", "import-dmagic", str(tmp_path / "nowhere"), str(tmp_path / "ours"))

    assert ended.returncode == 2
    assert ended.stderr == f"beamtime: {tmp_path}/nowhere: cannot be read: No such file or directory\n"
