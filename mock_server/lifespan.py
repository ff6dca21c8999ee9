"""What a worker starts before it serves and ends after: threads, gauges sampled each second, the way to Redis."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mock_server.core.draining import Draining
from mock_server.errors import StorageUnavailableError
from mock_server.metrics import StateMetrics
from mock_server.reconnection import Reconnector
from mock_server.state.coalescer import Coalescer
from mock_server.state.sessions import SessionStore

_log = logging.getLogger(__name__)

SAMPLE_EVERY_S = 1.0

# Runs until cancelled.
Background = Callable[[], Coroutine[Any, Any, None]]

# Returns the places of a pool that are in use, and how many there are.
MeasurePool = Callable[[], tuple[int, int]]


class Sampler:
    """Keeps gauges that nothing in a request's path sets: sessions alive, pools in use."""

    def __init__(self, sessions: SessionStore, pools: dict[str, MeasurePool], metrics: StateMetrics):
        self._sessions = sessions
        self._pools = pools
        self._metrics = metrics

    async def run(self) -> None:
        """Samples until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def sample(self) -> None:
        """Sets every gauge once; while nothing can count sessions, their number stays what it was."""
        for name, measure in self._pools.items():
            in_use, maximum = measure()
            self._metrics.pool_in_use[name].set(in_use)
            self._metrics.pool_max[name].set(maximum)
        with contextlib.suppress(StorageUnavailableError):
            self._metrics.active_sessions.set(await self._sessions.count())


def create_lifespan(
    sampler: Sampler,
    reconnector: Reconnector,
    clients: Iterable[Coalescer],
    thread_pool_size: int | None,
    draining: Draining,
    background: Iterable[Background] = (),
    control: contextlib.AbstractAsyncContextManager[None] | None = None,
) -> Callable[[Any], contextlib.AbstractAsyncContextManager[Mapping[str, Any]]]:
    """Returns the lifespan of the application; it waits a moment for Redis, and starts without it.

    `draining` becomes part of the state that the server and every request see; `background` and `control` run beside
    them, `control` from before the first request.
    """
    threads = thread_pool_size or min(32, (os.cpu_count() or 1) + 4)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[Mapping[str, Any]]:
        executor = ThreadPoolExecutor(threads, thread_name_prefix="consoul")
        asyncio.get_running_loop().set_default_executor(executor)
        await reconnector.start()
        runs: tuple[Background, ...] = (sampler.run, reconnector.run, *background)
        tasks = [asyncio.create_task(run(), name=run.__qualname__) for run in runs]
        for task in tasks:
            task.add_done_callback(_tell_of_failure)
        try:
            async with control or contextlib.nullcontext():
                yield {"draining": draining}
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await reconnector.finish()
            for client in clients:
                await client.close()
            executor.shutdown(wait=False, cancel_futures=True)

    return lifespan


def _tell_of_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s ended, and what it did is left undone", task.get_name(), exc_info=error)
