"""The peer: caproto, p4p and DBOS in one process as their tutorials use them, and one long workflow.

`python resume_bare.py DATABASE RECORDS.json`; begun by the first start, and goes on at all others.
"""

import asyncio
import json
import sys
from pathlib import Path

from bare_server import serve
from dbos import DBOS, SetEnqueueOptions, SetWorkflowID
from outside import EFFECTS, do
from work import QUEUE
from work_dbos import launch


@DBOS.workflow(name="long", max_recovery_attempts=None)
def long(order: dict[str, str]) -> dict[str, str]:
    for number in range(EFFECTS):
        DBOS.run_step({"name": f"effect {number}"}, do)
    return order


def main() -> None:
    launch(sys.argv[1])
    with SetWorkflowID("long"), SetEnqueueOptions(queue_partition_key="bench"):
        DBOS.enqueue_workflow(QUEUE, long, {"resource": "bench"})
    asyncio.run(serve(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
