"""A crowd: a hundred clients watch fifty records that change ten times a second, for a minute."""

import json
from statistics import median
from typing import Any

from effort import Effort
from servers import HERE, PREFIX, House, Server, run_client
from table import Group, Line, ratio_of

from beamtime_ioc.records import load_records

RECORDS = 50
NAMES = [f"{PREFIX}BenchCrowd{number}" for number in range(RECORDS)]


def crowd(house: House, effort: Effort) -> Group:
    """Both protocols: what is lost, how late the loop is, and the processor time beside the bare peer."""
    lines = [line for protocol in ("CA", "PVA") for line in _crowd(protocol, house, effort)]
    seconds = effort.turns * effort.turn_s
    remark = (
        f"{effort.crowd} clients watch {RECORDS} records each; another client puts to all of these ten times "
        f"a second, {seconds:g} s before each server, in {effort.turns} turns. Each put passes the access "
        "check. Final values: those that a client does not have at the end of a turn. The loop: what a task "
        "that sleeps 5 ms oversleeps, the median of the turns. CPU is that of the server, in percent of one "
        "core."
    )
    return Group(name="A crowd", lines=lines, remark=remark)


def _crowd(protocol: str, house: House, effort: Effort) -> list[Line]:
    ours, bare = _servers(house)
    with ours, bare:
        found: dict[str, list[dict[str, Any]]] = run_client(
            "stream_clients.py",
            "crowd",
            [ours, bare],
            protocol=protocol,
            clients=effort.crowd,
            names=NAMES,
            turns=effort.turns,
            seconds=effort.turn_s,
        )
    return _lines(protocol, found["ours"], found["bare"])


def _servers(house: House) -> tuple[Server, Server]:
    written = house.directory / "crowd.db"
    written.write_text(
        "".join(
            f'record(ao, "$(P)$(R)BenchCrowd{number}") {{ field(ASG, "identity") }}\n'
            for number in range(RECORDS)
        ),
        encoding="utf-8",
    )
    names = json.loads((house.directory / "records.json").read_text(encoding="utf-8"))
    made = load_records([written], prefix=PREFIX).records
    names += [{"name": name, "kind": "float", "size_bytes": 0, "states": []} for name in made]
    (house.directory / "crowd.json").write_text(json.dumps(names), encoding="utf-8")
    site = house.site("crowd", records=[written])
    watched = str(HERE / "watched.py")
    return (
        house.server("ours", watched, "ours.late", "ours", str(site)),
        house.server("bare", watched, "bare.late", "bare", "crowd.json"),
    )


def _lines(protocol: str, ours: list[dict[str, Any]], bare: list[dict[str, Any]]) -> list[Line]:
    def of(turns: list[dict[str, Any]], key: str) -> list[float]:
        return [turn[key] for turn in turns]

    def share(turns: list[dict[str, Any]]) -> str:
        return f"{100 * sum(of(turns, 'events')) / sum(of(turns, 'wanted')):.1f} %"

    def late(turns: list[dict[str, Any]], which: int) -> float:
        return median(turn["late"][which] for turn in turns)

    lost, lost_there = (int(sum(of(turns, "lost"))) for turns in (ours, bare))
    return [
        Line(
            what=f"{protocol}: final values lost",
            ours=str(lost),
            peer=f"bare {lost_there}",
            goal="<= 0",
            measured=lost,
        ),
        Line(what=f"{protocol}: events that came of those put", ours=share(ours), peer=f"bare {share(bare)}"),
        Line(
            what=f"{protocol}: the loop is late, 99 of 100 below",
            ours=f"{late(ours, 1):.1f} ms",
            peer=f"bare {late(bare, 1):.1f} ms",
            goal="<= 50 ms",
            measured=late(ours, 1),
        ),
        Line(
            what=f"{protocol}: the loop is late, longest",
            ours=f"{late(ours, 2):.1f} ms",
            peer=f"bare {late(bare, 2):.1f} ms",
        ),
        Line(
            what=f"{protocol}: CPU",
            ours=f"{100 * median(of(ours, 'cpu')):.0f} %",
            peer=f"bare {100 * median(of(bare, 'cpu')):.0f} %",
            ratio=ratio_of(of(ours, "cpu"), of(bare, "cpu")),
            goal="<= 1.2",
        ),
        Line(
            what=f"{protocol}: CPU of all clients together",
            ours=f"{100 * median(of(ours, 'clients_cpu')):.0f} %",
            peer=f"bare {100 * median(of(bare, 'clients_cpu')):.0f} %",
        ),
    ]
