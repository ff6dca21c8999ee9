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

# Why a link ended.
CLOSED = "connection closed by Redis"
TIMED_OUT = "no reply in time"
GARBAGE = "not the Redis protocol"
CLOSING = "closing"

# By these words an error reply says that the server cannot serve, whatever it was asked.
_REFUSALS = frozenset(
    {
        "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOPERM", "NOREPLICAS", "OOM",
        "READONLY", "WRONGPASS",
    }
)  # fmt: skip

Command = tuple[bytes, asyncio.Future[Any]]
Part = str | bytes | int | float


def pack_command(parts: tuple[Part, ...]) -> bytes:
    """Returns the bytes of one command."""
    # hiredis declares a tuple of exactly one part.
    return bytes(hiredis.pack_command(parts))  # type: ignore[arg-type]


class ScriptMissingError(StorageUnavailableError):
    """Redis does not hold the script of an EVALSHA, nothing was run; to any other command it is no sane answer."""


class AwayError(StorageUnavailableError):
    """Redis did not serve a command; `was_sent` says that it may have run all the same."""

    was_sent = False


class ReplyError(StorageUnavailableError):
    """Redis answered a command with an error; only the first word of `reply` may be shown."""

    def __init__(self, reply: str):
        super().__init__(retry_after_s=1.0)
        self.reply = reply


class RefusalError(ReplyError, AwayError):
    """Redis answered that it cannot serve."""

    # A script may fail after its first write.
    was_sent = True


class RedisLink(asyncio.Protocol):
    """Matches replies to commands by order, cancelled ones included, so that no reply reaches a wrong caller.

    A command unanswered after `timeout_s` ends the link: what Redis did with it is unknown, so order is lost.
    `on_reply` is told after each read whether a command was answered, other than by an error; `on_error` is told of
    each error; `on_lost`, once, why the link ended and how many commands that left unanswered.
    """

    def __init__(
        self,
        timeout_s: float,
        on_reply: Callable[[bool], None],
        on_lost: Callable[[str, int], None],
        on_error: Callable[[ReplyError], None],
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
            fail_away((future for _, future in commands), was_sent=False)
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
        fail_away((future for future, _ in pending), was_sent=True)
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
        is_answered = False
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                if not self._pending:
                    # A server that turns a connection away says why before it is asked anything.
                    self.abort(reply.reply if isinstance(reply, ReplyError) else GARBAGE)
                    return
                self._settle(reply)
                is_answered = is_answered or not isinstance(reply, ReplyError)
        except hiredis.ProtocolError:
            self.abort(GARBAGE)
            return
        self._on_reply(is_answered)

    def _settle(self, reply: Any) -> None:
        future, _ = self._pending.popleft()
        # Not with every piece received: a reply that trickles in would never be late.
        self._in_grace = False
        if isinstance(reply, ReplyError):
            self._on_error(reply)
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
            self.abort(TIMED_OUT)
            return
        self._in_grace = left_s <= 0
        self._timer = self._loop.call_later(max(left_s, _GRACE_S), self._check_deadline)


def fail_away(futures: Iterable[asyncio.Future[Any]], was_sent: bool) -> None:
    """Tells everyone who still waits that Redis is away."""
    for future in futures:
        if not future.done():
            error = AwayError(retry_after_s=1.0)
            error.was_sent = was_sent
            future.set_exception(error)


def _read_error(text: str) -> Exception:
    word, _, rest = text.partition(" ")
    if word == "NOSCRIPT":
        return ScriptMissingError()
    # Servers before version 7 wrap the error of a command inside a script in one of their own.
    if word == "ERR" and "script" in rest:
        word = next((part[1:] for part in rest.split(" ") if part.startswith("-")), word)
    return RefusalError(text) if word in _REFUSALS else ReplyError(text)
