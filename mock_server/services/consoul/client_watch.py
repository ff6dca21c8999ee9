"""Ends what is being done for a client once that client is gone."""

import asyncio
from types import TracebackType
from typing import Self

from mock_server.asgi import ClientGoneError, Receive

_CUT_DEADLINE_S = 1.0


class ClientWatch:
    """Around the work for one request whose body was read: cancels it when the client leaves.

    What was cancelled so leaves the block as ClientGoneError. A cancellation from outside, by a server that ends,
    passes as what it is.
    """

    def __init__(self, receive: Receive):
        self._receive = receive
        self._is_open = True
        self.is_given_up = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The server also says that the client is gone when an answer is whole: after that nobody may listen.
        self._is_open = False
        if not self.is_given_up:
            self._listener.cancel()
            return
        is_ours = self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError
        if is_ours:
            # A connection that was cut is gone a moment later: the server must know before the request ends.
            await asyncio.wait([self._listener], timeout=_CUT_DEADLINE_S)
        self._listener.cancel()
        if is_ours:
            raise ClientGoneError from None

    def give_up(self) -> None:
        """Cancels the work inside; for a client that left, or whose connection was just cut."""
        if self._is_open and not self.is_given_up:
            self.is_given_up = True
            self._task.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.give_up()
