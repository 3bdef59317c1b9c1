"""The peer on PostgreSQL: procrastinate with one worker, which is told of new jobs and need not ask."""

import asyncio
import json
import logging
import threading
import time
from typing import Any

from procrastinate import App, PsycopgConnector
from work import LOOK_S, RESOURCES_AT_ONCE, obey, request


class Jobs:
    """A job for each action; its `lock` is the resource."""

    def __init__(self, where: str) -> None:
        self._app = App(connector=PsycopgConnector(conninfo=where, json_dumps=json.dumps, max_size=10))
        self._ended = threading.Semaphore(0)
        self._job = self._app.task(name="action")(self._run)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="jobs", daemon=True).start()
        self._wait(self._begin())

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _begin(self) -> None:
        await self._app.open_async()
        await self._app.schema_manager.apply_schema_async()
        worker = self._app.run_worker_async(concurrency=RESOURCES_AT_ONCE, install_signal_handlers=False)
        self._worker = asyncio.create_task(worker)

    def _run(self, resource: str) -> None:
        self._ended.release()

    async def _defer(self, resource: str) -> None:
        await self._job.configure(lock=resource).defer_async(resource=resource)

    async def _settle(self) -> None:
        """Wait until every end is on the disk."""
        query = "SELECT count(*) AS open FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        while (await self._app.connector.execute_query_one_async(query))["open"]:
            await asyncio.sleep(LOOK_S)

    def one_by_one(self, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            self._wait(self._defer("r"))
            self._ended.acquire()
            self._wait(self._settle())
        return time.perf_counter() - began

    def queued(self, count: int) -> float:
        """All at once, each on a resource of its own."""
        began = time.perf_counter()
        for number in range(count):
            self._wait(self._defer(f"r{number}"))
        for _ in range(count):
            self._ended.acquire()
        self._wait(self._settle())
        return time.perf_counter() - began


def main() -> None:
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    jobs = Jobs(request()["where"])
    obey({"one_by_one": jobs.one_by_one, "queued": jobs.queued})


if __name__ == "__main__":
    main()
