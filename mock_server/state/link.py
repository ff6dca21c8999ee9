"""One connection to Redis: commands out in order, replies to the futures that wait; knows no queue and no retry."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

import hiredis

from mock_server.errors import StorageUnavailableError

# After a deadline the loop gets this long to read what already arrived, lest its own lag pass for Redis being away.
_GRACE_S = 0.01
_NOTHING = object()

CLOSED = "connection closed by Redis"

Command = tuple[bytes, asyncio.Future[Any]]
Part = str | bytes | int | float


def pack_command(parts: tuple[Part, ...]) -> bytes:
    """Returns the bytes of one command."""
    # hiredis declares a tuple of exactly one part.
    return bytes(hiredis.pack_command(parts))  # type: ignore[arg-type]


class ScriptMissingError(Exception):
    """Redis does not hold the script of an EVALSHA; nothing was run."""


class ReplyError(StorageUnavailableError):
    """Redis answered with an error; `reply` is for the log only."""

    def __init__(self, reply: str):
        super().__init__(retry_after_s=1.0)
        self.reply = reply


class RedisLink(asyncio.Protocol):
    """Matches replies to commands by order, cancelled ones included, so that no reply reaches a wrong caller.

    A command unanswered after `timeout_s` ends the link: what Redis did with it is unknown, so order is lost.
    `on_lost` is told once why the link ended and how many commands that left unanswered; `on_error` of each refusal.
    """

    def __init__(
        self,
        timeout_s: float,
        on_reply: Callable[[], None],
        on_lost: Callable[[str, int], None],
        on_error: Callable[[str], None],
    ):
        self._timeout_s = timeout_s
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=_read_error, notEnoughData=_NOTHING)
        self._pending: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_grace = False

    @property
    def pending(self) -> int:
        """Number of commands sent and not answered."""
        return len(self._pending)

    @property
    def is_open(self) -> bool:
        """Whether commands can be sent."""
        return self._transport is not None

    def send(self, commands: Iterable[Command]) -> None:
        """Writes the packed commands as one piece; on a link that is no longer open they fail."""
        if self._transport is None:
            fail_unavailable(future for _, future in commands)
            return
        now_s = self._loop.time()
        packed = []
        for text, future in commands:
            packed.append(text)
            self._pending.append((future, now_s))
        self._transport.write(b"".join(packed))
        if self._timer is None and packed:
            self._timer = self._loop.call_later(self._timeout_s, self._check_deadline)

    def abort(self, reason: str) -> None:
        """Closes at once and fails every command that waits for a reply; does nothing the second time."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        pending, self._pending = self._pending, deque()
        fail_unavailable(future for future, _ in pending)
        self._on_lost(reason, len(pending))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def eof_received(self) -> None:
        # Now, and not when the loop gets to `connection_lost`: until then commands would go into a dead connection.
        self.abort(CLOSED)

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort(CLOSED)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                self._settle(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort("not the Redis protocol")
            return
        self._on_reply()

    def _settle(self, reply: Any) -> None:
        future, _ = self._pending.popleft()
        # Not with every piece received: a reply that trickles in would never be late.
        self._in_grace = False
        if isinstance(reply, ReplyError):
            self._on_error(reply.reply)
        if future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    def _check_deadline(self) -> None:
        self._timer = None
        if not self._pending:
            return
        left_s = self._pending[0][1] + self._timeout_s - self._loop.time()
        if left_s <= 0 and self._in_grace:
            self.abort("no reply in time")
            return
        self._in_grace = left_s <= 0
        self._timer = self._loop.call_later(max(left_s, _GRACE_S), self._check_deadline)


def fail_unavailable(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Tells everyone who still waits that Redis is away."""
    for future in futures:
        if not future.done():
            future.set_exception(StorageUnavailableError(retry_after_s=1.0))


def _read_error(text: str) -> Exception:
    return ScriptMissingError() if text.startswith("NOSCRIPT") else ReplyError(text)
