"""From the command to the first answer and to READY, and the memory of a server at rest."""

import time
from statistics import median

from effort import Effort
from servers import House
from table import Group, Line, ratio_of

REST_S = 0.3


def starts(house: House, effort: Effort) -> Group:
    """Each server started again and again, taking turns; the first turn compiles and is not counted."""
    servers = [house.ours(), house.bare(), house.c()]
    answered: dict[str, list[float]] = {server.label: [] for server in servers}
    ready: dict[str, list[float]] = {server.label: [] for server in servers}
    rss_mb: dict[str, list[float]] = {server.label: [] for server in servers}
    for turn in range(effort.starts + 1):
        for server in servers:
            with server:
                time.sleep(REST_S)
                size = server.rss_mb
            if turn:
                answered[server.label].append(server.answered_s)
                ready[server.label].append(server.ready_s)
                rss_mb[server.label].append(size)
    lines: list[Line] = []
    for what, times, goal in (("start to first answer", answered, "<= 2.5"), ("start to READY", ready, "")):
        lines += [
            Line(
                what=what,
                ours=f"{median(times['ours']):.2f} s",
                peer=f"{peer} {median(times[peer]):.2f} s",
                ratio=ratio_of(times["ours"], times[peer]),
                goal=goal if peer == "bare" else "",
            )
            for peer in ("bare", "C")
        ]
    lines.append(
        Line(
            what="resident size at rest",
            ours=f"{median(rss_mb['ours']):.0f} MB",
            peer=f"bare {median(rss_mb['bare']):.0f} MB, C {median(rss_mb['C']):.0f} MB",
            goal="<= 160 MB",
            measured=median(rss_mb["ours"]),
        )
    )
    remark = f"Each serves {house.count} records; times count from the command, imports included."
    return Group(name="Start and memory", lines=lines, remark=remark)
