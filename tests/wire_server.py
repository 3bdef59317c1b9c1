"""The test board served by a process of its own, to be killed: `python wire_server.py CA_PORT PVA_PORT`."""

import asyncio
import logging
import sys

from beamtime_ioc.access import load_gate
from beamtime_ioc.board import Board
from beamtime_ioc.faces.ca import CaServer
from beamtime_ioc.faces.pva import PvaServer
from beamtime_ioc.records import load_records
from wire_house import DATA, LOOPBACK, PREFIX


async def serve(ca_port: int, pva_port: int) -> None:
    board = Board(load_records([DATA / "wire.substitutions"], prefix=PREFIX), load_gate(DATA / "wire.acf"))
    await CaServer(board, port=ca_port, interfaces=LOOPBACK).start()
    await PvaServer(board, port=pva_port, interfaces=LOOPBACK).start()
    print("READY", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
