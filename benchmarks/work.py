"""What the engines are set to do, each in a program of its own: told by a line, answered by a line.

{"task": "steps", "count": 300}    {"seconds": 0.31, "cpu_s": 0.28}
"""

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

QUEUE, RESOURCES_AT_ONCE, POLL_S = "actions", 8, 0.2
"""The queue of ours, and what the peers are told for theirs."""
LOOK_S = 0.005
"""How often everybody looks whether an end is on the disk, once the body has ended."""

Task = Callable[..., Any]


def obey(tasks: Mapping[str, Task]) -> None:
    """Do what the lines of stdin say until it ends; then end at once, whatever still polls."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: who began this program ends it
    gc.collect()
    gc.freeze()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        worked = time.process_time()
        seconds = tasks[request.pop("task")](**request)
        answer = {"seconds": seconds, "cpu_s": time.process_time() - worked}
        print(json.dumps(answer), flush=True)
    os._exit(0)


def request() -> Mapping[str, Any]:
    """What the program was begun with, and nothing of the environment that DBOS would heed."""
    for variable in [name for name in os.environ if name.startswith("DBOS")]:
        del os.environ[variable]
    return json.loads(sys.argv[1])
