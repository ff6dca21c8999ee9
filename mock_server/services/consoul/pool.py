"""Places for calls to providers: what an HTTP client's pool of connections would allow."""

import asyncio
from collections import deque

from mock_server.errors import ProviderSaturatedError

_RETRY_AFTER_S = 1.0


class ProviderPool:
    """Places shared by all providers; a call waits for one as for a connection, in order of arrival."""

    def __init__(self, maximum: int):
        self.maximum = maximum
        self._queue: deque[asyncio.Future[None]] = deque()
        self.in_use = 0

    def has_entered(self) -> bool:
        """Takes a place and returns True, or False when none is free; what it says, a call need not wait for."""
        if self.in_use < self.maximum:
            self.in_use += 1
            return True
        return False

    async def enter(self, timeout_s: float) -> None:
        """Takes a place; raises ProviderSaturatedError when none is free within `timeout_s`."""
        if self.has_entered():
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            async with asyncio.timeout(timeout_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.leave()
            if isinstance(error, TimeoutError):
                raise ProviderSaturatedError(retry_after_s=_RETRY_AFTER_S) from None
            raise

    def leave(self) -> None:
        """Hands the place to the call that waits longest, else frees it."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.in_use -= 1
