"""Holds calls to a provider back to its capacity: they wait in order of arrival and are served a batch at a time."""

import asyncio
from collections import deque
from collections.abc import Callable

from mock_server.core.capacity import step_s
from mock_server.services.consoul.metronome import SleepUntil


class Batches:
    """One provider's queue. A task runs its steps, only while there are calls to serve."""

    def __init__(self, monotonic_s: Callable[[], float], sleep_until: SleepUntil):
        self._monotonic_s = monotonic_s
        self._sleep_until = sleep_until
        self._queue: deque[asyncio.Future[None]] = deque()
        self._steps: asyncio.Task[None] | None = None
        self._capacity = 0.0
        self._batch_size = 1

    @property
    def is_bounded(self) -> bool:
        """Whether calls have to wait at all."""
        return self._capacity > 0

    def configure(self, capacity: float, batch_size: int) -> None:
        """Sets answers a second and the greatest batch for all that wait; at 0 they go on at once.

        A step under way keeps its time, but nobody waits for its end any more: it may be hours away.
        """
        if (capacity, batch_size) == (self._capacity, self._batch_size):
            return
        self._capacity = capacity
        self._batch_size = batch_size
        self._steps = None
        if not self.is_bounded:
            _release(self._take(len(self._queue)))
        elif self._queue:
            self._steps = asyncio.create_task(self._run())

    async def take(self) -> None:
        """Returns at the end of the step that served this call; a cancelled call leaves the queue."""
        if not self.is_bounded:
            return
        served: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(served)
        if self._steps is None:
            self._steps = asyncio.create_task(self._run())
        await served

    async def _run(self) -> None:
        # Steps follow one another at moments fixed when the first began, however late each is noticed.
        ends_s = self._monotonic_s()
        mine = asyncio.current_task()
        try:
            while self._steps is mine and (batch := self._take(self._batch_size)):
                ends_s += step_s(len(batch), self._capacity, self._batch_size)
                await self._sleep_until(ends_s)
                _release(batch)
        finally:
            if self._steps is mine:
                self._steps = None

    def _take(self, most: int) -> list[asyncio.Future[None]]:
        batch: list[asyncio.Future[None]] = []
        while self._queue and len(batch) < most:
            call = self._queue.popleft()
            if not call.done():
                batch.append(call)
        return batch


def _release(calls: list[asyncio.Future[None]]) -> None:
    for call in calls:
        if not call.done():
            call.set_result(None)
