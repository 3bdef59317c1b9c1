"""Settings survive: put by real clients, saved, restored before anybody is served."""

import contextlib
import json
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from box_house import PREFIX, Box, Ioc, until
from c_client import CClient
from raw_ca import NORMAL, RawCa

LONG = 5
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def saving_box(box: Box) -> Box:
    """A box with settings of its own, saved soon."""
    shutil.copy(DATA / "settings.template", box.directory)

    def change(site: dict[str, Any]) -> None:
        site["records"] = ["settings.template"]
        site["autosave"] = {"delay_s": 0.2}

    box.edit_site(change)
    return box


def sav(box: Box) -> Path:
    return box.directory / "state" / "autosave" / "beamtime_settings.sav"


def set_all(client: Client) -> None:
    client.write("Note", "two\nlines, é and \\ ")
    client.write("Mode", 2)
    client.write("Count", -7)
    client.write("Energy", 1 / 3)


def text_of(c: CClient, suffix: str) -> str:
    return bytes(byte & 255 for byte in c("get", PREFIX + suffix)).split(b"\0")[0].decode()


def assert_all(ioc: Ioc) -> None:
    with ioc.client() as client, CClient(ioc.ca) as c:
        assert client.read("Note") == text_of(c, "Note") == "two\nlines, é and \\ "
        assert client.read("Mode") == "third"
        assert c("get", f"{PREFIX}Mode") == 2
        assert client.read("Count") == c("get", f"{PREFIX}Count") == -7
        assert client.read("Energy") == c("get", f"{PREFIX}Energy") == 1 / 3
        assert client.read("AutosaveMessage") == ""


def test_settings_are_back_after_kill_9_and_after_a_clean_stop(saving_box: Box) -> None:
    ioc = Ioc.on(saving_box).start()
    with ioc.client() as client:
        set_all(client)
        until(lambda: sav(saving_box).exists() and b"Energy 0.33" in sav(saving_box).read_bytes())
    ioc.kill()

    ioc.start()
    assert_all(ioc)
    with ioc.client() as client:
        client.write("Short", "a moment before the end")
        assert ioc.stop() == 0

    ioc.start()
    assert_all(ioc)
    with ioc.client() as client:
        assert client.read("Short") == "a moment before the end"
        assert client.read("UserName") == ""
    assert ioc.stop() == 0


def test_what_was_answered_up_to_the_end_is_saved_and_audited(saving_box: Box) -> None:
    for life in range(4):
        ioc = Ioc.on(saving_box).start()
        answered = life * 1_000_000
        with RawCa(ioc.ca) as client:
            sid = client.sid(f"{PREFIX}Count")
            ending = threading.Timer(0.3, ioc.program.child.send_signal, [signal.SIGTERM])
            ending.start()
            with contextlib.suppress(OSError):  # let go
                while client.put(sid, LONG, answered + 1) == NORMAL:
                    answered += 1
        assert ioc.stop() == 0

        saved = next(line for line in sav(saving_box).read_text().splitlines() if ":Count " in line)
        assert int(saved.split()[1]) >= answered > life * 1_000_000
        (month, *_) = sorted((saving_box.directory / "state" / "audit").iterdir(), reverse=True)
        puts = [json.loads(line) for line in month.read_text().splitlines() if ":Count" in line]
        assert max(int(line["new"]) for line in puts) >= answered


def test_a_description_that_was_saved_is_shown_on_both_protocols(saving_box: Box) -> None:
    sav(saving_box).parent.mkdir(parents=True)
    sav(saving_box).write_text(f"#\n{PREFIX}Note.DESC Which sample\n{PREFIX}Gone 1\n<END>\n")
    ioc = Ioc.on(saving_box).start()

    with ioc.client() as client, CClient(ioc.ca) as c:
        assert c("get", f"{PREFIX}Note.DESC") == "Which sample"
        shown: Any = client._context.get(f"{PREFIX}Note")  # pyright: ignore[reportPrivateUsage]
        assert shown.raw["display.description"] == "Which sample"
        assert "1 of 2 saved values were skipped" in client.read("AutosaveMessage")
        assert c("timed", f"{PREFIX}AutosaveMessage")[1] == 1  # MINOR
    assert ioc.stop() == 0


def test_a_directory_that_may_not_be_written_is_an_alarm_and_mends_itself(saving_box: Box) -> None:
    directory = sav(saving_box).parent
    directory.mkdir(parents=True)
    directory.chmod(0o500)
    ioc = Ioc.on(saving_box).start()

    with ioc.client() as client:
        client.write("Count", 5)
        until(lambda: "cannot be saved" in client.read("AutosaveMessage"))
        client.write("Count", 6)  # everything else goes on

        directory.chmod(0o700)

        until(lambda: client.read("AutosaveMessage") == "")
        assert f"{PREFIX}Count 6\n" in sav(saving_box).read_text()
    assert ioc.stop() == 0
    assert ioc.program.child.returncode != -signal.SIGKILL
