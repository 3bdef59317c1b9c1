"""Steps and actions per second: our engine beside bare DBOS, and on PostgreSQL beside procrastinate."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from effort import Effort
from postgres import MISSING, postgres
from programs import Program, Took
from servers import House
from table import Group, Line, ratio_of

QUICK_POLL_S = 0.01
GOAL = ">= 0.9"
Rounds = Mapping[str, Sequence[Took]]

REMARK = (
    "Rates per second. One by one: the next one is pressed when the end of the last is on the disk. Queued: "
    "all at once, each on a resource of its own. As shipped, a queue is asked five times a second and gives "
    "out eight at most, which is nearly all that both rows show; asked each 10 ms, ours and DBOS show what "
    "they cost. procrastinate is told of a new job and need not ask; it remembers no steps: its job has none."
)


def works(house: House, effort: Effort) -> Group:
    """The same work for each engine, in turns, on SQLite and on PostgreSQL."""
    place = Path(tempfile.mkdtemp(prefix="engine-", dir=house.directory))
    lines: list[Line] = []
    remark = REMARK
    with ExitStack() as stack:
        ours = Program("ours", "work_ours.py", place, state=str(place / "state"))
        dbos = Program("DBOS", "work_dbos.py", place, where=str(place / "bare.sqlite"))
        lines += _measured("SQLite", [stack.enter_context(program) for program in (ours, dbos)], effort)
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        if server is None:
            remark = f"{REMARK} {MISSING}"
        else:
            mine, bare, jobs = (server.database(engine_ready=False) for _ in range(3))
            programs = (
                Program("ours", "work_ours.py", place, state=str(place / "hosts"), database=mine.url),
                Program("DBOS", "work_dbos.py", place, where=bare.url),
                Program("procrastinate", "work_procrastinate.py", place, where=jobs.url),
            )
            started = [stack.enter_context(program) for program in programs]
            lines += _measured("PostgreSQL", started, effort)
    shutil.rmtree(place)
    return Group(name="The engine", lines=lines, remark=remark)


def _measured(store: str, programs: Sequence[Program], effort: Effort) -> list[Line]:
    engines = programs[:2]
    lines = _lines(f"{store}: steps in one run", _turns(engines, "steps", effort.rounds, effort.steps), GOAL)
    few, many = effort.actions // 6, effort.actions
    shipped = min(effort.rounds, 4)  # what a timer decides needs no more
    lines += _lines(f"{store}: actions one by one", _turns(programs, "one_by_one", shipped, few), GOAL)
    lines += _lines(f"{store}: actions queued", _turns(programs, "queued", shipped, many), GOAL)
    for engine in engines:
        engine.do("poll", every_s=QUICK_POLL_S)
    asked = ", asked each 10 ms"
    one_by_one = _turns(programs, "one_by_one", effort.rounds, 2 * few)
    lines += _lines(f"{store}: actions one by one{asked}", one_by_one, GOAL)
    return lines + _lines(
        f"{store}: actions queued{asked}", _turns(programs, "queued", effort.rounds, many), GOAL
    )


def _turns(programs: Sequence[Program], task: str, rounds: int, count: int) -> dict[str, list[Took]]:
    """What each took for one, in its turns; the first turn warms up and is not counted."""
    took: dict[str, list[Took]] = {program.label: [] for program in programs}
    for turn in range(rounds + 1):
        for program in programs:
            done = program.do(task, count=count)
            if turn:
                took[program.label].append(Took(seconds=done.seconds / count, cpu_s=done.cpu_s / count))
    return took


def _lines(what: str, took: Rounds, goal: str) -> list[Line]:
    """A line for each peer; the goal is held against DBOS."""
    rates = {label: [1 / each.seconds for each in turns] for label, turns in took.items()}
    return [
        Line(
            what=what,
            ours=_shown(took["ours"]),
            peer=f"{peer} {_shown(took[peer])}",
            ratio=ratio_of(rates["ours"], rates[peer]),
            goal=goal if peer == "DBOS" else "",
        )
        for peer in took
        if peer != "ours"
    ]


def _shown(turns: Sequence[Took]) -> str:
    rate, cpu_ms = (1 / median(each.seconds for each in turns)), 1e3 * median(each.cpu_s for each in turns)
    return f"{rate:,.0f} /s, {cpu_ms:.1f} ms CPU"
