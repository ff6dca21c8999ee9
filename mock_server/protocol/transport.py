"""What stands between uvicorn's protocol and the socket: one write for each answer, and closing without a reset."""

import asyncio
from collections.abc import Callable
from typing import Any

_MOST_KEPT_BYTES = 16_384


class TickTransport:
    """A transport that joins what is written in one turn of the event loop; everything else is the real one's.

    uvicorn writes the head of an answer and its body apart, which is a system call and a packet for each.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[asyncio.Transport], None],
    ):
        """`close` ends the real transport, once, after the last write."""
        self._transport = transport
        self._loop = loop
        self._close = close
        self._pieces: list[bytes] = []
        self._kept_bytes = 0
        self._is_finished = False

    @property
    def inner(self) -> asyncio.Transport:
        """The real transport, for a protocol that joins its own writes."""
        return self._transport

    def write(self, data: bytes) -> None:
        """Keeps `data` until this turn of the loop ends, or until there is so much that backpressure must see it."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes > _MOST_KEPT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what was kept."""
        if self._pieces:
            pieces, self._pieces, self._kept_bytes = self._pieces, [], 0
            if not self.is_closing():
                self._transport.write(b"".join(pieces))

    def close(self) -> None:
        """Closes once what was kept is written."""
        if not self._is_finished:
            self.flush()
            self._is_finished = True
            if not self._transport.is_closing():
                self._close(self._transport)

    def is_closing(self) -> bool:
        """Returns whether nothing written from now on would leave."""
        return self._is_finished or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Discard(asyncio.BufferedProtocol):
    """Takes a connection's input once its request was refused: throws it away, bounded, until the answer has left.

    `owner` goes on hearing of everything but input.
    """

    def __init__(self, owner: asyncio.Protocol, transport: asyncio.Transport, most_bytes: int):
        self._owner = owner
        self._transport = transport
        # Reads no more at once than it may in all.
        self._buffer = bytearray(most_bytes)
        self._left_bytes = most_bytes
        self._timer: asyncio.TimerHandle | None = None
        self._is_at_end = False

    def get_buffer(self, sizehint: int) -> memoryview:
        """Returns where the next bytes are lost."""
        return memoryview(self._buffer)[: max(1, self._left_bytes)]

    def buffer_updated(self, nbytes: int) -> None:
        """Throws away; stops reading at the bound."""
        self._left_bytes -= nbytes
        if self._left_bytes <= 0 and self._transport.is_reading():
            self._transport.pause_reading()

    def finish(self, loop: asyncio.AbstractEventLoop, linger_s: float) -> None:
        """Sends the end of the answer, and closes when the client has seen it, after `linger_s` at the latest."""
        if self._is_at_end:
            self._transport.close()
            return
        self._timer = loop.call_later(linger_s, self._transport.abort)
        self._transport.write_eof()

    def eof_received(self) -> bool:
        """Keeps the connection for an answer that has still to leave."""
        self._is_at_end = True
        return self._timer is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the owner."""
        if self._timer is not None:
            self._timer.cancel()
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tells the owner."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """Tells the owner."""
        self._owner.resume_writing()


class BoundedReader(asyncio.BufferedProtocol):
    """Reads for `owner` in pieces of at most 16 KB, where the event loop would read a quarter of a megabyte at once.

    Stands in for it only while a body of unknown length comes in: then little is read past a limit.
    """

    def __init__(self, owner: asyncio.Protocol):
        self._owner = owner
        self._buffer = memoryview(bytearray(16_384))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Returns where the next bytes are put."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hands on the bytes that were put there."""
        self._owner.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool | None:
        """Tells the owner."""
        return self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the owner."""
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tells the owner."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """Tells the owner."""
        self._owner.resume_writing()
