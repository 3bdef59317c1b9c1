"""Gets, puts and monitors on both protocols, beside bare caproto with p4p and beside a C IOC."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from effort import Effort
from servers import House, Server, run_client
from table import Group, Line, ratio_of

PEERS = {"bare": "bare", "C": "C"}
PROGRAMS = {"CA": "ca_clients.py", "PVA": "pva_clients.py"}
Rounds = Mapping[str, Sequence[float]]


def trips(protocol: str, house: House, effort: Effort) -> Group:
    """Round trips of one client, and over Channel Access gets that do not wait for each other."""
    with ExitStack() as stack:
        servers = _start_all(house, stack)
        program = PROGRAMS[protocol]
        found: Mapping[str, Rounds] = run_client(
            program, "round_trips", servers, rounds=effort.rounds, trips=effort.trips
        )
        lines = [line for what, times in found.items() for line in _trip_lines(what, times)]
        if protocol == "CA":
            rates = run_client(program, "pipelined", servers, rounds=2 * effort.rounds, gets=effort.gets)
            lines += _rate_lines(rates)
    return Group(name=f"{protocol}: round trips of one client", lines=lines)


def _start_all(house: House, stack: ExitStack) -> list[Server]:
    return [stack.enter_context(server) for server in (house.ours(), house.bare(), house.c())]


def _trip_lines(what: str, times: Rounds) -> list[Line]:
    return [
        Line(
            what=what,
            ours=f"{median(times['ours']):.3f} ms",
            peer=f"{peer} {median(times[peer]):.3f} ms",
            ratio=ratio_of(times["ours"], times[peer]),
            goal="<= 1.1" if peer == "bare" else "",
        )
        for peer in PEERS
        if peer in times
    ]


def _rate_lines(rates: Rounds) -> list[Line]:
    return [
        Line(
            what="pipelined gets",
            ours=f"{median(rates['ours']):,.0f} /s",
            peer=f"{peer} {median(rates[peer]):,.0f} /s",
            ratio=ratio_of(rates["ours"], rates[peer]),
            goal=">= 4" if peer == "bare" else "",
        )
        for peer in PEERS
    ]


def monitors(protocol: str, house: House, effort: Effort) -> Group:
    """A number that changes as fast as a client can put, and ten times a second, before crowds of clients."""
    lines: list[Line] = []
    with ExitStack() as stack:
        servers = _start_all(house, stack)
        for size in effort.clients:
            found: dict[str, Any] = run_client(
                PROGRAMS[protocol],
                "crowds",
                servers,
                clients=size,
                rounds=effort.rounds,
                burst=effort.burst,
                seconds=effort.steady_s,
            )
            lines += _flood_lines(found["flood"], size, effort.burst)
            lines.append(_steady_line(found["steady"], size))
    remark = (
        f"A flood is {effort.burst} puts in a row; its time ends when every client has the last value. "
        "CPU is that of the server, in percent of one core."
    )
    return Group(name=f"{protocol}: monitors", lines=lines, remark=remark)


def _flood_lines(flood: Mapping[str, Any], size: int, burst: int) -> list[Line]:
    def rate(label: str) -> str:
        mine = flood[label]
        merged = 1 - mine["events"] / mine["wanted"]
        return f"{burst * size / median(mine['seconds']):,.0f} /s" + (
            f", {100 * merged:.0f} % merged" if merged >= 0.005 else ""
        )

    def cpu(label: str) -> str:
        return f"{1e6 * median(flood[label]['cpu']) / (burst * size):.1f} µs"

    crowd = f"{size} client{'s' if size > 1 else ''}"
    lines = [
        Line(
            what=f"flood, events to {crowd}",
            ours=rate("ours"),
            peer=f"{peer} {rate(peer)}",
            ratio=ratio_of(flood["ours"]["seconds"], flood[peer]["seconds"]),
            goal="<= 1.25" if peer == "bare" else "",
        )
        for peer in PEERS
        if peer in flood
    ]
    spent = Line(
        what=f"flood, CPU per event to {crowd}",
        ours=cpu("ours"),
        peer=f"bare {cpu('bare')}",
        ratio=ratio_of(flood["ours"]["cpu"], flood["bare"]["cpu"]),
    )
    return [*lines, spent]


def _steady_line(steady: Mapping[str, Any], size: int) -> Line:
    def cpu(label: str) -> str:
        mine = steady[label]
        lost = mine["wanted"] - mine["events"]
        return f"{100 * mine['cpu']:.1f} %" + (f", {lost} lost" if lost > 0 else "")

    others = ", ".join(f"{label} {cpu(label)}" for label in steady if label != "ours")
    return Line(what=f"10 Hz to {size} client{'s' if size > 1 else ''}, CPU", ours=cpu("ours"), peer=others)


def loop(house: House, effort: Effort) -> Group:
    """How long a get waits in the worst case: at rest, and while one run after another is at work."""
    with ExitStack() as stack:
        servers = [stack.enter_context(house.ours()), stack.enter_context(house.bare())]
        rest: Rounds = run_client("ca_clients.py", "waits", servers, seconds=effort.steady_s)
        busy = run_client("ca_clients.py", "runs", servers[:1], button="BeginBeamtime", runs=effort.runs)
    lines: list[Line] = []
    for index, what in enumerate(("median", "99 of 100 below", "longest")):
        at_rest, bare, at_work = rest["ours"][index], rest["bare"][index], busy["ours"]["gets_ms"][index]
        lines += [
            Line(what=f"get at rest, {what}", ours=f"{at_rest:.2f} ms", peer=f"bare {bare:.2f} ms"),
            Line(what=f"get while BeginBeamtime runs, {what}", ours=f"{at_work:.2f} ms"),
        ]
    remark = "One get each 2 ms over Channel Access; each of them waits for the loop that serves it."
    return Group(name="The event loop", lines=lines, remark=remark)
