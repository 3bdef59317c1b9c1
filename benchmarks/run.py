"""The speed of the IOC, as ratios to peers that ran in the same minutes on this machine.

Servers and clients are programs of their own on loopback and free ports; all are ended at the end.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from effort import FULL, QUICK, Effort
from looking import looks_up
from mailing import mails
from placing import hanging, places
from pressing import presses
from remembering import remembers, remembers_there
from resuming import resumes
from servers import House
from standing import crowd
from starting import starts
from table import Group, markdown, write_json
from wire import loop, monitors, trips
from working import works

GROUPS: dict[str, Callable[[House, Effort], Group]] = {
    "start": starts,
    "ca": partial(trips, "CA"),
    "ca-monitors": partial(monitors, "CA"),
    "pva": partial(trips, "PVA"),
    "pva-monitors": partial(monitors, "PVA"),
    "press": presses,
    "look-up": looks_up,
    "loop": loop,
    "crowd": crowd,
    "places": places,
    "hanging": hanging,
    "engine": works,
    "resume": resumes,
    "mail": mails,
    "history": remembers,
    "history-postgresql": remembers_there,
}
PACKAGES = ("caproto", "p4p", "pyepics", "epicscorelibs", "dbos")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no crowd of a hundred")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    options = parser.parse_args()
    unknown = set(options.groups) - set(GROUPS)
    if unknown:
        parser.error(f"there is no group {', '.join(sorted(unknown))}; these are: {', '.join(GROUPS)}")
    effort = QUICK if options.quick else FULL
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}\n", flush=True)
    done: list[Group] = []
    with House() as house:
        for name in options.groups or GROUPS:
            began = time.monotonic()
            done.append(GROUPS[name](house, effort))
            print(markdown(done[-1]), flush=True)
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    goals = [line.met for group in done for line in group.lines if line.goal]
    print(f"{sum(map(bool, goals))} of {len(goals)} goals are met.")
    if options.json:
        write_json(done, options.json)


if __name__ == "__main__":
    main()
