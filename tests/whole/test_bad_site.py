"""A site that cannot be served: one line says what is wrong, where, and the way out."""

import os
import shutil
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState
from box_house import Box, Ioc, beamtime, until


def serve(box: Box, **environment: str) -> str:
    """Start an IOC that cannot start; gives its one line."""
    ended = beamtime("serve", str(box.site), environment=environment)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("beamtime: ")]
    assert ended.returncode == 2, ended
    assert "Traceback" not in ended.stderr
    assert "READY" not in ended.stdout
    assert len(lines) == 1, ended.stderr
    return lines[0]


def test_an_unknown_key_is_named_with_its_line_and_what_is_allowed(box: Box) -> None:
    text = box.site.read_text()
    box.site.write_text(text.replace("relay: 127.0.0.1", "relais: 127.0.0.1"))
    line = 1 + box.site.read_text().splitlines().index("  relais: 127.0.0.1")

    words = serve(box)

    assert f"{box.site}:{line}: mail.relais: unknown key; allowed are backend, mode" in words


def test_a_wrong_type_is_named_with_its_line(box: Box) -> None:
    box.site.write_text(box.site.read_text().replace("tolerance_min: 60", "tolerance_min: soon"))

    words = serve(box)

    assert "schedule.tolerance_min" in words
    assert "number" in words


def test_an_unknown_backend_is_told_the_ones_there_are(box: Box) -> None:
    box.site.write_text(box.site.read_text().replace("backend: aps", "backend: spa"))

    assert "schedule.backend: 'spa' is unknown; allowed are aps, desy-file, file, nsls2" in serve(box)


def test_live_mail_without_a_sender_does_not_start(box: Box) -> None:
    def change(site: dict[str, Any]) -> None:
        del site["mail"]["sender"]

    box.edit_site(change)

    assert "sender" in serve(box)


@pytest.mark.parametrize("key", ["ca_port", "pva_port"])
def test_a_port_of_the_site_file_that_is_taken_is_refused(box: Box, key: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        box.edit_site(lambda site: site["epics"].update({key: port}))

        words = serve(box)

    assert f"port {port} is in use" in words
    assert f"epics.{key}" in words


def test_a_port_of_the_environment_wins_and_is_refused_when_taken(box: Box) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])

        words = serve(box, EPICS_CAS_SERVER_PORT=port)

    assert f"port {port} is in use" in words
    assert "EPICS_CAS_SERVER_PORT" in words


def test_a_second_ioc_on_the_same_state_is_refused(box: Box, ioc: Ioc) -> None:
    copy = box.directory / "other.yaml"
    copy.write_text(box.site.read_text())

    ended = beamtime("serve", str(copy))

    assert ended.returncode == 2
    assert f"another IOC (pid {ioc.program.pid})" in ended.stderr


def test_a_state_directory_that_cannot_be_written_is_refused(box: Box) -> None:
    (box.directory / "state").mkdir(mode=0o500)

    assert "make it writable for this user" in serve(box)


def test_a_corrupt_state_is_refused_and_the_way_out_named(box: Box) -> None:
    state = box.directory / "state"
    state.mkdir(mode=0o700)
    (state / "state.sqlite").write_bytes(os.urandom(20_000))

    words = serve(box)

    assert "is damaged" in words
    assert f"move {state}/ away" in words or f"move {state} away" in words


@pytest.mark.timeout(90)
def test_a_state_in_which_a_page_is_damaged_is_refused(box: Box) -> None:
    ioc = Ioc.on(box).start()
    ioc.stop()
    path = box.directory / "state" / "state.sqlite"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096 * 8))

    assert "move" in serve(box)


def test_a_locked_state_is_refused(box: Box) -> None:
    ioc = Ioc.on(box).start()
    ioc.stop()
    other = sqlite3.connect(box.directory / "state" / "state.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    words = serve(box)
    other.close()

    assert "locked by another program" in words


def test_an_access_file_that_is_empty_does_not_open_everything(box: Box) -> None:
    (box.directory / "access.acf").write_text("# nothing\n")

    assert "access.acf" in serve(box)


def test_without_an_access_file_everybody_reads_and_nobody_presses(box: Box) -> None:
    def change(site: dict[str, Any]) -> None:
        del site["access"]

    box.edit_site(change)
    ioc = Ioc.on(box).start()
    try:
        with ioc.client() as client:
            assert client.read("EngineState") == "Running"
            with pytest.raises(BeamtimeError, match="may not write"):
                client.press("BeginBeamtime")
            assert "may not write" in beamtime("press", "BeginBeamtime", "--site", str(box.site)).stderr
    finally:
        ioc.stop()
    assert box.recipients() == []


def begin(client: Client):
    with pytest.raises(BeamtimeError):
        client.press("BeginBeamtime", wait=True)
    view = client.view("BeginBeamtime")
    assert view.state is RunState.FAILED
    assert view.advice
    return view


def test_a_top_directory_that_is_missing_is_named(box: Box, client: Client) -> None:
    shutil.rmtree(box.directory / "data/det1")

    view = begin(client)

    assert "det1" in view.message
    assert not (box.directory / "data/det1").exists()
    assert len(box.directories()) == 1


def test_a_top_directory_that_is_read_only_is_named(box: Box, client: Client) -> None:
    (box.directory / "data/det1").chmod(0o500)

    view = begin(client)
    (box.directory / "data/det1").chmod(0o700)

    assert "det1" in view.message
    assert box.recipients() == []


def test_a_directory_of_another_experiment_is_a_conflict_and_stays_as_it_is(box: Box, client: Client) -> None:
    client.press("UpdateUserInfo", wait=True)
    client.press("CreateDirectoriesPreview", wait=True)
    line = next(line for line in client.read("CreateDirectoriesPlan").splitlines() if "det1" in line)
    foreign = Path(line.partition("det1:")[2])
    foreign.mkdir(parents=True)
    (foreign / "data.h5").write_text("somebody else's")

    view = begin(client)

    assert str(foreign) in view.message
    assert [path.name for path in foreign.iterdir()] == ["data.h5"]
    assert box.recipients() == []


def test_the_ioc_goes_on_serving_after_all_of_this(box: Box, client: Client) -> None:
    box.set(schedule__body="garbage")
    begin(client)
    box.reset()

    client.press("BeginBeamtime", wait=True)

    assert until(lambda: client.view("BeginBeamtime").state is RunState.DONE)
