"""The history of a running IOC: on the command line, as a table over PVAccess, and when it is old."""

import json
import queue
import re
import sqlite3
from typing import Any

from p4p.client.thread import Context

from beamtime_ioc.retention import read_kept
from box_house import PREFIX, Box, Ioc, beamtime, until

TABLE = f"{PREFIX}History"


def history(box: Box, *words: str) -> list[dict[str, Any]]:
    ended = beamtime("history", *words, "--site", str(box.site), "--json")
    assert ended.returncode == 0, ended
    return [json.loads(line) for line in ended.stdout.splitlines()]


def press(box: Box, action: str) -> None:
    ended = beamtime("press", action, "--wait", "--site", str(box.site))
    assert ended.returncode == 0, ended


def context(ioc: Ioc) -> Any:
    conf = {
        "EPICS_PVA_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_BROADCAST_PORT": str(ioc.pva),
    }
    return Context("pva", conf=conf, useenv=False, nt=False)


def test_who_pressed_what_is_listed_filtered_and_shown_step_by_step(box: Box, ioc: Ioc) -> None:
    site = str(box.site)
    press(box, "BeginBeamtime")
    press(box, "CreateDirectories")

    newest, oldest = history(box)
    by_action = history(box, "--action", "BeginBeamtime")
    ours, nobodys = history(box, "--who", "BY PVA"), history(box, "--who", "nobody at all")
    recent, older = history(box, "--since", "1h"), history(box, "--since", "2099-01-01")
    text = beamtime("history", "--site", site).stdout.splitlines()
    shown = beamtime("history", "show", oldest["run"][-6:], "--site", site).stdout
    whole = json.loads(beamtime("history", "--site", site, "show", newest["run"], "--json").stdout)

    assert [newest["action"], oldest["action"]] == ["create-directories", "begin-beamtime"]
    assert by_action == [oldest]
    assert (ours, nobodys, recent, older) == ([newest, oldest], [], [newest, oldest], [])
    assert text[0].split() == ["Pressed", "Run", "Action", "State", "Took", "Experiment", "Who", "Message"]
    assert newest["experiment_name"]
    assert text[0].index("Experiment") == text[1].index(newest["experiment_name"])
    assert len(text) == 3
    for words in (oldest["run"], "begin-beamtime", "Done", "who is on beam", "made", "letter to"):
        assert words in shown
    # The first press knew of no experiment; the run is that of the one which it found on beam.
    assert oldest["experiment"] == newest["experiment"] == whole["experiment"]
    assert re.search(r"^At press +none$", shown, re.MULTILINE)
    ends = [json.loads(line) for line in beamtime("audit", "--json", "--site", site).stdout.splitlines()]
    assert [end["experiment"] for end in ends if end["what"] == "end"] == [whole["experiment"]] * 2
    assert whole["pressed_by"]["via"] == "pva"
    assert {step["state"] for step in whole["steps"]} == {"stands already"}
    assert all(step["began"] for step in whole["steps"])


def test_what_cannot_be_shown_is_one_line_and_exit_code_two(box: Box, ioc: Ioc) -> None:
    press(box, "UpdateUserInfo")
    press(box, "UpdateUserInfo")
    for words, sentence in (
        (("show", "ffffffff"), "there is no run ffffffff; `beamtime history` lists them"),
        (("show", "zz"), "'zz' is no run's number, nor the end of one; `beamtime history` lists them"),
        (("show", ""), "'' is no run's number"),
        (("show", "\udcff"), "'\\udcff' is no run's number"),
        (("show", "1" * 28), "is no run's number"),
        (("--since", "yesterday"), "--since yesterday: no time; write 2026-11-01"),
        (("--since", "999999w"), "no time"),
        (("--action", "\udcff"), "'\\udcff' is no text; write it in UTF-8"),
        (("--who", "z\udcff"), "'z\\udcff' is no text"),
        (("--limit", "99999999999999999999"), "Invalid value for '--limit'"),
    ):
        ended = beamtime("history", *words, environment={"BEAMTIME_SITE": str(box.site)})

        assert ended.returncode == 2, ended
        assert sentence in ended.stderr
        assert "Traceback" not in ended.stderr


def test_the_table_follows_each_run_from_its_beginning_to_its_end(box: Box, ioc: Ioc) -> None:
    posts: queue.Queue[Any] = queue.Queue()
    with context(ioc) as client:
        subscription = client.monitor(TABLE, posts.put)
        seen = [posts.get(timeout=20)]
        box.set(schedule__delay_s=1)
        press(box, "BeginBeamtime")
        until(lambda: [value.value.state[0] for value in rows(posts, seen)][-1:] == ["Done"], "the end")
        subscription.close()

    (run,) = history(box)
    states = [value.value.state[0] for value in seen if len(value.value.state)]
    last = seen[-1]
    assert len(seen[0].value.state) == 0 or seen[0].value.state[0] == "Queued"
    assert "Running" in states
    assert states[-1] == "Done"
    assert list(last.labels)[:2] == ["Pressed", "Action"]
    assert [list(last.value[name]) for name in ("action", "run", "who", "message")] == [
        ["begin-beamtime"],
        [run["run"]],
        [run["who"]],
        [run["message"]],
    ]
    assert last.value.pressed[0].endswith("-06:00")  # at the beamline


def rows(posts: "queue.Queue[Any]", seen: list[Any]) -> list[Any]:
    while not posts.empty():
        seen.append(posts.get())
    return [value for value in seen if len(value.value.state)]


def test_the_table_and_the_list_are_there_again_after_a_restart(box: Box, ioc: Ioc) -> None:
    press(box, "UpdateUserInfo")
    before = history(box)

    ioc.kill()
    ioc.start()

    assert history(box) == before
    with context(ioc) as client:
        found = until(lambda: (value := client.get(TABLE)).value.run and value, "the table")
    assert list(found.value.run) == [before[0]["run"]]


def make_older(box: Box, run_id: str, years: int) -> str:
    """Move a run into the past, as if it had been pressed then; the IOC must not run."""
    back_ns = years * 365 * 86400 * 10**9
    old_id = f"{int(run_id[:20]) - back_ns:020d}{run_id[20:]}"
    with sqlite3.connect(box.directory / "state" / "state.sqlite") as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
            if "workflow_uuid" in columns:
                db.execute(f"UPDATE {table} SET workflow_uuid = ?", (old_id,))  # noqa: S608
        db.execute("UPDATE workflow_status SET updated_at = updated_at - ?", (back_ns // 1_000_000,))
    db.close()
    return old_id


def test_old_runs_are_put_aside_at_the_next_start_and_can_be_read_back(box: Box, ioc: Ioc) -> None:
    press(box, "UpdateUserInfo")
    (run,) = history(box)
    assert ioc.stop() == 0
    old_id = make_older(box, run["run"], years=3)
    directory = box.directory / "state" / "history"
    (directory / "last").unlink()  # as if it had been down for long
    whole = json.loads(beamtime("history", "show", old_id, "--json", "--site", str(box.site)).stdout)

    ioc.start()
    until(lambda: not history(box), "the old run to leave")

    (path,) = directory.glob("*.jsonl")
    assert path.name == f"{old_id}_{old_id}.jsonl"
    assert json.loads(path.read_text()) == whole
    ((record, steps),) = read_kept(path)
    assert (record.id, record.state, record.message) == (old_id, "Done", run["message"])
    assert [step.name for step in steps] == [step["name"] for step in whole["steps"]]
    assert len(steps) > 1
    until(lambda: (directory / "last").exists(), "the note of the look")
