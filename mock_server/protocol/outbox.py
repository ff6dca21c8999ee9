"""Frames on their way to one WebSocket client: a bounded queue in front of a transport that holds next to nothing.

What the transport or the kernel has can no longer be taken back, and a close frame has to queue behind it. So both
are kept small and the rest waits here, where it can be dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from mock_server.asgi import ClientGoneError
from mock_server.wire import WireLimits

# Handed to the transport at once at most: some 6 KB of tokens, which may lie between a close frame and a client.
MOST_AT_ONCE = 128
# Until an endpoint says what it wants.
_DEFAULT_LIMITS = WireLimits(max_frames=1000, send_timeout_s=5.0)


def _ignore(_: str) -> None:
    """Stands in for a connection that is gone."""


class Outbox:
    """`on_slow` is called when the client has taken nothing off for the send time-out."""

    __slots__ = ("_deadline", "_is_blocked", "_is_ended", "_loop", "_on_slow", "_pending", "_pong", "_room",
                 "_transport", "limits")  # fmt: skip

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        loop: asyncio.AbstractEventLoop,
        on_slow: Callable[[str], None],
    ):
        self._transport = transport
        self._loop = loop
        self._on_slow = on_slow
        self.limits = _DEFAULT_LIMITS
        self._pending: deque[bytes] = deque()
        self._pong = b""
        self._is_blocked = False
        self._is_ended = False
        self._room: asyncio.Future[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        # Above none at all the transport says "pause", so that whatever the kernel does not take waits here.
        transport.set_write_buffer_limits(0)

    @property
    def waiting(self) -> int:
        """Frames that wait for the client."""
        return len(self._pending)

    @property
    def is_ended(self) -> bool:
        """Whether nothing can be sent any more."""
        # A transport that met an error is closing for some turns of the loop before it says so.
        return self._is_ended or self._transport.is_closing()

    @property
    def is_blocked(self) -> bool:
        """Whether the client has to read before anything more can be written."""
        return self._is_blocked

    async def send(self, frames: Sequence[bytes]) -> None:
        """Writes the frames, or queues them and waits while there is no room. Raises ClientGoneError once ended."""
        position = 0
        while not self._is_blocked and not self._pending and not self.is_ended:
            self._transport.write(b"".join(frames[position : position + MOST_AT_ONCE]))
            position += MOST_AT_ONCE
            if position >= len(frames):
                return
        await self._queue(frames, position)

    async def _queue(self, frames: Sequence[bytes], position: int) -> None:
        while position < len(frames):
            if self.is_ended:
                raise ClientGoneError
            room = self.limits.max_frames - len(self._pending)
            if room > 0:
                self._pending.extend(frames[position : position + room])
                position += room
                self._pump()
            else:
                self._room = self._loop.create_future()
                try:
                    await self._room
                finally:
                    self._room = None

    def _pump(self) -> None:
        pending = self._pending
        while pending and not self._is_blocked and not self._transport.is_closing():
            run = [pending.popleft() for _ in range(min(MOST_AT_ONCE, len(pending)))]
            self._transport.write(b"".join(run))
        if len(pending) <= self.limits.max_frames // 2:
            self._wake()

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def answer_ping(self, pong: bytes) -> None:
        """Writes a pong; of many pings to a client that does not read the last is answered, as RFC 6455 allows."""
        if self._is_blocked:
            self._pong = pong
        elif not self.is_ended:
            self._transport.write(pong)

    def append_last(self, frame: bytes) -> None:
        """Puts a close frame behind everything queued; nothing can be sent after it."""
        if not self.is_ended:
            self._pending.append(frame)
            self._pump()
            self._is_ended = True
            self._wake()

    def drop(self, last: bytes = b"") -> None:
        """Drops what waits and writes `last` past it: behind at most one chunk, and what the kernel has."""
        self._pending.clear()
        self._pong = b""
        self._is_ended = True
        # Leads back to the connection: kept, each would stay until the garbage collector came by.
        self._on_slow = _ignore
        self._stop_waiting()
        if last and not self._transport.is_closing():
            self._transport.write(last)
        self._wake()

    def pause(self) -> None:
        """Takes the transport's word that the kernel took not everything."""
        self._is_blocked = True
        if self._deadline is None and (self._pending or not self._is_ended):
            self._deadline = self._loop.call_later(self.limits.send_timeout_s, self._give_up)

    def resume(self) -> None:
        """Takes the transport's word that the kernel took everything; goes on."""
        self._is_blocked = False
        self._stop_waiting()
        if self._pong and not self._transport.is_closing():
            pong, self._pong = self._pong, b""
            self._transport.write(pong)
        self._pump()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        is_full = self._room is not None or len(self._pending) >= self.limits.max_frames
        self._on_slow("buffer_full" if is_full else "send_timeout")
