"""A server that also measures how late its event loop is.

`python watched.py FILE ours SITE.yaml`, or `FILE bare RECORDS.json`. A task sleeps 5 ms again and again; what
it oversleeps is how long anything else of the loop waits. On SIGUSR1 the median, the 99th percentile and the
longest since the last signal are written to the file, in ms.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import bare_server
from timing import spread

PAUSE_S = 0.005


class Lateness:
    """What was overslept."""

    def __init__(self, path: Path) -> None:
        self._path, self._late_s = path, [0.0]

    async def measure(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._tell)
        while True:
            began = time.perf_counter()
            await asyncio.sleep(PAUSE_S)
            self._late_s.append(max(time.perf_counter() - began - PAUSE_S, 0.0))

    def _tell(self) -> None:
        late_s, self._late_s = self._late_s, [0.0]
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(spread(late_s)), encoding="utf-8")
        beside.replace(self._path)


async def main() -> None:
    path, which, argument = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    measuring = asyncio.create_task(Lateness(path).measure())
    if which == "ours":
        from beamtime_ioc.app import serve

        await serve(argument, lambda words: print(words, flush=True))
    else:
        await bare_server.serve(json.loads(argument.read_text(encoding="utf-8")))
    measuring.cancel()


if __name__ == "__main__":
    asyncio.run(main())
