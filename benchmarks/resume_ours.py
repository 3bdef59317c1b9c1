"""Our engine and one long run, which is begun by the first start and goes on at all others.

`python resume_ours.py STATE`
"""

import asyncio
import sys
import threading
from pathlib import Path

from long_action import bench_long
from work_ours import BENCH, PREFIX, SITE, Ends

from beamtime_ioc.engine.durable import DurableEngine
from beamtime_ioc.engine.engine import Order, new_run_id
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.journal import Journal
from beamtime_ioc.store import Store


def main() -> None:
    store = Store(Path(sys.argv[1]), PREFIX)
    engine = DurableEngine(Workshop(actions={bench_long.name: bench_long}, services={}, site=SITE), store)
    engine.start(Ends())
    if not Journal(store.engine).open():
        order = Order(id=new_run_id(), action=bench_long.name, resource="bench", who=BENCH, experiment=None)
        asyncio.run(engine.submit(order))
    threading.Event().wait()


if __name__ == "__main__":
    main()
