"""The peer: caproto and p4p as their tutorials use them, in one process and one loop, nothing of ours.

`python bare_server.py RECORDS.json`: a list of {"name", "kind", "size_bytes", "states"}. Ports and interfaces
come from the EPICS variables. Prints READY when both protocols are served.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from caproto import ChannelChar, ChannelDouble, ChannelEnum, ChannelInteger, ChannelString
from caproto.asyncio.server import Context
from p4p.nt import NTEnum, NTScalar
from p4p.server import Server, StaticProvider
from p4p.server.asyncio import Handler, SharedPV


def channel(record: dict[str, Any]) -> Any:
    match record["kind"]:
        case "text":
            return ChannelChar(value="", max_length=record["size_bytes"], string_encoding="utf-8")
        case "string":
            return ChannelString(value="")
        case "states":
            return ChannelEnum(value=0, enum_strings=record["states"])
        case "integer":
            return ChannelInteger(value=0)
        case _:
            return ChannelDouble(value=0.0)


class Store(Handler):
    """Takes what a client puts."""

    def put(self, pv: SharedPV, op: Any) -> None:
        pv.post(op.value(), timestamp=time.time())
        op.done()


def shared(record: dict[str, Any]) -> SharedPV:
    """With the fields that a C IOC serves too: an operation begins with the whole type on the wire."""
    now = time.time()
    if record["kind"] == "states":
        initial = {"index": 0, "choices": record["states"]}
        return SharedPV(handler=Store(), nt=NTEnum(display=True), initial=initial, timestamp=now)
    code, value = {"integer": ("i", 0), "float": ("d", 0.0)}.get(record["kind"], ("s", ""))
    nt = NTScalar(code, display=True, control=True, valueAlarm=True, form=True)
    return SharedPV(handler=Store(), nt=nt, initial=value, timestamp=now)


async def serve(records: list[dict[str, Any]]) -> None:
    provider = StaticProvider()
    pvs = [shared(record) for record in records]
    for record, pv in zip(records, pvs, strict=True):
        provider.add(record["name"], pv)
    context = Context({record["name"]: channel(record) for record in records}, ["127.0.0.1"])

    async def ready(_layer: Any) -> None:
        print("READY", flush=True)

    with Server(providers=[provider]):
        running = asyncio.create_task(context.run(startup_hook=ready))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await asyncio.wait([running])


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
