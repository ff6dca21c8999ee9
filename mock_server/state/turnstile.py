"""One at a time for each key, in order of arrival, within one process."""

import asyncio
from collections import deque
from types import TracebackType


class Turnstile:
    """`async with turnstile.enter(key)`; keys cost nothing while nobody holds them."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[asyncio.Future[None]] | None] = {}

    def enter(self, key: str) -> "_Passage":
        """Returns the context in which the caller alone holds `key`."""
        return _Passage(self, key)

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


class _Passage:
    __slots__ = ("_key", "_turnstile")

    def __init__(self, turnstile: Turnstile, key: str):
        self._turnstile = turnstile
        self._key = key

    async def __aenter__(self) -> None:
        await self._turnstile.acquire(self._key)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turnstile.release(self._key)
