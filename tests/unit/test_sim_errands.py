"""The errands service in the box, asked by a real HTTP client."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from beamtime_sim.errands import Errands
from beamtime_sim.errands_server import ErrandsServer
from beamtime_sim.errors import BoxError

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PATIENCE_S = 10


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ErrandsServer]:
    with ErrandsServer(tmp_path / "errands") as server:
        yield server


def logged(directory: Path) -> list[dict[str, Any]]:
    log = directory / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def post(server: ErrandsServer, text: str) -> requests.Response:
    return requests.post(f"{server.url}notes", json={"text": text}, timeout=PATIENCE_S)


def put(server: ErrandsServer, name: str, size: object) -> requests.Response:
    return requests.put(f"{server.url}copies/{name}", json={"bytes": size}, timeout=PATIENCE_S)


def get(server: ErrandsServer, name: str) -> requests.Response:
    return requests.get(f"{server.url}copies/{name}", timeout=PATIENCE_S)


def test_the_same_note_posted_twice_is_two_notes(server: ErrandsServer, tmp_path: Path) -> None:
    first, second = post(server, "hutch gesäubert"), post(server, "hutch gesäubert")

    lines = logged(tmp_path / "errands")
    assert (first.status_code, second.status_code) == (201, 201)
    assert [(line["what"], line["text"]) for line in lines] == [("note", "hutch gesäubert")] * 2
    assert [first.json(), second.json()] == lines


def test_nobody_can_look_a_note_up(server: ErrandsServer) -> None:
    post(server, "hutch searched")

    assert requests.get(f"{server.url}notes", timeout=PATIENCE_S).status_code == 404


def test_the_same_copy_started_twice_is_one_copy(server: ErrandsServer, tmp_path: Path) -> None:
    first, second = put(server, "a-1", 5), put(server, "a-1", 5)

    (line,) = logged(tmp_path / "errands")
    assert (first.status_code, second.status_code) == (201, 200)
    assert (line["what"], line["id"], line["bytes"]) == ("copy", "a-1", 5)
    assert server.errands.counts == {"notes": 0, "copies": 1}


def test_a_copy_of_another_size_under_the_same_name_is_refused(server: ErrandsServer, tmp_path: Path) -> None:
    put(server, "a-1", 5)

    reply = put(server, "a-1", 6)

    assert reply.status_code == 409
    assert reply.json()["error"] == "the copy a-1 has 5 bytes, not 6"
    assert len(logged(tmp_path / "errands")) == 1


def test_a_copy_comes_to_its_end_though_nobody_looks(server: ErrandsServer) -> None:
    server.knobs.set("errands.rate_bytes_per_s", 1000)
    put(server, "a-1", 300)
    early = get(server, "a-1").json()
    threading.Event().wait(0.4)

    late = get(server, "a-1").json()

    assert (early["state"], late["state"]) == ("running", "done")
    assert early["done_bytes"] < late["done_bytes"] == late["bytes"] == 300


def test_a_copy_that_was_never_started_is_unknown(server: ErrandsServer) -> None:
    reply = get(server, "b-1")

    assert (reply.status_code, reply.json()) == (404, {"error": "there is no copy b-1"})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "notes", b"{}"),
        ("POST", "notes", b'{"text": ""}'),
        ("POST", "notes", b'{"text": 7}'),
        ("POST", "notes", b"hello"),
        ("POST", "notes", b"\xff"),
        ("PUT", "copies/a-1", b'{"bytes": -1}'),
        ("PUT", "copies/a-1", b'{"bytes": true}'),
        ("PUT", "copies/a-1", b'{"bytes": 1e3}'),
        ("PUT", "copies/a-1", b"[]"),
        ("PUT", "copies/", b'{"bytes": 1}'),
        ("DELETE", "copies/a-1", b""),
    ],
)
def test_what_is_no_errand_is_refused_in_words_and_not_done(
    server: ErrandsServer, tmp_path: Path, method: str, path: str, body: bytes
) -> None:
    reply = requests.request(method, server.url + path, data=body, timeout=PATIENCE_S)

    assert reply.status_code in (400, 404)
    assert reply.json()["error"]
    assert logged(tmp_path / "errands") == []


def test_a_lost_reply_comes_after_the_work_and_so_many_times(server: ErrandsServer, tmp_path: Path) -> None:
    server.knobs.set("errands.lose_reply", 2)
    for send in (lambda: post(server, "hutch searched"), lambda: put(server, "a-1", 5)):
        with pytest.raises(requests.ConnectionError):
            send()

    third = post(server, "hutch open")

    lines = logged(tmp_path / "errands")
    assert third.status_code == 201
    assert [line.get("text", line.get("id")) for line in lines] == ["hutch searched", "a-1", "hutch open"]
    assert server.knobs.values()["errands.lose_reply"] == 0


def test_a_refused_errand_uses_no_lost_reply_up(server: ErrandsServer) -> None:
    server.knobs.set("errands.lose_reply", 1)

    assert put(server, "a-1", "many").status_code == 400
    assert get(server, "a-1").status_code == 404
    with pytest.raises(requests.ConnectionError):
        post(server, "hutch searched")


def test_the_work_is_done_before_the_delay(server: ErrandsServer, tmp_path: Path) -> None:
    server.knobs.set("errands.delay_s", 30)
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{server.url}notes", json={"text": "hutch searched"}, timeout=0.2)

    assert [line["text"] for line in logged(tmp_path / "errands")] == ["hutch searched"]


def test_copies_and_counts_stand_over_a_restart_and_a_torn_line(tmp_path: Path) -> None:
    errands = Errands(tmp_path, clock=lambda: NOON)
    errands.note("hutch searched")
    errands.start_copy("a-1", 1000, 10)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"what": "note", "te')

    again = Errands(tmp_path, clock=lambda: NOON + timedelta(seconds=40))

    assert again.counts == {"notes": 1, "copies": 1}
    assert again.start_copy("a-1", 1000, 99) is False
    assert (again.copy("a-1") or {})["done_bytes"] == 400


def test_a_clock_that_was_set_back_copies_nothing_back(tmp_path: Path) -> None:
    times = iter([NOON, NOON - timedelta(hours=1)])
    errands = Errands(tmp_path, clock=lambda: next(times))
    errands.start_copy("a-1", 1000, 10)

    assert (errands.copy("a-1") or {})["done_bytes"] == 0


def test_a_damaged_log_is_said(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"what": "copy"}\n')

    with pytest.raises(BoxError, match=r"log\.jsonl is damaged; remove it to forget"):
        Errands(tmp_path)


def test_notes_from_many_clients_at_once_all_stand(server: ErrandsServer, tmp_path: Path) -> None:
    clients = [threading.Thread(target=post, args=(server, f"note {number}")) for number in range(20)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + PATIENCE_S
    for client in clients:
        client.join(deadline - time.monotonic())

    assert sorted(line["text"] for line in logged(tmp_path / "errands")) == sorted(
        f"note {number}" for number in range(20)
    )
