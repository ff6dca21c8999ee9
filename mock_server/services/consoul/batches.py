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
        """Sets answers a second and the greatest batch, from the next step on; at 0 all that wait go on at once."""
        self._capacity = capacity
        self._batch_size = batch_size
        if not self.is_bounded:
            _release(self._take(len(self._queue)))

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
        try:
            while self.is_bounded and (batch := self._take(self._batch_size)):
                ends_s += step_s(len(batch), self._capacity, self._batch_size)
                await self._sleep_until(ends_s)
                _release(batch)
        finally:
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
