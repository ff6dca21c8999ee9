"""One at a time for each key, in order of arrival, within one process."""

import asyncio
from collections import deque


class Turnstile:
    """Whoever was let in calls `release`, whatever happens; keys cost nothing while nobody holds them."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[asyncio.Future[None]] | None] = {}

    def is_held(self, key: str) -> bool:
        """Returns whether `acquire` would wait."""
        return key in self._queues

    async def acquire(self, key: str) -> None:
        """Waits for `key`; a cancelled wait leaves the queue intact."""
        if key not in self._queues:
            self._queues[key] = None
            return
        queue = self._queues[key]
        if queue is None:
            queue = self._queues[key] = deque()
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.release(key)
            raise

    def release(self, key: str) -> None:
        """Hands `key` to the next that still waits, else forgets it."""
        queue = self._queues[key]
        while queue:
            following = queue.popleft()
            if not following.done():
                following.set_result(None)
                return
        del self._queues[key]
