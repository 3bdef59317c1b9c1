"""What a box writes into its directory, and what it keeps."""

import json
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
import yaml
from p4p.asLib import Engine

from beamtime_sim.box import Box
from beamtime_sim.errors import BoxError, ScheduleError
from ssh_house import on_path

ANCHOR = date(2026, 11, 20)
PATIENCE_S = 10


@contextmanager
def running(directory: Path, anchor: date | None = ANCHOR, *, local: bool = True) -> Iterator[Box]:
    box = Box(directory, anchor, local=local)
    box.start()
    try:
        yield box
    finally:
        box.stop()


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_a_new_box_writes_a_complete_site_file(tmp_path: Path) -> None:
    with running(tmp_path, local=False):
        site, ports = load(tmp_path / "site.yaml"), load(tmp_path / "sim.yaml")["ports"]

    url = f"http://127.0.0.1:{ports['schedule']}/beamline-scheduling/sched-api/"
    assert site == {
        "prefix": "99bm:Beamtime:",
        "beamline": "99-BM-A,B",
        "timezone": "America/Chicago",
        "state": "state/",
        "access": "access.acf",
        "records": [],
        "schedule": {
            "backend": "aps",
            "url": url,
            "credentials": "credentials.txt",
            "tolerance_min": 60,
            "connect_timeout_s": 3,
            "read_timeout_s": 10,
        },
        "hosts": {
            "backend": "ssh",
            "config": "hosts/ssh_config",
            "connect_timeout_s": 3,
            "timeout_s": 5,
            "refuse_free_gb": 0.1,
        },
        "places": [
            {"name": "det1", "host": "det1", "top": f"{tmp_path}/data/det1", "mode": "2770"},
            {
                "name": "ana1",
                "host": "ana1",
                "top": f"{tmp_path}/data/ana1",
                "mode": "2770",
                "marker": ".mounted",
            },
        ],
        "experiment": {"name": "{start:%Y-%m}-{pi}-{proposal}", "names": "safe"},
        "mail": {
            "backend": "smtp",
            "mode": "live",
            "connection": "relay",
            "relay": "127.0.0.1",
            "port": ports["mail"],
            "sender": "beamline@example.org",
            "contact": "staff@example.org",
            "domain": "example.org",
            "allow": ["example.edu", "example.org", "example.com"],
            "timeout_s": 10,
        },
        "sim": {"url": f"http://127.0.0.1:{ports['control']}/"},
        "epics": {"ca_port": ports["ca"], "pva_port": ports["pva"], "interfaces": ["127.0.0.1"]},
    }


def test_without_hosts_the_places_are_directories_of_this_computer(tmp_path: Path) -> None:
    with running(tmp_path) as box:
        site = load(tmp_path / "site.yaml")

    assert box.notes == []
    assert site["hosts"] == {"backend": "local"}
    assert site["places"] == [
        {"name": "det1", "top": "data/det1", "mode": "2770"},
        {"name": "ana1", "top": "data/ana1", "mode": "2770", "marker": ".mounted"},
    ]
    assert not (tmp_path / "hosts").exists()


@pytest.mark.parametrize("ssh", [None, "exit 255"])
def test_without_an_ssh_client_that_works_the_box_says_so_and_does_without_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ssh: str | None
) -> None:
    if ssh is not None:  # as for a user whom the system has no name for
        on_path(tmp_path / "bin", "ssh", f"#!/bin/sh\n{ssh}\n")
        on_path(tmp_path / "bin", "ssh-keygen", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with running(tmp_path / "box", local=False) as box:
        site = load(tmp_path / "box" / "site.yaml")

    (note,) = box.notes
    assert note.startswith("there is no ssh client that works here, so the places are directories of this")
    assert site["hosts"] == {"backend": "local"}


@pytest.mark.parametrize(
    ("local", "share_their_neighbours"),
    [
        (True, {"read_timeout_s", "port", "contact"}),
        (False, {"read_timeout_s", "port", "contact", "timeout_s"}),
    ],
)
def test_every_key_of_the_site_file_has_a_comment_before_it(
    tmp_path: Path, local: bool, share_their_neighbours: set[str]
) -> None:
    with running(tmp_path, local=local):
        lines = (tmp_path / "site.yaml").read_text().splitlines()

    bare = {
        line.split(":")[0].strip()
        for before, line in pairwise(lines)
        if line and not line.lstrip().startswith("#") and not before.lstrip().startswith("#")
    }

    assert bare == share_their_neighbours


def test_the_places_are_there_and_one_is_mounted(tmp_path: Path) -> None:
    with running(tmp_path):
        assert (tmp_path / "data" / "det1").is_dir()
        assert (tmp_path / "data" / "ana1" / ".mounted").is_file()
        assert not (tmp_path / "state").exists()


def test_only_the_owner_may_read_the_credentials_and_they_open_the_schedule(tmp_path: Path) -> None:
    with running(tmp_path):
        path = tmp_path / "credentials.txt"
        user, password = path.read_text().strip().split("|")
        url = load(tmp_path / "site.yaml")["schedule"]["url"] + "run/getCurrentRun"

        good = requests.get(url, auth=(user, password), timeout=PATIENCE_S)
        bad = requests.get(url, timeout=PATIENCE_S)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (good.status_code, bad.status_code) == (200, 401)


@pytest.mark.parametrize("group", ["button", "identity"])
def test_the_access_file_lets_this_machine_alone_write(tmp_path: Path, group: str) -> None:
    with running(tmp_path):
        engine = Engine((tmp_path / "access.acf").read_text())

    def may_put(asg: str, host: str) -> bool:
        rights: list[bool] = []

        class Channel:
            name = "99bm:Beamtime:CreateDirectories"

            def access(self, *, put: bool, **_: bool) -> None:
                rights.append(put)

        channel = Channel()
        engine.create(channel, asg, "operator", host, 1, [])
        return rights[-1]

    assert may_put(group, "127.0.0.1")
    assert not may_put(group, "192.0.2.17")
    assert not may_put("DEFAULT", "127.0.0.1")


def test_a_restart_keeps_ports_anchor_password_and_the_sites_own_changes(tmp_path: Path) -> None:
    with running(tmp_path):
        kept = {path.name: path.read_text() for path in tmp_path.glob("*.*") if path.is_file()}
    own = kept["site.yaml"] + "# a line of the site's own\n"
    (tmp_path / "site.yaml").write_text(own)

    with running(tmp_path, anchor=None):
        again = {path.name: path.read_text() for path in tmp_path.glob("*.*") if path.is_file()}

    assert {"sim.yaml", "site.yaml", "access.acf", "credentials.txt"} <= set(kept)
    assert again == {**kept, "site.yaml": own}


def test_the_anchor_of_a_new_box_is_today_at_the_facility(tmp_path: Path) -> None:
    chicago = ZoneInfo("America/Chicago")
    before = datetime.now(chicago).date()

    with running(tmp_path, anchor=None):
        anchor = load(tmp_path / "sim.yaml")["anchor"]

    assert before <= anchor <= datetime.now(chicago).date()


def test_a_given_anchor_replaces_the_kept_one(tmp_path: Path) -> None:
    with running(tmp_path):
        pass

    with running(tmp_path, anchor=date(2027, 1, 5)):
        kept = load(tmp_path / "sim.yaml")

    assert kept["anchor"] == date(2027, 1, 5)


def test_the_ports_for_epics_are_free_for_both_transports(tmp_path: Path) -> None:
    with running(tmp_path):
        ports = load(tmp_path / "sim.yaml")["ports"]

    for name in ("ca", "pva"):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", ports[name]))
    assert len(set(ports.values())) == 8


def test_a_box_from_before_errands_and_hosts_gets_ports_for_them_and_keeps_the_others(tmp_path: Path) -> None:
    added = ("errands", "det1", "ana1")
    with running(tmp_path):
        kept = load(tmp_path / "sim.yaml")
    for name in added:
        del kept["ports"][name]
    (tmp_path / "sim.yaml").write_text(yaml.safe_dump(kept))

    with running(tmp_path, anchor=None):
        again = load(tmp_path / "sim.yaml")

    assert {name: port for name, port in again["ports"].items() if name not in added} == kept["ports"]
    assert again["errands"] == f"http://127.0.0.1:{again['ports']['errands']}/"


def test_what_reached_the_services_is_logged_and_the_box_itself_is_not(tmp_path: Path) -> None:
    with running(tmp_path):
        url = load(tmp_path / "site.yaml")["schedule"]["url"]
        errands = load(tmp_path / "sim.yaml")["errands"]
        before = [path for path in tmp_path.glob("*/log.jsonl") if path.read_text()]

        requests.get(url + "run/getAllRuns", timeout=PATIENCE_S)
        requests.post(errands + "notes", json={"text": "hutch searched"}, timeout=PATIENCE_S)

        logs = {path.parent.name: path.read_text() for path in tmp_path.glob("*/log.jsonl")}

    assert before == []
    assert sorted(logs) == ["errands", "schedule"]
    assert [len(text.splitlines()) for text in logs.values()] == [1, 1]


def test_asking_itself_at_the_start_is_not_counted(tmp_path: Path) -> None:
    with running(tmp_path):
        port = load(tmp_path / "sim.yaml")["ports"]["control"]
        page = requests.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S).json()

    assert page["requests"] == 0
    assert set(page["mail_counts"].values()) == {0}


def test_an_anchor_out_of_reach_is_refused_and_one_far_away_is_noted(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="the anchor 0005-01-01 must lie between 1990 and 2200"):
        Box(tmp_path, date(5, 1, 1)).start()

    with running(tmp_path, anchor=date(1999, 1, 1)) as box:
        assert box.notes == ["nobody is on beam today, so far from 1999-01-01; give another --anchor"]
    with running(tmp_path) as box:
        assert box.notes == []


def test_a_second_box_on_the_directory_is_refused(tmp_path: Path) -> None:
    with running(tmp_path), pytest.raises(BoxError, match=r"a box runs on .* already"):
        Box(tmp_path).start()

    with running(tmp_path):
        pass


def test_a_taken_port_is_said_with_its_name_and_nothing_stays_behind(tmp_path: Path) -> None:
    with running(tmp_path):
        ports = load(tmp_path / "sim.yaml")["ports"]
    with socket.create_server(("127.0.0.1", ports["control"])):
        with pytest.raises(BoxError) as caught:
            Box(tmp_path).start()
        sentence = str(caught.value)

        for name in ("schedule", "mail"):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", ports[name]), timeout=PATIENCE_S)

    assert f"port {ports['control']} on 127.0.0.1 is taken" in sentence
    assert "(control, kept in" in sentence
    assert "\n" not in sentence
    with running(tmp_path):
        pass


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "ports: {}",
        "anchor: 2026-11-20\nports: {schedule: 1}",
        "anchor: soon\nports: {}",
        "\x00",
        "- 1",
    ],
)
def test_a_damaged_sim_file_is_said_with_the_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "sim.yaml").write_text(text)

    with pytest.raises(
        BoxError, match=r"sim\.yaml needs an anchor date and the ports .*; mend it, or remove"
    ):
        Box(tmp_path).start()


@pytest.mark.parametrize("text", ["", "user password\n", "user|\n", "|password\n"])
def test_damaged_credentials_are_said_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials.txt").write_text(text)

    with pytest.raises(BoxError, match=r"credentials\.txt must hold one line user\|password") as caught:
        Box(tmp_path).start()

    assert "user password" not in str(caught.value)


def test_a_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BoxError, match="file: File exists"):
        Box(tmp_path / "file").start()
    with pytest.raises(BoxError, match="Not a directory"):
        Box(tmp_path / "file" / "box").start()


def test_new_ports_beside_an_old_site_file_are_noted(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    (tmp_path / "sim.yaml").unlink()

    with running(tmp_path) as box:
        assert [note for note in box.notes if "may not have the ports" in note] == box.notes != []


def test_the_sample_data_are_invented_and_of_the_boxs_own_shape(tmp_path: Path) -> None:
    """The box's replies have the very fields of the captured format, no more and no less."""
    sample = json.loads((Path(__file__).parents[1] / "data" / "aps_schedule.json").read_text())
    with running(tmp_path):
        url = load(tmp_path / "site.yaml")["schedule"]["url"]
        user, password = (tmp_path / "credentials.txt").read_text().strip().split("|")
        path = "schedule/findByRunNameAndScheduleName/2026-3/99-BM-A,B"
        element = requests.get(url + path, auth=(user, password), timeout=PATIENCE_S).json()[0]

    wanted, found = sample[path][0]["activities"][0], element["activities"][0]
    assert element.keys() == sample[path][0].keys()
    assert found.keys() == wanted.keys()
    assert found["beamtime"].keys() - {"beamlineSecond"} == wanted["beamtime"].keys()
    proposal, wanted_proposal = found["beamtime"]["proposal"], wanted["beamtime"]["proposal"]
    assert proposal.keys() == wanted_proposal.keys()
    assert proposal["experimenters"][0].keys() == wanted_proposal["experimenters"][0].keys()
    assert found["station"].keys() == wanted["station"].keys()
