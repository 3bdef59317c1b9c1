"""What the effects of the bench do to the world: a line with the time, in a file named by the environment."""

import os
import time

LOG = "BEAMTIME_BENCH_LOG"
EFFECTS = 5000
PAUSE_S = 0.03


def do() -> None:
    """Done when the line is there: ns of the clock that all programs of this computer share."""
    time.sleep(PAUSE_S)  # most of the time it is here that kill -9 meets it
    log = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(log, b"%d\n" % time.monotonic_ns())
    finally:
        os.close(log)
