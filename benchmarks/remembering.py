"""A state database with the runs of years, beside one with few: what a person waits for may not differ."""

import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import sqlalchemy as sa
from effort import Effort
from history import multiply
from postgres import MISSING, postgres
from pressing import press_by_command, press_in_turns
from programs import Program
from servers import House, Server
from table import Group, Line, ratio_of

FEW, FULL = "state-few", "state-full"
MODELS = ("UpdateUserInfo", "CreateDirectories")
FEW_RUNS = 60
"""Enough for the last 50."""
GOAL = "<= 1.2"
QUICK_POLL_S = 0.02


def remembers(house: House, effort: Effort) -> Group:
    """SQLite: two IOCs, which differ in their history only, started and pressed; then the engine alone."""
    with house.ours(FEW, "few") as server:
        for button in MODELS:
            press_by_command(server, button)
    few, full = (house.directory / state for state in (FEW, FULL))
    shutil.copytree(few, full)
    many = f"{multiply(f'sqlite:///{full}/state.sqlite', effort.history):,} runs"
    multiply(f"sqlite:///{few}/state.sqlite", FEW_RUNS)
    servers = {FEW: house.ours(FEW, "few"), FULL: house.ours(FULL, "full")}
    lines = [*_start_lines(servers.values(), effort, many), _press_line(house, effort, servers, many)]
    programs = [
        Program(path.name.removeprefix("state-"), "work_ours.py", house.directory, state=str(path))
        for path in (few, full)
    ]
    lines += _engine_lines(programs, effort, many)
    size_gb = (full / "state.sqlite").stat().st_size / 1e9
    shutil.rmtree(few)
    shutil.rmtree(full)
    remark = (
        f"Copies of {' and '.join(MODELS)}, {size_gb:.1f} GB, all older than a week; few are {FEW_RUNS}. "
        "A press: until it is seen and its row is there, by both protocols."
    )
    return Group(name="A long history: SQLite", lines=lines, remark=remark)


def remembers_there(house: House, effort: Effort) -> Group:
    """PostgreSQL: the engine alone."""
    name = "A long history: PostgreSQL"
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        if server is None:
            return Group(name=name, lines=[], remark=MISSING)
        place = Path(tempfile.mkdtemp(prefix="history-", dir=house.directory))
        databases = {"few": server.database(), "full": server.database()}
        programs = [
            Program(label, "work_ours.py", place, state=str(place / label), database=database.url)
            for label, database in databases.items()
        ]
        for program in programs:
            with program:
                program.do("effects", count=3)
                program.do("effects", count=3)
        address = {label: sa.make_url(database.url) for label, database in databases.items()}
        runs = multiply(_for_psycopg(address["full"]), effort.history)
        multiply(_for_psycopg(address["few"]), FEW_RUNS)
        lines = _engine_lines(programs, effort, f"{runs:,} runs")
    remark = f"Copies of runs with three effects each, all older than a week; few are {FEW_RUNS}."
    return Group(name=name, lines=lines, remark=remark)


def _for_psycopg(url: sa.URL) -> str:
    return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _start_lines(servers: Collection[Server], effort: Effort, many: str) -> list[Line]:
    """Starts in turns; the first ones write the new pages into the files, and are not counted."""
    answered: dict[str, list[float]] = {server.label: [] for server in servers}
    ready: dict[str, list[float]] = {server.label: [] for server in servers}
    for turn in range(effort.starts + 1):
        for server in servers:
            with server:
                pass
            if turn:
                answered[server.label].append(server.answered_s)
                ready[server.label].append(server.ready_s)
    return [
        Line(
            what=f"start to {what}, {many}",
            ours=f"{median(times['full']):.2f} s",
            peer=f"few {median(times['few']):.2f} s",
            ratio=ratio_of(times["full"], times["few"]),
            goal=GOAL,
        )
        for what, times in (("first answer", answered), ("READY", ready))
    ]


def _press_line(house: House, effort: Effort, servers: Mapping[str, Server], many: str) -> Line:
    """Both protocols together: a history is slow for both or for none."""
    found = press_in_turns(house, effort, servers)
    seen = {
        label: found["ca"][label]["seen_ms"] + found["pva"][label]["seen_ms"] for label in ("few", "full")
    }
    return Line(
        what=f"press to written down, {many}",
        ours=f"{median(seen['full']):.1f} ms",
        peer=f"few {median(seen['few']):.1f} ms",
        ratio=median(seen["full"]) / median(seen["few"]),
        goal=GOAL,
    )


def _engine_lines(programs: Sequence[Program], effort: Effort, many: str) -> list[Line]:
    """Without the IOC around it: what one of its calls takes."""
    lines: list[Line] = []
    starts: dict[str, list[float]] = {program.label: [] for program in programs}
    for turn in range(effort.starts + 1):
        for program in programs:
            with program:
                pass
            if turn:
                starts[program.label].append(program.ready_s)
    lines.append(_line(f"engine: start, {many}", starts))
    with ExitStack() as stack:
        for program in programs:
            stack.enter_context(program)
            program.do("poll", every_s=QUICK_POLL_S)
        for what, task in (("submit", "submit"), ("health", "health"), ("last 50", "last")):
            took: dict[str, list[float]] = {program.label: [] for program in programs}
            for turn in range(effort.looks + 1):
                for program in programs:
                    seconds = program.do(task, count=1).seconds
                    if turn:
                        took[program.label].append(seconds)
            lines.append(_line(f"engine: {what}, {many}", took))
    return lines


def _line(what: str, took: Mapping[str, Sequence[float]]) -> Line:
    """The medians and their ratio: looks of a ms differ too much from one to the next for one of pairs."""
    full, few = median(took["full"]), median(took["few"])
    return Line(what=what, ours=_shown(full), peer=f"few {_shown(few)}", ratio=full / few, goal=GOAL)


def _shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1e3 * seconds:.2f} ms"
